#!/bin/sh
# tests/fuzz.sh SECONDS [FOLDER [TARGET...]]: runs the fuzz targets of a build, FOLDER, that long each,
# from tests/fuzz/corpus/TARGET and what of tests/fixtures is of its kind. A line a target; exit 1 when
# one crashed, leaked, took more than ten seconds over an input or more than 2 GB. The input is kept
# in FOLDER/fuzz/ then, beside what was printed: FOLDER/fuzz_TARGET FILE runs it again. Without FOLDER:
# build-asan, whose targets have a small fuzzer of their own; those of a build with WEFT_FUZZ have
# libFuzzer.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
seconds=${1:?SECONDS is missing: see the head of tests/fuzz.sh}
build=$(cd "${2:-$root/build-asan}" && pwd)
shift $(($# < 2 ? $# : 2))
if [ $# = 0 ]; then
    for file in "$root"/tests/fuzz/fuzz_*.c; do
        file=${file##*/fuzz_}
        set -- "$@" "${file%.c}"
    done
fi

# Files are written there often: not to a disk, if that can be.
TMPDIR=$(mktemp -d -p "$([ -w /dev/shm ] && echo /dev/shm || echo "${TMPDIR:-/tmp}")" weft-fuzz-XXXXXX)
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT
trap 'exit 130' INT TERM

fixtures=$root/tests/fixtures
kept=$build/fuzz
mkdir -p "$kept"

# The fixtures of a target's kind.
fixtures_of() {
    case $1 in
    json) find "$fixtures" -name '*config.json' -o -name 'model_index.json' ;;
    safetensors) find "$fixtures" -name 'latents*.safetensors' -o -name 'image_embeds.safetensors' ;;
    checkpoint) find "$fixtures" -name '*.index.json' -o -name 'latents.safetensors' ;;
    png) find "$fixtures" -name '*.png' ;;
    tag) find "$fixtures/image" -name '*text*.png' ;;
    jpeg) find "$fixtures" -name '*.jpg' ;;
    exif | xmp) find "$fixtures/image" -name "$1*.jpg" -o -name 'turned*.jpg' ;;
    spiece) find "$fixtures" -name 'spiece.model' ;;
    tokenizer_json) find "$fixtures" -name 'tokenizer.json' ;;
    latents) find "$fixtures" -name 'latents*.safetensors' ;;
    scheduler) find "$fixtures" -name 'scheduler_config.json' ;;
    esac
}

# Copies them under names of their own, the small ones, each once.
gather() {
    mkdir -p "$TMPDIR/seeds"
    fixtures_of "$1" | while read -r file; do
        [ "$(wc -c <"$file")" -gt 16384 ] || cp "$file" "$TMPDIR/seeds/$(sha1sum <"$file" | cut -c 1-16)"
    done
}

# run TARGET; 0 when all is well.
run() {
    log=$kept/$1.log
    mkdir -p "$TMPDIR/grown"
    gather "$1"
    "$build/fuzz_$1" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
        -artifact_prefix="$kept/$1-" "$TMPDIR/grown" "$TMPDIR/seeds" \
        "$root/tests/fuzz/corpus/$1" </dev/null >"$log" 2>&1
}

failed=0
export UBSAN_OPTIONS=print_stacktrace=1
for target; do
    code=0
    run "$target" || code=$?
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$kept/$target.log")
    if [ "$code" = 0 ] && [ "${runs:-0}" -gt 0 ]; then
        echo "$target: $runs inputs, no fault"
    else
        echo "$target: FAILED after ${runs:-some} inputs; see $kept/$target.log"
        failed=1
    fi
    rm -rf "$TMPDIR/grown" "$TMPDIR/seeds"
done
exit $failed
