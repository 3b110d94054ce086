#!/bin/sh
# The CUDA module: the program links nothing of CUDA, and each thing that can be missing is one line that
# says which, and offers the processor. Of the driver and the GPU where neither is there, or where a driver
# that finds no GPU stands in for them.
set -eu
. "$(dirname "$0")/cli.sh"
build=${WEFT_BUILD_DIR:-$root/build}
module=$build/weft-cuda.so

gen() {
    word=$1
    shift
    refused "$word" generate "$model" -p fox -W 32 -H 32 -f 5 --steps 1 -o new.y4m "$@"
}

for word in cuda cublas cudnn nvrtc; do
    ok "no lib$word" sh -c "! readelf -d '$weft' | grep -q 'NEEDED.*lib$word'"
done

cp "$root/LICENSE" "$work/none.so"
echo 'int nothing;' | cc -shared -fPIC -x c - -o "$work/other.so"
cat >"$work/old.c" <<'C'
#include <stddef.h>
const struct { const char *version; size_t a, b, c; const void *ops; } weft_cuda_module = {"0.0.1", 1, 2, 3, NULL};
C
cc -shared -fPIC "$work/old.c" -o "$work/old.so"
export WEFT_CUDA_MODULE="$work/missing.so"
gen 'missing.so.*--device cpu' --device cuda
export WEFT_CUDA_MODULE="$work/none.so"
gen 'none.so.*--device cpu' --device cuda
export WEFT_CUDA_MODULE="$work/other.so"
gen 'no module of weft' --device cuda:1
export WEFT_CUDA_MODULE="$work/old.so"
gen 'another build of weft (0.0.1' --device cuda
gen 'another build' --device-map transformer=cuda
unset WEFT_CUDA_MODULE
gen 'not known' --device cuda:
gen 'not known' --device cuda:x
gen 'not known' --device cuda:99999

if [ ! -e "$module" ]; then
    gen 'weft-cuda.so' --device cuda
    finish
    exit
fi

ok 'one symbol' [ "$(nm -D --defined-only "$module" | awk '{ print $3 }')" = weft_cuda_module ]
# Away from its build, where it is not found.
cp "$weft" "$work/weft"
weft_here=$weft
weft=$work/weft
gen 'weft-cuda.so beside the program' --device cuda
cp "$module" "$work/weft-cuda.so"
if ! ldconfig -p | grep -q 'libcuda\.so\.1'; then
    gen 'NVIDIA driver' --device cuda
    run generate "$model" -p fox -W 32 -H 32 -f 5 --steps 1 -v -o driver.y4m
    ok 'without a driver the processor computes' grep -q 'no NVIDIA driver' "$work/stderr"
fi
weft=$weft_here
if [ -e "$build/no-gpu/libcuda.so.1" ] && [ ! -e /dev/nvidiactl ]; then
    export LD_LIBRARY_PATH="$build/no-gpu"
    gen 'no GPU' --device cuda
    run generate "$model" -p fox -W 32 -H 32 -f 5 --steps 1 -v -o gpu.y4m
    ok 'without a GPU the processor computes' [ "$code" = 0 ]
    ok 'without a GPU that is said' grep -q 'no GPU' "$work/stderr"
fi
finish
