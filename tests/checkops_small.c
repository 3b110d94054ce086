/* The operations that pass over memory, and the table's housekeeping. */
#include <math.h>
#include <string.h>

#include "tests/checkops.h"

/* An operand or none. */
static struct operand *maybe(struct check *c, int64_t n)
{
    return chance(c, 60) ? make(c, INPUT, DENSE, WF_F32, WF_DIMS(n)) : NULL;
}

static struct wf_tensor tensor_of(const struct operand *o, int b)
{
    return o ? o->t[b] : (struct wf_tensor){0};
}

static enum layout dense_or_gaps(struct check *c)
{
    return chance(c, 50) ? DENSE : GAPS;
}

static int64_t some_rows(struct check *c)
{
    return PICK_OF(c, 1, 2, 3, 17, 100, 400);
}

static int64_t some_width(struct check *c)
{
    return PICK_OF(c, 1, 2, 3, 7, 15, 16, 17, 31, 48, 64, 96, 192, 384, 1000, 1536);
}

void test_layer_norm(struct check *c)
{
    for (int i = 0; i < 60; i++) {
        const int64_t m = some_rows(c), d = some_width(c);
        const enum wf_dtype type = feed_type(c);
        const bool in_place = type == WF_F32 && chance(c, 30);
        const float offset = chance(c, 30) ? 20 : 0; /* a mean far from 0 */
        struct operand *y =
            make_values(c, OUTPUT, dense_or_gaps(c), type, offset - 1, offset + 1, WF_DIMS(m, d));
        struct operand *x = in_place ? y
                                     : make_within(c, INPUT, dense_or_gaps(c), offset - 1,
                                                   offset + 1, WF_DIMS(m, d));
        struct operand *weight = maybe(c, d), *shift = maybe(c, d);
        label(c, "%dx%d offset %g in place %d", (int)m, (int)d, (double)offset, in_place);
        for (int b = 0; b < BACKENDS; b++) {
            const struct wf_layer_norm a = {x->t[b], y->t[b], tensor_of(weight, b),
                                            tensor_of(shift, b), 1e-6f};
            expect_ok(c, wf_layer_norm(c->be[b], &a));
        }
        finish(c, offset > 0 ? 1e-5 : 2e-6);
    }
}

void test_rms_norm(struct check *c)
{
    for (int i = 0; i < 80; i++) {
        const int64_t m = some_rows(c), d = some_width(c);
        const enum wf_dtype type = feed_type(c);
        const bool in_place = type == WF_F32 && chance(c, 30);
        struct operand *y = make(c, OUTPUT, dense_or_gaps(c), type, WF_DIMS(m, d));
        struct operand *x = in_place ? y : make(c, INPUT, dense_or_gaps(c), WF_F32, WF_DIMS(m, d));
        struct operand *weight = maybe(c, d);
        const enum wf_rms_form form = chance(c, 50) ? WF_RMS_MEAN : WF_RMS_L2;
        const enum wf_act act = chance(c, 50) ? WF_ACT_NONE : WF_ACT_SILU;
        if (chance(c, 20)) /* a row of zeros */
            for (int64_t j = 0; j < d; j++)
                set_value(c, x, j, 0);
        label(c, "%dx%d form %d act %d in place %d", (int)m, (int)d, (int)form, (int)act, in_place);
        for (int b = 0; b < BACKENDS; b++) {
            const struct wf_rms_norm a = {x->t[b], y->t[b], tensor_of(weight, b),
                                          form,    act,     form == WF_RMS_L2 ? 1e-12f : 1e-6f};
            expect_ok(c, wf_rms_norm(c->be[b], &a));
        }
        finish(c, 2e-6);
    }
}

void test_rope(struct check *c)
{
    for (int i = 0; i < 50; i++) {
        const int64_t s = some_rows(c), heads = pick(c, 1, 5);
        const int64_t d = 2 * PICK_OF(c, 1, 2, 3, 5, 8, 16, 20, 32, 64);
        const bool in_place = chance(c, 40);
        const enum wf_dtype type = in_place ? WF_F32 : feed_type(c);
        struct operand *y = make(c, OUTPUT, dense_or_gaps(c), type, WF_DIMS(s, heads, d));
        struct operand *x =
            in_place ? y : make(c, INPUT, dense_or_gaps(c), WF_F32, WF_DIMS(s, heads, d));
        struct operand *cosine = make(c, INPUT, dense_or_gaps(c), WF_F32, WF_DIMS(s, d / 2));
        struct operand *sine = make(c, INPUT, dense_or_gaps(c), WF_F32, WF_DIMS(s, d / 2));
        label(c, "%dx%dx%d to %s in place %d", (int)s, (int)heads, (int)d, wf_dtype_name(type),
              in_place);
        for (int b = 0; b < BACKENDS; b++) {
            const struct wf_rope a = {x->t[b], y->t[b], cosine->t[b], sine->t[b]};
            expect_ok(c, wf_rope(c->be[b], &a));
        }
        finish(c, 1e-6);
    }
}

void test_lincomb(struct check *c)
{
    for (int i = 0; i < 60; i++) {
        const int rank = (int)pick(c, 1, 5), terms = (int)pick(c, 1, WF_LINCOMB_TERMS);
        int64_t dims[5];
        for (int j = 0; j < rank; j++)
            dims[j] = j == rank - 1 ? some_width(c) : pick(c, 1, 5);
        const int same = chance(c, 40) ? (int)pick(c, 0, terms - 1) : -1; /* that term is y */
        /* All terms have one sign: where they cancel, no bound on the result holds. */
        const float sign = chance(c, 50) ? 1 : -1;
        struct operand *y = make_values(c, OUTPUT, dense_or_gaps(c), WF_F32, 0.1f, 1, rank, dims);
        struct operand *x[WF_LINCOMB_TERMS];
        float weight[WF_LINCOMB_TERMS];
        for (int j = 0; j < terms; j++) {
            x[j] = j == same ? y
                             : make_values(c, INPUT, dense_or_gaps(c), WF_F32, 0.1f, 1, rank, dims);
            weight[j] = sign * (chance(c, 30) ? 1 : uniform(c, 0.1f, 3));
        }
        label(c, "rank %d terms %d in place %d", rank, terms, same);
        for (int b = 0; b < BACKENDS; b++) {
            struct wf_lincomb a = {.y = y->t[b], .terms = terms};
            for (int j = 0; j < terms; j++) {
                a.x[j] = x[j]->t[b];
                a.c[j] = weight[j];
            }
            expect_ok(c, wf_lincomb(c->be[b], &a));
        }
        finish(c, 1e-6);
    }
}

/* No bound may hide what is not finite. */
static void test_affine_of_infinities(struct check *c)
{
    struct operand *x = make(c, OUTPUT, DENSE, WF_F32, WF_DIMS(1, 4));
    set_value(c, x, 0, INFINITY);
    set_value(c, x, 1, -INFINITY);
    set_value(c, x, 2, NAN);
    set_value(c, x, 3, 2);
    label(c, "infinities");
    for (int b = 0; b < BACKENDS; b++)
        expect_ok(c, wf_affine(c->be[b], &(struct wf_affine){
                                             .x = x->t[b], .y = x->t[b], .low = -1, .high = 1}));
    fetch(c, x);
    for (int b = 0; b < BACKENDS; b++) {
        const float *at = host_values(x, b);
        if (!isnan(at[0]) || !isnan(at[1]) || !isnan(at[2]) || at[3] != 1)
            fail(c, "hidden by backend %d", b);
    }
    finish(c, 0);
}

void test_affine(struct check *c)
{
    test_affine_of_infinities(c);
    for (int i = 0; i < 50; i++) {
        const int64_t m = some_rows(c), d = some_width(c);
        const bool in_place = chance(c, 30), bounded = chance(c, 50);
        struct operand *y = make(c, OUTPUT, dense_or_gaps(c), WF_F32, WF_DIMS(m, d));
        struct operand *x = in_place ? y : make(c, INPUT, dense_or_gaps(c), WF_F32, WF_DIMS(m, d));
        struct operand *weight = maybe(c, d), *shift = maybe(c, d);
        label(c, "%dx%d bounded %d in place %d", (int)m, (int)d, bounded, in_place);
        for (int b = 0; b < BACKENDS; b++) {
            const struct wf_affine a = {x->t[b],
                                        y->t[b],
                                        tensor_of(weight, b),
                                        tensor_of(shift, b),
                                        bounded ? -0.5f : -INFINITY,
                                        bounded ? 0.25f : INFINITY};
            expect_ok(c, wf_affine(c->be[b], &a));
        }
        finish(c, 1e-6);
    }
}

void test_activate(struct check *c)
{
    for (int i = 0; i < 60; i++) {
        const int64_t n = PICK_OF(c, 1, 3, 16, 17, 1000, 70000);
        const float range = (float)PICK_OF(c, 1, 6, 200);
        const enum wf_act act = (enum wf_act)pick(c, WF_ACT_NONE, WF_ACT_SILU);
        const bool in_place = chance(c, 40);
        struct operand *y = make_within(c, OUTPUT, DENSE, -range, range, WF_DIMS(n, 2));
        struct operand *x =
            in_place ? y : make_within(c, INPUT, DENSE, -range, range, WF_DIMS(n, 2));
        set_value(c, x, 0, 1); /* errors are measured against values of this size */
        label(c, "n %d range %g act %d in place %d", (int)n, (double)range, (int)act, in_place);
        for (int b = 0; b < BACKENDS; b++)
            expect_ok(c, wf_activate(c->be[b], &(struct wf_activate){
                                                   .y = y->t[b], .x = x->t[b], .act = act}));
        finish(c, 1e-6);
    }
}

void test_gated_act(struct check *c)
{
    for (int i = 0; i < 60; i++) {
        const int64_t m = some_rows(c), n = some_width(c);
        const enum wf_act act = (enum wf_act)pick(c, WF_ACT_NONE, WF_ACT_SILU);
        const enum wf_dtype type = feed_type(c);
        const int same = type == WF_F32 ? (int)pick(c, 0, 3) : 0; /* y is a, b or neither */
        struct operand *y = make(c, OUTPUT, dense_or_gaps(c), type, WF_DIMS(m, n));
        struct operand *left =
            same == 1 ? y : make_within(c, INPUT, dense_or_gaps(c), -6, 6, WF_DIMS(m, n));
        struct operand *right =
            same == 2 ? y : make(c, INPUT, dense_or_gaps(c), WF_F32, WF_DIMS(m, n));
        set_value(c, left, 0, 1);
        set_value(c, right, 0, 1);
        label(c, "%dx%d act %d in place %d", (int)m, (int)n, (int)act, same);
        for (int b = 0; b < BACKENDS; b++)
            expect_ok(c, wf_gated_act(c->be[b], &(struct wf_gated_act){.y = y->t[b],
                                                                       .a = left->t[b],
                                                                       .b = right->t[b],
                                                                       .act = act}));
        finish(c, 2e-6);
    }
}

void test_gather(struct check *c)
{
    for (int i = 0; i < 40; i++) {
        const int64_t rows = pick(c, 1, 90), d = some_width(c), n = pick(c, 1, 60);
        int32_t ids[60];
        for (int64_t j = 0; j < n; j++)
            ids[j] = (int32_t)pick(c, 0, rows - 1);
        struct wf_param *table = make_param(c, WF_PARAM_TABLE, 1, WF_DIMS(rows, d));
        struct operand *y = make(c, OUTPUT, dense_or_gaps(c), WF_F32, WF_DIMS(n, d));
        label(c, "%d of %dx%d", (int)n, (int)rows, (int)d);
        for (int b = 0; b < BACKENDS; b++)
            expect_ok(c, wf_gather(c->be[b], &(struct wf_gather){
                                                 .y = y->t[b], .table = &table[b], .ids = ids}));
        finish(c, 0);
    }
}

void test_pack_u8(struct check *c)
{
    static const float special[] = {0.0f,     -0.0f, 1.0f,      0.5f / 255, 1.5f / 255, 2.5f / 255,
                                    INFINITY, NAN,   -INFINITY, 0.5f,       1.0000001f, -1e-9f};
    for (int i = 0; i < 30; i++) {
        const int64_t n = PICK_OF(c, 1, 5, 16, 33, 300, 100000);
        struct operand *x = make_within(c, INPUT, DENSE, -0.2f, 1.2f, WF_DIMS(n, 3));
        for (int64_t j = 0; j < n && n <= 300; j++)
            set_value(c, x, j,
                      chance(c, 50) ? special[pick(c, 0, 11)]
                                    : ((float)pick(c, 0, 254) + 0.5f) / 255);
        struct operand *y = make(c, OUTPUT, DENSE, WF_U8, WF_DIMS(n, 3));
        label(c, "n %d", (int)n);
        for (int b = 0; b < BACKENDS; b++)
            expect_ok(c, wf_pack_u8(c->be[b], &(struct wf_pack_u8){.y = y->t[b], .x = x->t[b]}));
        finish(c, 0);
    }
    /* 255 * (k + 1/2) / 255 in f32 may lie on a tie: to the even neighbour */
    const float half[] = {0.5f / 255, 1.5f / 255, 2.5f / 255};
    const uint8_t even[] = {0, 2, 2};
    struct operand *x = make(c, INPUT, DENSE, WF_F32, WF_DIMS(3));
    struct operand *y = make(c, OUTPUT, DENSE, WF_U8, WF_DIMS(3));
    for (int i = 0; i < 3; i++)
        set_value(c, x, i, half[i]);
    label(c, "ties");
    for (int b = 0; b < BACKENDS; b++)
        expect_ok(c, wf_pack_u8(c->be[b], &(struct wf_pack_u8){.y = y->t[b], .x = x->t[b]}));
    fetch(c, y);
    for (int b = 0; b < BACKENDS; b++) {
        const uint8_t *got = host_values(y, b);
        for (int i = 0; i < 3; i++) {
            if (255.0f * half[i] == (float)i + 0.5f && got[i] != even[i])
                fail(c, "%s: tie %d became %d", c->be[b]->ops.name, i, got[i]);
        }
    }
    finish(c, 0);
}

static void copy_case(struct check *c, enum wf_dtype to, enum wf_dtype from)
{
    const int rank = (int)pick(c, 1, 5);
    int64_t dims[5];
    for (int j = 0; j < rank; j++)
        dims[j] = chance(c, 20) ? pick(c, 1, 40) : pick(c, 1, 6);
    const enum layout layouts[] = {DENSE, GAPS, ANYHOW};
    struct operand *dst = make(c, OUTPUT, layouts[pick(c, 0, 2)], to, rank, dims);
    struct operand *src = make(c, INPUT, layouts[pick(c, 0, 2)], from, rank, dims);
    const int axis = (int)pick(c, 0, rank - 1);
    const bool repeat = chance(c, 20) && src->t[REF].dim[axis] > 1;
    label(c, "%s to %s, rank %d, repeat %d", wf_dtype_name(from), wf_dtype_name(to), rank, repeat);
    for (int b = 0; b < BACKENDS; b++) {
        struct wf_tensor s = src->t[b];
        if (repeat)
            s.stride[axis] = 0;
        expect_ok(c, wf_copy(c->be[b], &(struct wf_copy){.y = dst->t[b], .x = s}));
    }
    finish(c, 0);
}

/* Every f16 and bf16 value to f32, and f32 values around every rounding boundary back. */
static void copy_all_halves(struct check *c, enum wf_dtype half)
{
    struct operand *wide = make(c, OUTPUT, DENSE, WF_F32, WF_DIMS(65536));
    struct operand *back = make(c, OUTPUT, DENSE, half, WF_DIMS(65536));
    struct operand *all = make(c, INPUT, DENSE, half, WF_DIMS(65536));
    struct operand *near = make(c, INPUT, DENSE, WF_F32, WF_DIMS(65536));
    for (int b = 0; b < BACKENDS; b++) {
        for (uint32_t i = 0; i < 65536; i++) {
            const uint16_t bits = (uint16_t)i;
            uint32_t mixed = (i << 16) + (i % 3) * 0x7fffu + i % 2;
            memcpy((unsigned char *)host_values(all, b) + 2 * i, &bits, sizeof bits);
            memcpy((unsigned char *)host_values(near, b) + 4 * i, &mixed, sizeof mixed);
        }
        memcpy(all->original, all->bytes[b], all->count);
        memcpy(near->original, near->bytes[b], near->count);
    }
    send(c, all);
    send(c, near);
    for (int b = 0; b < BACKENDS; b++) {
        expect_ok(c, wf_copy(c->be[b], &(struct wf_copy){.y = wide->t[b], .x = all->t[b]}));
        expect_ok(c, wf_copy(c->be[b], &(struct wf_copy){.y = back->t[b], .x = near->t[b]}));
    }
    label(c, "every %s", wf_dtype_name(half));
    finish(c, 0);
}

void test_copy(struct check *c)
{
    for (int to = 0; to < WF_DTYPES; to++) {
        for (int from = 0; from < WF_DTYPES; from++) {
            if (to != from && (to > WF_BF16 || from > WF_BF16))
                continue;
            for (int i = 0; i < 25; i++)
                copy_case(c, (enum wf_dtype)to, (enum wf_dtype)from);
        }
    }
    copy_all_halves(c, WF_F16);
    copy_all_halves(c, WF_BF16);
}

void test_transfer(struct check *c)
{
    for (int b = 0; b < BACKENDS; b++) {
        struct wf_backend *be = c->be[b];
        float up[7] = {1, 2, 3, 4, 5, 6, 7}, down[7] = {0};
        const size_t live = wf_mem_live(c->mem, WF_MEM_CACHE);
        label(c, "%s", be->ops.name);
        void *memory = be->ops.take(be, WF_MEM_CACHE, sizeof up);
        if (!memory || (uintptr_t)memory % 64) {
            fail(c, "take gave %p", memory);
            continue;
        }
        if (wf_mem_live(c->mem, WF_MEM_CACHE) < live + sizeof up)
            fail(c, "take is not counted");
        const struct wf_tensor t = wf_tensor_of(memory, WF_F32, WF_DIMS(7));
        expect_ok(c, wf_upload(be, t, up));
        expect_ok(c, wf_sync(be));
        expect_ok(c, wf_download(be, down, t));
        if (memcmp(up, down, sizeof up) != 0)
            fail(c, "what came down is not what went up");
        float *host = be->ops.take_host(be, WF_MEM_CACHE, sizeof up);
        uint64_t ticket;
        expect_ok(c, wf_download_begin(be, host, t, &ticket));
        expect_ok(c, wf_wait(be, ticket));
        if (memcmp(up, host, sizeof up) != 0)
            fail(c, "what was begun and waited for is not what went up");
        be->ops.give_host(be, host);
        be->ops.give_host(be, NULL);
        be->ops.give(be, memory);
        be->ops.give(be, NULL);
        if (wf_mem_live(c->mem, WF_MEM_CACHE) != live)
            fail(c, "give is not counted");
    }
}

/* Zeros, whose n-th reading fails. */
static enum wf_status read_badly(void *context, uint64_t offset, void *dst, size_t bytes,
                                 struct wf_error *err)
{
    atomic_int *left = context;
    (void)offset;
    memset(dst, 0, bytes);
    return atomic_fetch_sub(left, 1) == 1 ? wf_fail(err, WF_FAILED, "disk: unreadable") : WF_OK;
}

/* A source that cannot be read is a clean failure with its own message. */
static void unreadable_case(struct check *c, int b, struct wf_param *p, void *room, uint64_t bytes)
{
    const size_t live = wf_mem_live(c->mem, WF_MEM_WEIGHTS);
    for (int nth = 1;; nth++) {
        atomic_int left = nth;
        const struct wf_source src = {WF_F32, bytes, read_badly, &left};
        if (wf_param_load(c->be[b], p, room, &src) == WF_OK) {
            if (nth == 1 && p->kind != WF_PARAM_TABLE)
                fail(c, "a failed read is not told");
            break;
        }
        if (!strstr(c->err.text, "disk: unreadable"))
            fail(c, "read %d failed, and the message is %s", nth, c->err.text);
        if (p->state != WF_PARAM_DESCRIBED || wf_mem_live(c->mem, WF_MEM_WEIGHTS) != live)
            fail(c, "a failed read left something behind");
        if (nth > 10000) {
            fail(c, "never succeeds");
            return;
        }
    }
    wf_param_unload(c->be[b], p);
}

/* Loading fails cleanly at every allocation, and loads again afterwards. */
static void load_into(struct check *c, int b, struct wf_param *p, void *room,
                      const struct wf_source *src)
{
    const size_t live = wf_mem_live(c->mem, WF_MEM_WEIGHTS);
    for (long nth = 1;; nth++) {
        wf_mem_fail_at(c->mem, nth);
        const enum wf_status status = wf_param_load(c->be[b], p, room, src);
        wf_mem_fail_at(c->mem, 0);
        if (status == WF_OK)
            break;
        if (p->state != WF_PARAM_DESCRIBED || wf_mem_live(c->mem, WF_MEM_WEIGHTS) != live)
            fail(c, "a failed load left something behind");
        if (nth > 50) {
            fail(c, "never succeeds: %s", c->err.text);
            return;
        }
    }
    if (wf_param_load(c->be[b], p, room, src) == WF_OK)
        fail(c, "loaded twice");
    wf_param_unload(c->be[b], p);
    wf_param_unload(c->be[b], p);
    unreadable_case(c, b, p, room, src->bytes);
    if (p->state != WF_PARAM_DESCRIBED || wf_mem_live(c->mem, WF_MEM_WEIGHTS) != live)
        fail(c, "unload left something behind");
    if (wf_param_load_end(c->be[b], p) == WF_OK)
        fail(c, "the end of a load that never began");
}

static void load_case(struct check *c, enum wf_param_kind kind, int rank, const int64_t *dims)
{
    static const float values[64 * 64 * 9];
    const struct wf_tensor shape = wf_tensor_of(NULL, WF_F32, rank, dims);
    const struct wf_source src = wf_source_memory(values, WF_F32, wf_tensor_bytes(&shape));
    for (int b = 0; b < BACKENDS; b++) {
        struct wf_backend *be = c->be[b], *plan;
        struct wf_param p = {.kind = kind, .rank = rank};
        memcpy(p.dim, dims, (size_t)rank * sizeof *dims);
        label(c, "%s kind %d", be->ops.name, (int)kind);
        const size_t bytes = wf_param_bytes(be, &p);
        if ((bytes == 0) != (kind == WF_PARAM_TABLE))
            fail(c, "%zu bytes", bytes);
        expect_ok(c, wf_backend_open_plan(be, c->mem, NULL, &c->err, &plan));
        if (wf_param_bytes(plan, &p) != bytes)
            fail(c, "the plan says %zu bytes, not %zu", wf_param_bytes(plan, &p), bytes);
        wf_backend_close(&plan);
        void *room = bytes ? be->ops.take(be, WF_MEM_WEIGHTS, bytes) : NULL;
        load_into(c, b, &p, room, &src);
        be->ops.give(be, room);
    }
}

void test_load(struct check *c)
{
    load_case(c, WF_PARAM_VECTOR, WF_DIMS(2, 3, 5));
    load_case(c, WF_PARAM_TABLE, WF_DIMS(5, 3));
    load_case(c, WF_PARAM_LINEAR, WF_DIMS(32, 20));
    load_case(c, WF_PARAM_CONV, WF_DIMS(16, 16, 3, 3, 3));
    load_case(c, WF_PARAM_CONV, WF_DIMS(5, 3, 1, 3, 3));
    load_case(c, WF_PARAM_UPCONV, WF_DIMS(16, 16, 1, 3, 3));
    load_case(c, WF_PARAM_LINEAR, WF_DIMS(64, 128));
    load_case(c, WF_PARAM_CONV, WF_DIMS(32, 64, 1, 3, 3));
    load_case(c, WF_PARAM_UPCONV, WF_DIMS(16, 64, 1, 3, 3));
}

void test_open(struct check *c)
{
    struct wf_backend *be;
    label(c, "unknown name");
    if (wf_backend_open("none", NULL, 1, c->mem, NULL, &c->err, &be) != WF_REFUSED || be)
        fail(c, "an unknown backend opened");
    label(c, "unknown type");
    if (wf_backend_open("cpu", "f8", 1, c->mem, NULL, &c->err, &be) != WF_REFUSED || be)
        fail(c, "an unknown type was taken");
    for (int b = 0; b < BACKENDS; b++) {
        label(c, "%s", c->table[b]->name);
        const size_t live = wf_mem_live_all(c->mem);
        for (long nth = 1;; nth++) {
            wf_mem_fail_at(c->mem, nth);
            const enum wf_status status =
                wf_backend_open_table(c->table[b], NULL, 3, c->mem, NULL, &c->err, &be);
            wf_mem_fail_at(c->mem, 0);
            if (status == WF_OK)
                break;
            if (be || wf_mem_live_all(c->mem) != live)
                fail(c, "a failed open left something behind");
        }
        if (!be->ops.is_fast(be, WF_F32) ||
            (be->compute == WF_BF16) != be->ops.is_fast(be, WF_BF16))
            fail(c, "products are not in the type that is fast");
        if (be->threads != 3)
            fail(c, "threads %d, expected 3", be->threads);
        wf_backend_close(&be);
        wf_backend_close(&be);
        if (be || wf_mem_live_all(c->mem) != live)
            fail(c, "close left something behind");
    }
}

void expect_refusal(struct check *c, enum wf_status status, const char *word)
{
    if (status != WF_FAILED)
        fail(c, "%s: expected a failure", word);
    else if (!strstr(c->err.text, word))
        fail(c, "the message does not name %s: %s", word, c->err.text);
}

/* Lines that overlap or have gaps, paddings that do not exist, a picture without places. */
static void expect_line_refusals(struct check *c)
{
    struct wf_backend *be = c->be[TESTED];
    struct wf_param *w = make_param(c, WF_PARAM_CONV, 1, WF_DIMS(3, 3, 1, 3, 3));
    struct wf_param *up = make_param(c, WF_PARAM_UPCONV, 1, WF_DIMS(3, 3, 1, 3, 3));
    const struct operand *x = make(c, INPUT, DENSE, WF_F32, WF_DIMS(1, 4, 4, 3));
    struct wf_conv a = {.x = x->t[TESTED],
                        .y = wf_tensor_slice(x->t[TESTED], 1, 0, 2),
                        .w = &w[TESTED],
                        .pad_w = {1, 1},
                        .stride_t = 1,
                        .stride_hw = 1};
    a.x.stride[1] = 11;
    expect_refusal(c, wf_conv(be, &a), "conv: x");
    a.x.stride[1] = 12;
    a.y.stride[2] = 4;
    expect_refusal(c, wf_conv(be, &a), "conv: y");
    a.pad_back = -1;
    expect_refusal(c, wf_conv(be, &a), "paddings");
    struct wf_upconv u = {.x = x->t[TESTED], .y = x->t[TESTED], .w = &up[TESTED], .pad_h = {0, 2}};
    expect_refusal(c, wf_upconv(be, &u), "paddings");
    u.pad_h[1] = 1;
    expect_refusal(c, wf_upconv(be, &u), "upconv: y");
    u.x = wf_tensor_slice(u.x, 2, 0, 2);
    expect_refusal(c, wf_upconv(be, &u), "upconv: x");
    finish(c, 0);
}

/* Violations of the contract are errors that name the operand. */
void test_contracts(struct check *c)
{
    struct wf_backend *be = c->be[TESTED];
    float data[256] = {0};
    const struct wf_tensor m43 = wf_tensor_of(data, WF_F32, WF_DIMS(4, 3));
    const struct wf_tensor m45 = wf_tensor_of(data + 64, WF_F32, WF_DIMS(4, 5));
    const struct wf_tensor f = wf_tensor_of(data, WF_F32, WF_DIMS(1, 2, 2, 3));
    struct wf_tensor repeated = m43;
    repeated.stride[0] = 0;
    struct wf_param w = {.kind = WF_PARAM_LINEAR, .rank = 2, .dim = {5, 3}};
    struct wf_param table = {.kind = WF_PARAM_TABLE, .rank = 2, .dim = {5, 3}};
    label(c, "violations");
    expect_refusal(c, wf_gemm(be, &(struct wf_gemm){.x = m43, .y = m45, .w = &w}), "gemm: w");
    const struct wf_source src = wf_source_memory(data, WF_F32, 15 * sizeof *data);
    const struct wf_source less = wf_source_memory(data, WF_F32, 14 * sizeof *data);
    expect_refusal(c, wf_param_load(be, &w, NULL, &less), "load");
    void *room = be->ops.take(be, WF_MEM_WEIGHTS, wf_param_bytes(be, &w));
    expect_ok(c, wf_param_load(be, &w, room, &src));
    expect_ok(c, wf_param_load(be, &table, NULL, &src));
    expect_ok(c, wf_gemm(be, &(struct wf_gemm){.x = m43, .y = m45, .w = &w}));
    expect_refusal(c, wf_gemm(be, &(struct wf_gemm){.x = m45, .y = m45, .w = &w}), "gemm: x");
    expect_refusal(c, wf_gemm(be, &(struct wf_gemm){.x = m43, .y = m43, .w = &w}), "gemm: y");
    expect_refusal(c, wf_gemm(be, &(struct wf_gemm){.x = m43, .y = m45, .w = &table}), "gemm: w");
    struct wf_tensor narrow = m43, narrow_y = m45;
    narrow.dtype = narrow_y.dtype = WF_BF16;
    expect_refusal(c, wf_gemm(be, &(struct wf_gemm){.x = narrow, .y = m45, .w = &w}), "gemm: x");
    expect_refusal(
        c, wf_gemm(be, &(struct wf_gemm){.x = m43, .y = narrow_y, .w = &w, .accumulate = true}),
        "gemm: y");
    expect_refusal(c, wf_rms_norm(be, &(struct wf_rms_norm){.x = narrow, .y = m43}), "rms_norm: x");
    expect_refusal(c, wf_conv(be, &(struct wf_conv){.x = f, .y = f, .w = &w}), "conv: w");
    expect_line_refusals(c);
    expect_refusal(c, wf_lincomb(be, &(struct wf_lincomb){.y = m43}), "lincomb");
    expect_refusal(c, wf_lincomb(be, &(struct wf_lincomb){.x = {m43}, .y = repeated, .terms = 1}),
                   "lincomb: y");
    expect_refusal(c, wf_copy(be, &(struct wf_copy){.y = m43, .x = m45}), "copy");
    expect_refusal(c,
                   wf_activate(be, &(struct wf_activate){.y = m43, .x = m45, .act = WF_ACT_SILU}),
                   "activate");
    struct wf_tensor apart = m43, empty = m43, backwards = m43;
    apart.stride[0] = 5;
    empty.dim[0] = 0;
    backwards.stride[0] = -3;
    expect_refusal(c,
                   wf_activate(be, &(struct wf_activate){.y = m43, .x = apart, .act = WF_ACT_SILU}),
                   "activate: x");
    expect_refusal(c,
                   wf_activate(be, &(struct wf_activate){.y = apart, .x = m43, .act = WF_ACT_SILU}),
                   "activate: y");
    for (int i = 0; i < 2; i++) {
        const struct wf_tensor wrong = i ? backwards : empty;
        expect_refusal(c, wf_affine(be, &(struct wf_affine){.x = wrong, .y = m43}), "affine: x");
        expect_refusal(c, wf_affine(be, &(struct wf_affine){.x = m43, .y = wrong}), "affine: y");
    }
    expect_refusal(c, wf_pack_u8(be, &(struct wf_pack_u8){.y = m43, .x = m43}), "pack_u8");
    expect_refusal(c,
                   wf_gather(be, &(struct wf_gather){.y = m43,
                                                     .table = &table,
                                                     .ids = (const int32_t[]){0, 1, 5, 2}}),
                   "gather");
    expect_refusal(c,
                   wf_gather(be, &(struct wf_gather){.y = m43,
                                                     .table = &table,
                                                     .ids = (const int32_t[]){0, 1, -1, 2}}),
                   "gather");
    expect_refusal(c, wf_attention(be, &(struct wf_attention){.q = m43}), "attention: q");
    expect_refusal(c, wf_rope(be, &(struct wf_rope){.x = m43}), "rope: x");
    expect_group_refusals(c);
    wf_param_unload(be, &table);
    wf_param_unload(be, &w);
    be->ops.give(be, room);
}
