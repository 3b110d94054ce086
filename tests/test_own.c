/* What checkops does not ask of the kernels in kernels/cuda/own: shapes beyond its own, types that
   no operation's contract has, and that no bit depends on where operands lie. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "kernels/cuda/own/own.h"
#include "kernels/ref/ref.h"

static struct wf_tensor make(enum wf_dtype dtype, int rank, const int64_t *dims)
{
    struct wf_tensor t = wf_tensor_of(NULL, dtype, rank, dims);
    t.data = aligned_alloc(64, (wf_tensor_bytes(&t) + 64 + 63) / 64 * 64);
    assert_non_null(t.data);
    memset(t.data, 0xff, wf_tensor_bytes(&t) + 64);
    return t;
}

static struct wf_tensor make_random(enum wf_dtype dtype, uint32_t seed, int rank,
                                    const int64_t *dims)
{
    const struct wf_tensor t = make(dtype, rank, dims);
    uint32_t state = seed;
    for (int64_t i = 0; i < wf_tensor_count(&t); i++) {
        state = state * 1664525u + 1013904223u;
        wf_set(&t, i, (double)(state >> 8) * 0x1p-23 - 1);
    }
    return t;
}

/* The same one element further, so that no row of it is aligned. */
static struct wf_tensor moved(const struct wf_tensor *t)
{
    struct wf_tensor m = make(t->dtype, t->rank, t->dim);
    m.data = (unsigned char *)m.data + wf_dtype_bytes(t->dtype);
    memcpy(m.data, t->data, wf_tensor_bytes(t));
    return m;
}

static void give_moved(const struct wf_tensor *t)
{
    free((unsigned char *)t->data - wf_dtype_bytes(t->dtype));
}

static void assert_same(const struct wf_tensor *a, const struct wf_tensor *b)
{
    assert_memory_equal(a->data, b->data, wf_tensor_bytes(a));
}

/* Each value within a share of 1 and of itself. */
static void assert_close(const struct wf_tensor *y, const struct wf_tensor *expected, double share)
{
    for (int64_t i = 0; i < wf_tensor_count(y); i++) {
        const double got = (double)wf_get(y, i), right = (double)wf_get(expected, i);
        if (!(fabs(got - right) <= share * (1 + fabs(right))) && !(isnan(got) && isnan(right)))
            fail_msg("element %lld is %g, not %g", (long long)i, got, right);
    }
}

static double share_of(enum wf_dtype dtype)
{
    return dtype == WF_BF16 ? 0x1p-8 : 3e-6;
}

/* Rows that lie in registers, and ones that are too wide for them. */
static void norms_of_any_width(void **state)
{
    (void)state;
    static const int64_t widths[] = {96, 130, 384, 1536, 2048, 2049, 3000, 10001};
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
        const enum wf_dtype type = i % 2 ? WF_BF16 : WF_F32;
        const int64_t d = widths[i];
        const struct wf_tensor x = make_random(WF_F32, 1, WF_DIMS(3, d)), far = moved(&x);
        const struct wf_tensor weight = make_random(WF_F32, 2, WF_DIMS(d));
        const struct wf_tensor y = make(type, 2, x.dim), right = make(type, 2, x.dim);
        const struct wf_tensor from_far = make(type, 2, x.dim);
        struct wf_layer_norm a = {.x = x, .y = y, .weight = weight, .shift = weight, .eps = 1e-6f};
        assert_int_equal(wf_own_layer_norm(&a, NULL), 0);
        a.y = right;
        wf_ref_layer_norm(NULL, &a);
        assert_close(&y, &right, share_of(type));
        a.x = far;
        a.y = from_far;
        assert_int_equal(wf_own_layer_norm(&a, NULL), 0);
        assert_same(&from_far, &y);
        struct wf_rms_norm r = {.x = x, .y = y, .weight = weight, .act = WF_ACT_SILU};
        assert_int_equal(wf_own_rms_norm(&r, NULL), 0);
        r.y = right;
        wf_ref_rms_norm(NULL, &r);
        assert_close(&y, &right, share_of(type));
        r.x = far;
        r.y = from_far;
        assert_int_equal(wf_own_rms_norm(&r, NULL), 0);
        assert_same(&from_far, &y);
        give_moved(&far);
        free(x.data), free(weight.data), free(y.data), free(right.data), free(from_far.data);
    }
}

/* Statistics by the kernels, in parts that hold no number before. */
static void own_group_sums(struct wf_tensor x, struct wf_tensor y)
{
    const int64_t bytes = wf_own_group_sums_bytes(&x);
    const struct wf_tensor parts = make(WF_U8, WF_DIMS(bytes));
    const struct wf_own_group_sums a = {x, y, parts.data};
    assert_int_equal(wf_own_group_sums(&a, NULL), 0);
    free(parts.data);
}

/* Statistics, and results to that type; and the same bits where nothing is aligned. */
static void check_group_norm(enum wf_dtype type, int64_t groups, const int64_t *dims)
{
    const struct wf_tensor x = make_random(WF_F32, 1, 4, dims), far = moved(&x);
    const struct wf_tensor weight = make_random(WF_F32, 2, WF_DIMS(dims[3]));
    const struct wf_tensor far_weight = moved(&weight);
    const struct wf_tensor stats = make(WF_F32, WF_DIMS(dims[0], groups, 3));
    const struct wf_tensor right_stats = make(WF_F32, 3, stats.dim);
    const struct wf_tensor far_stats = make(WF_F32, 3, stats.dim);
    const struct wf_tensor y = make(type, 4, dims), right = make(type, 4, dims);
    const struct wf_tensor from_far = make(type, 4, dims), far_y = moved(&from_far);
    wf_ref_group_sums(NULL, &(struct wf_group_sums){x, right_stats});
    own_group_sums(x, stats);
    assert_close(&stats, &right_stats, 1e-6);
    own_group_sums(far, far_stats);
    assert_same(&far_stats, &stats);
    struct wf_group_apply a = {.x = x,
                               .y = y,
                               .stats = right_stats,
                               .weight = weight,
                               .shift = weight,
                               .act = WF_ACT_SILU,
                               .eps = 1e-6f};
    assert_int_equal(wf_own_group_apply(&a, NULL), 0);
    a.y = right;
    wf_ref_group_apply(NULL, &a);
    assert_close(&y, &right, share_of(type));
    a.x = far;
    a.y = far_y;
    a.weight = a.shift = far_weight;
    assert_int_equal(wf_own_group_apply(&a, NULL), 0);
    assert_same(&far_y, &y);
    give_moved(&far), give_moved(&far_weight), give_moved(&far_y);
    free(x.data), free(weight.data), free(stats.data), free(right_stats.data);
    free(far_stats.data), free(y.data), free(right.data), free(from_far.data);
}

/* More channels than a block has, more pixels than its shortest chunk, and fewer of both. */
static void group_norm_of_any_size(void **state)
{
    (void)state;
    check_group_norm(WF_F32, 13, (const int64_t[]){2, 3, 5, 1300});
    check_group_norm(WF_BF16, 1, (const int64_t[]){1, 2, 3, 1030});
    check_group_norm(WF_F32, 32, (const int64_t[]){1, 9, 7, 320});
    check_group_norm(WF_BF16, 2, (const int64_t[]){1, 300, 301, 4});
    check_group_norm(WF_F32, 3, (const int64_t[]){3, 1, 1, 3});
}

static struct wf_own_conv conv_of(struct wf_tensor x, struct wf_tensor y, const void *weight)
{
    return (struct wf_own_conv){.x = x,
                                .y = y,
                                .weight = weight,
                                .o = y.dim[3],
                                .kt = 1,
                                .kh = 3,
                                .kw = 3,
                                .pad_h = {1, 1},
                                .pad_w = {1, 1},
                                .stride_t = 1,
                                .stride_hw = 1};
}

/* Many pixels are cut into larger tiles than few; a pixel does not change by that. */
static void conv_of_any_size(void **state)
{
    (void)state;
    enum { FRAMES = 17, SIDE = 63 };
    const struct wf_tensor x = make_random(WF_F32, 3, WF_DIMS(FRAMES, SIDE, SIDE, 2));
    const struct wf_tensor weight = make_random(WF_F32, 4, WF_DIMS(5, 1, 3, 3, 2));
    const struct wf_tensor whole = make(WF_F32, WF_DIMS(FRAMES, SIDE, SIDE, 5));
    const struct wf_tensor parts = make(WF_F32, WF_DIMS(FRAMES, SIDE, SIDE, 5));
    const struct wf_own_conv all = conv_of(x, whole, weight.data);
    assert_int_equal(wf_own_conv(&all, NULL), 0);
    for (int t = 0; t < FRAMES; t++) {
        const struct wf_own_conv a =
            conv_of(wf_tensor_slice(x, 0, t, 1), wf_tensor_slice(parts, 0, t, 1), weight.data);
        assert_int_equal(wf_own_conv(&a, NULL), 0);
    }
    assert_same(&parts, &whole);
    free(x.data), free(weight.data), free(whole.data), free(parts.data);
}

/* BF16 in and out: y is f32's rounded; the same where nothing is aligned. */
static void conv_to_bf16(void **state)
{
    (void)state;
    const struct wf_tensor x = make_random(WF_BF16, 5, WF_DIMS(2, 9, 7, 32)), far = moved(&x);
    const struct wf_tensor weight = make_random(WF_BF16, 6, WF_DIMS(12, 1, 3, 3, 32));
    const struct wf_tensor far_weight = moved(&weight);
    const struct wf_tensor bias = make_random(WF_F32, 7, WF_DIMS(12));
    const struct wf_tensor wide = make(WF_F32, WF_DIMS(2, 9, 7, 12));
    const struct wf_tensor y = make(WF_BF16, 4, wide.dim), rounded = make(WF_BF16, 4, wide.dim);
    struct wf_own_conv a = conv_of(x, wide, weight.data);
    a.bias = bias.data;
    assert_int_equal(wf_own_conv(&a, NULL), 0);
    const struct wf_copy round = {.x = wide, .y = rounded};
    wf_ref_copy(NULL, &round);
    a = conv_of(far, y, far_weight.data);
    a.bias = bias.data;
    assert_int_equal(wf_own_conv(&a, NULL), 0);
    assert_same(&y, &rounded);
    give_moved(&far), give_moved(&far_weight);
    free(x.data), free(weight.data), free(bias.data);
    free(wide.data), free(y.data), free(rounded.data);
}

static void interleave_of_bf16(void **state)
{
    (void)state;
    for (int64_t o = 1; o <= 8; o++) {
        const struct wf_tensor z = make_random(WF_BF16, 8, WF_DIMS(2, 4, 6, 4 * o));
        const struct wf_tensor y = make(WF_BF16, WF_DIMS(2, 6, 10, o));
        const struct wf_own_interleave a = {.z = z, .y = y};
        assert_int_equal(wf_own_interleave(&a, NULL), 0);
        for (int64_t i = 0; i < wf_tensor_count(&y); i++) {
            const int64_t w = i / o % 10, h = i / o / 10 % 6, t = i / o / 60;
            const int64_t row = (t * 4 + h / 2 + h % 2) * 6 + w / 2 + w % 2;
            const int64_t channel = (2 * (h % 2) + w % 2) * o + i % o;
            assert_true(wf_get(&y, i) == wf_get(&z, row * 4 * o + channel));
        }
        free(z.data), free(y.data);
    }
}

static void gate_of_bf16(void **state)
{
    (void)state;
    const struct wf_tensor x = make_random(WF_BF16, 9, WF_DIMS(5, 37));
    const struct wf_tensor gate = make_random(WF_F32, 10, WF_DIMS(37));
    const struct wf_tensor y = make_random(WF_F32, 11, WF_DIMS(5, 37));
    const struct wf_tensor right = make_random(WF_F32, 11, WF_DIMS(5, 37));
    const struct wf_own_gate a = {
        .x = x, .y = y, .gate = gate, .act = WF_ACT_GELU_ERF, .accumulate = true};
    for (int64_t i = 0; i < wf_tensor_count(&x); i++)
        wf_set(&right, i,
               (double)wf_get(&right, i) + (double)wf_get(&gate, i % 37) *
                                               wf_ref_act((double)wf_get(&x, i), WF_ACT_GELU_ERF));
    assert_int_equal(wf_own_gate(&a, NULL), 0);
    assert_close(&y, &right, 1e-6);
    free(x.data), free(gate.data), free(y.data), free(right.data);
}

/* Rows first .. of more queries, with both biases, in place and to BF16; the last row has a NaN. */
static void softmax_of_some_rows(void **state)
{
    (void)state;
    enum { HEADS = 2, ROWS = 3, KEYS = 1001, FIRST = 4, QUERIES = 9 };
    const struct wf_tensor scores = make_random(WF_F32, 12, WF_DIMS(HEADS, ROWS, KEYS));
    const struct wf_tensor rel = make_random(WF_F32, 13, WF_DIMS(HEADS, QUERIES + KEYS - 1));
    const struct wf_tensor key = make_random(WF_F32, 14, WF_DIMS(KEYS));
    const struct wf_tensor right = make(WF_F32, 3, scores.dim);
    const struct wf_tensor narrow = make(WF_BF16, 3, scores.dim);
    wf_set(&key, 5, -INFINITY);
    wf_set(&scores, wf_tensor_count(&scores) - 1, NAN);
    for (int64_t row = 0; row < HEADS * ROWS; row++) {
        double sum = 0;
        for (int64_t j = 0; j < KEYS; j++) {
            const int64_t bias = j - (FIRST + row % ROWS) + QUERIES - 1;
            const double score = 40 * (double)wf_get(&scores, row * KEYS + j) +
                                 (double)wf_get(&rel, row / ROWS * (QUERIES + KEYS - 1) + bias) +
                                 (double)wf_get(&key, j);
            wf_set(&right, row * KEYS + j, score);
            sum += exp(score - 40);
        }
        for (int64_t j = 0; j < KEYS; j++)
            wf_set(&right, row * KEYS + j, exp((double)wf_get(&right, row * KEYS + j) - 40) / sum);
    }
    struct wf_own_softmax a = {.scores = scores,
                               .y = narrow,
                               .rel_bias = rel,
                               .key_bias = key,
                               .scale = 40,
                               .first = FIRST,
                               .queries = QUERIES};
    assert_int_equal(wf_own_softmax(&a, NULL), 0);
    assert_close(&narrow, &right, 0x1p-8);
    a.y = scores;
    assert_int_equal(wf_own_softmax(&a, NULL), 0);
    assert_close(&scores, &right, 1e-5);
    free(scores.data), free(rel.data), free(key.data), free(right.data), free(narrow.data);
}

static void fill_of_any_range(void **state)
{
    (void)state;
    enum { ROOM = 96 };
    unsigned char bytes[ROOM];
    for (int first = 0; first < 20; first++) {
        for (int count = 1; first + count < ROOM; count++) {
            memset(bytes, 7, ROOM);
            const struct wf_own_fill a = {bytes + first, count, 0xff};
            assert_int_equal(wf_own_fill(&a, NULL), 0);
            for (int i = 0; i < ROOM; i++)
                assert_int_equal(bytes[i], i >= first && i < first + count ? 0xff : 7);
        }
    }
}

/* --- beyond 2^31 elements and 2^32 bytes --- */

enum { FAR_ROWS = 3 };
static const int64_t far_apart = ((int64_t)1 << 30) + 8; /* elements from a row to the next */

/* Rows of t's values in memory of which only they are ever touched. */
static struct wf_tensor spread(const struct wf_tensor *t)
{
    struct wf_tensor far = *t;
    const size_t bytes = (size_t)(FAR_ROWS * far_apart) * wf_dtype_bytes(t->dtype);
    far.data = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    far.stride[0] = far_apart;
    assert_ptr_not_equal(far.data, MAP_FAILED);
    for (int64_t i = 0; i < wf_tensor_count(t); i++)
        wf_set(&far, i / t->dim[1] * far_apart + i % t->dim[1], (double)wf_get(t, i));
    return far;
}

static void collect(const struct wf_tensor *far, const struct wf_tensor *t)
{
    for (int64_t i = 0; i < wf_tensor_count(t); i++)
        wf_set(t, i, (double)wf_get(far, i / t->dim[1] * far_apart + i % t->dim[1]));
    (void)munmap(far->data, (size_t)(FAR_ROWS * far_apart) * wf_dtype_bytes(far->dtype));
}

/* set: what a's other members become. */
#define FAR(name, set)                                                                             \
    do {                                                                                           \
        const struct wf_tensor far_x = spread(&x), far_y = spread(&near);                          \
        struct wf_##name a = {.x = x, .y = near};                                                  \
        set;                                                                                       \
        assert_int_equal(wf_own_##name(&a, NULL), 0);                                              \
        a.x = far_x;                                                                               \
        a.y = far_y;                                                                               \
        assert_int_equal(wf_own_##name(&a, NULL), 0);                                              \
        collect(&far_x, &x);                                                                       \
        collect(&far_y, &got);                                                                     \
        assert_same(&got, &near);                                                                  \
    } while (0)

/* The same bits from rows that lie so far apart that 32 bits do not reach them. */
static void rows_lie_far_apart(void **state)
{
    (void)state;
    static const int64_t widths[] = {8, 96, 1536, 3000};
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
        const int64_t d = widths[i];
        const struct wf_tensor x = make_random(WF_F32, 1, WF_DIMS(FAR_ROWS, d));
        const struct wf_tensor near = make_random(WF_F32, 2, WF_DIMS(FAR_ROWS, d));
        const struct wf_tensor got = make(WF_F32, WF_DIMS(FAR_ROWS, d));
        FAR(copy, (void)a);
        FAR(layer_norm, a.eps = 1e-6f);
        FAR(rms_norm, a.act = WF_ACT_SILU);
        FAR(affine, a.high = 0.5f);
        free(x.data);
        free(near.data);
        free(got.data);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(norms_of_any_width),   cmocka_unit_test(group_norm_of_any_size),
        cmocka_unit_test(conv_of_any_size),     cmocka_unit_test(conv_to_bf16),
        cmocka_unit_test(interleave_of_bf16),   cmocka_unit_test(gate_of_bf16),
        cmocka_unit_test(softmax_of_some_rows), cmocka_unit_test(fill_of_any_range),
        cmocka_unit_test(rows_lie_far_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
