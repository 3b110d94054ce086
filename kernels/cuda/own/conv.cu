/* Convolution as a product of matrices, without tensor cores: pixels by outputs, over taps and
   channels. No matrix of windows is made; each tile of it is gathered where it is multiplied. A
   result is one sum in the order of taps and channels, whatever else is computed beside it. */
#include "kernels/cuda/own/device.h"

namespace
{

enum { OUTPUTS = 64, DEPTH = 16, LINES = WF_THREADS / (DEPTH / WF_QUAD) };

struct conv {
    const void *x, *weight;
    const float *bias;
    struct wf_memory y;
    int64_t x_frame, x_line, y_frame, y_line; /* strides */
    int64_t pixels, frame, output_tiles;      /* pixels of y, of a frame of it */
    int64_t depth;                            /* taps and channels */
    int t, h, w, c;                           /* of x */
    int y_w, o, kt, kh, kw;
    int pad_t, pad_h, pad_w, stride_t, stride_hw;
    bool x_wide, weight_wide, accumulate;
};

/* A place along the depth. */
struct tap {
    int c, kw, kh, kt;
};

__device__ inline void advance(const struct conv &p, struct tap &k, int n)
{
    k.c += n;
    while (k.c >= p.c) {
        k.c -= p.c;
        if (++k.kw < p.kw)
            continue;
        k.kw = 0;
        if (++k.kh < p.kh)
            continue;
        k.kh = 0;
        k.kt++;
    }
}

/* Where a pixel's window starts in x; outside of it for what is no pixel. */
struct corner {
    int t, h, w;
};

__device__ inline struct corner corner_of(const struct conv &p, int64_t pixel)
{
    if (pixel >= p.pixels)
        return {INT32_MIN, 0, 0};
    const struct wf_place t = wf_divide(pixel, p.frame), h = wf_divide(t.column, p.y_w);
    return {static_cast<int>(t.row) * p.stride_t - p.pad_t,
            static_cast<int>(h.row) * p.stride_hw - p.pad_h,
            static_cast<int>(h.column) * p.stride_hw - p.pad_w};
}

/* Where the tap's pixel starts in x; below 0: in the padding, or behind the last tap. */
__device__ inline int64_t pixel_at(const struct conv &p, const struct corner &at,
                                   const struct tap &k)
{
    const int t = at.t + k.kt, h = at.h + k.kh, w = at.w + k.kw;
    if (k.kt >= p.kt || t < 0 || t >= p.t || h < 0 || h >= p.h || w < 0 || w >= p.w)
        return -1;
    return t * p.x_frame + h * p.x_line + int64_t{w} * p.c;
}

template <typename T>
__device__ inline struct wf_quad gather(const struct conv &p, const struct corner &at, struct tap k)
{
    const T *x = static_cast<const T *>(p.x);
    struct wf_quad q = {};
    if (p.x_wide) { /* channels in fours: a quad is of one tap */
        const int64_t pixel = pixel_at(p, at, k);
        return pixel < 0 ? q : wf_load_quad(x + pixel + k.c, WF_QUAD, true);
    }
#pragma unroll
    for (int j = 0; j < WF_QUAD; j++) {
        const int64_t pixel = pixel_at(p, at, k);
        if (pixel >= 0)
            q.v[j] = wf_value(x[pixel + k.c]);
        advance(p, k, 1);
    }
    return q;
}

template <typename T>
__device__ inline struct wf_quad weights(const struct conv &p, int64_t output, int64_t at)
{
    if (output >= p.o || at >= p.depth)
        return {};
    return wf_load_quad(static_cast<const T *>(p.weight) + output * p.depth + at,
                        wf_left(p.depth, at), p.weight_wide);
}

/* Two of each, so that one is filled while the other is multiplied. */
template <int PIXELS> struct alignas(16) tiles {
    float x[2][DEPTH][PIXELS + WF_QUAD], w[2][DEPTH][OUTPUTS + WF_QUAD];
};

template <int N>
__device__ inline void put(float (&tile)[DEPTH][N], int at, int line, const struct wf_quad &q)
{
#pragma unroll
    for (int j = 0; j < WF_QUAD; j++)
        tile[at + j][line] = q.v[j];
}

/* sum += the outer product of EACH pixels and four outputs, over the depth of a tile. */
template <int EACH, int PIXELS>
__device__ inline void multiply(const struct tiles<PIXELS> &tiles, int buffer, int pixel,
                                int output, float (&sum)[EACH][WF_QUAD])
{
#pragma unroll
    for (int k = 0; k < DEPTH; k++) {
        struct wf_packed<float> x[EACH / WF_QUAD];
        const auto w =
            *reinterpret_cast<const struct wf_packed<float> *>(&tiles.w[buffer][k][output]);
#pragma unroll
        for (int i = 0; i < EACH / WF_QUAD; i++)
            x[i] = *reinterpret_cast<const struct wf_packed<float> *>(
                &tiles.x[buffer][k][pixel + i * WF_QUAD]);
#pragma unroll
        for (int i = 0; i < EACH; i++) {
#pragma unroll
            for (int j = 0; j < WF_QUAD; j++)
                sum[i][j] += x[i / WF_QUAD].v[i % WF_QUAD] * w.v[j];
        }
    }
}

__device__ inline void finish(const struct conv &p, int64_t pixel, int64_t output,
                              const float (&sum)[WF_QUAD])
{
    if (pixel >= p.pixels || output >= p.o)
        return;
    const struct wf_place t = wf_divide(pixel, p.frame), h = wf_divide(t.column, p.y_w);
    const int64_t at = t.row * p.y_frame + h.row * p.y_line + h.column * p.o + output;
    const int count = wf_left(p.o, output);
    struct wf_quad y = {};
    if (p.accumulate)
        y = wf_load_quad(p.y, at, count);
#pragma unroll
    for (int j = 0; j < WF_QUAD; j++) {
        if (j < count)
            y.v[j] += sum[j] + (p.bias ? p.bias[output + j] : 0.0f);
    }
    wf_store_quad(p.y, at, count, y);
}

/* A block has a tile of PIXELS x OUTPUTS, a thread EACH pixels x four outputs of it. */
template <typename T, int EACH>
__global__ void __launch_bounds__(WF_THREADS) convolve(struct conv p)
{
    enum { PIXELS = EACH * WF_THREADS / (OUTPUTS / WF_QUAD), GATHERED = PIXELS / LINES };
    WF_SHARED(struct tiles<PIXELS>, tiles);
    const int thread = static_cast<int>(threadIdx.x);
    const struct wf_place tile = wf_divide(blockIdx.x, p.output_tiles);
    const int64_t pixel = tile.row * PIXELS, output = tile.column * OUTPUTS;
    const int line = thread / (DEPTH / WF_QUAD), at = thread % (DEPTH / WF_QUAD) * WF_QUAD;
    const int own_pixel = thread / (OUTPUTS / WF_QUAD) * EACH;
    const int own_output = thread % (OUTPUTS / WF_QUAD) * WF_QUAD;
    struct corner corner[GATHERED];
#pragma unroll
    for (int i = 0; i < GATHERED; i++)
        corner[i] = corner_of(p, pixel + line + i * LINES);
    struct tap k = {};
    advance(p, k, at);
    float sum[EACH][WF_QUAD] = {};
    int buffer = 0;
    for (int64_t depth = 0;; depth += DEPTH) {
        struct wf_quad x[GATHERED], w;
        if (depth < p.depth) {
#pragma unroll
            for (int i = 0; i < GATHERED; i++)
                x[i] = gather<T>(p, corner[i], k);
            w = weights<T>(p, output + line, depth + at);
            advance(p, k, DEPTH);
        }
        if (depth > 0)
            multiply<EACH>(tiles, buffer ^ 1, own_pixel, own_output, sum);
        if (depth >= p.depth)
            break;
#pragma unroll
        for (int i = 0; i < GATHERED; i++)
            put(tiles.x[buffer], at, line + i * LINES, x[i]);
        put(tiles.w[buffer], at, line, w);
        __syncthreads();
        buffer ^= 1;
    }
#pragma unroll
    for (int i = 0; i < EACH; i++)
        finish(p, pixel + own_pixel + i, output + own_output, sum[i]);
}

template <typename T> int queue(const struct conv &p, void *stream)
{
    enum { LARGE = 128, SMALL = 64, FEW = 512 }; /* blocks that fill a device */
    const int64_t large = (p.pixels + LARGE - 1) / LARGE * p.output_tiles;
    const int64_t small = (p.pixels + SMALL - 1) / SMALL * p.output_tiles;
    if (large < FEW)
        return wf_launch(convolve<T, 4>, wf_blocks(small, 1), WF_THREADS, stream, p);
    return wf_launch(convolve<T, 8>, wf_blocks(large, 1), WF_THREADS, stream, p);
}

} // namespace

int wf_own_conv(const void *args, void *stream)
{
    const auto &a = *static_cast<const struct wf_own_conv *>(args);
    struct conv p = {};
    p.x = a.x.data;
    p.weight = a.weight;
    p.bias = a.bias;
    p.y = wf_memory_of(a.y);
    p.y.wide &= a.o % WF_QUAD == 0;
    p.x_frame = a.x.stride[0];
    p.x_line = a.x.stride[1];
    p.y_frame = a.y.stride[0];
    p.y_line = a.y.stride[1];
    p.frame = a.y.dim[1] * a.y.dim[2];
    p.pixels = a.y.dim[0] * p.frame;
    p.output_tiles = (a.o + OUTPUTS - 1) / OUTPUTS;
    p.t = static_cast<int>(a.x.dim[0]);
    p.h = static_cast<int>(a.x.dim[1]);
    p.w = static_cast<int>(a.x.dim[2]);
    p.c = static_cast<int>(a.x.dim[3]);
    p.y_w = static_cast<int>(a.y.dim[2]);
    p.o = static_cast<int>(a.o);
    p.kt = static_cast<int>(a.kt);
    p.kh = static_cast<int>(a.kh);
    p.kw = static_cast<int>(a.kw);
    p.depth = a.kt * a.kh * a.kw * a.x.dim[3];
    p.pad_t = a.pad_front;
    p.pad_h = a.pad_h[0];
    p.pad_w = a.pad_w[0];
    p.stride_t = a.stride_t;
    p.stride_hw = a.stride_hw;
    p.x_wide = wf_memory_of(a.x).wide && p.c % WF_QUAD == 0;
    p.weight_wide = wf_memory_at(const_cast<void *>(a.weight), a.x.dtype, 1, &a.o, &p.depth).wide;
    p.accumulate = a.accumulate;
    return a.x.dtype == WF_BF16 ? queue<__nv_bfloat16>(p, stream) : queue<float>(p, stream);
}
