#include "kernels/pieces.h"

#include "kernels/base/number.h"

/* Rows and queries are shared out by so many, which the fast paths take at a time. */
enum { ROWS = 64, LINES = 8 };

/* Of `count` equal parts that take so many FLOPs together, how many are done at a time: a multiple
   of unit, or all of them. */
static int64_t at_a_time(const struct wf_backend *be, int64_t count, double flops, int64_t unit)
{
    if (!be->piece || flops <= be->piece)
        return count;
    const int64_t n = (int64_t)((double)count * (be->piece / flops)) / unit * unit;
    return n < unit ? wf_smaller(unit, count) : n;
}

static enum wf_status go_on(struct wf_backend *be, int64_t from)
{
    const bool stops = from && be->cancel && atomic_load_explicit(be->cancel, memory_order_relaxed);
    return stops ? wf_fail_cancelled(be->err) : WF_OK;
}

enum wf_status wf_gemm_in_pieces(struct wf_backend *be, const struct wf_gemm *a)
{
    const int64_t rows = a->y.dim[0];
    const double flops = 2.0 * (double)rows * (double)a->w->dim[0] * (double)a->w->dim[1];
    const int64_t most = at_a_time(be, rows, flops, ROWS);
    for (int64_t from = 0; from < rows; from += most) {
        const int64_t n = wf_smaller(most, rows - from);
        struct wf_gemm piece = *a;
        piece.x = wf_tensor_slice(a->x, 0, from, n);
        piece.y = wf_tensor_slice(a->y, 0, from, n);
        WF_TRY(go_on(be, from));
        WF_TRY(be->ops.gemm(be, &piece));
    }
    return WF_OK;
}

/* --- convolutions --- */

/* Along one axis, what results from .. from + n - 1 see of an input of that length, and the zeros
   around it. */
struct seen {
    int64_t from, count;
    int before, after;
};

static struct seen seen_by(int64_t from, int64_t n, int64_t length, int64_t kernel, int stride,
                           int pad)
{
    const int64_t begin = from * stride - pad, end = (from + n - 1) * stride - pad + kernel;
    const int64_t first = begin < 0 ? 0 : begin, last = wf_smaller(end, length);
    return (struct seen){first, last - first, (int)(first - begin), (int)(end - last)};
}

/* With more padding than that a result may see nothing at all. */
static bool can_be_shared_out(const struct wf_conv *a)
{
    const int64_t *w = a->w->dim;
    return a->pad_front < w[2] && a->pad_back < w[2] && a->pad_h[0] < w[3] && a->pad_h[1] < w[3];
}

static double flops_of(const struct wf_conv *a)
{
    const int64_t *w = a->w->dim;
    return 2.0 * (double)wf_tensor_count(&a->y) * (double)w[1] * (double)(w[2] * w[3] * w[4]);
}

/* One frame. Lines of several frames lie apart, which costs a copy: so only what takes about a
   second. */
static enum wf_status conv_lines(struct wf_backend *be, const struct wf_conv *a)
{
    const double flops = flops_of(a);
    const int64_t lines = a->y.dim[1];
    const int64_t most = flops > 4 * be->piece ? at_a_time(be, lines, flops / 2, LINES) : lines;
    if (most == lines)
        return be->ops.conv(be, a);
    for (int64_t from = 0; from < lines; from += most) {
        const int64_t n = wf_smaller(most, lines - from);
        const struct seen s =
            seen_by(from, n, a->x.dim[1], a->w->dim[3], a->stride_hw, a->pad_h[0]);
        struct wf_conv piece = *a;
        piece.x = wf_tensor_slice(a->x, 1, s.from, s.count);
        piece.y = wf_tensor_slice(a->y, 1, from, n);
        piece.pad_h[0] = s.before;
        piece.pad_h[1] = s.after;
        WF_TRY(go_on(be, from));
        WF_TRY(be->ops.conv(be, &piece));
    }
    return WF_OK;
}

enum wf_status wf_conv_in_pieces(struct wf_backend *be, const struct wf_conv *a)
{
    const int64_t frames = a->y.dim[0], most = at_a_time(be, frames, flops_of(a), 1);
    if (!can_be_shared_out(a) || (most == frames && frames > 1))
        return be->ops.conv(be, a);
    if (frames == 1)
        return conv_lines(be, a);
    for (int64_t from = 0; from < frames; from += most) {
        const int64_t n = wf_smaller(most, frames - from);
        const struct seen s =
            seen_by(from, n, a->x.dim[0], a->w->dim[2], a->stride_t, a->pad_front);
        struct wf_conv piece = *a;
        piece.x = wf_tensor_slice(a->x, 0, s.from, s.count);
        piece.y = wf_tensor_slice(a->y, 0, from, n);
        piece.pad_front = s.before;
        piece.pad_back = s.after;
        WF_TRY(go_on(be, from));
        WF_TRY(n == 1 ? conv_lines(be, &piece) : be->ops.conv(be, &piece));
    }
    return WF_OK;
}

enum wf_status wf_upconv_in_pieces(struct wf_backend *be, const struct wf_upconv *a)
{
    const int64_t frames = a->y.dim[0];
    const double flops = 2.0 * (double)wf_tensor_count(&a->y) * (double)a->w->dim[1] * 4;
    const int64_t most = at_a_time(be, frames, flops, 1);
    for (int64_t from = 0; from < frames; from += most) {
        const int64_t n = wf_smaller(most, frames - from);
        struct wf_upconv piece = *a;
        piece.x = wf_tensor_slice(a->x, 0, from, n);
        piece.y = wf_tensor_slice(a->y, 0, from, n);
        WF_TRY(go_on(be, from));
        WF_TRY(be->ops.upconv(be, &piece));
    }
    return WF_OK;
}

/* --- attention --- */

/* Of a relative bias [h,S+L-1], what n queries from that one on see of it. */
static struct wf_tensor bias_of(const struct wf_attention *a, int64_t from, int64_t n)
{
    const int64_t queries = a->q.dim[1], keys = a->k.dim[1];
    return a->rel_bias.data ? wf_tensor_slice(a->rel_bias, 1, queries - from - n, n + keys - 1)
                            : a->rel_bias;
}

static enum wf_status attend_queries(struct wf_backend *be, const struct wf_attention *a,
                                     int64_t most)
{
    const int64_t queries = a->q.dim[1];
    for (int64_t from = 0; from < queries; from += most) {
        const int64_t n = wf_smaller(most, queries - from);
        struct wf_attention piece = *a;
        piece.q = wf_tensor_slice(a->q, 1, from, n);
        piece.y = wf_tensor_slice(a->y, 1, from, n);
        piece.rel_bias = bias_of(a, from, n);
        WF_TRY(go_on(be, from));
        WF_TRY(be->ops.attention(be, &piece));
    }
    return WF_OK;
}

static enum wf_status attend_batches(struct wf_backend *be, const struct wf_attention *a,
                                     int64_t most)
{
    const int64_t batches = a->q.dim[0];
    for (int64_t from = 0; from < batches; from += most) {
        const int64_t n = wf_smaller(most, batches - from);
        struct wf_attention piece = *a;
        piece.q = wf_tensor_slice(a->q, 0, from, n);
        piece.k = wf_tensor_slice(a->k, 0, from, n);
        piece.v = wf_tensor_slice(a->v, 0, from, n);
        piece.y = wf_tensor_slice(a->y, 0, from, n);
        WF_TRY(go_on(be, from));
        WF_TRY(be->ops.attention(be, &piece));
    }
    return WF_OK;
}

enum wf_status wf_attention_in_pieces(struct wf_backend *be, const struct wf_attention *a)
{
    const int64_t *q = a->q.dim;
    const double pairs = (double)q[0] * (double)q[1] * (double)a->k.dim[1];
    const double flops = 2.0 * pairs * (double)q[2] * (double)(q[3] + a->v.dim[3]);
    if (q[0] > q[1])
        return attend_batches(be, a, at_a_time(be, q[0], flops, 1));
    return attend_queries(be, a, at_a_time(be, q[1], flops, ROWS));
}
