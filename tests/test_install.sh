#!/bin/sh
# The library as others use it: installed, found by pkg-config, linked by a program outside the tree.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
prefix=$folder/usr
cmake --install "$WEFT_BUILD_DIR" --prefix "$prefix" >"$folder/log" 2>&1 || { cat "$folder/log"; exit 1; }
[ -x "$prefix/bin/weft" ] && [ -f "$prefix/include/weft.h" ]
pc=$(find "$prefix" -name weft.pc)
library=$(find "$prefix" -name 'libweft.so.0')
[ -n "$pc" ] && [ -n "$library" ]
[ -f "$prefix/share/man/man1/weft.1" ] && [ -f "$prefix/share/bash-completion/completions/weft" ]

# Outside the tree there is neither our include path nor our flags.
cp "$WEFT_SOURCE_DIR/samples/stream.c" "$folder/stream.c"
cd "$folder"
# weft.pc goes by its own place: this prefix is not the one that was configured.
words=$(PKG_CONFIG_PATH=$(dirname "$pc") pkg-config --cflags --libs weft)
# shellcheck disable=SC2086 # a list of words
cc -std=c11 -Wall -Wextra -Werror ${WEFT_SANITIZE_FLAG:-} stream.c -o stream $words -lm
# Nothing but weft_* leaves the library.
others=$(nm -D --defined-only "$library" | awk '{print $3}' | grep -v '^weft_' | grep -v '^_' || true)
[ -z "$others" ] || { echo "exported beside weft_*: $others"; exit 1; }
# And it has no way to print, to end the program or to change its signals.
forbidden='stdout|stderr|_ZSt4c(out|err|log)|v?printf|puts|putchar|perror|abort|_?exit|__assert_fail|signal|sigaction'
others=$(nm -D --undefined-only "$library" | awk '{print $2}' | sed 's/@.*//' | grep -E -x "$forbidden" || true)
[ -z "${WEFT_SANITIZE_FLAG:-}" ] || others=
[ -z "$others" ] || { echo "the library calls $others"; exit 1; }
LD_LIBRARY_PATH=$(dirname "$library") ./stream "$WEFT_SOURCE_DIR/tests/fixtures/basic/model" "a fox" 32 32 5 >frames
[ "$(wc -c <frames)" -eq $((32 * 32 * 3 * 5)) ] || { echo "stream wrote $(wc -c <frames) bytes"; exit 1; }
echo "installed, found, linked and run"
