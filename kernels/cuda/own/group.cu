/* Group norm: statistics of groups of channels, by blocks of a slab of channels and some pixels,
   then put together; and the pass that applies them. A thread keeps to its channels, so that what
   belongs to them is read once. Sums are made in an order that only the shapes decide. */
#include "kernels/cuda/own/device.h"

namespace
{

enum {
    CHANNELS = 64,                   /* of a slab */
    LANES = WF_THREADS / CHANNELS,   /* threads that share a channel's pixels */
    FLUSH = 32,                      /* values that are added in f32 */
    QUADS = CHANNELS / WF_QUAD,      /* of a slab */
    QUAD_LANES = WF_THREADS / QUADS, /* threads that share a quad's pixels */
    MERGE = 128
};

/* How many, their mean, the squares of what they are off it. */
struct moments {
    double n, mean, m2;
};

__device__ inline struct moments merged(const struct moments &a, const struct moments &b)
{
    if (b.n == 0.0)
        return a;
    if (a.n == 0.0)
        return b;
    const double n = a.n + b.n, apart = b.mean - a.mean;
    return {n, a.mean + apart * (b.n / n), a.m2 + b.m2 + apart * apart * (a.n * b.n / n)};
}

__device__ inline void put(float *to, const struct moments &m)
{
    to[0] = static_cast<float>(m.n);
    to[1] = static_cast<float>(m.mean);
    to[2] = static_cast<float>(m.m2);
}

/* --- sums --- */

struct sums {
    const float *x;
    float *parts;         /* [parts slabs,T,G,3] */
    int64_t frame, line;  /* strides */
    int64_t pixels, each; /* of a frame, of a part */
    int64_t slabs, frames, groups, channels;
    int width;
};

/* A channel's values over a part's pixels, those of one lane. */
__device__ inline struct moments of_channel(const struct sums &p, const float *x, int64_t first,
                                            int64_t end)
{
    double sum = 0.0, squares = 0.0;
    float few = 0.0f, few_squares = 0.0f, about = 0.0f;
    int count = 0;
    for (int64_t i = first; i < end; i += LANES) {
        const struct wf_place at = wf_divide(i, p.width);
        const float value = x[at.row * p.line + at.column * p.channels];
        if (count == 0)
            about = value;
        const float apart = value - about;
        few += apart;
        few_squares += apart * apart;
        if (++count % FLUSH == 0) {
            sum += few;
            squares += few_squares;
            few = few_squares = 0.0f;
        }
    }
    sum += few;
    squares += few_squares;
    if (count == 0)
        return {0.0, 0.0, 0.0};
    return {static_cast<double>(count), about + sum / count, squares - sum * sum / count};
}

__global__ void __launch_bounds__(WF_THREADS, 4) group_parts(struct sums p)
{
    struct held {
        struct moments of[WF_THREADS];
    };
    WF_SHARED(struct held, held);
    const struct wf_place t = wf_divide(blockIdx.x, p.frames);
    const int64_t part = t.row / p.slabs, base = t.row % p.slabs * CHANNELS;
    const int thread = static_cast<int>(threadIdx.x);
    const int64_t c = base + thread % CHANNELS;
    const int64_t first = part * p.each,
                  end = first + p.each < p.pixels ? first + p.each : p.pixels;
    struct moments own = {0.0, 0.0, 0.0};
    if (c < p.channels)
        own = of_channel(p, p.x + t.column * p.frame + c, first + thread / CHANNELS, end);
    held.of[thread] = own;
    __syncthreads();
    const int64_t width = p.channels / p.groups;
    float *parts = p.parts + (t.row * p.frames + t.column) * p.groups * 3;
    for (int64_t g = thread; g < p.groups; g += WF_THREADS) {
        struct moments all = {0.0, 0.0, 0.0};
        int64_t from = g * width - base, to = from + width;
        from = from > 0 ? from : 0;
        to = to < CHANNELS ? to : int64_t{CHANNELS};
        for (int64_t k = from; k < to; k++)
            for (int lane = 0; lane < LANES; lane++)
                all = merged(all, held.of[lane * CHANNELS + k]);
        put(parts + g * 3, all);
    }
}

/* --- merge --- */

struct merge {
    const float *x;
    float *y;
    int64_t parts, part, row, group; /* how many; strides */
    int64_t groups;
};

__global__ void __launch_bounds__(MERGE) group_merge(struct merge p)
{
    struct held {
        struct moments of[MERGE];
    };
    WF_SHARED(struct held, held);
    const int thread = static_cast<int>(threadIdx.x);
    const struct wf_place at = wf_divide(blockIdx.x, p.groups);
    const float *x = p.x + at.row * p.row + at.column * p.group;
    struct moments own = {0.0, 0.0, 0.0};
    for (int64_t k = thread; k < p.parts; k += MERGE) {
        const float *from = x + k * p.part;
        own = merged(own, {from[0], from[1], from[2]});
    }
    held.of[thread] = own;
    __syncthreads();
    for (int apart = MERGE / 2; apart > 0; apart /= 2) {
        if (thread < apart)
            held.of[thread] = merged(held.of[thread], held.of[thread + apart]);
        __syncthreads();
    }
    if (thread == 0)
        put(p.y + int64_t{blockIdx.x} * 3, held.of[0]);
}

/* --- apply --- */

struct apply {
    struct wf_memory x, y;
    const float *stats, *weight, *shift;
    int64_t x_frame, x_line, y_frame, y_line, stats_frame, stats_group; /* strides */
    int64_t pixels, each;                                               /* of a frame, of a block */
    int64_t slabs, frames, channels, width_of_group;
    int width;
    float eps;
    enum wf_act act;
};

__global__ void __launch_bounds__(WF_THREADS) group_apply(struct apply p)
{
    const struct wf_place t = wf_divide(blockIdx.x, p.frames);
    const int thread = static_cast<int>(threadIdx.x);
    const int64_t c = t.row % p.slabs * CHANNELS + thread % QUADS * WF_QUAD;
    const int64_t first = t.row / p.slabs * p.each;
    const int64_t end = first + p.each < p.pixels ? first + p.each : p.pixels;
    if (c >= p.channels)
        return;
    const int count = wf_left(p.channels, c);
    float mean[WF_QUAD], factor[WF_QUAD], shift[WF_QUAD];
#pragma unroll
    for (int j = 0; j < WF_QUAD; j++) {
        const int64_t channel = j < count ? c + j : c;
        const float *s =
            p.stats + t.column * p.stats_frame + channel / p.width_of_group * p.stats_group;
        mean[j] = s[1];
        factor[j] = p.weight[channel] / sqrtf(s[2] / s[0] + p.eps);
        shift[j] = p.shift[channel];
    }
    for (int64_t i = first + thread / QUADS; i < end; i += QUAD_LANES) {
        const struct wf_place at = wf_divide(i, p.width);
        const int64_t pixel = at.column * p.channels + c;
        struct wf_quad q =
            wf_load_quad(p.x, t.column * p.x_frame + at.row * p.x_line + pixel, count);
#pragma unroll
        for (int j = 0; j < WF_QUAD; j++)
            q.v[j] = wf_activated((q.v[j] - mean[j]) * factor[j] + shift[j], p.act);
        wf_store_quad(p.y, t.column * p.y_frame + at.row * p.y_line + pixel, count, q);
    }
}

int64_t divided_up(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

} // namespace

int64_t wf_own_group_parts_count(const struct wf_tensor *x)
{
    return divided_up(x->dim[1] * x->dim[2], WF_OWN_GROUP_PIXELS) * divided_up(x->dim[3], CHANNELS);
}

int wf_own_group_parts(const void *args, void *stream)
{
    const auto &a = *static_cast<const struct wf_group_sums *>(args);
    struct sums p = {};
    p.x = static_cast<const float *>(a.x.data);
    p.parts = static_cast<float *>(a.y.data);
    p.frame = a.x.stride[0];
    p.line = a.x.stride[1];
    p.pixels = a.x.dim[1] * a.x.dim[2];
    p.each = WF_OWN_GROUP_PIXELS;
    p.slabs = divided_up(a.x.dim[3], CHANNELS);
    p.frames = a.x.dim[0];
    p.groups = a.y.dim[2];
    p.channels = a.x.dim[3];
    p.width = static_cast<int>(a.x.dim[2]);
    return wf_launch(group_parts, wf_blocks(a.y.dim[0] * p.frames, 1), WF_THREADS, stream, p);
}

int wf_own_group_merge(const void *args, void *stream)
{
    const auto &a = *static_cast<const struct wf_group_merge *>(args);
    struct merge p = {};
    p.x = static_cast<const float *>(a.x.data);
    p.y = static_cast<float *>(a.y.data);
    p.parts = a.x.dim[0];
    p.part = a.x.stride[0];
    p.row = a.x.stride[1];
    p.group = a.x.stride[2];
    p.groups = a.y.dim[1];
    return wf_launch(group_merge, wf_blocks(a.y.dim[0] * p.groups, 1), MERGE, stream, p);
}

int wf_own_group_apply(const void *args, void *stream)
{
    const auto &a = *static_cast<const struct wf_group_apply *>(args);
    struct apply p = {};
    p.x = wf_memory_of(a.x);
    p.y = wf_memory_of(a.y);
    p.stats = static_cast<const float *>(a.stats.data);
    p.weight = static_cast<const float *>(a.weight.data);
    p.shift = static_cast<const float *>(a.shift.data);
    p.x_frame = a.x.stride[0];
    p.x_line = a.x.stride[1];
    p.y_frame = a.y.stride[0];
    p.y_line = a.y.stride[1];
    p.stats_frame = a.stats.stride[0];
    p.stats_group = a.stats.stride[1];
    p.pixels = a.x.dim[1] * a.x.dim[2];
    p.each = WF_OWN_GROUP_PIXELS;
    p.slabs = divided_up(a.x.dim[3], CHANNELS);
    p.frames = a.x.dim[0];
    p.channels = a.x.dim[3];
    p.width_of_group = a.x.dim[3] / a.stats.dim[1];
    p.width = static_cast<int>(a.x.dim[2]);
    p.eps = a.eps;
    p.act = a.act;
    const int64_t blocks = divided_up(p.pixels, p.each) * p.slabs * p.frames;
    return wf_launch(group_apply, wf_blocks(blocks, 1), WF_THREADS, stream, p);
}
