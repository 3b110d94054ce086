/* The operations that are sums of products: gemm, conv, upconv, attention. */
#include <math.h>
#include <string.h>

#include "tests/checkops.h"

/* A parameter or none; bias[b] is for backend b. */
static void maybe_bias(struct check *c, int64_t n, const struct wf_param *bias[BACKENDS])
{
    bias[REF] = bias[TESTED] = NULL;
    if (chance(c, 60)) {
        struct wf_param *p = make_param(c, WF_PARAM_VECTOR, 1, WF_DIMS(n));
        bias[REF] = &p[REF];
        bias[TESTED] = &p[TESTED];
    }
}

/* F32, or half of the time BF16 where products are in bf16. */
enum wf_dtype feed_type(struct check *c)
{
    return c->be[REF]->compute == WF_BF16 && chance(c, 50) ? WF_BF16 : WF_F32;
}

/* The type of x for a parameter. */
static enum wf_dtype operand_type(const struct check *c, const struct wf_param *p)
{
    return wf_operand_type(c->be[REF], &p[REF]);
}

static void gemm_case(struct check *c, int64_t m, int64_t n, int64_t k)
{
    struct wf_param *w = make_param(c, WF_PARAM_LINEAR, 1, WF_DIMS(n, k));
    const enum wf_dtype type = operand_type(c, w);
    const bool accumulate = chance(c, 50);
    const enum wf_dtype y_type = accumulate ? WF_F32 : feed_type(c);
    struct operand *x = make(c, INPUT, chance(c, 60) ? DENSE : GAPS, type, WF_DIMS(m, k));
    struct operand *y = make(c, OUTPUT, chance(c, 60) ? DENSE : GAPS, y_type, WF_DIMS(m, n));
    struct operand *gate =
        accumulate && chance(c, 50) ? make(c, INPUT, DENSE, WF_F32, WF_DIMS(n)) : NULL;
    const struct wf_param *bias[BACKENDS];
    maybe_bias(c, n, bias);
    const enum wf_act act = (enum wf_act)pick(c, WF_ACT_NONE, WF_ACT_SILU);
    label(c, "m %d n %d k %d %s to %s act %d accumulate %d gate %d bias %d", (int)m, (int)n, (int)k,
          wf_dtype_name(type), wf_dtype_name(y_type), (int)act, accumulate, gate != NULL,
          bias[REF] != NULL);
    for (int b = 0; b < BACKENDS; b++) {
        struct wf_gemm a = {.x = x->t[b],
                            .y = y->t[b],
                            .w = &w[b],
                            .bias = bias[b],
                            .act = act,
                            .accumulate = accumulate};
        if (gate)
            a.gate = gate->t[b];
        expect_ok(c, wf_gemm(c->be[b], &a));
    }
    finish(c, 1e-5);
}

void test_gemm(struct check *c)
{
    for (int i = 0; i < 150; i++) {
        const int64_t m = PICK_OF(c, 1, 2, 3, 5, 14, 15, 28, 29, 64, 113, 130, 257);
        const int64_t n = PICK_OF(c, 1, 3, 8, 15, 16, 17, 31, 32, 33, 64, 100, 192, 257);
        gemm_case(c, m, n, PICK_OF(c, 1, 2, 7, 16, 31, 64, 100, 192, 255, 256, 257, 600));
    }
    gemm_case(c, 320, 576, 192);
    gemm_case(c, 1, 1536, 256);
    gemm_case(c, 77, 300, 1536);
    gemm_case(c, 1030, 40, 33);
}

struct conv_shape {
    int64_t t, h, w, c, o, kt, kh, kw;
    int pad_front, pad_back, pad_h[2], pad_w[2], stride_t, stride_hw;
};

static void conv_case(struct check *c, const struct conv_shape *s)
{
    const int64_t t = (s->pad_front + s->t + s->pad_back - s->kt) / s->stride_t + 1;
    const int64_t h = (s->pad_h[0] + s->h + s->pad_h[1] - s->kh) / s->stride_hw + 1;
    const int64_t w = (s->pad_w[0] + s->w + s->pad_w[1] - s->kw) / s->stride_hw + 1;
    struct wf_param *p = make_param(c, WF_PARAM_CONV, 1, WF_DIMS(s->o, s->c, s->kt, s->kh, s->kw));
    struct operand *x = make(c, INPUT, LINES, operand_type(c, p), WF_DIMS(s->t, s->h, s->w, s->c));
    struct operand *y = make(c, OUTPUT, LINES, WF_F32, WF_DIMS(t, h, w, s->o));
    const struct wf_param *bias[BACKENDS];
    maybe_bias(c, s->o, bias);
    const bool accumulate = chance(c, 30);
    label(c, "x %dx%dx%dx%d o %d kernel %dx%dx%d pad %d,%d,%d,%d,%d,%d stride %d,%d accumulate %d",
          (int)s->t, (int)s->h, (int)s->w, (int)s->c, (int)s->o, (int)s->kt, (int)s->kh, (int)s->kw,
          s->pad_front, s->pad_back, s->pad_h[0], s->pad_h[1], s->pad_w[0], s->pad_w[1],
          s->stride_t, s->stride_hw, accumulate);
    for (int b = 0; b < BACKENDS; b++) {
        const struct wf_conv a = {.x = x->t[b],
                                  .y = y->t[b],
                                  .w = &p[b],
                                  .bias = bias[b],
                                  .pad_front = s->pad_front,
                                  .pad_back = s->pad_back,
                                  .pad_h = {s->pad_h[0], s->pad_h[1]},
                                  .pad_w = {s->pad_w[0], s->pad_w[1]},
                                  .stride_t = s->stride_t,
                                  .stride_hw = s->stride_hw,
                                  .accumulate = accumulate};
        const struct counted counted = begin_count(c, WF_OP_conv, &a);
        expect_ok(c, wf_conv(c->be[b], &a));
        if (b == TESTED)
            end_count(c, &counted);
    }
    finish(c, 1e-5);
}

static struct conv_shape random_conv(struct check *c)
{
    struct conv_shape s = {.t = pick(c, 1, 4),
                           .h = PICK_OF(c, 1, 2, 3, 7, 8, 17),
                           .w = PICK_OF(c, 1, 2, 3, 8, 13, 16, 31),
                           .c = PICK_OF(c, 1, 3, 4, 8, 12, 16, 17, 32, 48, 64, 77, 96),
                           .o = PICK_OF(c, 1, 3, 4, 8, 12, 16, 17, 32, 48, 96),
                           .kt = PICK_OF(c, 1, 1, 3, 3, 2),
                           .kh = PICK_OF(c, 1, 3, 3, 2, 5)};
    s.kw = chance(c, 80) ? s.kh : pick(c, 1, 4);
    s.stride_t = (int)PICK_OF(c, 1, 1, 1, 2);
    s.stride_hw = (int)PICK_OF(c, 1, 1, 1, 2, 3);
    s.pad_front = (int)pick(c, 0, s.kt);
    s.pad_back = chance(c, 50) ? (int)pick(c, 0, s.kt) : 0;
    for (int i = 0; i < 2; i++) {
        s.pad_h[i] = chance(c, 50) ? (int)s.kh / 2 : (int)pick(c, 0, 3);
        s.pad_w[i] = chance(c, 50) ? (int)s.kw / 2 : (int)pick(c, 0, 3);
    }
    return s;
}

static bool conv_fits(const struct conv_shape *s)
{
    return s->pad_front + s->t + s->pad_back >= s->kt &&
           s->pad_h[0] + s->h + s->pad_h[1] >= s->kh && s->pad_w[0] + s->w + s->pad_w[1] >= s->kw;
}

/* A part of an axis that a kernel sees, and how many places of padding it sees before and after. */
struct seen {
    int64_t first, count;
    int before, after;
};

/* By places first .. first + count - 1 of the result, where the kernel reaches that far. */
static struct seen see(int64_t length, int64_t first, int64_t count, int64_t before, int64_t after)
{
    const int64_t from = first - before, end = first + count + after;
    const int64_t above = from < 0 ? -from : 0, below = end > length ? end - length : 0;
    return (struct seen){from + above, end - below - from - above, (int)above, (int)below};
}

/* Frames first .. first + count - 1 of a convolution that keeps their number; front: how many
   frames the kernel reaches before. */
static enum wf_status conv_chunk(struct wf_backend *be, struct wf_conv a, int64_t front,
                                 int64_t first, int64_t count)
{
    const struct seen t = see(a.x.dim[0], first, count, front, a.w->dim[2] - 1 - front);
    a.x = wf_tensor_slice(a.x, 0, t.first, t.count);
    a.y = wf_tensor_slice(a.y, 0, first, count);
    a.pad_front = t.before;
    a.pad_back = t.after;
    return wf_conv(be, &a);
}

/* Of [T,H,W]: a chunk of frames of a window of the picture. */
struct box {
    int64_t first[3], count[3];
};

/* The next of the boxes of random sizes that cover dim; before the first: first {-1}, count as long
   as dim, but 1 frame. */
static bool next_box(struct check *c, const int64_t dim[3], struct box *box)
{
    int axis = 2;
    for (; axis >= 0; axis--) {
        box->first[axis] += box->count[axis];
        if (box->first[axis] < dim[axis])
            break;
        box->first[axis] = 0;
    }
    for (int i = axis < 0 ? 3 : axis; i < 3; i++)
        box->count[i] = pick(c, 1, dim[i] - box->first[i]);
    return axis >= 0;
}

/* A box in the place that it has in the whole. */
static enum wf_status conv_box(struct wf_backend *be, struct wf_conv a, int64_t front,
                               const struct box *box)
{
    const int64_t *first = box->first, *count = box->count;
    const int64_t reach = a.w->dim[3] / 2;
    const struct seen h = see(a.x.dim[1], first[1], count[1], reach, reach);
    const struct seen w = see(a.x.dim[2], first[2], count[2], reach, reach);
    a.x = wf_tensor_slice(wf_tensor_slice(a.x, 1, h.first, h.count), 2, w.first, w.count);
    for (int i = 1; i < 3; i++)
        a.y = wf_tensor_slice(a.y, i, first[i], count[i]);
    a.pad_h[0] = h.before;
    a.pad_h[1] = h.after;
    a.pad_w[0] = w.before;
    a.pad_w[1] = w.after;
    return conv_chunk(be, a, front, first[0], count[0]);
}

static const void *row_of(const struct operand *o, int b, int64_t row)
{
    const size_t at = (size_t)wf_tensor_row(&o->t[b], row) * wf_dtype_bytes(o->t[b].dtype);
    return (const unsigned char *)host_values(o, b) + at;
}

/* Both have the same bits in a backend; a GPU has other kernels for other shapes. */
static void expect_same(struct check *c, int b, const struct operand *whole,
                        const struct operand *parts, const char *what)
{
    const struct wf_tensor *t = &whole->t[b];
    const size_t bytes = (size_t)t->dim[t->rank - 1] * wf_dtype_bytes(t->dtype);
    for (int64_t row = 0; !c->be[b]->device.own_memory && row < wf_tensor_rows(t); row++) {
        if (memcmp(row_of(whole, b, row), row_of(parts, b, row), bytes) != 0) {
            fail(c, "%s: pixels depend on the %s", c->be[b]->ops.name, what);
            return;
        }
    }
}

/* The pixels do not depend on how many frames are given at once, nor on whether lines are apart;
   written first, then added to. */
static void conv_chunks_case(struct check *c, int64_t h, int64_t w, int64_t channels, int64_t o)
{
    const int64_t frames = pick(c, 3, 6), taps = PICK_OF(c, 2, 3), front = pick(c, 0, taps - 1);
    struct wf_param *p = make_param(c, WF_PARAM_CONV, 1, WF_DIMS(o, channels, taps, 3, 3));
    struct operand *x = make(c, INPUT, LINES, operand_type(c, p), WF_DIMS(frames, h, w, channels));
    struct operand *whole = make(c, OUTPUT, DENSE, WF_F32, WF_DIMS(frames, h, w, o));
    struct operand *parts = make(c, OUTPUT, LINES, WF_F32, WF_DIMS(frames, h, w, o));
    const struct wf_param *bias[BACKENDS];
    maybe_bias(c, o, bias);
    label(c, "chunks of %d frames %dx%d, %d to %d channels, %d of %d taps before", (int)frames,
          (int)h, (int)w, (int)channels, (int)o, (int)front, (int)taps);
    for (int b = 0; b < BACKENDS; b++) {
        struct wf_conv a = {.x = x->t[b],
                            .y = whole->t[b],
                            .w = &p[b],
                            .bias = bias[b],
                            .pad_h = {1, 1},
                            .pad_w = {1, 1},
                            .stride_t = 1,
                            .stride_hw = 1};
        for (int i = 0; i < 2; i++) {
            a.accumulate = i == 1;
            a.y = whole->t[b];
            expect_ok(c, conv_chunk(c->be[b], a, front, 0, frames));
            a.y = parts->t[b];
            for (int64_t first = 0, count; first < frames; first += count) {
                count = pick(c, 1, frames - first);
                expect_ok(c, conv_chunk(c->be[b], a, front, first, count));
            }
        }
    }
    fetch(c, whole);
    fetch(c, parts);
    for (int b = 0; b < BACKENDS; b++)
        expect_same(c, b, whole, parts, "chunks");
    finish(c, 1e-5);
}

/* Windows with what the kernel sees beyond them give the whole picture's values: the same ones in
   ref, and finish compares the other backend's with those. */
static void conv_windows_case(struct check *c, int64_t channels, int64_t o)
{
    const int64_t dim[3] = {pick(c, 1, 4), pick(c, 1, 24), pick(c, 1, 24)};
    const int64_t taps = PICK_OF(c, 1, 3), front = pick(c, 0, taps - 1), size = PICK_OF(c, 1, 3, 5);
    struct wf_param *p = make_param(c, WF_PARAM_CONV, 1, WF_DIMS(o, channels, taps, size, size));
    struct operand *x =
        make(c, INPUT, LINES, operand_type(c, p), WF_DIMS(dim[0], dim[1], dim[2], channels));
    struct operand *whole = make(c, OUTPUT, DENSE, WF_F32, WF_DIMS(dim[0], dim[1], dim[2], o));
    struct operand *parts = make(c, OUTPUT, DENSE, WF_F32, WF_DIMS(dim[0], dim[1], dim[2], o));
    const struct wf_param *bias[BACKENDS];
    maybe_bias(c, o, bias);
    label(c, "windows of %dx%dx%d, %d to %d channels, %dx%dx%d", (int)dim[0], (int)dim[1],
          (int)dim[2], (int)channels, (int)o, (int)taps, (int)size, (int)size);
    for (int b = 0; b < BACKENDS; b++) {
        struct wf_conv a = {.x = x->t[b],
                            .y = whole->t[b],
                            .w = &p[b],
                            .bias = bias[b],
                            .stride_t = 1,
                            .stride_hw = 1};
        const struct box all = {.count = {dim[0], dim[1], dim[2]}};
        struct box box = {.first = {-1}, .count = {1, dim[1], dim[2]}};
        expect_ok(c, conv_box(c->be[b], a, front, &all));
        a.y = parts->t[b];
        while (next_box(c, dim, &box))
            expect_ok(c, conv_box(c->be[b], a, front, &box));
    }
    fetch(c, whole);
    fetch(c, parts);
    expect_same(c, REF, whole, parts, "windows");
    finish(c, 1e-5);
}

void test_conv(struct check *c)
{
    for (int i = 0; i < 150; i++) {
        const struct conv_shape s = random_conv(c);
        if (conv_fits(&s))
            conv_case(c, &s);
    }
    conv_case(c,
              &(const struct conv_shape){3, 18, 20, 192, 96, 3, 3, 3, 2, 0, {1, 1}, {1, 1}, 1, 1});
    conv_case(c, &(const struct conv_shape){2, 33, 40, 64, 3, 3, 3, 3, 1, 1, {1, 1}, {1, 1}, 1, 1});
    conv_case(c, &(const struct conv_shape){5, 9, 8, 64, 128, 3, 1, 1, 2, 0, {0, 0}, {0, 0}, 1, 1});
    for (int i = 0; i < 20; i++)
        conv_chunks_case(c, pick(c, 1, 12), pick(c, 1, 12), PICK_OF(c, 3, 12, 16, 96),
                         PICK_OF(c, 3, 12, 16, 96));
    for (int i = 0; i < 20; i++)
        conv_windows_case(c, PICK_OF(c, 3, 12, 16, 64, 96), PICK_OF(c, 3, 12, 16, 64));
}

static void upconv_case(struct check *c, int64_t t, int64_t h, int64_t w, int64_t in, int64_t o)
{
    int pad_h[2], pad_w[2];
    for (int i = 0; i < 2; i++) {
        pad_h[i] = chance(c, 60) || h < 3;
        pad_w[i] = chance(c, 60) || w < 3;
    }
    const int64_t lines = 2 * (h - 2 + pad_h[0] + pad_h[1]);
    const int64_t columns = 2 * (w - 2 + pad_w[0] + pad_w[1]);
    struct wf_param *p = make_param(c, WF_PARAM_UPCONV, 1, WF_DIMS(o, in, 1, 3, 3));
    const enum wf_dtype type = operand_type(c, p);
    struct operand *x = make(c, INPUT, LINES, type, WF_DIMS(t, h, w, in));
    struct operand *y = make(c, OUTPUT, LINES, WF_F32, WF_DIMS(t, lines, columns, o));
    const struct wf_param *bias[BACKENDS];
    maybe_bias(c, o, bias);
    label(c, "x %dx%dx%dx%d o %d pad %d,%d,%d,%d bias %d", (int)t, (int)h, (int)w, (int)in, (int)o,
          pad_h[0], pad_h[1], pad_w[0], pad_w[1], bias[REF] != NULL);
    for (int b = 0; b < BACKENDS; b++) {
        const struct wf_upconv a = {.x = x->t[b],
                                    .y = y->t[b],
                                    .w = &p[b],
                                    .bias = bias[b],
                                    .pad_h = {pad_h[0], pad_h[1]},
                                    .pad_w = {pad_w[0], pad_w[1]}};
        const struct counted counted = begin_count(c, WF_OP_upconv, &a);
        expect_ok(c, wf_upconv(c->be[b], &a));
        if (b == TESTED)
            end_count(c, &counted);
    }
    /* in bf16, sums of weights are rounded once, the weights themselves in ref */
    finish(c, type == WF_BF16 ? 4e-3 : 1e-5);
}

/* A box of the small picture, in the place that it has in the large one. */
static enum wf_status upconv_box(struct wf_backend *be, struct wf_upconv a, const struct box *box)
{
    const int64_t *first = box->first, *count = box->count;
    const struct seen h = see(a.x.dim[1], first[1], count[1], 1, 1);
    const struct seen w = see(a.x.dim[2], first[2], count[2], 1, 1);
    a.x = wf_tensor_slice(a.x, 0, first[0], count[0]);
    a.x = wf_tensor_slice(wf_tensor_slice(a.x, 1, h.first, h.count), 2, w.first, w.count);
    for (int i = 0; i < 3; i++)
        a.y = wf_tensor_slice(a.y, i, i ? 2 * first[i] : first[i], i ? 2 * count[i] : count[i]);
    a.pad_h[0] = h.before;
    a.pad_h[1] = h.after;
    a.pad_w[0] = w.before;
    a.pad_w[1] = w.after;
    return wf_upconv(be, &a);
}

static void upconv_windows_case(struct check *c, int64_t in, int64_t o)
{
    const int64_t dim[3] = {pick(c, 1, 3), pick(c, 1, 24), pick(c, 1, 12)};
    const int64_t height = 2 * dim[1], width = 2 * dim[2];
    struct wf_param *p = make_param(c, WF_PARAM_UPCONV, 1, WF_DIMS(o, in, 1, 3, 3));
    const enum wf_dtype type = operand_type(c, p);
    struct operand *x = make(c, INPUT, LINES, type, WF_DIMS(dim[0], dim[1], dim[2], in));
    struct operand *whole = make(c, OUTPUT, DENSE, WF_F32, WF_DIMS(dim[0], height, width, o));
    struct operand *parts = make(c, OUTPUT, DENSE, WF_F32, WF_DIMS(dim[0], height, width, o));
    label(c, "windows of %dx%dx%d, %d to %d channels", (int)dim[0], (int)dim[1], (int)dim[2],
          (int)in, (int)o);
    for (int b = 0; b < BACKENDS; b++) {
        struct wf_upconv a = {.x = x->t[b], .y = whole->t[b], .w = &p[b]};
        const struct box all = {.count = {dim[0], dim[1], dim[2]}};
        struct box box = {.first = {-1}, .count = {1, dim[1], dim[2]}};
        expect_ok(c, upconv_box(c->be[b], a, &all));
        a.y = parts->t[b];
        while (next_box(c, dim, &box))
            expect_ok(c, upconv_box(c->be[b], a, &box));
    }
    fetch(c, whole);
    fetch(c, parts);
    expect_same(c, REF, whole, parts, "windows");
    finish(c, type == WF_BF16 ? 4e-3 : 1e-5);
}

void test_upconv(struct check *c)
{
    for (int i = 0; i < 60; i++) {
        const int64_t h = chance(c, 80) ? pick(c, 1, 9) : pick(c, 14, 35);
        upconv_case(c, pick(c, 1, 3), h, pick(c, 1, 17), PICK_OF(c, 1, 3, 8, 16, 24, 64, 96),
                    PICK_OF(c, 1, 3, 8, 16, 32, 33));
    }
    for (int i = 0; i < 15; i++)
        upconv_windows_case(c, PICK_OF(c, 3, 16, 64), PICK_OF(c, 3, 8, 16, 32));
}

struct attention_case {
    int64_t batches, s, l, heads, d, e;
    float magnitude; /* of q and k; 1 is ordinary, 30 makes scores of thousands */
    bool rel_bias, key_bias;
    bool hide_keys; /* some keys are out of reach: -inf or the most negative number */
};

static void hide_some_keys(struct check *c, struct operand *key_bias, int64_t keys)
{
    for (int64_t j = 1; j < keys; j++) {
        if (chance(c, 40))
            set_value(c, key_bias, j, chance(c, 50) ? -INFINITY : -3.0e38f);
    }
    const int64_t first = pick(c, 0, keys - 1); /* whole blocks may be hidden, but not all keys */
    for (int64_t j = 0; j < first; j++)
        set_value(c, key_bias, j, -INFINITY);
    set_value(c, key_bias, first, 0.5f);
}

static void attention_case(struct check *c, const struct attention_case *k)
{
    const enum layout layout = chance(c, 50) ? DENSE : GAPS;
    const float big = k->magnitude;
    const enum wf_dtype type = feed_type(c);
    struct operand *q =
        make_values(c, INPUT, layout, type, -big, big, WF_DIMS(k->batches, k->s, k->heads, k->d));
    struct operand *key =
        make_values(c, INPUT, layout, type, -big, big, WF_DIMS(k->batches, k->l, k->heads, k->d));
    struct operand *v = make(c, INPUT, layout, type, WF_DIMS(k->batches, k->l, k->heads, k->e));
    const enum wf_dtype y_type = feed_type(c);
    struct operand *y = make(c, OUTPUT, layout, y_type, WF_DIMS(k->batches, k->s, k->heads, k->e));
    struct operand *rel = NULL, *bias = NULL;
    if (k->rel_bias)
        rel = make_within(c, INPUT, layout, -8, 8, WF_DIMS(k->heads, k->s + k->l - 1));
    if (k->key_bias)
        bias = make_within(c, INPUT, DENSE, -5, 5, WF_DIMS(k->l));
    if (bias && k->hide_keys)
        hide_some_keys(c, bias, k->l);
    label(c,
          "%s batches %d s %d l %d heads %d d %d e %d to %s magnitude %g rel_bias %d key_bias %d "
          "hidden %d",
          wf_dtype_name(type), (int)k->batches, (int)k->s, (int)k->l, (int)k->heads, (int)k->d,
          (int)k->e, wf_dtype_name(y_type), (double)big, k->rel_bias, k->key_bias, k->hide_keys);
    for (int b = 0; b < BACKENDS; b++) {
        struct wf_attention a = {.q = q->t[b], .k = key->t[b], .v = v->t[b], .y = y->t[b]};
        a.scale = 1.0f / sqrtf((float)k->d);
        if (rel)
            a.rel_bias = rel->t[b];
        if (bias)
            a.key_bias = bias->t[b];
        expect_ok(c, wf_attention(c->be[b], &a));
    }
    /* f32 scores in the thousands are known to 1e-4, so weights to about that; in bf16, weights are
       rounded as well */
    finish(c, type == WF_BF16 ? 4e-3 : big > 1 ? 2e-3 : 5e-6);
}

void test_attention(struct check *c)
{
    for (int i = 0; i < 80; i++) {
        const struct attention_case k = {
            .batches = chance(c, 60) ? 1 : pick(c, 2, 4),
            .s = PICK_OF(c, 1, 2, 13, 14, 15, 64, 100, 257),
            .l = PICK_OF(c, 1, 2, 31, 32, 33, 77, 128, 129, 300, 513),
            .heads = pick(c, 1, 3),
            .d = PICK_OF(c, 1, 4, 16, 24, 32, 40, 64, 80, 128, 130),
            .e = PICK_OF(c, 1, 4, 16, 24, 32, 40, 64, 80, 128, 130),
            .magnitude = chance(c, 80) ? 1 : 30,
            .rel_bias = chance(c, 40),
            .key_bias = chance(c, 40),
            .hide_keys = chance(c, 50),
        };
        attention_case(c, &k);
    }
    attention_case(
        c, &(const struct attention_case){
               .batches = 1, .s = 50, .l = 60, .heads = 1, .d = 384, .e = 384, .magnitude = 1});
    attention_case(
        c, &(const struct attention_case){
               .batches = 1, .s = 20, .l = 300, .heads = 2, .d = 1024, .e = 1000, .magnitude = 1});
}

/* --- the fast ways --- */

static void expect_path(struct check *c, const char *path)
{
    const char *taken = c->be[TESTED]->path;
    if (!taken || strcmp(taken, path) != 0)
        fail(c, "computed by %s, not by %s: right, but slow", taken ? taken : "nothing", path);
}

static void conv_path(struct check *c, int64_t channels, enum layout layout, const char *path)
{
    const struct wf_param *w =
        make_param(c, WF_PARAM_CONV, 1, WF_DIMS(channels, channels, 3, 3, 3));
    struct operand *x = make(c, INPUT, layout, operand_type(c, w), WF_DIMS(3, 24, 20, channels));
    struct operand *y = make(c, OUTPUT, layout, WF_F32, WF_DIMS(3, 24, 20, channels));
    label(c, "conv %d, layout %d", (int)channels, (int)layout);
    for (int b = 0; b < BACKENDS; b++)
        expect_ok(c, wf_conv(c->be[b], &(struct wf_conv){.x = x->t[b],
                                                         .y = y->t[b],
                                                         .w = &w[b],
                                                         .pad_front = 2,
                                                         .pad_h = {1, 1},
                                                         .pad_w = {1, 1},
                                                         .stride_t = 1,
                                                         .stride_hw = 1}));
    expect_path(c, path);
    finish(c, 1e-5);
}

static void gemm_path(struct check *c, int64_t rows, int64_t n, int64_t k, const char *path)
{
    const struct wf_param *w = make_param(c, WF_PARAM_LINEAR, 1, WF_DIMS(n, k));
    struct operand *x = make(c, INPUT, DENSE, operand_type(c, w), WF_DIMS(rows, k));
    struct operand *y = make(c, OUTPUT, DENSE, WF_F32, WF_DIMS(rows, n));
    label(c, "gemm %dx%dx%d", (int)rows, (int)n, (int)k);
    for (int b = 0; b < BACKENDS; b++)
        expect_ok(c, wf_gemm(c->be[b], &(struct wf_gemm){.x = x->t[b], .y = y->t[b], .w = &w[b]}));
    expect_path(c, path);
    finish(c, 1e-5);
}

static void attention_path(struct check *c, int64_t heads, int64_t width, const char *path)
{
    const enum wf_dtype type = wf_attention_type(c->be[REF], width);
    struct operand *in[3];
    for (int i = 0; i < 3; i++)
        in[i] = make(c, INPUT, DENSE, type, WF_DIMS(1, 40, heads, width));
    struct operand *y = make(c, OUTPUT, DENSE, WF_F32, WF_DIMS(1, 40, heads, width));
    label(c, "attention %dx%d", (int)heads, (int)width);
    for (int b = 0; b < BACKENDS; b++)
        expect_ok(c, wf_attention(c->be[b], &(struct wf_attention){.q = in[0]->t[b],
                                                                   .k = in[1]->t[b],
                                                                   .v = in[2]->t[b],
                                                                   .y = y->t[b],
                                                                   .scale = 0.1f}));
    expect_path(c, path);
    finish(c, type == WF_BF16 ? 2e-2 : 1e-5);
}

/* Shapes of Wan, narrowed, that must not fall back to the slow way without anybody seeing it. */
void test_paths(struct check *c)
{
    const char *about = c->be[TESTED]->about;
    const bool bf16 = c->be[TESTED]->compute == WF_BF16;
    const bool native = strstr(about, "avx512_bf16") != NULL;
    const bool library = strstr(about, "oneDNN") && strstr(about, "avx512") && (native || !bf16);
    const char *path = library ? "library" : "own";
    if (bf16 && !native)
        return; /* what multiplies no bf16 may take either way */
    gemm_path(c, 300, 256, 192, path);
    gemm_path(c, 1, 512, 256, path);
    conv_path(c, 96, DENSE, path);
    conv_path(c, 96, LINES, path);
    attention_path(c, 2, 128, bf16 ? "pairs" : "own");
}
