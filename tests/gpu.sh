#!/bin/sh
# tests/gpu.sh [PART]...: what only a GPU can tell, within eight minutes: names and ceilings, every operation
# against ref, the fixtures, one clip under every policy with the same bytes, where its time goes, diffusers on
# the same files. Without PART, 1 to 6 are run; 7 (compute-sanitizer) is run when it is asked for.
#
# tests/gpu.sh build makes build-gpu/ beforehand, on a machine with the CUDA toolkit and no GPU, with the
# libraries that it needs beside it, so that it starts on a machine that has none of them.
#
# Results go to $OUT, or to build-gpu/results, each when it is there; the table comes last. A part that fails
# or takes too long ends itself alone. Exit status 1: one did.
set -u
root=$(cd "$(dirname "$0")/.." && pwd)
build=$root/build-gpu
out=${OUT:-$build/results}
model=${WEFT_GPU_MODEL:-${TMPDIR:-/tmp}/weft-gpu-model}
clip="-W 832 -H 480 -f 81 --steps 3 --guidance-scale 5"
work=${TMPDIR:-/tmp}
export OMP_WAIT_POLICY=passive CUBLASLT_LOG_LEVEL=1 CUDNN_LOGLEVEL_DBG=1
export WEFT_SOURCE_DIR="$root" WEFT_BUILD_DIR="$build" WEFT_TEST_DEVICE=cuda
failed=0

# Only what Debian has and a bare machine with CUDA may lack travels: not glibc's own.
build() {
    . "$root/samples/setup.sh"
    setup_build "$build" -DCMAKE_BUILD_TYPE=Release -DWEFT_TESTS=ON -DWEFT_FFMPEG=OFF \
        -DWEFT_ONEDNN=OFF -DWEFT_CUDA=ON -DWEFT_CUDA_ARCHITECTURES="${1:-90-real}" \
        -DCMAKE_BUILD_RPATH="\$ORIGIN/lib;/usr/local/cuda/lib64"
    mkdir -p "$build/lib"
    ldd "$build/weft" "$build/tests/checkops" "$build/checkops" "$build/test_bf16" 2>/dev/null |
        awk '/=> \/.*(jansson|jpeg|png|utf8proc|sentencepiece|protobuf|gomp|cmocka|z\.so)/ { print $3 }' |
        sort -u | xargs -I{} cp -L {} "$build/lib/"
    du -sh "$build/weft" "$build/weft-cuda.so" "$build/lib"
}

# part NUMBER SECONDS NAME COMMAND...: its output in a file of its own, its verdict on standard output.
part() {
    number=$1
    limit=$2
    name=$3
    shift 3
    case " $parts " in *" $number "*) ;; *) return 0 ;; esac
    began=$(date +%s)
    verdict=passed
    timeout "$limit" "$@" >"$out/$number-$name.txt" 2>&1 || verdict="FAILED ($?)"
    [ "$verdict" = passed ] || failed=1
    echo "part $number, $name: $verdict, $(($(date +%s) - began)) s" | tee -a "$out/summary.txt"
    tail -n "${lines:-5}" "$out/$number-$name.txt"
}

facts() {
    status=0
    nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm,power.limit --format=csv || status=1
    "$build/weft" generate "$root/tests/fixtures/basic/model" -p fox -W 32 -H 32 -f 5 --steps 1 \
        --device cuda --format null -v || status=1
    python3 "$root/tests/gpu/ceilings.py" || status=1
    return $status
}

checkops() {
    status=0
    for dtype in f32 bf16; do
        "$build/checkops" --module --dtype $dtype || status=1
    done
    return $status
}

parity() {
    status=0
    "$build/test_parity" || status=1
    "$build/test_bf16" || status=1
    return $status
}

# The same bytes under every policy; seconds, peaks and what the plan said of them.
policies() {
    status=0
    first=
    for policy in none model "group --offload-blocks 1" "group --offload-blocks 4" sequential; do
        name=$(echo "$policy" | tr -d ' -')
        # shellcheck disable=SC2086 # lists of words
        set -- generate "$model" -p "a red fox in the snow" -s 1 $clip --device cuda --dtype bf16 --offload $policy
        "$build/weft" "$@" --plan --json >"$out/plan-$name.json" || status=1
        rm -f "$work/clip.rgb"
        "$build/weft" "$@" -q -y --format rawvideo -o "$work/clip.rgb" --report "$out/report-$name.json" || status=1
        [ "$(wc -c <"$work/clip.rgb")" = $((832 * 480 * 81 * 3)) ] || { echo "$policy: NO CLIP" && status=1; }
        sum=$(sha256sum <"$work/clip.rgb")
        first=${first:-$sum}
        echo "$policy: $sum"
        [ "$sum" = "$first" ] || { echo "$policy: OTHER BYTES" && status=1; }
    done
    python3 "$root/tests/gpu/table.py" "$out" | tee "$out/table.md"
    return $status
}

# Where a step's and a decode's time goes, by the device's own clock.
profile() {
    # shellcheck disable=SC2086 # a list of words
    "$build/weft" generate "$model" -p "a red fox in the snow" -s 1 $clip --device cuda --dtype bf16 \
        --offload none -v --format null --report "$out/profile.json" || return 1
    grep -E '"(name|seconds|flops|gemm|conv|attention|pass|load)"' "$out/profile.json"
}

peer() {
    python3 "$root/tests/gpu/peer.py" "$model" "$out/peer.json" || return 1
    python3 "$root/tests/gpu/table.py" "$out" | tee "$out/table.md"
}

sanitize() {
    status=0
    for fixture in basic bf16; do
        compute-sanitizer --target-processes all --tool memcheck --error-exitcode 1 "$build/weft" generate \
            "$root/tests/fixtures/$fixture/model" -p fox -W 32 -H 32 -f 9 --steps 2 --device cuda \
            --offload group --format null -o /dev/null || status=1
    done
    compute-sanitizer --target-processes all --tool racecheck --error-exitcode 1 "$build/checkops" --module \
        --dtype f32 || status=1
    return $status
}

case ${1:-} in
    build)
        shift
        build "$@"
        exit
        ;;
    facts | checkops | parity | policies | profile | peer | sanitize)
        "$1" # a part calls itself so, under its time limit
        exit
        ;;
esac
parts="${*:-1 2 3 4 5 6}"
mkdir -p "$out"
"$build/weft" --version >/dev/null 2>&1 || build native || exit 1
if [ ! -e "$model/model_index.json" ]; then
    python3 "$root/tests/oracle/bench_model.py" --out "$model" >"$out/model.txt" 2>&1 &
    making=$!
fi
part 1 120 facts "$0" facts
part 2 120 checkops "$0" checkops
part 3 90 parity "$0" parity
[ -z "${making:-}" ] || wait "$making"
lines=20 part 4 200 policies "$0" policies
lines=40 part 5 120 profile "$0" profile
lines=20 part 6 180 peer "$0" peer
part 7 300 sanitize "$0" sanitize
cat "$out/summary.txt"
exit $failed
