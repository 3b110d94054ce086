/* The operations as models call them: the contract is checked and the work counted, then the slot
   is called, by one way for all of them (see the end). A violation is a bug of the caller, but one
   that a strange model file might reach, so it is an error with a message and no assertion. */
#include <stdio.h>

#include "kernels/backend.h"
#include "kernels/base/clock.h"
#include "kernels/pieces.h"

#define ADVICE "this model is not supported, or it is a bug in weft"

enum { ANY = -1 };

/* What an operand must be. dim ANY: not checked; rank 0: of any rank. */
struct expected {
    int rank;
    int64_t dim[4];
};
#define EXPECT(...)                                                                                \
    (&(const struct expected){(int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)),           \
                              {__VA_ARGS__}})

struct shape_text {
    char text[112];
};

static struct shape_text show(int rank, const int64_t *dim)
{
    struct shape_text out = {{0}};
    size_t used = 0;
    for (int i = 0; i < rank && used + 24 < sizeof out.text; i++) {
        const char *comma = i ? "," : "";
        const int n = dim[i] == ANY
                          ? snprintf(out.text + used, sizeof out.text - used, "%s?", comma)
                          : snprintf(out.text + used, sizeof out.text - used, "%s%lld", comma,
                                     (long long)dim[i]);
        used += (size_t)n;
    }
    return out;
}

static bool dims_fit(const struct wf_tensor *t, const struct expected *e)
{
    if (t->rank < 1 || t->rank > WF_MAX_RANK || (e->rank && t->rank != e->rank))
        return false;
    for (int i = 0; i < t->rank; i++) {
        if (t->dim[i] <= 0 || t->stride[i] < 0)
            return false;
        if (e->rank && e->dim[i] != ANY && e->dim[i] != t->dim[i])
            return false;
    }
    return true;
}

static enum wf_status check_dims(struct wf_backend *be, const char *what, const struct wf_tensor *t,
                                 const struct expected *e)
{
    if (!t->data)
        return wf_fail(be->err, WF_FAILED, "%s: is missing; " ADVICE, what);
    if (!dims_fit(t, e))
        return wf_fail(be->err, WF_FAILED, "%s: has shape [%s], expected [%s]; " ADVICE, what,
                       show(t->rank, t->dim).text, e->rank ? show(e->rank, e->dim).text : "?");
    return WF_OK;
}

static enum wf_status check_type(struct wf_backend *be, const char *what, const struct wf_tensor *t,
                                 enum wf_dtype dtype)
{
    if (t->dtype != dtype)
        return wf_fail(be->err, WF_FAILED, "%s: is of type %s, expected %s; " ADVICE, what,
                       wf_dtype_name(t->dtype), wf_dtype_name(dtype));
    return WF_OK;
}

/* An operand of that type whose last axis is contiguous. */
static enum wf_status check_operand(struct wf_backend *be, const char *what,
                                    const struct wf_tensor *t, enum wf_dtype dtype,
                                    const struct expected *e)
{
    WF_TRY(check_dims(be, what, t, e));
    WF_TRY(check_type(be, what, t, dtype));
    if (t->dim[t->rank - 1] != 1 && t->stride[t->rank - 1] != 1)
        return wf_fail(be->err, WF_FAILED, "%s: its last axis has stride %lld, expected 1; " ADVICE,
                       what, (long long)t->stride[t->rank - 1]);
    return WF_OK;
}

static enum wf_status check_input(struct wf_backend *be, const char *what,
                                  const struct wf_tensor *t, const struct expected *e)
{
    return check_operand(be, what, t, WF_F32, e);
}

static enum wf_status check_no_repeat(struct wf_backend *be, const char *what,
                                      const struct wf_tensor *t)
{
    for (int i = 0; i < t->rank; i++) {
        if (t->dim[i] != 1 && t->stride[i] == 0)
            return wf_fail(be->err, WF_FAILED, "%s: is written, but its axis %d repeats; " ADVICE,
                           what, i);
    }
    return WF_OK;
}

static enum wf_status check_output(struct wf_backend *be, const char *what,
                                   const struct wf_tensor *t, const struct expected *e)
{
    WF_TRY(check_input(be, what, t, e));
    return check_no_repeat(be, what, t);
}

/* An output that may feed a product: F32 or BF16. */
static enum wf_status check_feed(struct wf_backend *be, const char *what, const struct wf_tensor *t,
                                 const struct expected *e)
{
    WF_TRY(check_operand(be, what, t, t->dtype == WF_BF16 ? WF_BF16 : WF_F32, e));
    return check_no_repeat(be, what, t);
}

static enum wf_status check_dense(struct wf_backend *be, const char *what,
                                  const struct wf_tensor *t)
{
    if (!wf_tensor_is_dense(t))
        return wf_fail(be->err, WF_FAILED, "%s: has gaps, expected a dense tensor; " ADVICE, what);
    return WF_OK;
}

static enum wf_status check_same(struct wf_backend *be, const char *what, const struct wf_tensor *t,
                                 const struct wf_tensor *y)
{
    if (!wf_tensor_same_dims(t, y))
        return wf_fail(be->err, WF_FAILED, "%s: has shape [%s], expected [%s]; " ADVICE, what,
                       show(t->rank, t->dim).text, show(y->rank, y->dim).text);
    return WF_OK;
}

/* [T,H,W,C]: each line [W,C] without gaps, and behind the one before. */
static enum wf_status check_lines(struct wf_backend *be, const char *what,
                                  const struct wf_tensor *t)
{
    WF_TRY(check_dense(be, what,
                       &(const struct wf_tensor){.rank = 2,
                                                 .dim = {t->dim[2], t->dim[3]},
                                                 .stride = {t->stride[2], t->stride[3]}}));
    if (t->dim[1] != 1 && t->stride[1] < t->dim[2] * t->dim[3])
        return wf_fail(be->err, WF_FAILED,
                       "%s: its lines are %lld elements apart, expected %lld or more; " ADVICE,
                       what, (long long)t->stride[1], (long long)(t->dim[2] * t->dim[3]));
    return WF_OK;
}

/* A vector that may be left out. */
static enum wf_status check_optional(struct wf_backend *be, const char *what,
                                     const struct wf_tensor *t, int64_t length)
{
    return t->data ? check_input(be, what, t, EXPECT(length)) : WF_OK;
}

static enum wf_status check_param(struct wf_backend *be, const char *what, const struct wf_param *p,
                                  enum wf_param_kind kind)
{
    if (!p || p->state != WF_PARAM_LOADED)
        return wf_fail(be->err, WF_FAILED, "%s: is not %s; " ADVICE, what,
                       p && p->state == WF_PARAM_LET_GO ? "held any more" : "loaded");
    if (p->kind != kind)
        return wf_fail(be->err, WF_FAILED, "%s: is a parameter of kind %d, expected %d; " ADVICE,
                       what, (int)p->kind, (int)kind);
    return WF_OK;
}

static enum wf_status check_bias(struct wf_backend *be, const char *what, const struct wf_param *p,
                                 int64_t length)
{
    if (!p)
        return WF_OK;
    WF_TRY(check_param(be, what, p, WF_PARAM_VECTOR));
    return check_input(be, what, &p->tensor, EXPECT(length));
}

static enum wf_status check_act(struct wf_backend *be, const char *what, enum wf_act act)
{
    if (act < WF_ACT_NONE || act > WF_ACT_SILU)
        return wf_fail(be->err, WF_FAILED, "%s: unknown activation %d; " ADVICE, what, (int)act);
    return WF_OK;
}

/* What an operation does, in its kind's unit; a check leaves it. */
struct work {
    enum wf_kind kind;
    double amount;
};

static void count(struct work *work, enum wf_kind kind, double amount)
{
    *work = (struct work){.kind = kind, .amount = amount};
}

/* A pass: what is read, and what is written. */
static void count_pass(struct work *work, const struct wf_tensor *x, int inputs,
                       const struct wf_tensor *y)
{
    double bytes = (double)wf_tensor_bytes(y);
    for (int i = 0; i < inputs; i++)
        bytes += (double)wf_tensor_bytes(&x[i]);
    count(work, WF_KIND_PASS, bytes);
}

static void note(struct wf_backend *be, const struct work *work, double began)
{
    be->tally.work[work->kind] += work->amount;
    if (!be->device.queued)
        be->tally.seconds[work->kind] += wf_clock() - began;
}

double wf_flops(const struct wf_tally *tally)
{
    return tally->work[WF_KIND_GEMM] + tally->work[WF_KIND_CONV] + tally->work[WF_KIND_ATTENTION];
}

enum wf_status wf_sync(struct wf_backend *be)
{
    return be->ops.sync(be);
}

enum wf_status wf_upload(struct wf_backend *be, struct wf_tensor dst, const void *src)
{
    WF_TRY(check_dims(be, "upload", &dst, &(const struct expected){0}));
    WF_TRY(check_dense(be, "upload", &dst));
    return be->ops.upload(be, &dst, src);
}

enum wf_status wf_download(struct wf_backend *be, void *dst, struct wf_tensor src)
{
    WF_TRY(check_dims(be, "download", &src, &(const struct expected){0}));
    WF_TRY(check_dense(be, "download", &src));
    return be->ops.download(be, dst, &src);
}

enum wf_status wf_download_begin(struct wf_backend *be, void *dst, struct wf_tensor src,
                                 uint64_t *ticket)
{
    WF_TRY(check_dims(be, "download", &src, &(const struct expected){0}));
    WF_TRY(check_dense(be, "download", &src));
    return be->ops.download_begin(be, dst, &src, ticket);
}

enum wf_status wf_wait(struct wf_backend *be, uint64_t ticket)
{
    return be->ops.wait(be, ticket);
}

enum wf_status wf_cross(struct wf_backend *from, struct wf_tensor x, struct wf_backend *to,
                        struct wf_tensor y)
{
    WF_TRY(check_dense(to, "cross: y", &y));
    WF_TRY(check_same(to, "cross: x", &x, &y));
    WF_TRY(check_type(to, "cross: x", &x, y.dtype));
    const size_t bytes = wf_tensor_bytes(&x);
    void *values = to->ops.take_host(to, WF_MEM_ACTIVATIONS, bytes);
    if (!values)
        return wf_fail_memory(to->err, "a tensor between two devices", bytes);
    enum wf_status status = wf_download(from, values, x);
    if (status == WF_OK)
        status = wf_upload(to, y, values);
    to->ops.give_host(to, values);
    return status;
}

static bool param_fits(const struct wf_param *p)
{
    static const int rank[] = {[WF_PARAM_VECTOR] = 0,
                               [WF_PARAM_TABLE] = 2,
                               [WF_PARAM_LINEAR] = 2,
                               [WF_PARAM_CONV] = 5,
                               [WF_PARAM_UPCONV] = 5};
    if (p->rank < 1 || p->rank > 5 || (rank[p->kind] && p->rank != rank[p->kind]))
        return false;
    int64_t bytes = sizeof(float);
    for (int i = 0; i < p->rank; i++) {
        if (p->dim[i] <= 0 || __builtin_mul_overflow(bytes, p->dim[i], &bytes))
            return false;
    }
    return p->kind != WF_PARAM_UPCONV || (p->dim[2] == 1 && p->dim[3] == 3 && p->dim[4] == 3);
}

size_t wf_param_bytes(const struct wf_backend *be, const struct wf_param *p)
{
    return (be->ops.param_bytes(be, p) + WF_ROOM_ALIGN - 1) / WF_ROOM_ALIGN * WF_ROOM_ALIGN;
}

static enum wf_status check_load(struct wf_backend *be, const struct wf_param *p,
                                 const struct wf_source *src)
{
    uint64_t count = 1;
    if (p->state != WF_PARAM_DESCRIBED)
        return wf_fail(be->err, WF_FAILED, "load: the parameter is loaded already; " ADVICE);
    if (!param_fits(p))
        return wf_fail(be->err, WF_FAILED,
                       "load: shape [%s] does not fit a parameter of kind %d; " ADVICE,
                       show(p->rank, p->dim).text, (int)p->kind);
    for (int i = 0; i < p->rank; i++)
        count *= (uint64_t)p->dim[i];
    if (src->dtype > WF_BF16 || src->bytes != count * wf_dtype_bytes(src->dtype))
        return wf_fail(be->err, WF_FAILED,
                       "load: %llu bytes of type %s for a parameter of shape [%s]; " ADVICE,
                       (unsigned long long)src->bytes, wf_dtype_name(src->dtype),
                       show(p->rank, p->dim).text);
    return WF_OK;
}

enum wf_status wf_param_load_begin(struct wf_backend *be, struct wf_param *p, void *room,
                                   const struct wf_source *src)
{
    WF_TRY(check_load(be, p, src));
    p->state = WF_PARAM_LOADING;
    p->room = room;
    p->source = src;
    const double began = wf_clock();
    const enum wf_status status = be->ops.load_begin(be, p);
    note(be, &(const struct work){.kind = WF_KIND_LOAD}, began);
    if (status != WF_OK)
        wf_param_unload(be, p);
    return status;
}

enum wf_status wf_param_load_end(struct wf_backend *be, struct wf_param *p)
{
    if (p->state != WF_PARAM_LOADING)
        return wf_fail(be->err, WF_FAILED, "load: the parameter is not being loaded; " ADVICE);
    struct work work = {.kind = WF_KIND_LOAD};
    if (p->kind != WF_PARAM_TABLE) /* its rows are counted when they are gathered */
        work.amount = (double)p->source->bytes;
    const double began = wf_clock();
    const enum wf_status status = be->ops.load_end(be, p);
    note(be, &work, began);
    if (status != WF_OK) {
        wf_param_unload(be, p);
        return status;
    }
    p->state = WF_PARAM_LOADED;
    if (p->kind != WF_PARAM_TABLE)
        p->source = NULL;
    return WF_OK;
}

enum wf_status wf_param_load(struct wf_backend *be, struct wf_param *p, void *room,
                             const struct wf_source *src)
{
    WF_TRY(wf_param_load_begin(be, p, room, src));
    return wf_param_load_end(be, p);
}

void wf_param_unload(struct wf_backend *be, struct wf_param *p)
{
    if (p->state == WF_PARAM_DESCRIBED)
        return;
    be->ops.unload(be, p);
    p->state = WF_PARAM_DESCRIBED;
    p->room = NULL;
    p->source = NULL;
    p->tensor = (struct wf_tensor){0};
    p->layout = NULL;
}

enum wf_dtype wf_operand_type(const struct wf_backend *be, const struct wf_param *p)
{
    const int64_t least = p->kind == WF_PARAM_LINEAR ? WF_BF16_LINEAR : WF_BF16_CONV;
    return p->keep_f32 || p->dim[1] < least ? WF_F32 : be->compute;
}

enum wf_dtype wf_attention_type(const struct wf_backend *be, int64_t width)
{
    return be->compute == WF_BF16 && width >= WF_BF16_HEAD ? WF_BF16 : WF_F32;
}

static enum wf_status check_gemm(struct wf_backend *be, const struct wf_gemm *a, struct work *work)
{
    WF_TRY(check_param(be, "gemm: w", a->w, WF_PARAM_LINEAR));
    const int64_t n = a->w->dim[0], k = a->w->dim[1];
    WF_TRY(check_operand(be, "gemm: x", &a->x, wf_operand_type(be, a->w), EXPECT(ANY, k)));
    const int64_t m = a->x.dim[0];
    WF_TRY(check_feed(be, "gemm: y", &a->y, EXPECT(m, n)));
    if (a->accumulate)
        WF_TRY(check_type(be, "gemm: y", &a->y, WF_F32));
    WF_TRY(check_bias(be, "gemm: bias", a->bias, n));
    WF_TRY(check_optional(be, "gemm: gate", &a->gate, n));
    WF_TRY(check_act(be, "gemm", a->act));
    if (a->gate.data && !a->accumulate)
        return wf_fail(be->err, WF_FAILED, "gemm: a gate without accumulation; " ADVICE);
    count(work, WF_KIND_GEMM, 2.0 * (double)m * (double)n * (double)k);
    return WF_OK;
}

/* Steps of a window over `size` and its padding; 0 where it does not fit. */
static int64_t steps(int64_t before, int64_t size, int64_t after, int64_t window, int64_t stride)
{
    const int64_t room = before + size + after - window;
    return room < 0 ? 0 : room / stride + 1;
}

/* Frames of padding in time are skipped, so they are no work. */
static double conv_flops(const struct wf_conv *a)
{
    const int64_t *w = a->w->dim;
    int64_t planes = 0;
    for (int64_t t = 0; t < a->y.dim[0]; t++) {
        const int64_t first = t * a->stride_t - a->pad_front, end = first + w[2];
        const int64_t seen = (end < a->x.dim[0] ? end : a->x.dim[0]) - (first > 0 ? first : 0);
        planes += seen > 0 ? seen : 0;
    }
    const double pixels = (double)planes * (double)a->y.dim[1] * (double)a->y.dim[2];
    return 2.0 * pixels * (double)w[0] * (double)w[1] * (double)w[3] * (double)w[4];
}

static enum wf_status check_conv(struct wf_backend *be, const struct wf_conv *a, struct work *work)
{
    WF_TRY(check_param(be, "conv: w", a->w, WF_PARAM_CONV));
    const int64_t *w = a->w->dim;
    WF_TRY(check_operand(be, "conv: x", &a->x, wf_operand_type(be, a->w),
                         EXPECT(ANY, ANY, ANY, w[1])));
    WF_TRY(check_lines(be, "conv: x", &a->x));
    if (a->stride_t < 1 || a->stride_hw < 1 || a->pad_front < 0 || a->pad_back < 0 ||
        a->pad_h[0] < 0 || a->pad_h[1] < 0 || a->pad_w[0] < 0 || a->pad_w[1] < 0)
        return wf_fail(be->err, WF_FAILED, "conv: strides %d, %d or paddings out of range; " ADVICE,
                       a->stride_t, a->stride_hw);
    const int64_t t = steps(a->pad_front, a->x.dim[0], a->pad_back, w[2], a->stride_t);
    const int64_t h = steps(a->pad_h[0], a->x.dim[1], a->pad_h[1], w[3], a->stride_hw);
    const int64_t ww = steps(a->pad_w[0], a->x.dim[2], a->pad_w[1], w[4], a->stride_hw);
    WF_TRY(check_output(be, "conv: y", &a->y, EXPECT(t, h, ww, w[0])));
    WF_TRY(check_lines(be, "conv: y", &a->y));
    WF_TRY(check_bias(be, "conv: bias", a->bias, w[0]));
    count(work, WF_KIND_CONV, conv_flops(a));
    return WF_OK;
}

static bool are_bits(const int pad[2])
{
    return (pad[0] == 0 || pad[0] == 1) && (pad[1] == 0 || pad[1] == 1);
}

static enum wf_status check_upconv(struct wf_backend *be, const struct wf_upconv *a,
                                   struct work *work)
{
    WF_TRY(check_param(be, "upconv: w", a->w, WF_PARAM_UPCONV));
    const int64_t *w = a->w->dim, *x = a->x.dim;
    WF_TRY(check_operand(be, "upconv: x", &a->x, wf_operand_type(be, a->w),
                         EXPECT(ANY, ANY, ANY, w[1])));
    WF_TRY(check_lines(be, "upconv: x", &a->x));
    if (!are_bits(a->pad_h) || !are_bits(a->pad_w))
        return wf_fail(be->err, WF_FAILED, "upconv: paddings out of range; " ADVICE);
    /* lines and columns of the small picture that are doubled */
    const int64_t h = x[1] - 2 + a->pad_h[0] + a->pad_h[1];
    const int64_t ww = x[2] - 2 + a->pad_w[0] + a->pad_w[1];
    if (h < 1 || ww < 1)
        return wf_fail(be->err, WF_FAILED,
                       "upconv: x: has shape [%s], of which nothing is doubled; " ADVICE,
                       show(a->x.rank, x).text);
    WF_TRY(check_output(be, "upconv: y", &a->y, EXPECT(x[0], 2 * h, 2 * ww, w[0])));
    WF_TRY(check_lines(be, "upconv: y", &a->y));
    WF_TRY(check_bias(be, "upconv: bias", a->bias, w[0]));
    /* as four 2x2 convolutions of the small picture */
    count(work, WF_KIND_CONV,
          2.0 * (double)(x[0] * (h + 1) * (ww + 1)) * 16.0 * (double)(w[0] * w[1]));
    return WF_OK;
}

static enum wf_status check_attention(struct wf_backend *be, const struct wf_attention *a,
                                      struct work *work)
{
    const enum wf_dtype type = a->q.dtype == WF_BF16 ? WF_BF16 : WF_F32;
    WF_TRY(check_operand(be, "attention: q", &a->q, type, EXPECT(ANY, ANY, ANY, ANY)));
    const int64_t n = a->q.dim[0], s = a->q.dim[1], h = a->q.dim[2], d = a->q.dim[3];
    WF_TRY(check_operand(be, "attention: k", &a->k, type, EXPECT(n, ANY, h, d)));
    const int64_t l = a->k.dim[1];
    WF_TRY(check_operand(be, "attention: v", &a->v, type, EXPECT(n, l, h, ANY)));
    const int64_t e = a->v.dim[3];
    WF_TRY(check_feed(be, "attention: y", &a->y, EXPECT(n, s, h, e)));
    if (a->rel_bias.data)
        WF_TRY(check_input(be, "attention: rel_bias", &a->rel_bias, EXPECT(h, s + l - 1)));
    WF_TRY(check_optional(be, "attention: key_bias", &a->key_bias, l));
    count(work, WF_KIND_ATTENTION, 2.0 * (double)(n * s) * (double)l * (double)(d + e) * (double)h);
    return WF_OK;
}

static enum wf_status check_layer_norm(struct wf_backend *be, const struct wf_layer_norm *a,
                                       struct work *work)
{
    WF_TRY(check_input(be, "layer_norm: x", &a->x, EXPECT(ANY, ANY)));
    WF_TRY(check_feed(be, "layer_norm: y", &a->y, EXPECT(a->x.dim[0], a->x.dim[1])));
    WF_TRY(check_optional(be, "layer_norm: weight", &a->weight, a->x.dim[1]));
    WF_TRY(check_optional(be, "layer_norm: shift", &a->shift, a->x.dim[1]));
    count_pass(work, &a->x, 1, &a->y);
    return WF_OK;
}

static enum wf_status check_rms_norm(struct wf_backend *be, const struct wf_rms_norm *a,
                                     struct work *work)
{
    WF_TRY(check_input(be, "rms_norm: x", &a->x, EXPECT(ANY, ANY)));
    WF_TRY(check_feed(be, "rms_norm: y", &a->y, EXPECT(a->x.dim[0], a->x.dim[1])));
    WF_TRY(check_optional(be, "rms_norm: weight", &a->weight, a->x.dim[1]));
    WF_TRY(check_act(be, "rms_norm", a->act));
    count_pass(work, &a->x, 1, &a->y);
    return WF_OK;
}

static enum wf_status check_groups(struct wf_backend *be, const char *what, int64_t groups,
                                   int64_t channels)
{
    if (channels % groups)
        return wf_fail(be->err, WF_FAILED, "%s: %lld groups of %lld channels; " ADVICE, what,
                       (long long)groups, (long long)channels);
    return WF_OK;
}

static enum wf_status check_group_sums(struct wf_backend *be, const struct wf_group_sums *a,
                                       struct work *work)
{
    WF_TRY(check_input(be, "group_sums: x", &a->x, EXPECT(ANY, ANY, ANY, ANY)));
    WF_TRY(check_lines(be, "group_sums: x", &a->x));
    WF_TRY(check_output(be, "group_sums: y", &a->y, EXPECT(a->x.dim[0], ANY, 3)));
    WF_TRY(check_dense(be, "group_sums: y", &a->y));
    WF_TRY(check_groups(be, "group_sums: y", a->y.dim[1], a->x.dim[3]));
    count_pass(work, &a->x, 1, &a->y);
    return WF_OK;
}

static enum wf_status check_group_merge(struct wf_backend *be, const struct wf_group_merge *a,
                                        struct work *work)
{
    WF_TRY(check_input(be, "group_merge: x", &a->x, EXPECT(ANY, ANY, ANY, 3)));
    WF_TRY(check_output(be, "group_merge: y", &a->y, EXPECT(a->x.dim[1], a->x.dim[2], 3)));
    WF_TRY(check_dense(be, "group_merge: y", &a->y));
    count_pass(work, &a->x, 1, &a->y);
    return WF_OK;
}

static enum wf_status check_group_apply(struct wf_backend *be, const struct wf_group_apply *a,
                                        struct work *work)
{
    const int64_t *x = a->x.dim;
    WF_TRY(check_input(be, "group_apply: x", &a->x, EXPECT(ANY, ANY, ANY, ANY)));
    WF_TRY(check_lines(be, "group_apply: x", &a->x));
    WF_TRY(check_feed(be, "group_apply: y", &a->y, EXPECT(x[0], x[1], x[2], x[3])));
    WF_TRY(check_lines(be, "group_apply: y", &a->y));
    WF_TRY(check_input(be, "group_apply: stats", &a->stats, EXPECT(x[0], ANY, 3)));
    WF_TRY(check_groups(be, "group_apply: stats", a->stats.dim[1], x[3]));
    WF_TRY(check_input(be, "group_apply: weight", &a->weight, EXPECT(x[3])));
    WF_TRY(check_input(be, "group_apply: shift", &a->shift, EXPECT(x[3])));
    WF_TRY(check_act(be, "group_apply", a->act));
    count_pass(work, &a->x, 1, &a->y);
    return WF_OK;
}

static enum wf_status check_rope(struct wf_backend *be, const struct wf_rope *a, struct work *work)
{
    WF_TRY(check_input(be, "rope: x", &a->x, EXPECT(ANY, ANY, ANY)));
    const int64_t *x = a->x.dim;
    if (x[2] % 2)
        return wf_fail(be->err, WF_FAILED, "rope: heads of odd width %lld; " ADVICE,
                       (long long)x[2]);
    WF_TRY(check_feed(be, "rope: y", &a->y, EXPECT(x[0], x[1], x[2])));
    WF_TRY(check_input(be, "rope: cos", &a->cos, EXPECT(x[0], x[2] / 2)));
    WF_TRY(check_input(be, "rope: sin", &a->sin, EXPECT(x[0], x[2] / 2)));
    count_pass(work, &a->x, 1, &a->y);
    return WF_OK;
}

static enum wf_status check_lincomb(struct wf_backend *be, const struct wf_lincomb *a,
                                    struct work *work)
{
    if (a->terms < 1 || a->terms > WF_LINCOMB_TERMS)
        return wf_fail(be->err, WF_FAILED, "lincomb: %d terms, expected 1 to %d; " ADVICE, a->terms,
                       WF_LINCOMB_TERMS);
    WF_TRY(check_output(be, "lincomb: y", &a->y, &(const struct expected){0}));
    for (int i = 0; i < a->terms; i++) {
        WF_TRY(check_input(be, "lincomb: x", &a->x[i], &(const struct expected){0}));
        if (!wf_tensor_same_dims(&a->x[i], &a->y))
            return wf_fail(be->err, WF_FAILED, "lincomb: x[%d] has shape [%s], y [%s]; " ADVICE, i,
                           show(a->x[i].rank, a->x[i].dim).text, show(a->y.rank, a->y.dim).text);
    }
    count_pass(work, a->x, a->terms, &a->y);
    return WF_OK;
}

static enum wf_status check_affine(struct wf_backend *be, const struct wf_affine *a,
                                   struct work *work)
{
    WF_TRY(check_input(be, "affine: x", &a->x, EXPECT(ANY, ANY)));
    WF_TRY(check_output(be, "affine: y", &a->y, EXPECT(a->x.dim[0], a->x.dim[1])));
    WF_TRY(check_optional(be, "affine: weight", &a->weight, a->x.dim[1]));
    WF_TRY(check_optional(be, "affine: shift", &a->shift, a->x.dim[1]));
    count_pass(work, &a->x, 1, &a->y);
    return WF_OK;
}

static enum wf_status check_copy(struct wf_backend *be, const struct wf_copy *a, struct work *work)
{
    WF_TRY(check_dims(be, "copy: y", &a->y, &(const struct expected){0}));
    WF_TRY(check_no_repeat(be, "copy: y", &a->y));
    WF_TRY(check_dims(be, "copy: x", &a->x, &(const struct expected){0}));
    WF_TRY(check_same(be, "copy: x", &a->x, &a->y));
    const bool floating = a->y.dtype <= WF_BF16 && a->x.dtype <= WF_BF16;
    if (a->y.dtype != a->x.dtype && !floating)
        return wf_fail(be->err, WF_FAILED, "copy: from type %s to %s; " ADVICE,
                       wf_dtype_name(a->x.dtype), wf_dtype_name(a->y.dtype));
    count_pass(work, &a->x, 1, &a->y);
    return WF_OK;
}

static enum wf_status check_activate(struct wf_backend *be, const struct wf_activate *a,
                                     struct work *work)
{
    WF_TRY(check_output(be, "activate: y", &a->y, &(const struct expected){0}));
    WF_TRY(check_dense(be, "activate: y", &a->y));
    WF_TRY(check_input(be, "activate: x", &a->x, &(const struct expected){0}));
    WF_TRY(check_dense(be, "activate: x", &a->x));
    WF_TRY(check_same(be, "activate: x", &a->x, &a->y));
    WF_TRY(check_act(be, "activate", a->act));
    count_pass(work, &a->x, 1, &a->y);
    return WF_OK;
}

static enum wf_status check_gated_act(struct wf_backend *be, const struct wf_gated_act *a,
                                      struct work *work)
{
    WF_TRY(check_feed(be, "gated_act: y", &a->y, EXPECT(ANY, ANY)));
    WF_TRY(check_input(be, "gated_act: a", &a->a, EXPECT(a->y.dim[0], a->y.dim[1])));
    WF_TRY(check_input(be, "gated_act: b", &a->b, EXPECT(a->y.dim[0], a->y.dim[1])));
    WF_TRY(check_act(be, "gated_act", a->act));
    const struct wf_tensor inputs[] = {a->a, a->b};
    count_pass(work, inputs, 2, &a->y);
    return WF_OK;
}

static enum wf_status check_gather(struct wf_backend *be, const struct wf_gather *a,
                                   struct work *work)
{
    WF_TRY(check_param(be, "gather: table", a->table, WF_PARAM_TABLE));
    WF_TRY(check_output(be, "gather: y", &a->y, EXPECT(ANY, a->table->dim[1])));
    for (int64_t i = 0; i < a->y.dim[0]; i++) {
        if (a->ids[i] < 0 || a->ids[i] >= a->table->dim[0])
            return wf_fail(be->err, WF_FAILED,
                           "gather: row %d of a table of %lld rows; check that tokenizer and text "
                           "encoder belong together",
                           (int)a->ids[i], (long long)a->table->dim[0]);
    }
    count(work, WF_KIND_LOAD,
          (double)wf_tensor_count(&a->y) * (double)wf_dtype_bytes(a->table->source->dtype));
    return WF_OK;
}

static enum wf_status check_pack_u8(struct wf_backend *be, const struct wf_pack_u8 *a,
                                    struct work *work)
{
    WF_TRY(check_dims(be, "pack_u8: y", &a->y, &(const struct expected){0}));
    WF_TRY(check_dense(be, "pack_u8: y", &a->y));
    WF_TRY(check_input(be, "pack_u8: x", &a->x, &(const struct expected){0}));
    WF_TRY(check_dense(be, "pack_u8: x", &a->x));
    WF_TRY(check_same(be, "pack_u8: x", &a->x, &a->y));
    WF_TRY(check_type(be, "pack_u8: y", &a->y, WF_U8));
    count_pass(work, &a->x, 1, &a->y);
    return WF_OK;
}

/* What may take long is done in pieces. */
#define RUN(name, a)                                                                               \
    _Generic((a),                                                                                  \
        const struct wf_gemm *: wf_gemm_in_pieces,                                                 \
        const struct wf_conv *: wf_conv_in_pieces,                                                 \
        const struct wf_upconv *: wf_upconv_in_pieces,                                             \
        const struct wf_attention *: wf_attention_in_pieces,                                       \
        default: be->ops.name)

/* The one way to every slot: the contract is checked, a caller that wants to stop is heard, the
   work is counted. */
#define CALL(name)                                                                                 \
    enum wf_status wf_##name(struct wf_backend *be, const struct wf_##name *a)                     \
    {                                                                                              \
        struct work work = {.kind = WF_KIND_PASS};                                                 \
        WF_TRY(check_##name(be, a, &work));                                                        \
        if (be->cancel && atomic_load_explicit(be->cancel, memory_order_relaxed))                  \
            return wf_fail_cancelled(be->err);                                                     \
        const double began = wf_clock();                                                           \
        const enum wf_status status = RUN(name, a)(be, a);                                         \
        note(be, &work, began);                                                                    \
        return status;                                                                             \
    }
WF_OPS(CALL)
