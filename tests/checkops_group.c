/* Group norm's operations. */
#include <math.h>

#include "tests/checkops.h"

/* Frames, a few pixels or many, and groups of channels. */
struct shape {
    int64_t t, h, w, c, g;
    bool window; /* of a larger picture */
};

static struct shape some_shape(struct check *c)
{
    const int64_t width = PICK_OF(c, 1, 2, 3, 4, 7, 8, 10, 16);
    struct shape s = {.t = pick(c, 1, 3),
                      .h = PICK_OF(c, 1, 2, 5, 13),
                      .w = PICK_OF(c, 1, 2, 7, 9, 33),
                      .g = PICK_OF(c, 1, 2, 3, 5, 32),
                      .window = chance(c, 50)};
    s.c = s.g * width;
    if (chance(c, 10)) /* more than one strip, chunk or thread has */
        s.c = s.g * PICK_OF(c, 48, 130);
    else if (chance(c, 10))
        s.h = s.w = 70;
    return s;
}

static struct operand *make_frames(struct check *c, enum role role, enum wf_dtype type,
                                   const struct shape *s, float low, float high)
{
    const int64_t more = s->window ? 3 : 0;
    return make_values(c, role, DENSE, type, low, high,
                       WF_DIMS(s->t, s->h + more, s->w + more, s->c));
}

static struct wf_tensor frames_of(const struct operand *o, int b, const struct shape *s)
{
    const int64_t at = s->window ? 1 : 0;
    return wf_tensor_slice(wf_tensor_slice(o->t[b], 1, at, s->h), 2, at, s->w);
}

/* Each value by its own measure: finish looks at the largest, which is n. */
static void compare_statistics(struct check *c, struct operand *o)
{
    fetch(c, o);
    for (int64_t i = 0; i < wf_tensor_count(&o->t[REF]); i += 3) {
        const float *r = (const float *)host_values(o, REF) + i;
        const float *y = (const float *)host_values(o, TESTED) + i;
        const double deviation = sqrt((double)r[2] / (double)r[0]), mean = fabs((double)r[1]);
        if (isnan(r[2]) && isnan(y[1]) && isnan(y[2]))
            continue;
        const double off = fabs((double)(y[1] - r[1])), off_m2 = fabs((double)(y[2] - r[2]));
        if (!(y[0] == r[0] && off <= 1e-6 * deviation + 1.2e-7 * mean &&
              off_m2 <= 1e-6 * (double)r[2] + 1e-13 * (double)r[0] * mean * mean))
            fail(c, "group %lld is {%g, %.9g, %.9g}, not {%g, %.9g, %.9g}", (long long)i / 3,
                 (double)y[0], (double)y[1], (double)y[2], (double)r[0], (double)r[1],
                 (double)r[2]);
    }
}

void test_group_sums(struct check *c)
{
    for (int i = 0; i < 60; i++) {
        const struct shape s = some_shape(c);
        const float mean = (float)PICK_OF(c, 0, 100), apart = mean > 0 ? 0.1f : 1;
        struct operand *x = make_frames(c, INPUT, WF_F32, &s, mean - apart, mean + apart);
        struct operand *y = make(c, OUTPUT, DENSE, WF_F32, WF_DIMS(s.t, s.g, 3));
        label(c, "%dx%dx%d, %d of %d, window %d, mean %g", (int)s.t, (int)s.h, (int)s.w, (int)s.g,
              (int)s.c, s.window, (double)mean);
        for (int b = 0; b < BACKENDS; b++)
            expect_ok(c, wf_group_sums(c->be[b], &(struct wf_group_sums){.x = frames_of(x, b, &s),
                                                                         .y = y->t[b]}));
        compare_statistics(c, y);
        finish(c, 1e-6);
    }
}

void test_group_merge(struct check *c)
{
    for (int i = 0; i < 40; i++) {
        const int64_t k = PICK_OF(c, 1, 2, 3, 30), n = pick(c, 1, 4), g = PICK_OF(c, 1, 2, 32, 77);
        const enum layout layout = chance(c, 50) ? DENSE : GAPS;
        struct operand *x = make_within(c, INPUT, layout, 0.1f, 1, WF_DIMS(k, n, g, 3));
        struct operand *y = make(c, OUTPUT, DENSE, WF_F32, WF_DIMS(n, g, 3));
        const int64_t group = pick(c, 0, n * g - 1), part = pick(c, 0, k - 1);
        const bool none = chance(c, 30); /* of this group, in that part or in all */
        for (int64_t j = 0; none && j < k; j++) {
            for (int64_t e = 0; e < 3 && (j == part || k == 3); e++)
                set_value(c, x, (j * n * g + group) * 3 + e, 0);
        }
        label(c, "%d parts, %dx%d, none %d", (int)k, (int)n, (int)g, none);
        for (int b = 0; b < BACKENDS; b++)
            expect_ok(
                c, wf_group_merge(c->be[b], &(struct wf_group_merge){.x = x->t[b], .y = y->t[b]}));
        finish(c, 1e-6);
    }
}

void test_group_apply(struct check *c)
{
    for (int i = 0; i < 80; i++) {
        const struct shape s = some_shape(c);
        const enum wf_dtype type = feed_type(c);
        const bool in_place = type == WF_F32 && chance(c, 30), one = chance(c, 30);
        const enum wf_act act = (enum wf_act)pick(c, WF_ACT_NONE, WF_ACT_SILU);
        struct operand *y = make_frames(c, OUTPUT, type, &s, -1, 1);
        struct operand *x = in_place ? y : make_frames(c, INPUT, WF_F32, &s, -1, 1);
        struct operand *stats = make_within(c, INPUT, DENSE, 0.5f, 1.5f, WF_DIMS(s.t, s.g, 3));
        struct operand *weight = make(c, INPUT, DENSE, WF_F32, WF_DIMS(s.c));
        struct operand *shift = make(c, INPUT, DENSE, WF_F32, WF_DIMS(s.c));
        label(c, "%dx%dx%d, %d of %d, window %d, in place %d, act %d", (int)s.t, (int)s.h, (int)s.w,
              (int)s.g, (int)s.c, s.window, in_place, (int)act);
        for (int b = 0; b < BACKENDS; b++) {
            struct wf_group_apply a = {.x = frames_of(x, b, &s),
                                       .y = frames_of(y, b, &s),
                                       .stats = stats->t[b],
                                       .weight = weight->t[b],
                                       .shift = shift->t[b],
                                       .act = act,
                                       .eps = 1e-6f};
            if (one)
                a.stats.stride[0] = 0;
            expect_ok(c, wf_group_apply(c->be[b], &a));
        }
        finish(c, 2e-6);
    }
}

void expect_group_refusals(struct check *c)
{
    struct wf_backend *be = c->be[TESTED];
    float data[96] = {0};
    const struct wf_tensor x = wf_tensor_of(data, WF_F32, WF_DIMS(1, 2, 2, 6));
    const struct wf_tensor fit = wf_tensor_of(data + 48, WF_F32, WF_DIMS(1, 2, 3));
    const struct wf_tensor unfit = wf_tensor_of(data + 48, WF_F32, WF_DIMS(1, 4, 3));
    const struct wf_tensor channels = wf_tensor_of(data + 64, WF_F32, WF_DIMS(6));
    struct wf_tensor apart = x, repeated = fit;
    apart.stride[2] = 7;
    repeated.dim[0] = 2;
    repeated.stride[0] = 0;
    expect_refusal(c, wf_group_sums(be, &(struct wf_group_sums){x, unfit}), "4 groups of 6");
    expect_refusal(c, wf_group_sums(be, &(struct wf_group_sums){apart, fit}), "group_sums: x");
    expect_refusal(c, wf_group_sums(be, &(struct wf_group_sums){x, x}), "group_sums: y");
    const struct wf_tensor parts = wf_tensor_of(data, WF_F32, WF_DIMS(2, 2, 2, 3));
    expect_refusal(c, wf_group_merge(be, &(struct wf_group_merge){parts, fit}), "group_merge: y");
    expect_refusal(c, wf_group_merge(be, &(struct wf_group_merge){parts, repeated}),
                   "group_merge: y");
    struct wf_group_apply a = {
        .x = x, .y = x, .stats = unfit, .weight = channels, .shift = channels};
    expect_refusal(c, wf_group_apply(be, &a), "group_apply: stats");
    a.stats = fit;
    a.shift.data = NULL;
    expect_refusal(c, wf_group_apply(be, &a), "group_apply: shift");
    a.shift = channels;
    a.y = apart;
    expect_refusal(c, wf_group_apply(be, &a), "group_apply: y");
    a.y = x;
    a.act = (enum wf_act)77;
    expect_refusal(c, wf_group_apply(be, &a), "group_apply");
}
