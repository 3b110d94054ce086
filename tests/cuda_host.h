/* The words of CUDA C that kernels/cuda/own/ uses, for a host's compiler, which is told to include
   this first. A thread of a block is a fiber with a stack of its own; barriers and shuffles are
   real ones, and who leaves a block or a warp before one ends the program with a message. Memory
   that a block shares is filled with NaN before the next block, and threads take turns upwards in
   one block, downwards in the next, so that what a missing barrier hides shows. What this cannot
   show: races within a warp, and anything that only time decides.

   Each thread of the host has a device of its own. */
#ifndef WEFT_TESTS_DEVICE_ON_HOST_H
#define WEFT_TESTS_DEVICE_ON_HOST_H

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

extern "C" {
#include "kernels/base/dtype.h"
}

#define __global__
#define __device__
#define __launch_bounds__(...)

struct uint3 {
    unsigned x, y, z;
};

struct dim3 : uint3 { /* blocks in a row, here */
    dim3(unsigned blocks) : uint3{blocks, 1, 1}
    {
    }
};

extern __thread struct uint3 threadIdx, blockIdx, blockDim;

void __syncthreads();
float __shfl_xor_sync(unsigned lanes, float value, int other);

struct __nv_bfloat16 {
    uint16_t bits;
};

struct __half {
    uint16_t bits;
};

inline float __bfloat162float(__nv_bfloat16 x)
{
    return wf_bf16_to_f32(x.bits);
}

inline __nv_bfloat16 __float2bfloat16_rn(float x)
{
    return {wf_f32_to_bf16(x)};
}

inline float __half2float(__half x)
{
    return wf_f16_to_f32(x.bits);
}

inline __half __float2half_rn(float x)
{
    return {wf_f32_to_f16(x)};
}

using std::isfinite;

/* A library's is called where the processor is not told to have one: ten times as slow. In double
   the product is exact. */
#define fmaf(a, b, c)                                                                              \
    static_cast<float>(static_cast<double>(a) * static_cast<double>(b) + static_cast<double>(c))

namespace cuda_host
{

/* The block's memory with that key; the same for all of its threads. */
void *shared(const void *key, size_t bytes);

/* Calls run(context) as each thread of each block; apart: no thread waits for another. */
void launch(unsigned blocks, unsigned threads, bool apart, void (*run)(const void *context),
            const void *context);

template <typename ARGS>
int launch_kernel(void (*kernel)(ARGS), dim3 grid, unsigned block, bool apart, const ARGS &args)
{
    struct call {
        void (*kernel)(ARGS);
        const ARGS &args;
    };
    const struct call call = {kernel, args};
    launch(
        grid.x, block, apart,
        [](const void *context) {
            const auto &c = *static_cast<const struct call *>(context);
            c.kernel(c.args);
        },
        &call);
    return 0;
}

} // namespace cuda_host

#define WF_SHARED(type, name)                                                                      \
    static char name##_key;                                                                        \
    type &name = *static_cast<type *>(cuda_host::shared(&name##_key, sizeof(type)))

template <typename ARGS>
int wf_launch(void (*kernel)(ARGS), dim3 grid, unsigned block, void *, const ARGS &args)
{
    return cuda_host::launch_kernel(kernel, grid, block, false, args);
}

template <typename ARGS>
int wf_launch_apart(void (*kernel)(ARGS), dim3 grid, unsigned block, void *, const ARGS &args)
{
    return cuda_host::launch_kernel(kernel, grid, block, true, args);
}

#endif
