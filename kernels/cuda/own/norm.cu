/* Layer norm and RMS norm. A row of up to 2048 channels lies in registers while its statistics are
   taken: 8, 16 or 32 lanes hold a row, or a block; wider rows are read again from the cache. */
#include "kernels/cuda/own/row.h"

namespace
{

enum { BLOCK = 128, HELD = 4 }; /* quads that a thread holds */

enum form { LAYER, MEAN, L2 };

struct norm {
    const float *x;
    struct wf_memory y;
    int64_t x_stride, y_stride;
    const float *weight, *shift;
    int64_t rows, width;
    float eps;
    enum form form;
    enum wf_act act;
    bool x_wide, vectors_wide;
};

struct slots {
    struct wf_slots<BLOCK> mean[2], squares;
};

template <int LANES> __device__ inline float row_sum(float x, struct wf_slots<BLOCK> &slots)
{
    if constexpr (LANES <= WF_WARP)
        return wf_reduce_lanes<LANES>(x, wf_sum());
    else
        return wf_reduce_block<BLOCK>(x, slots, wf_sum());
}

__device__ inline float factor_of(const struct norm &p, float squares)
{
    const float width = static_cast<float>(p.width);
    if (p.form == L2)
        return sqrtf(width) / (sqrtf(squares) < p.eps ? p.eps : sqrtf(squares)); /* NaN stays */
    return 1.0f / sqrtf(squares / width + p.eps);
}

__device__ inline float total(const struct wf_quad &q)
{
    return (q.v[0] + q.v[1]) + (q.v[2] + q.v[3]);
}

__device__ inline float squares_of(const struct wf_quad &q)
{
    return (q.v[0] * q.v[0] + q.v[1] * q.v[1]) + (q.v[2] * q.v[2] + q.v[3] * q.v[3]);
}

/* What is behind the row stays zero. */
__device__ inline struct wf_quad minus(struct wf_quad q, int count, float mean)
{
#pragma unroll
    for (int j = 0; j < WF_QUAD; j++)
        q.v[j] = j < count ? q.v[j] - mean : 0.0f;
    return q;
}

__device__ inline void write(const struct norm &p, int64_t row, int64_t at, struct wf_quad q,
                             float factor)
{
    const int count = wf_left(p.width, at);
    struct wf_quad weight = {{1.0f, 1.0f, 1.0f, 1.0f}}, shift = {};
    if (p.weight)
        weight = wf_load_quad(p.weight + at, count, p.vectors_wide);
    if (p.shift)
        shift = wf_load_quad(p.shift + at, count, p.vectors_wide);
#pragma unroll
    for (int j = 0; j < WF_QUAD; j++)
        q.v[j] = wf_activated(q.v[j] * factor * weight.v[j] + shift.v[j], p.act);
    wf_store_quad(p.y, row * p.y_stride + at, count, q);
}

/* The mean is taken off twice: the first one is rounded, which counts where the values differ by
   little, and the second one is of what that left. Eight blocks leave 64 registers; asked for
   nothing, the compiler for sm_120 spills a few to fit more. */
template <int LANES> __global__ void __launch_bounds__(BLOCK, 8) norm_held(struct norm p)
{
    WF_SHARED(struct slots, slots);
    const int lane = static_cast<int>(threadIdx.x) % LANES;
    const int64_t row =
        int64_t{blockIdx.x} * (BLOCK / LANES) + static_cast<int>(threadIdx.x) / LANES;
    const bool is_row = row < p.rows; /* the others keep a warp's reductions whole */
    const float *x = p.x + (is_row ? row : 0) * p.x_stride;
    struct wf_quad q[HELD];
#pragma unroll
    for (int k = 0; k < HELD; k++) {
        const int64_t at = (lane + LANES * k) * WF_QUAD;
        q[k] = wf_load_quad(x + at, wf_left(p.width, at), p.x_wide);
    }
    for (int i = 0; i < 2 && p.form == LAYER; i++) {
        float sum = 0.0f;
#pragma unroll
        for (int k = 0; k < HELD; k++)
            sum += total(q[k]);
        const float mean = row_sum<LANES>(sum, slots.mean[i]) / static_cast<float>(p.width);
#pragma unroll
        for (int k = 0; k < HELD; k++)
            q[k] = minus(q[k], wf_left(p.width, (lane + LANES * k) * WF_QUAD), mean);
    }
    float squares = 0.0f;
#pragma unroll
    for (int k = 0; k < HELD; k++)
        squares += squares_of(q[k]);
    const float factor = factor_of(p, row_sum<LANES>(squares, slots.squares));
#pragma unroll
    for (int k = 0; k < HELD; k++) {
        const int64_t at = (lane + LANES * k) * WF_QUAD;
        if (is_row && at < p.width)
            write(p, row, at, q[k], factor);
    }
}

/* A quad of a wide row, as far as its means are known. */
__device__ inline struct wf_quad centred(const struct norm &p, const float *x, int64_t at,
                                         const float (&mean)[2])
{
    const int count = wf_left(p.width, at);
    return minus(minus(wf_load_quad(x + at, count, p.x_wide), count, mean[0]), count, mean[1]);
}

__global__ void __launch_bounds__(BLOCK) norm_wide(struct norm p)
{
    WF_SHARED(struct slots, slots);
    const int64_t row = blockIdx.x, first = static_cast<int>(threadIdx.x) * WF_QUAD;
    const float *x = p.x + row * p.x_stride;
    float mean[2] = {0.0f, 0.0f}, squares = 0.0f;
#pragma unroll
    for (int i = 0; i < 2; i++) {
        float sum = 0.0f;
        for (int64_t at = first; p.form == LAYER && at < p.width; at += BLOCK * WF_QUAD)
            sum += total(centred(p, x, at, mean));
        if (p.form == LAYER)
            mean[i] = row_sum<BLOCK>(sum, slots.mean[i]) / static_cast<float>(p.width);
    }
    for (int64_t at = first; at < p.width; at += BLOCK * WF_QUAD)
        squares += squares_of(centred(p, x, at, mean));
    const float factor = factor_of(p, row_sum<BLOCK>(squares, slots.squares));
    for (int64_t at = first; at < p.width; at += BLOCK * WF_QUAD)
        write(p, row, at, centred(p, x, at, mean), factor);
}

template <int LANES> int queue_held(const struct norm &p, void *stream)
{
    return wf_launch(norm_held<LANES>, wf_blocks(p.rows, BLOCK / LANES), BLOCK, stream, p);
}

int queue(const struct norm &p, void *stream)
{
    const int64_t lane = HELD * WF_QUAD;
    if (p.width <= 8 * lane)
        return queue_held<8>(p, stream);
    if (p.width <= 16 * lane)
        return queue_held<16>(p, stream);
    if (p.width <= WF_WARP * lane)
        return queue_held<WF_WARP>(p, stream);
    if (p.width <= BLOCK * lane)
        return queue_held<BLOCK>(p, stream);
    return wf_launch(norm_wide, static_cast<unsigned>(p.rows), BLOCK, stream, p);
}

struct norm norm_of(const struct wf_tensor &x, const struct wf_tensor &y,
                    const struct wf_tensor &weight, const struct wf_tensor &shift)
{
    struct norm p = {};
    const struct wf_memory from = wf_memory_of(x);
    p.x = static_cast<const float *>(from.data);
    p.x_wide = from.wide;
    p.y = wf_memory_of(y);
    p.x_stride = x.stride[0];
    p.y_stride = y.stride[0];
    p.rows = x.dim[0];
    p.width = x.dim[1];
    p.weight = static_cast<const float *>(weight.data);
    p.shift = static_cast<const float *>(shift.data);
    p.vectors_wide = wf_memory_of(weight).wide && wf_memory_of(shift).wide;
    return p;
}

} // namespace

int wf_own_layer_norm(const void *args, void *stream)
{
    const auto &a = *static_cast<const struct wf_layer_norm *>(args);
    struct norm p = norm_of(a.x, a.y, a.weight, a.shift);
    p.form = LAYER;
    p.act = WF_ACT_NONE;
    p.eps = a.eps;
    return queue(p, stream);
}

int wf_own_rms_norm(const void *args, void *stream)
{
    const auto &a = *static_cast<const struct wf_rms_norm *>(args);
    struct norm p = norm_of(a.x, a.y, a.weight, {});
    p.form = a.form == WF_RMS_L2 ? L2 : MEAN;
    p.act = a.act;
    p.eps = a.eps;
    return queue(p, stream);
}
