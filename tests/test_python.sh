#!/bin/sh
# samples/weft.py: clips as numpy arrays; skipped where python3 has no numpy.
set -eu
root=${WEFT_SOURCE_DIR:-$(cd "$(dirname "$0")/.." && pwd)}
build=${WEFT_BUILD_DIR:-$root/build}
# Debian's numpy is its own python's, which may not be the first.
for python in python3 /usr/bin/python3 ''; do
    [ -n "$python" ] || { echo "no python3 with numpy here" && exit 77; }
    ! "$python" -c 'import numpy' 2>/dev/null || break
done
svd=$root/tests/fixtures/svd_a
PYTHONDONTWRITEBYTECODE=1 WEFT_LIBRARY=$build/libweft.so.0 "$python" -W error "$root/tests/test_python.py" \
    "$build/weft" "$root/tests/fixtures/basic/model" "$svd/model" "$svd/image.jpg"
