/* Copies between any strides and types, in the order in which y lies in memory. */
#include <type_traits>

#include "kernels/cuda/own/axes.h"

namespace
{

enum { Y, X, TENSORS };
enum { TILE = 32, LINES = WF_THREADS / TILE };

struct copy {
    struct wf_axes<TENSORS> axes;
    void *y;
    const void *x;
    int64_t outer, quads; /* rows; quads of a row */
    int64_t tiles[2];     /* along the last two axes */
    bool wide;
};

/* The same bits, or the value rounded to nearest even. */
template <typename TO, typename FROM> __device__ inline TO converted(FROM x)
{
    if constexpr (std::is_same<TO, FROM>::value)
        return x;
    else
        return wf_rounded<TO>(wf_value(x));
}

/* Both are contiguous along the last axis. Four blocks leave the registers that are needed; asked
   for nothing, the compiler for sm_100 spills one to fit more. */
template <typename TO, typename FROM>
__global__ void __launch_bounds__(WF_THREADS, 4) copy_rows(struct copy p)
{
    const int64_t index = wf_thread();
    if (index >= p.outer * p.quads)
        return;
    const struct wf_place place = p.outer > 1 ? wf_divide(index, p.quads) : wf_place{0, index};
    const int64_t column = place.column * WF_QUAD;
    const int count = wf_left(p.axes.dim[p.axes.rank - 1], column);
    int64_t at[TENSORS];
    wf_axes_at(p.axes, 1, place.row, at);
    TO *y = static_cast<TO *>(p.y) + at[Y] + column;
    const FROM *x = static_cast<const FROM *>(p.x) + at[X] + column;
    if (p.wide && count == WF_QUAD) {
        const struct wf_packed<FROM> from = *reinterpret_cast<const struct wf_packed<FROM> *>(x);
        struct wf_packed<TO> to;
#pragma unroll
        for (int j = 0; j < WF_QUAD; j++)
            to.v[j] = converted<TO>(from.v[j]);
        *reinterpret_cast<struct wf_packed<TO> *>(y) = to;
        return;
    }
    for (int j = 0; j < count; j++)
        y[j] = converted<TO>(x[j]);
}

/* Both have long strides along the last axis, or x repeats. */
template <typename TO, typename FROM>
__global__ void __launch_bounds__(WF_THREADS) copy_elements(struct copy p)
{
    const int64_t index = wf_thread();
    if (index >= p.outer)
        return;
    int64_t at[TENSORS];
    wf_axes_at(p.axes, 0, index, at);
    static_cast<TO *>(p.y)[at[Y]] = converted<TO>(static_cast<const FROM *>(p.x)[at[X]]);
}

template <typename T> struct tile {
    T v[TILE][TILE + 1]; /* one more, so that a column lies in as many banks as a row */
};

/* x is contiguous along the last axis but one, y along the last: each is read or written along its
   own. */
template <typename TO, typename FROM>
__global__ void __launch_bounds__(WF_THREADS) copy_turned(struct copy p)
{
    WF_SHARED(struct tile<FROM>, tile);
    const int fast = p.axes.rank - 1, slow = p.axes.rank - 2;
    const int lane = static_cast<int>(threadIdx.x) % TILE;
    const int line = static_cast<int>(threadIdx.x) / TILE;
    const struct wf_place a = wf_divide(blockIdx.x, p.tiles[1]);
    const struct wf_place b = wf_divide(a.row, p.tiles[0]);
    const int64_t column = a.column * TILE, row = b.column * TILE;
    int64_t at[TENSORS];
    wf_axes_at(p.axes, 2, b.row, at);
    for (int i = line; i < TILE; i += LINES) {
        if (row + lane < p.axes.dim[slow] && column + i < p.axes.dim[fast])
            tile.v[i][lane] =
                static_cast<const FROM *>(p.x)[at[X] + (row + lane) * p.axes.stride[X][slow] +
                                               (column + i) * p.axes.stride[X][fast]];
    }
    __syncthreads();
    for (int i = line; i < TILE; i += LINES) {
        if (row + i < p.axes.dim[slow] && column + lane < p.axes.dim[fast])
            static_cast<TO *>(p.y)[at[Y] + (row + i) * p.axes.stride[Y][slow] +
                                   (column + lane) * p.axes.stride[Y][fast]] =
                converted<TO>(tile.v[lane][i]);
    }
}

/* Slowest first. */
void order_by_stride(const struct wf_tensor &t, int *order)
{
    for (int i = 0; i < t.rank; i++) {
        int at = i;
        for (; at > 0 && t.stride[order[at - 1]] < t.stride[i]; at--)
            order[at] = order[at - 1];
        order[at] = i;
    }
}

/* Moves the axis along which x is contiguous before the last one; false where none but the last is,
   or one of the two is too short for a tile. */
bool turn(struct wf_axes<TENSORS> &a)
{
    const int last = a.rank - 1;
    int from = last;
    for (int i = 0; i < last; i++) {
        if (a.stride[X][i] == 1)
            from = i;
    }
    if (from == last || a.dim[from] < LINES || a.dim[last] < LINES)
        return false;
    for (; from < last - 1; from++) {
        const struct wf_axes<TENSORS> old = a;
        a.dim[from] = old.dim[from + 1];
        a.dim[from + 1] = old.dim[from];
        for (int k = 0; k < TENSORS; k++) {
            a.stride[k][from] = old.stride[k][from + 1];
            a.stride[k][from + 1] = old.stride[k][from];
        }
    }
    return true;
}

template <typename TO, typename FROM> int queue(const struct wf_copy &args, void *stream)
{
    int order[WF_MAX_RANK];
    order_by_stride(args.y, order);
    const struct wf_tensor *t[] = {&args.y, &args.x};
    struct copy p = {};
    p.axes = wf_axes_of(t, order);
    p.y = args.y.data;
    p.x = args.x.data;
    const int last = p.axes.rank - 1;
    if (p.axes.stride[Y][last] == 1 && p.axes.stride[X][last] == 1) {
        p.wide = true;
        for (int k = 0; k < TENSORS; k++)
            p.wide &=
                wf_memory_at(t[k]->data, t[k]->dtype, last, p.axes.dim, p.axes.stride[k]).wide;
        p.outer = wf_axes_count(p.axes, 1);
        p.quads = (p.axes.dim[last] + WF_QUAD - 1) / WF_QUAD;
        return wf_launch_apart(copy_rows<TO, FROM>, wf_blocks(p.outer * p.quads, WF_THREADS),
                               WF_THREADS, stream, p);
    }
    if (turn(p.axes)) {
        for (int i = 0; i < 2; i++)
            p.tiles[i] = (p.axes.dim[last - 1 + i] + TILE - 1) / TILE;
        p.outer = wf_axes_count(p.axes, 2);
        return wf_launch(copy_turned<TO, FROM>, wf_blocks(p.outer * p.tiles[0] * p.tiles[1], 1),
                         WF_THREADS, stream, p);
    }
    p.outer = wf_axes_count(p.axes, 0);
    return wf_launch_apart(copy_elements<TO, FROM>, wf_blocks(p.outer, WF_THREADS), WF_THREADS,
                           stream, p);
}

/* Within a type bits are copied, whatever they stand for. */
int queue_bits(const struct wf_copy &a, void *stream)
{
    switch (a.y.dtype) {
    case WF_U8:
        return queue<unsigned char, unsigned char>(a, stream);
    case WF_F16:
    case WF_BF16:
        return queue<uint16_t, uint16_t>(a, stream);
    default:
        return queue<uint32_t, uint32_t>(a, stream);
    }
}

} // namespace

int wf_own_copy(const void *args, void *stream)
{
    const auto &a = *static_cast<const struct wf_copy *>(args);
    const enum wf_dtype from = a.x.dtype, to = a.y.dtype;
    if (from == to)
        return queue_bits(a, stream);
    if (from == WF_F32)
        return to == WF_F16 ? queue<__half, float>(a, stream)
                            : queue<__nv_bfloat16, float>(a, stream);
    if (from == WF_F16)
        return to == WF_F32 ? queue<float, __half>(a, stream)
                            : queue<__nv_bfloat16, __half>(a, stream);
    return to == WF_F32 ? queue<float, __nv_bfloat16>(a, stream)
                        : queue<__half, __nv_bfloat16>(a, stream);
}
