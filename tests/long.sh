#!/bin/sh
# tests/long.sh [SECONDS]: what takes hours. Every fuzz target, SECONDS (3600) each, by libFuzzer in
# build-fuzz/; needs clang, which it installs on Debian. The last line is "N passed, N failed".
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/samples/setup.sh"

# shellcheck disable=SC2086 # a list of words
setup_install $setup_packages clang
setup_build "$root/build-fuzz" -DCMAKE_BUILD_TYPE=RelWithDebInfo -DCMAKE_C_COMPILER=clang \
    -DCMAKE_CXX_COMPILER=clang++ -DWEFT_FUZZ=ON -DWEFT_CUDA=OFF
log=$root/build-fuzz/fuzz.log
"$root/tests/fuzz.sh" "${1:-3600}" "$root/build-fuzz" | tee "$log"
passed=$(grep -c ', no fault$' "$log") || true
failed=$(grep -c ': FAILED ' "$log") || true
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
