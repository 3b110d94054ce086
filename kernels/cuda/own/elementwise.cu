/* One pass over memory, element by element: a thread computes a quad. */
#include "kernels/cuda/own/axes.h"

namespace
{

/* y = op(x[0], x[1], ...) in rows along the last axis. */
template <typename OP> struct pass {
    enum { TENSORS = OP::INPUTS + 1 };
    OP op;
    int inputs; /* of OP::INPUTS */
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
    struct wf_quad x[OP::INPUTS], y;
#pragma unroll
    for (int k = 0; k < OP::INPUTS; k++) {
        if (k < p.inputs)
            x[k] = wf_load_quad(p.x[k], at[k + 1] + column, count);
    }
#pragma unroll
    for (int j = 0; j < WF_QUAD; j++) {
        float of_j[OP::INPUTS];
#pragma unroll
        for (int k = 0; k < OP::INPUTS; k++)
            of_j[k] = x[k].v[j];
        y.v[j] = j < count ? p.op(of_j, column + j) : 0.0f;
    }
    wf_store_quad(p.y, at[0] + column, count, y);
}

template <int N> struct wf_axes<N> joined(const struct wf_tensor *const (&t)[N]) {
    static const int order[WF_MAX_RANK] = {0, 1, 2, 3, 4, 5, 6, 7};
    struct wf_axes<N> a = wf_axes_of(t, order);
    wf_axes_end_in_rows(a);
    return a;
}

template <int N>
struct wf_axes<N> as_they_are(const struct wf_tensor *const (&t)[N]) {
    struct wf_axes<N> a = {
    };
    a.rank = t[0]->rank;
    for (int i = 0; i < a.rank; i++) {
        a.dim[i] = t[0]->dim[i];
        for (int k = 0; k < N; k++)
            a.stride[k][i] = t[k]->stride[i];
    }
    return a;
}

/* joins: the op takes no vector along the last axis, so that it may be joined with others. */
template <typename OP>
int queue(const OP &op, const struct wf_tensor &y, const struct wf_tensor *x, int inputs,
          bool joins, void *stream)
{
    struct pass<OP> p = {
    };
    const struct wf_tensor *t[OP::INPUTS + 1];
    t[0] = &y;
    for (int k = 0; k < OP::INPUTS; k++)
        t[k + 1] = k < inputs ? &x[k] : &y;
    p.op = op;
    p.inputs = inputs;
    p.axes = joins ? joined(t) : as_they_are(t);
    for (int k = 0; k < OP::INPUTS + 1; k++)
        (k ? p.x[k - 1] : p.y) =
            wf_memory_at(t[k]->data, t[k]->dtype, p.axes.rank - 1, p.axes.dim, p.axes.stride[k]);
    p.rows = wf_axes_count(p.axes, 1);
    p.quads = (p.axes.dim[p.axes.rank - 1] + WF_QUAD - 1) / WF_QUAD;
    return wf_launch_apart(run<OP>, wf_blocks(p.rows * p.quads, WF_THREADS), WF_THREADS, stream, p);
}

struct combined {
    enum { INPUTS = WF_LINCOMB_TERMS };
    float c[INPUTS];
    int terms;
    __device__ float operator()(const float *x, int64_t) const
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
    enum { INPUTS = 1 };
    const float *weight, *shift;
    float low, high;
    __device__ float operator()(const float *x, int64_t column) const
    {
        const float value =
            x[0] * (weight ? weight[column] : 1.0f) + (shift ? shift[column] : 0.0f);
        if (!isfinite(value))
            return NAN;
        return value < low ? low : value > high ? high : value;
    }
};

struct activated {
    enum { INPUTS = 1 };
    enum wf_act act;
    __device__ float operator()(const float *x, int64_t) const
    {
        return wf_activated(x[0], act);
    }
};

struct gated {
    enum { INPUTS = 2 };
    enum wf_act act;
    __device__ float operator()(const float *x, int64_t) const
    {
        return wf_activated(x[0], act) * x[1];
    }
};

struct finished { /* a product: its bias, its activation */
    enum { INPUTS = 1 };
    const float *bias;
    enum wf_act act;
    __device__ float operator()(const float *x, int64_t column) const
    {
        return wf_activated(bias ? x[0] + bias[column] : x[0], act);
    }
};

struct added { /* x[1] is y */
    enum { INPUTS = 2 };
    struct finished product;
    const float *gate;
    __device__ float operator()(const float *x, int64_t column) const
    {
        return x[1] + (gate ? gate[column] : 1.0f) * product(x, column);
    }
};

struct byte_of {
    enum { INPUTS = 1 };
    __device__ float operator()(const float *x, int64_t) const
    {
        return rintf(255.0f * fminf(fmaxf(x[0], 0.0f), 1.0f)); /* a NaN becomes 0 */
    }
};

const float *vector_of(const struct wf_tensor &t)
{
    return static_cast<const float *>(t.data);
}

} // namespace

int wf_own_lincomb(const void *args, void *stream)
{
    const auto &a = *static_cast<const struct wf_lincomb *>(args);
    struct combined op = {};
    op.terms = a.terms;
    for (int k = 0; k < a.terms; k++)
        op.c[k] = a.c[k];
    return queue(op, a.y, a.x, a.terms, true, stream);
}

int wf_own_affine(const void *args, void *stream)
{
    const auto &a = *static_cast<const struct wf_affine *>(args);
    const struct scaled op = {vector_of(a.weight), vector_of(a.shift), a.low, a.high};
    return queue(op, a.y, &a.x, 1, !op.weight && !op.shift, stream);
}

int wf_own_activate(const void *args, void *stream)
{
    const auto &a = *static_cast<const struct wf_activate *>(args);
    return queue(activated{a.act}, a.y, &a.x, 1, true, stream);
}

int wf_own_gated_act(const void *args, void *stream)
{
    const auto &a = *static_cast<const struct wf_gated_act *>(args);
    const struct wf_tensor x[] = {a.a, a.b};
    return queue(gated{a.act}, a.y, x, 2, true, stream);
}

int wf_own_gate(const void *args, void *stream)
{
    const auto &a = *static_cast<const struct wf_own_gate *>(args);
    const struct wf_tensor x[] = {a.x, a.y};
    const struct finished product = {vector_of(a.bias), a.act};
    if (!a.accumulate)
        return queue(product, a.y, x, 1, !product.bias, stream);
    const struct added op = {product, vector_of(a.gate)};
    return queue(op, a.y, x, 2, !product.bias && !op.gate, stream);
}

int wf_own_pack_u8(const void *args, void *stream)
{
    const auto &a = *static_cast<const struct wf_pack_u8 *>(args);
    return queue(byte_of{}, a.y, &a.x, 1, true, stream);
}
