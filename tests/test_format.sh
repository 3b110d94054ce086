#!/bin/sh
# Every source file is as clang-format 14 lays it out; skipped where that is not installed.
set -eu
cd "${WEFT_SOURCE_DIR:-$(dirname "$0")/..}"
if ! command -v clang-format-14 >/dev/null; then
    echo "skipped: clang-format-14 is not here"
    exit 77
fi
find kernels io temporal vae engine tests samples -name '*.[ch]' -o -name '*.cc' -o -name '*.cu' |
    xargs clang-format-14 --dry-run -Werror
