/* What brings bytes into memory: pieces of parameters into their rooms, and fills. */
#include "kernels/cuda/own/device.h"

namespace
{

struct load {
    const void *src;
    enum wf_dtype from;
    struct wf_memory dst;
    int64_t first, count;
    int64_t outputs, channels, taps; /* not of a dense one */
    bool wide;                       /* quads of src are aligned */
};

__device__ inline float value_at(const struct load &p, int64_t i)
{
    switch (p.from) {
    case WF_F16:
        return wf_value(static_cast<const __half *>(p.src)[i]);
    case WF_BF16:
        return wf_value(static_cast<const __nv_bfloat16 *>(p.src)[i]);
    default:
        return static_cast<const float *>(p.src)[i];
    }
}

__device__ inline void set_value(const struct load &p, int64_t i, float value)
{
    if (p.dst.type == WF_BF16)
        static_cast<__nv_bfloat16 *>(p.dst.data)[i] = wf_rounded<__nv_bfloat16>(value);
    else
        static_cast<float *>(p.dst.data)[i] = value;
}

__global__ void __launch_bounds__(WF_THREADS) load_dense(struct load p)
{
    const int64_t at = wf_thread() * WF_QUAD;
    if (at >= p.count)
        return;
    const int count = wf_left(p.count, at);
    struct wf_quad q;
    if (p.from == WF_F16)
        q = wf_load_quad(static_cast<const __half *>(p.src) + at, count, p.wide);
    else if (p.from == WF_BF16)
        q = wf_load_quad(static_cast<const __nv_bfloat16 *>(p.src) + at, count, p.wide);
    else
        q = wf_load_quad(static_cast<const float *>(p.src) + at, count, p.wide);
    wf_store_quad(p.dst, at, count, q);
}

/* A thread has all taps of an output and a channel, as far as they are in the piece: a warp writes
   neighbours, and what it reads apart lies close together. */
__global__ void __launch_bounds__(WF_THREADS) load_conv(struct load p)
{
    const int64_t pair = p.first / p.taps + wf_thread(), last = p.first + p.count - 1;
    if (pair * p.taps > last)
        return;
    const struct wf_place place = wf_divide(pair, p.channels); /* an output, a channel */
    for (int64_t tap = 0; tap < p.taps; tap++) {
        const int64_t i = pair * p.taps + tap;
        if (i >= p.first && i <= last)
            set_value(p, (place.row * p.taps + tap) * p.channels + place.column,
                      value_at(p, i - p.first));
    }
}

/* The sum of the taps (0, 1, 2 along an axis) that meet pixel `tap` (0 or 1) of a small picture's
   window, for an output pixel of parity a: 0, 1+2 of an even one, 0+1, 2 of an odd one. */
__device__ inline float folded(const float *w, int apart, int a, int tap)
{
    if (tap == 0)
        return a == 0 ? w[0] : w[0] + w[apart];
    return a == 0 ? w[apart] + w[2 * apart] : w[2 * apart];
}

__global__ void __launch_bounds__(WF_THREADS) load_upconv(struct load p)
{
    const int64_t index = wf_thread();
    if (index * 9 >= p.count)
        return;
    const struct wf_place place = wf_divide(p.first / 9 + index, p.channels);
    float w[9];
#pragma unroll
    for (int i = 0; i < 9; i++)
        w[i] = value_at(p, index * 9 + i);
#pragma unroll
    for (int k = 0; k < 16; k++) {
        const int a = k / 8, b = k / 4 % 2, row = k / 2 % 2, column = k % 2;
        const float rows[3] = {folded(w, 3, a, row), folded(w + 1, 3, a, row),
                               folded(w + 2, 3, a, row)};
        const int64_t output = (2 * a + b) * p.outputs + place.row;
        set_value(p, ((output * 2 + row) * 2 + column) * p.channels + place.column,
                  folded(rows, 1, b, column));
    }
}

struct fill {
    unsigned char *first;
    int64_t bytes, before; /* of the first line, before the range */
    unsigned char value;
};

enum { LINE = 16 };

struct alignas(LINE) line {
    uint32_t v[LINE / 4];
};

__global__ void __launch_bounds__(WF_THREADS) fill_lines(struct fill p)
{
    const int64_t at = wf_thread() * LINE - p.before;
    if (at >= 0 && at + LINE <= p.bytes) {
        const uint32_t four = p.value * 0x01010101u;
        *reinterpret_cast<struct line *>(p.first + at) = {{four, four, four, four}};
        return;
    }
    for (int64_t i = at; i < at + LINE; i++) {
        if (i >= 0 && i < p.bytes)
            p.first[i] = p.value;
    }
}

} // namespace

int wf_own_load(const void *args, void *stream)
{
    const auto &a = *static_cast<const struct wf_own_load *>(args);
    struct load p = {};
    p.src = a.src;
    p.from = a.from;
    p.first = a.first;
    p.count = a.count;
    p.dst = {a.dst, a.to, false};
    if (a.layout != WF_OWN_DENSE) {
        p.outputs = a.dim[0];
        p.channels = a.dim[1];
        p.taps = a.dim[2] * a.dim[3] * a.dim[4];
    }
    if (a.layout == WF_OWN_CONV)
        return wf_launch_apart(load_conv, wf_blocks(a.count / p.taps + 2, WF_THREADS), WF_THREADS,
                               stream, p);
    if (a.layout == WF_OWN_UPCONV)
        return wf_launch_apart(load_upconv, wf_blocks(a.count / 9, WF_THREADS), WF_THREADS, stream,
                               p);
    const int64_t bytes = a.first * (a.to == WF_BF16 ? 2 : 4);
    p.dst = wf_memory_at(static_cast<unsigned char *>(a.dst) + bytes, a.to, 0, nullptr, nullptr);
    p.wide = reinterpret_cast<uintptr_t>(a.src) % (WF_QUAD * (a.from == WF_F32 ? 4 : 2)) == 0;
    return wf_launch_apart(load_dense, wf_blocks(a.count, WF_THREADS * WF_QUAD), WF_THREADS, stream,
                           p);
}

int wf_own_fill(const void *args, void *stream)
{
    const auto &a = *static_cast<const struct wf_own_fill *>(args);
    struct fill p = {};
    p.first = static_cast<unsigned char *>(a.dst);
    p.bytes = a.bytes;
    p.before = static_cast<int64_t>(reinterpret_cast<uintptr_t>(a.dst) % LINE);
    p.value = a.value;
    return wf_launch_apart(fill_lines, wf_blocks(p.before + p.bytes, LINE * WF_THREADS), WF_THREADS,
                           stream, p);
}
