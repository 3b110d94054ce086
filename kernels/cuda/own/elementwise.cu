/* One pass over memory, element by element: a thread computes a quad. */
#include "kernels/cuda/own/axes.h"

namespace
{

/* y = op(x[0], x[1], ...) in rows along the last axis; data NULL: that one is not read. */
template <typename OP> struct pass {
    enum { TENSORS = OP::INPUTS + 1 };
    OP op;
    struct wf_axes<TENSORS> axes;
    struct wf_memory y, x[OP::INPUTS];
    int64_t rows, quads;
};

template <typename OP> __global__ void __launch_bounds__(WF_THREADS) run(struct pass<OP> p)
{
    const int64_t index = wf_thread();
    if (index >= p.rows * p.quads)
        return;
    const struct wf_place place = p.rows > 1 ? wf_divide(index, p.quads) : wf_place{0, index};
    const int64_t column = place.column * WF_QUAD;
    const int count = wf_left(p.axes.dim[p.axes.rank - 1], column);
    int64_t at[OP::INPUTS + 1];
    wf_axes_at(p.axes, 1, place.row, at);
    struct wf_quad x[OP::INPUTS] = {}, y;
#pragma unroll
    for (int k = 0; k < OP::INPUTS; k++) {
        if (p.x[k].data)
            x[k] = wf_load_quad(p.x[k], at[k + 1] + column, count);
    }
#pragma unroll
    for (int j = 0; j < WF_QUAD; j++) {
        float of_j[OP::INPUTS];
#pragma unroll
        for (int k = 0; k < OP::INPUTS; k++)
            of_j[k] = x[k].v[j];
        y.v[j] = p.op(of_j);
    }
    wf_store_quad(p.y, at[0] + column, count, y);
}

template <typename OP>
int queue(const OP &op, const struct wf_tensor &y, const struct wf_tensor (&x)[OP::INPUTS],
          void *stream)
{
    static const int order[WF_MAX_RANK] = {0, 1, 2, 3, 4, 5, 6, 7};
    struct pass<OP> p = {
    };
    const struct wf_tensor *t[OP::INPUTS + 1] = {&y};
    for (int k = 0; k < OP::INPUTS; k++)
        t[k + 1] = x[k].data ? &x[k] : &y;
    p.op = op;
    p.axes = wf_axes_of(t, order);
    wf_axes_end_in_rows(p.axes);
    p.y = wf_memory_at(y.data, y.dtype, p.axes.rank - 1, p.axes.dim, p.axes.stride[0]);
    for (int k = 0; k < OP::INPUTS; k++)
        p.x[k] =
            wf_memory_at(x[k].data, x[k].dtype, p.axes.rank - 1, p.axes.dim, p.axes.stride[k + 1]);
    p.rows = wf_axes_count(p.axes, 1);
    p.quads = (p.axes.dim[p.axes.rank - 1] + WF_QUAD - 1) / WF_QUAD;
    return wf_launch_apart(run<OP>, wf_blocks(p.rows * p.quads, WF_THREADS), WF_THREADS, stream, p);
}

/* A vector along the last axis of y, once for each row. */
struct wf_tensor repeated(struct wf_tensor vector, const struct wf_tensor &y)
{
    const int64_t stride = vector.stride[0];
    vector.rank = y.rank;
    for (int i = 0; i < y.rank; i++) {
        vector.dim[i] = y.dim[i];
        vector.stride[i] = i == y.rank - 1 ? stride : 0;
    }
    return vector;
}

struct combined {
    enum { INPUTS = WF_LINCOMB_TERMS };
    float c[INPUTS];
    int terms;
    __device__ float operator()(const float *x) const
    {
        float sum = c[0] * x[0];
#pragma unroll
        for (int k = 1; k < INPUTS; k++) {
            if (k < terms)
                sum += c[k] * x[k];
        }
        return sum;
    }
};

struct scaled {
    enum { INPUTS = 3 };
    bool weight, shift;
    float low, high;
    __device__ float operator()(const float *x) const
    {
        const float value = x[0] * (weight ? x[1] : 1.0f) + (shift ? x[2] : 0.0f);
        if (!isfinite(value))
            return NAN;
        return value < low ? low : value > high ? high : value;
    }
};

struct activated {
    enum { INPUTS = 1 };
    enum wf_act act;
    __device__ float operator()(const float *x) const
    {
        return wf_activated(x[0], act);
    }
};

struct gated {
    enum { INPUTS = 2 };
    enum wf_act act;
    __device__ float operator()(const float *x) const
    {
        return wf_activated(x[0], act) * x[1];
    }
};

struct finished { /* a product, with its bias: 0 where there is none */
    enum { INPUTS = 2 };
    enum wf_act act;
    __device__ float operator()(const float *x) const
    {
        return wf_activated(x[0] + x[1], act);
    }
};

struct added { /* to x[2] */
    enum { INPUTS = 4 };
    struct finished product;
    bool gate;
    __device__ float operator()(const float *x) const
    {
        return x[2] + (gate ? x[3] : 1.0f) * product(x);
    }
};

struct byte_of {
    enum { INPUTS = 1 };
    __device__ float operator()(const float *x) const
    {
        return rintf(255.0f * fminf(fmaxf(x[0], 0.0f), 1.0f)); /* a NaN becomes 0 */
    }
};

} // namespace

int wf_own_lincomb(const void *args, void *stream)
{
    const auto &a = *static_cast<const struct wf_lincomb *>(args);
    struct combined op = {};
    struct wf_tensor x[WF_LINCOMB_TERMS] = {};
    op.terms = a.terms;
    for (int k = 0; k < a.terms; k++) {
        op.c[k] = a.c[k];
        x[k] = a.x[k];
    }
    return queue(op, a.y, x, stream);
}

int wf_own_affine(const void *args, void *stream)
{
    const auto &a = *static_cast<const struct wf_affine *>(args);
    const struct wf_tensor x[] = {a.x, repeated(a.weight, a.y), repeated(a.shift, a.y)};
    const struct scaled op = {a.weight.data != nullptr, a.shift.data != nullptr, a.low, a.high};
    return queue(op, a.y, x, stream);
}

int wf_own_activate(const void *args, void *stream)
{
    const auto &a = *static_cast<const struct wf_activate *>(args);
    return queue(activated{a.act}, a.y, {a.x}, stream);
}

int wf_own_gated_act(const void *args, void *stream)
{
    const auto &a = *static_cast<const struct wf_gated_act *>(args);
    return queue(gated{a.act}, a.y, {a.a, a.b}, stream);
}

int wf_own_gate(const void *args, void *stream)
{
    const auto &a = *static_cast<const struct wf_own_gate *>(args);
    const struct wf_tensor bias = repeated(a.bias, a.y);
    const struct finished product = {a.act};
    if (!a.accumulate)
        return queue(product, a.y, {a.x, bias}, stream);
    return queue(added{product, a.gate.data != nullptr}, a.y,
                 {a.x, bias, a.y, repeated(a.gate, a.y)}, stream);
}

int wf_own_pack_u8(const void *args, void *stream)
{
    const auto &a = *static_cast<const struct wf_pack_u8 *>(args);
    return queue(byte_of{}, a.y, {a.x}, stream);
}
