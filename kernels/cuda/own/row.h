/* Reductions: of some lanes of a warp, of a block. Each thread gets the same bits. */
#ifndef WEFT_KERNELS_CUDA_OWN_ROW_H
#define WEFT_KERNELS_CUDA_OWN_ROW_H

#include "kernels/cuda/own/device.h"

struct wf_sum {
    __device__ float operator()(float a, float b) const
    {
        return a + b;
    }
};

struct wf_largest { /* a NaN is passed over */
    __device__ float operator()(float a, float b) const
    {
        return fmaxf(a, b);
    }
};

/* Of each LANES neighbours in a warp, all of whose threads are here. */
template <int LANES, typename OP> __device__ inline float wf_reduce_lanes(float x, OP op)
{
#pragma unroll
    for (int apart = LANES / 2; apart > 0; apart /= 2)
        x = op(x, __shfl_xor_sync(0xffffffffu, x, apart));
    return x;
}

/* Of a block of THREADS. One warp may be a reduction behind another, so that two in a row need
   slots of their own. */
template <int THREADS> struct wf_slots {
    float of_warp[THREADS / WF_WARP];
};

template <int THREADS, typename OP>
__device__ inline float wf_reduce_block(float x, struct wf_slots<THREADS> &slots, OP op)
{
    x = wf_reduce_lanes<WF_WARP>(x, op);
    if (threadIdx.x % WF_WARP == 0)
        slots.of_warp[threadIdx.x / WF_WARP] = x;
    __syncthreads();
    x = slots.of_warp[0];
#pragma unroll
    for (int i = 1; i < THREADS / WF_WARP; i++)
        x = op(x, slots.of_warp[i]);
    return x;
}

#endif
