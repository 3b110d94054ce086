/* Group norm: statistics, of parts and of the whole, and what is made of them. */
#include "tests/checkops.h"

/* Channels and a number of groups that divides them. */
static int64_t some_channels(struct check *c, int64_t *groups)
{
    *groups = PICK_OF(c, 1, 2, 3, 8, 32);
    return *groups * PICK_OF(c, 1, 2, 3, 4, 5, 16);
}

static enum layout dense_or_lines(struct check *c)
{
    return chance(c, 50) ? DENSE : LINES;
}

/* A frame of some size, a few of them larger than a part of the device's. */
static void some_frames(struct check *c, int64_t dims[4])
{
    const bool large = chance(c, 10);
    dims[0] = pick(c, 1, 4);
    dims[1] = large ? 61 : pick(c, 1, 9);
    dims[2] = large ? 83 : pick(c, 1, 12);
}

void test_group_sums(struct check *c)
{
    for (int i = 0; i < 60; i++) {
        int64_t groups, dims[4];
        some_frames(c, dims);
        dims[3] = some_channels(c, &groups);
        const float offset = chance(c, 30) ? 20 : 0; /* a mean far from 0 */
        struct operand *x =
            make_within(c, INPUT, dense_or_lines(c), offset - 1, offset + 1, 4, dims);
        struct operand *y = make(c, OUTPUT, DENSE, WF_F32, WF_DIMS(dims[0], groups, 3));
        label(c, "%dx%dx%dx%d in %d, offset %g", (int)dims[0], (int)dims[1], (int)dims[2],
              (int)dims[3], (int)groups, (double)offset);
        for (int b = 0; b < BACKENDS; b++)
            expect_ok(c, wf_group_sums(c->be[b], &(struct wf_group_sums){x->t[b], y->t[b]}));
        finish(c, 1e-6);
    }
}

/* Parts that are those of frames: what is merged is what all of them together would give. */
void test_group_merge(struct check *c)
{
    for (int i = 0; i < 40; i++) {
        const int64_t parts = PICK_OF(c, 1, 2, 7, 130, 300), rows = pick(c, 1, 3);
        const int64_t groups = PICK_OF(c, 1, 3, 32);
        struct operand *x = make_within(c, INPUT, chance(c, 50) ? DENSE : GAPS, 0, 4,
                                        WF_DIMS(parts, rows, groups, 3));
        struct operand *y = make(c, OUTPUT, DENSE, WF_F32, WF_DIMS(rows, groups, 3));
        label(c, "%d parts of %dx%d", (int)parts, (int)rows, (int)groups);
        for (int b = 0; b < BACKENDS; b++)
            expect_ok(c, wf_group_merge(c->be[b], &(struct wf_group_merge){x->t[b], y->t[b]}));
        finish(c, 1e-6);
    }
}

/* By the statistics that the backend itself found: of each frame, or of all. */
void test_group_apply(struct check *c)
{
    for (int i = 0; i < 80; i++) {
        int64_t groups, dims[4];
        some_frames(c, dims);
        dims[3] = some_channels(c, &groups);
        const enum wf_dtype type = feed_type(c);
        const enum wf_act act = chance(c, 50) ? WF_ACT_NONE : WF_ACT_SILU;
        const bool in_place = type == WF_F32 && chance(c, 30), together = chance(c, 50);
        const float offset = chance(c, 30) ? 20 : 0;
        struct operand *y =
            make_values(c, OUTPUT, dense_or_lines(c), type, offset - 1, offset + 1, 4, dims);
        struct operand *x =
            in_place ? y
                     : make_within(c, INPUT, dense_or_lines(c), offset - 1, offset + 1, 4, dims);
        struct operand *sums = make(c, OUTPUT, DENSE, WF_F32, WF_DIMS(dims[0], groups, 3));
        struct operand *all = make(c, OUTPUT, DENSE, WF_F32, WF_DIMS(1, groups, 3));
        struct operand *weight = make(c, INPUT, DENSE, WF_F32, WF_DIMS(dims[3]));
        struct operand *shift = make(c, INPUT, DENSE, WF_F32, WF_DIMS(dims[3]));
        label(c, "%dx%dx%dx%d in %d, offset %g, together %d, in place %d", (int)dims[0],
              (int)dims[1], (int)dims[2], (int)dims[3], (int)groups, (double)offset, together,
              in_place);
        for (int b = 0; b < BACKENDS; b++) {
            struct wf_tensor stats = sums->t[b];
            const struct wf_tensor parts = wf_tensor_reshape(stats, WF_DIMS(dims[0], 1, groups, 3));
            expect_ok(c, wf_group_sums(c->be[b], &(struct wf_group_sums){x->t[b], stats}));
            expect_ok(c, wf_group_merge(c->be[b], &(struct wf_group_merge){parts, all->t[b]}));
            if (together) {
                stats = all->t[b];
                stats.dim[0] = dims[0];
                stats.stride[0] = 0;
            }
            expect_ok(c, wf_group_apply(c->be[b], &(struct wf_group_apply){
                                                      x->t[b], y->t[b], stats, weight->t[b],
                                                      shift->t[b], act, 1e-5f}));
        }
        finish(c, offset > 0 ? 5e-5 : 5e-6);
    }
}
