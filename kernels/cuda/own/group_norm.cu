/* Group norm. A thread has one quad of channels and goes down the pixels of a chunk: what belongs
   to a channel stays in its registers. Blocks and warps read whole lines of memory. */
#include "kernels/cuda/own/device.h"

namespace
{

enum {
    RUN = 4,           /* pixels that a thread reads before it uses them */
    MOST_CHUNKS = 256, /* of a frame whose statistics are taken */
    LEAST_PIXELS = 256,
    DEPTH = 16, /* pixels of a thread that applies them */
    JOINERS = 128,
};

/* [T,H,W,C] cut into chunks of a frame's pixels, and channels into strips that a block takes. */
struct cut {
    int64_t columns, pixels, channels; /* of a line, of a frame */
    int64_t length, chunks;            /* pixels of a chunk, chunks of a frame */
    int quads, lanes, strips;          /* of a strip; pixels that a block has at once */
};

/* Lines that lie together in all tensors are one. */
struct cut cut_of(const struct wf_tensor &x, bool joined)
{
    struct cut c = {};
    const int64_t quads = (x.dim[3] + WF_QUAD - 1) / WF_QUAD;
    c.pixels = x.dim[1] * x.dim[2];
    c.columns = joined ? c.pixels : x.dim[2];
    c.channels = x.dim[3];
    c.quads = static_cast<int>(quads < WF_THREADS ? quads : int64_t{WF_THREADS});
    c.lanes = WF_THREADS / c.quads;
    c.strips = static_cast<int>((quads + c.quads - 1) / c.quads);
    return c;
}

void cut_pixels(struct cut &c, int64_t length)
{
    c.length = length;
    c.chunks = (c.pixels + length - 1) / length;
}

struct cut cut_for_sums(const struct wf_tensor &x, bool joined)
{
    struct cut c = cut_of(x, joined);
    const int64_t part = (c.pixels + MOST_CHUNKS - 1) / MOST_CHUNKS;
    cut_pixels(c, part > LEAST_PIXELS ? part : int64_t{LEAST_PIXELS});
    return c;
}

unsigned blocks_of(const struct cut &c, int64_t frames)
{
    return static_cast<unsigned>(frames * c.chunks * c.strips);
}

bool lines_join(const struct wf_tensor &t)
{
    return t.dim[1] == 1 || t.stride[1] == t.dim[2] * t.dim[3];
}

/* What a thread has: every lanes-th pixel from `first` on, none where its quad is no channel's. */
struct spot {
    int64_t frame, chunk;
    int64_t strip_channel, channel;
    int64_t first, end;
};

__device__ inline struct spot spot_of(const struct cut &c)
{
    const int thread = static_cast<int>(threadIdx.x), lane = thread / c.quads;
    const struct wf_place strip = wf_divide(blockIdx.x, c.strips);
    const struct wf_place chunk = wf_divide(strip.row, c.chunks);
    struct spot s;
    s.frame = chunk.row;
    s.chunk = chunk.column;
    s.strip_channel = strip.column * c.quads * WF_QUAD;
    s.channel = s.strip_channel + (thread - lane * c.quads) * WF_QUAD;
    s.first = s.chunk * c.length + lane;
    s.end = (s.chunk + 1) * c.length < c.pixels ? (s.chunk + 1) * c.length : c.pixels;
    if (lane >= c.lanes || s.channel >= c.channels)
        s.end = s.first;
    return s;
}

/* Where frames of a tensor lie. */
struct picture {
    int64_t frame, line; /* strides */
};

__device__ inline int64_t pixel_at(const struct cut &c, const struct picture &lies, int64_t frame,
                                   int64_t pixel)
{
    const struct wf_place place =
        c.columns < c.pixels ? wf_divide(pixel, c.columns) : wf_place{0, pixel};
    return frame * lies.frame + place.row * lies.line + place.column * c.channels;
}

/* Quads of the next pixels that a thread has; zeros behind its last. */
__device__ inline void load_run(const struct cut &c, const struct spot &s,
                                const struct wf_memory &x, const struct picture &lies,
                                int64_t pixel, struct wf_quad (&q)[RUN])
{
    const int count = wf_left(c.channels, s.channel);
#pragma unroll
    for (int j = 0; j < RUN; j++) {
        q[j] = {};
        if (pixel + j * c.lanes < s.end)
            q[j] = wf_load_quad(static_cast<const float *>(x.data) +
                                    pixel_at(c, lies, s.frame, pixel + j * c.lanes) + s.channel,
                                count, x.wide);
    }
}

/* --- statistics --- */

/* Sums of values and of their squares. In double their difference is as good as f32 values are. */
struct moments {
    double sum, squares;
};

struct sums {
    struct cut cut;
    struct wf_memory x;
    struct picture lies;
    struct moments *parts; /* [T,chunks,C] */
};

struct slots {
    struct moments of_channel[WF_THREADS * WF_QUAD];
};

/* Few GPUs are fast in double: a few values are added up in f32, as what they differ by from the
   first one, so that nothing cancels. */
__global__ void __launch_bounds__(WF_THREADS, 3) add_pixels(struct sums p)
{
    WF_SHARED(struct slots, slots);
    const struct cut &c = p.cut;
    const struct spot s = spot_of(c);
    struct moments total[WF_QUAD] = {};
    struct wf_quad q[RUN], origin = {};
    int pixels = 0;
    for (int64_t pixel = s.first; pixel < s.end; pixel += RUN * c.lanes) {
        float sum[WF_QUAD] = {}, squares[WF_QUAD] = {};
        load_run(c, s, p.x, p.lies, pixel, q);
        if (pixel == s.first)
            origin = q[0];
#pragma unroll
        for (int j = 0; j < RUN; j++) {
            const bool is_pixel = pixel + j * c.lanes < s.end;
            pixels += is_pixel;
#pragma unroll
            for (int k = 0; k < WF_QUAD; k++) {
                const float apart = is_pixel ? q[j].v[k] - origin.v[k] : 0.0f;
                sum[k] += apart;
                squares[k] += apart * apart;
            }
        }
#pragma unroll
        for (int k = 0; k < WF_QUAD; k++) {
            total[k].sum += static_cast<double>(sum[k]);
            total[k].squares += static_cast<double>(squares[k]);
        }
    }
#pragma unroll
    for (int k = 0; k < WF_QUAD; k++) {
        const double first = static_cast<double>(origin.v[k]);
        const double all = static_cast<double>(pixels) * first;
        slots.of_channel[threadIdx.x * WF_QUAD + k] = {
            total[k].sum + all, total[k].squares + first * (2.0 * total[k].sum + all)};
    }
    __syncthreads();
    for (int i = static_cast<int>(threadIdx.x); i < c.quads * WF_QUAD; i += WF_THREADS) {
        struct moments sum = {};
        for (int lane = 0; lane < c.lanes; lane++) {
            sum.sum += slots.of_channel[lane * c.quads * WF_QUAD + i].sum;
            sum.squares += slots.of_channel[lane * c.quads * WF_QUAD + i].squares;
        }
        if (s.strip_channel + i < c.channels)
            p.parts[(s.frame * c.chunks + s.chunk) * c.channels + s.strip_channel + i] = sum;
    }
}

struct join {
    const struct moments *parts;
    float *y;
    int64_t chunks, channels, groups, width; /* width: channels of a group */
    double values;
};

struct joiners {
    struct moments of_thread[JOINERS];
};

/* A block has a group of a frame. */
__global__ void __launch_bounds__(JOINERS) join_parts(struct join p)
{
    WF_SHARED(struct joiners, slots);
    const struct wf_place place = wf_divide(blockIdx.x, p.groups); /* a frame, a group of it */
    const struct moments *parts =
        p.parts + place.row * p.chunks * p.channels + place.column * p.width;
    const unsigned thread = threadIdx.x;
    struct moments sum = {};
    for (int64_t i = thread; i < p.chunks * p.width; i += JOINERS) {
        const struct wf_place part = wf_divide(i, p.width); /* a chunk, a channel of the group */
        sum.sum += parts[part.row * p.channels + part.column].sum;
        sum.squares += parts[part.row * p.channels + part.column].squares;
    }
    slots.of_thread[thread] = sum;
    __syncthreads();
    for (unsigned half = JOINERS / 2; half > 0; half /= 2) {
        if (thread < half) {
            slots.of_thread[thread].sum += slots.of_thread[thread + half].sum;
            slots.of_thread[thread].squares += slots.of_thread[thread + half].squares;
        }
        __syncthreads();
    }
    if (thread > 0)
        return;
    const struct moments all = slots.of_thread[0];
    const double mean = all.sum / p.values, m2 = all.squares - all.sum * mean;
    float *y = p.y + int64_t{blockIdx.x} * 3;
    y[0] = static_cast<float>(p.values);
    y[1] = static_cast<float>(mean);
    y[2] = static_cast<float>(m2 < 0.0 ? 0.0 : m2); /* NaN stays */
}

struct merge {
    const float *x;
    float *y;
    int64_t stride[3]; /* of x */
    int64_t parts, groups, count;
};

/* A thread has a group. */
__global__ void __launch_bounds__(WF_THREADS) merge_parts(struct merge p)
{
    const int64_t index = wf_thread();
    if (index >= p.count)
        return;
    const struct wf_place place = wf_divide(index, p.groups);
    const float *x = p.x + place.row * p.stride[1] + place.column * p.stride[2];
    double n = 0.0, sum = 0.0, squares = 0.0;
    for (int64_t k = 0; k < p.parts; k++) {
        const float *part = x + k * p.stride[0];
        n += static_cast<double>(part[0]);
        sum += static_cast<double>(part[0]) * static_cast<double>(part[1]);
    }
    const double mean = n == 0.0 ? sum : sum / n;
    for (int64_t k = 0; k < p.parts; k++) {
        const float *part = x + k * p.stride[0];
        const double apart = static_cast<double>(part[1]) - mean;
        squares += static_cast<double>(part[2]) + static_cast<double>(part[0]) * apart * apart;
    }
    float *y = p.y + index * 3;
    y[0] = static_cast<float>(n);
    y[1] = static_cast<float>(mean);
    y[2] = static_cast<float>(squares);
}

/* --- their use --- */

struct apply {
    struct cut cut;
    struct wf_memory x, y;
    struct picture x_lies, y_lies;
    const float *stats, *weight, *shift;
    int64_t stats_frame, stats_group, width; /* strides; channels of a group */
    enum wf_act act;
    float eps;
};

/* Of a thread's channels. */
struct table {
    float mean[WF_QUAD], factor[WF_QUAD], shift[WF_QUAD];
};

__device__ inline struct table table_of(const struct apply &p, int64_t frame, int64_t first)
{
    struct table t;
#pragma unroll
    for (int k = 0; k < WF_QUAD; k++) {
        const int64_t channel = first + k < p.cut.channels ? first + k : p.cut.channels - 1;
        const int64_t group = wf_divide(channel, p.width).row;
        const float *s = p.stats + frame * p.stats_frame + group * p.stats_group;
        t.mean[k] = s[1];
        t.factor[k] = p.weight[channel] / sqrtf(s[2] / s[0] + p.eps);
        t.shift[k] = p.shift[channel];
    }
    return t;
}

__global__ void __launch_bounds__(WF_THREADS, 3) apply_to_pixels(struct apply p)
{
    const struct cut &c = p.cut;
    const struct spot s = spot_of(c);
    if (s.first >= s.end)
        return;
    const struct table t = table_of(p, s.frame, s.channel);
    const int count = wf_left(c.channels, s.channel);
    struct wf_quad q[RUN];
    for (int64_t pixel = s.first; pixel < s.end; pixel += RUN * c.lanes) {
        load_run(c, s, p.x, p.x_lies, pixel, q);
#pragma unroll
        for (int j = 0; j < RUN; j++) {
            const int64_t at = pixel + j * c.lanes;
#pragma unroll
            for (int k = 0; k < WF_QUAD; k++)
                q[j].v[k] = wf_activated((q[j].v[k] - t.mean[k]) * t.factor[k] + t.shift[k], p.act);
            if (at < s.end)
                wf_store_quad(p.y, pixel_at(c, p.y_lies, s.frame, at) + s.channel, count, q[j]);
        }
    }
}

} // namespace

int64_t wf_own_group_sums_bytes(const struct wf_tensor *x)
{
    const struct cut c = cut_for_sums(*x, lines_join(*x));
    return x->dim[0] * c.chunks * c.channels * static_cast<int64_t>(sizeof(struct moments));
}

int wf_own_group_sums(const void *args, void *stream)
{
    const auto &a = *static_cast<const struct wf_own_group_sums *>(args);
    struct sums p = {};
    p.cut = cut_for_sums(a.x, lines_join(a.x));
    p.x = wf_memory_of(a.x);
    p.lies = {a.x.stride[0], a.x.stride[1]};
    p.parts = static_cast<struct moments *>(a.parts);
    const int error = wf_launch(add_pixels, blocks_of(p.cut, a.x.dim[0]), WF_THREADS, stream, p);
    if (error)
        return error;
    struct join j = {};
    j.parts = p.parts;
    j.y = static_cast<float *>(a.y.data);
    j.chunks = p.cut.chunks;
    j.channels = p.cut.channels;
    j.groups = a.y.dim[1];
    j.width = j.channels / j.groups;
    j.values = static_cast<double>(p.cut.pixels * j.width);
    return wf_launch(join_parts, static_cast<unsigned>(a.x.dim[0] * j.groups), JOINERS, stream, j);
}

int wf_own_group_merge(const void *args, void *stream)
{
    const auto &a = *static_cast<const struct wf_group_merge *>(args);
    struct merge p = {};
    p.x = static_cast<const float *>(a.x.data);
    p.y = static_cast<float *>(a.y.data);
    for (int i = 0; i < 3; i++)
        p.stride[i] = a.x.stride[i];
    p.parts = a.x.dim[0];
    p.groups = a.x.dim[2];
    p.count = a.x.dim[1] * p.groups;
    return wf_launch_apart(merge_parts, wf_blocks(p.count, WF_THREADS), WF_THREADS, stream, p);
}

int wf_own_group_apply(const void *args, void *stream)
{
    const auto &a = *static_cast<const struct wf_group_apply *>(args);
    struct apply p = {};
    p.cut = cut_of(a.x, lines_join(a.x) && lines_join(a.y));
    cut_pixels(p.cut, int64_t{DEPTH} * p.cut.lanes);
    p.x = wf_memory_of(a.x);
    p.y = wf_memory_of(a.y);
    p.x_lies = {a.x.stride[0], a.x.stride[1]};
    p.y_lies = {a.y.stride[0], a.y.stride[1]};
    p.stats = static_cast<const float *>(a.stats.data);
    p.weight = static_cast<const float *>(a.weight.data);
    p.shift = static_cast<const float *>(a.shift.data);
    p.stats_frame = a.stats.stride[0];
    p.stats_group = a.stats.stride[1];
    p.width = a.x.dim[3] / a.stats.dim[1];
    p.act = a.act;
    p.eps = a.eps;
    return wf_launch_apart(apply_to_pixels, blocks_of(p.cut, a.x.dim[0]), WF_THREADS, stream, p);
}
