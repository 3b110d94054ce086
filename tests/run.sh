#!/bin/sh
# tests/run.sh: all tests, of the Release build in build/ and of an ASan+UBSan build in build-asan/,
# there with ten seconds of each fuzz target;
# what depends on them of a build without oneDNN, FFmpeg and CUDA in build-bare/; and what has threads of
# its own of a TSan build in build-tsan/.
# On a fresh Debian 12 it first installs what is missing. The last line is "N passed, N failed".
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/samples/setup.sh"
passed=0
failed=0

# run_tests FOLDER [CTEST OPTION]...: two at a time, but for those that use all cores. A run that ends without a count is one failure, and a test that
# was skipped counts neither way.
run_tests() {
    folder=$1
    shift
    log=$folder/Testing/closing.log
    mkdir -p "$folder/Testing"
    : >"$log"
    ctest --test-dir "$folder" -j 2 --output-on-failure -O "$log" "$@" || true
    count=$(sed -n 's/^.*% tests passed, \([0-9]*\) tests failed out of \([0-9]*\)$/\1 \2/p' "$log")
    [ -n "$count" ] || count="1 1"
    skipped=$(grep -c '\*\*\*Skipped' "$log") || true
    failed=$((failed + ${count% *}))
    passed=$((passed + ${count#* } - ${count% *} - skipped))
}

# shellcheck disable=SC2086 # a list of words
setup_install $setup_packages libcmocka-dev ffmpeg mpv python3 python3-numpy dpkg-dev file
setup_build "$root/build" -DCMAKE_BUILD_TYPE=Release -DWEFT_TESTS=ON
run_tests "$root/build"

setup_build "$root/build-asan" -DCMAKE_BUILD_TYPE=RelWithDebInfo -DWEFT_TESTS=ON \
    -DWEFT_SANITIZE=address,undefined
export ASAN_OPTIONS=detect_leaks=1 UBSAN_OPTIONS=print_stacktrace=1
run_tests "$root/build-asan" --label-exclude long

setup_build "$root/build-bare" -DCMAKE_BUILD_TYPE=Release -DWEFT_TESTS=ON -DWEFT_ONEDNN=OFF \
    -DWEFT_FFMPEG=OFF -DWEFT_CUDA=OFF
run_tests "$root/build-bare" -R \
    '^(checkops|test_(parity|bf16|clip|job|files|threads|surroundings|sinks|cli|compar(e|ison)|meet|module|refusals|install|package|pages|python|utf8))$'

setup_build "$root/build-tsan" -DCMAKE_BUILD_TYPE=RelWithDebInfo -DWEFT_TESTS=ON \
    -DWEFT_SANITIZE=thread -DWEFT_CUDA=OFF
run_tests "$root/build-tsan" -R '^test_(job|threads|sinks)$'

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
