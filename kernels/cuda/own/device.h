/* What every kernel here stands on: launching, elements and quads of elements, indices.

   The same sources are built for the host in tests, where tests/cuda_host.h has CUDA's words and
   what stands behind __CUDACC__ here. */
#ifndef WEFT_KERNELS_CUDA_OWN_DEVICE_H
#define WEFT_KERNELS_CUDA_OWN_DEVICE_H

#include "kernels/cuda/own/own.h"

#ifdef __CUDACC__
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#define WF_SHARED(type, name) __shared__ type name

template <typename ARGS>
int wf_launch(void (*kernel)(ARGS), dim3 grid, unsigned block, void *stream, const ARGS &args)
{
    kernel<<<grid, block, 0, static_cast<cudaStream_t>(stream)>>>(args);
    return cudaGetLastError();
}

/* The same for a kernel without barriers, shuffles and shared memory. */
template <typename ARGS>
int wf_launch_apart(void (*kernel)(ARGS), dim3 grid, unsigned block, void *stream, const ARGS &args)
{
    return wf_launch(kernel, grid, block, stream, args);
}
#endif

enum { WF_THREADS = 256, WF_WARP = 32, WF_QUAD = 4 };

/* Blocks for that much work. */
inline unsigned wf_blocks(int64_t work, int64_t each)
{
    return static_cast<unsigned>((work + each - 1) / each);
}

__device__ inline int64_t wf_thread()
{
    return int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
}

/* index = row * width + column. */
struct wf_place {
    int64_t row, column;
};

/* Division of 64 bits costs several times that of 32, so it is left to what needs it. */
__device__ inline struct wf_place wf_divide(int64_t index, int64_t width)
{
    if (index <= UINT32_MAX && width <= UINT32_MAX) {
        const uint32_t i = static_cast<uint32_t>(index), n = static_cast<uint32_t>(width);
        return {i / n, i % n};
    }
    return {index / width, index % width};
}

__device__ inline float wf_value(float x)
{
    return x;
}

__device__ inline float wf_value(__nv_bfloat16 x)
{
    return __bfloat162float(x);
}

__device__ inline float wf_value(__half x)
{
    return __half2float(x);
}

template <typename T> __device__ inline T wf_rounded(float x);

template <> __device__ inline float wf_rounded<float>(float x)
{
    return x;
}

template <> __device__ inline __nv_bfloat16 wf_rounded<__nv_bfloat16>(float x)
{
    return __float2bfloat16_rn(x);
}

template <> __device__ inline __half wf_rounded<__half>(float x)
{
    return __float2half_rn(x);
}

template <> __device__ inline unsigned char wf_rounded<unsigned char>(float x)
{
    return static_cast<unsigned char>(x);
}

template <typename T> struct alignas(WF_QUAD * sizeof(T)) wf_packed {
    T v[WF_QUAD];
};

/* Four neighbours in a row. */
struct wf_quad {
    float v[WF_QUAD];
};

/* Elements that are left of a row of `width` from `at` on, not more than a quad has. */
__device__ inline int wf_left(int64_t width, int64_t at)
{
    return width - at < WF_QUAD ? static_cast<int>(width - at) : static_cast<int>(WF_QUAD);
}

/* The first `count` of a quad, zeros behind them; wide: quads of the row are aligned. */
template <typename T>
__device__ inline struct wf_quad wf_load_quad(const T *at, int count, bool wide)
{
    struct wf_quad q;
    if (wide && count == WF_QUAD) {
        const struct wf_packed<T> p = *reinterpret_cast<const struct wf_packed<T> *>(at);
#pragma unroll
        for (int j = 0; j < WF_QUAD; j++)
            q.v[j] = wf_value(p.v[j]);
        return q;
    }
#pragma unroll
    for (int j = 0; j < WF_QUAD; j++)
        q.v[j] = j < count ? wf_value(at[j]) : 0.0f;
    return q;
}

template <typename T>
__device__ inline void wf_store_quad(T *at, int count, bool wide, const struct wf_quad &q)
{
    if (wide && count == WF_QUAD) {
        struct wf_packed<T> p;
#pragma unroll
        for (int j = 0; j < WF_QUAD; j++)
            p.v[j] = wf_rounded<T>(q.v[j]);
        *reinterpret_cast<struct wf_packed<T> *>(at) = p;
        return;
    }
#pragma unroll
    for (int j = 0; j < WF_QUAD; j++) {
        if (j < count)
            at[j] = wf_rounded<T>(q.v[j]);
    }
}

/* Memory of one type, known when it runs: F32 or BF16; wide: quads of its rows are aligned. */
struct wf_memory {
    void *data;
    enum wf_dtype type;
    bool wide;
};

/* Of rows that start `stride` apart along each of `rank` axes. */
inline struct wf_memory wf_memory_at(void *data, enum wf_dtype type, int rank, const int64_t *dim,
                                     const int64_t *stride)
{
    const uintptr_t bytes = type == WF_U8 ? 1 : type == WF_F16 || type == WF_BF16 ? 2 : 4;
    bool wide = reinterpret_cast<uintptr_t>(data) % (WF_QUAD * bytes) == 0;
    for (int i = 0; i < rank; i++)
        wide = wide && (dim[i] == 1 || stride[i] % WF_QUAD == 0);
    return {data, type, wide};
}

inline struct wf_memory wf_memory_of(const struct wf_tensor &t)
{
    return wf_memory_at(t.data, t.dtype, t.rank - 1, t.dim, t.stride);
}

__device__ inline struct wf_quad wf_load_quad(const struct wf_memory &m, int64_t at, int count)
{
    if (m.type == WF_BF16)
        return wf_load_quad(static_cast<const __nv_bfloat16 *>(m.data) + at, count, m.wide);
    return wf_load_quad(static_cast<const float *>(m.data) + at, count, m.wide);
}

/* To U8 the values are whole numbers. */
__device__ inline void wf_store_quad(const struct wf_memory &m, int64_t at, int count,
                                     const struct wf_quad &q)
{
    if (m.type == WF_BF16)
        wf_store_quad(static_cast<__nv_bfloat16 *>(m.data) + at, count, m.wide, q);
    else if (m.type == WF_U8)
        wf_store_quad(static_cast<unsigned char *>(m.data) + at, count, m.wide, q);
    else
        wf_store_quad(static_cast<float *>(m.data) + at, count, m.wide, q);
}

/* In forms that do not cancel where results are tiny. */
__device__ inline float wf_activated(float x, enum wf_act act)
{
    switch (act) {
    case WF_ACT_NONE:
        break;
    case WF_ACT_GELU_TANH: /* (1 + tanh u) / 2 = 1 / (1 + e^-2u); 2 sqrt(2 / pi) */
        return x / (1.0f + expf(-1.59576912f * (x + 0.044715f * x * x * x)));
    case WF_ACT_GELU_ERF: /* 1 + erf u = erfc -u; sqrt(1 / 2) */
        return 0.5f * x * erfcf(-0.707106781f * x);
    case WF_ACT_SILU:
        return x / (1.0f + expf(-x));
    }
    return x;
}

#endif
