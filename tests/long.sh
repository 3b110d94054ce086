#!/bin/sh
# tests/long.sh [SECONDS]: what takes hours. Every fuzz target, SECONDS (3600) each, by libFuzzer in
# build-fuzz/; whole tiny jobs under valgrind; each allocation, read and write of such jobs failing in
# turn; changes of the product that a test should notice, for SECONDS, in build-mutants/ (what survives is
# listed, and is no failure). Needs clang and valgrind, which it installs on Debian. The last line is
# "N passed, N failed".
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
seconds=${1:-3600}
. "$root/samples/setup.sh"
passed=0
failed=0

# shellcheck disable=SC2086 # a list of words
setup_install $setup_packages libcmocka-dev ffmpeg mpv python3 clang valgrind git

# counted COMMAND...: one that passes or fails as a whole.
counted() {
    if "$@"; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
}

setup_build "$root/build-fuzz" -DCMAKE_BUILD_TYPE=RelWithDebInfo -DCMAKE_C_COMPILER=clang \
    -DCMAKE_CXX_COMPILER=clang++ -DWEFT_FUZZ=ON -DWEFT_CUDA=OFF
log=$root/build-fuzz/fuzz.log
"$root/tests/fuzz.sh" "$seconds" "$root/build-fuzz" | tee "$log"
passed=$((passed + $(grep -c ', no fault$' "$log" || true)))
failed=$((failed + $(grep -c ': FAILED ' "$log" || true)))

setup_build "$root/build" -DCMAKE_BUILD_TYPE=Release -DWEFT_TESTS=ON
counted "$root/tests/valgrind.sh"
# libpng, libjpeg and sentencepiece stand it that their own allocations fail; oneDNN, FFmpeg and x264 end
# the program, and jansson's lexer loses letters.
counted "$root/tests/faults.py" "$root/build/weft" "$root/build/tests/libweft_fault.so" "$root/tests/fixtures" \
    --from png16,libjpeg,sentencepiece
counted "$root/tests/mutate.py" run "$root/build-mutants" --seed "$(date +%j)" --seconds "$seconds" --workers 2

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
