/* Group norm as models put it together, against torch (tests/fixtures/vectors); how close its
   statistics are where the mean is large; that no bit depends on the threads; what it takes. */
#include <math.h>
#include <omp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "io/weights/safetensors.h"
#include "kernels/base/rng.h"
#include "kernels/ref/ref.h"

static const char *const devices[] = {"ref", "cpu"};

struct stand {
    struct wf_mem *mem;
    struct wf_error err;
    struct wf_backend *be;
};

static void open_stand(struct stand *s, const char *device, int threads)
{
    s->mem = wf_mem_open();
    assert_non_null(s->mem);
    assert_int_equal(wf_backend_open(device, "f32", threads, s->mem, NULL, &s->err, &s->be), WF_OK);
}

static void close_stand(struct stand *s)
{
    wf_backend_close(&s->be);
    assert_int_equal(wf_mem_live_all(s->mem), 0);
    wf_mem_close(&s->mem);
}

static struct wf_tensor make(struct stand *s, enum wf_dtype dtype, int rank, const int64_t *dims)
{
    struct wf_tensor t = wf_tensor_of(NULL, dtype, rank, dims);
    t.data = wf_alloc(s->mem, WF_MEM_CACHE, wf_tensor_bytes(&t));
    assert_non_null(t.data);
    return t;
}

static struct wf_tensor make_random(struct stand *s, float mean, float deviation, int rank,
                                    const int64_t *dims)
{
    const struct wf_tensor t = make(s, WF_F32, rank, dims);
    struct wf_rng rng;
    float *values = t.data;
    wf_rng_seed(&rng, 5);
    wf_rng_normal(&rng, values, (size_t)wf_tensor_count(&t));
    for (int64_t i = 0; i < wf_tensor_count(&t); i++)
        values[i] = mean + deviation * values[i];
    return t;
}

/* --- torch --- */

enum { FRAMES = 3, HEIGHT = 5, WIDTH = 7, CHANNELS = 24, GROUPS = 4 };

static struct wf_tensor read_tensor(struct stand *s, const struct wf_st_file *file,
                                    const char *name, int rank, const int64_t *dims)
{
    const struct wf_st_tensor *t = wf_st_find(file, name);
    float *values = NULL;
    assert_non_null(t);
    assert_int_equal(wf_st_read_f32(t, s->mem, &values, &s->err), WF_OK);
    const struct wf_tensor read = wf_tensor_of(values, WF_F32, rank, dims);
    assert_int_equal(t->bytes, wf_tensor_bytes(&read));
    return read;
}

static struct wf_tensor read_frames(struct stand *s, const struct wf_st_file *file,
                                    const char *name, const char *what)
{
    char full[32];
    snprintf(full, sizeof full, "%s_%s", name, what);
    return read_tensor(s, file, full, WF_DIMS(FRAMES, HEIGHT, WIDTH, CHANNELS));
}

static void assert_close(const struct wf_tensor *y, const struct wf_tensor *right, double within)
{
    for (int64_t i = 0; i < wf_tensor_count(y); i++) {
        const double got = (double)wf_get(y, i), expected = (double)wf_get(right, i);
        if (!(fabs(got - expected) <= within * fmax(1, fabs(expected))))
            fail_msg("element %lld is %.9g, torch has %.9g", (long long)i, got, expected);
    }
}

/* within: of results of size 1. */
static void compare_case(struct stand *s, const struct wf_st_file *file, const char *name,
                         double within)
{
    struct wf_group_apply a = {.x = read_frames(s, file, name, "x"),
                               .y = make(s, WF_F32, WF_DIMS(FRAMES, HEIGHT, WIDTH, CHANNELS)),
                               .stats = make(s, WF_F32, WF_DIMS(FRAMES, GROUPS, 3)),
                               .weight = read_tensor(s, file, "weight", WF_DIMS(CHANNELS)),
                               .shift = read_tensor(s, file, "shift", WF_DIMS(CHANNELS)),
                               .act = WF_ACT_SILU,
                               .eps = 1e-6f};
    const struct wf_tensor sums = a.stats, clip = make(s, WF_F32, WF_DIMS(1, GROUPS, 3));
    const struct wf_tensor right[] = {read_frames(s, file, name, "frame"),
                                      read_frames(s, file, name, "clip")};
    assert_int_equal(wf_group_sums(s->be, &(struct wf_group_sums){a.x, sums}), WF_OK);
    assert_int_equal(wf_group_apply(s->be, &a), WF_OK);
    assert_close(&a.y, &right[0], within);
    const struct wf_group_merge merge = {
        .x = wf_tensor_reshape(sums, WF_DIMS(FRAMES, 1, GROUPS, 3)), .y = clip};
    assert_int_equal(wf_group_merge(s->be, &merge), WF_OK);
    a.stats.data = clip.data;
    a.stats.stride[0] = 0;
    assert_int_equal(wf_group_apply(s->be, &a), WF_OK);
    assert_close(&a.y, &right[1], within);
    const struct wf_tensor *all[] = {&a.x,     &a.y,  &sums, &a.weight,
                                     &a.shift, &clip, right, right + 1};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        wf_free(all[i]->data);
}

static void group_norm_is_torchs(void **state)
{
    (void)state;
    char path[4096];
    const char *source = getenv("WEFT_SOURCE_DIR");
    snprintf(path, sizeof path, "%s/tests/fixtures/vectors/group_norm.safetensors",
             source ? source : ".");
    for (size_t i = 0; i < sizeof devices / sizeof *devices; i++) {
        struct stand s;
        struct wf_st_file *file;
        open_stand(&s, devices[i], 0);
        assert_int_equal(wf_st_open(path, s.mem, &file, &s.err), WF_OK);
        compare_case(&s, file, "near", 1e-6);
        /* A mean of 100 in f32, half a step off at most, in deviations of 0.1, with a gain of 3. */
        compare_case(&s, file, "far", 3 * 0x1p-18 / 0.1 + 1e-6);
        wf_st_close(&file);
        close_stand(&s);
    }
}

/* --- statistics --- */

/* m2 of all values, in double. */
static double squares_of(const struct wf_tensor *x)
{
    const double n = (double)wf_tensor_count(x);
    double mean = 0, squares = 0;
    for (int64_t i = 0; i < wf_tensor_count(x); i++)
        mean += (double)wf_get(x, i) / n;
    for (int64_t i = 0; i < wf_tensor_count(x); i++)
        squares += ((double)wf_get(x, i) - mean) * ((double)wf_get(x, i) - mean);
    return squares;
}

static void large_means_cost_nothing(void **state)
{
    (void)state;
    static const float means[] = {0, 100, -1000};
    for (size_t i = 0; i < sizeof devices / sizeof *devices; i++) {
        for (size_t j = 0; j < sizeof means / sizeof *means; j++) {
            struct stand s;
            open_stand(&s, devices[i], 0);
            const struct wf_tensor x = make_random(&s, means[j], 0.1f, WF_DIMS(1, 61, 83, 16));
            const struct wf_tensor y = make(&s, WF_F32, WF_DIMS(1, 1, 3));
            const double right = squares_of(&x);
            assert_int_equal(wf_group_sums(s.be, &(struct wf_group_sums){x, y}), WF_OK);
            if (!(fabs((double)wf_get(&y, 2) - right) <= 1e-6 * right))
                fail_msg("%s, mean %g: m2 is %.9g, not %.9g", devices[i], (double)means[j],
                         (double)wf_get(&y, 2), right);
            wf_free(x.data);
            wf_free(y.data);
            close_stand(&s);
        }
    }
}

/* --- threads and memory --- */

enum { TALL = 61, BROAD = 83, DEEP = 96, EACH = 32 };

/* Statistics and results of a clip in y and stats, by so many threads. */
static void run_with(struct stand *s, int threads, struct wf_tensor *y, struct wf_tensor *stats)
{
    open_stand(s, "cpu", threads);
    const struct wf_tensor x = make_random(s, 3, 1, WF_DIMS(2, TALL, BROAD, DEEP));
    const struct wf_tensor weight = make_random(s, 1, 1, WF_DIMS(DEEP));
    *y = make(s, WF_BF16, WF_DIMS(2, TALL, BROAD, DEEP));
    *stats = make(s, WF_F32, WF_DIMS(2, EACH, 3));
    const struct wf_group_apply a = {.x = x,
                                     .y = *y,
                                     .stats = *stats,
                                     .weight = weight,
                                     .shift = weight,
                                     .act = WF_ACT_SILU,
                                     .eps = 1e-6f};
    assert_int_equal(wf_group_sums(s->be, &(struct wf_group_sums){x, *stats}), WF_OK);
    assert_int_equal(wf_group_apply(s->be, &a), WF_OK);
    wf_free(x.data);
    wf_free(weight.data);
}

static void threads_change_no_bit(void **state)
{
    (void)state;
    struct stand one;
    struct wf_tensor y, stats;
    omp_set_dynamic(0);
    run_with(&one, 1, &y, &stats);
    for (int threads = 2; threads <= 7; threads++) {
        struct stand other;
        struct wf_tensor other_y, other_stats;
        run_with(&other, threads, &other_y, &other_stats);
        assert_memory_equal(other_y.data, y.data, wf_tensor_bytes(&y));
        assert_memory_equal(other_stats.data, stats.data, wf_tensor_bytes(&stats));
        wf_free(other_y.data);
        wf_free(other_stats.data);
        close_stand(&other);
    }
    wf_free(y.data);
    wf_free(stats.data);
    close_stand(&one);
}

/* What the plan is told is what is taken, to the byte. */
static void scratch_is_what_is_taken(void **state)
{
    (void)state;
    struct stand s;
    struct wf_scratch scratch;
    open_stand(&s, "cpu", 2);
    const struct wf_tensor x = make_random(&s, 3, 1, WF_DIMS(1, TALL, BROAD, DEEP));
    const struct wf_tensor stats = make(&s, WF_F32, WF_DIMS(1, EACH, 3));
    const struct wf_tensor y = make(&s, WF_BF16, WF_DIMS(1, TALL, BROAD, DEEP));
    const struct wf_tensor weight = make_random(&s, 1, 1, WF_DIMS(DEEP));
    const struct wf_group_sums sums = {x, stats};
    const struct wf_group_apply apply = {
        .x = x, .y = y, .stats = stats, .weight = weight, .shift = weight, .eps = 1e-6f};
    const size_t live = wf_mem_live_all(s.mem);
    wf_mem_peak_reset(s.mem);
    s.be->ops.scratch(s.be, WF_OP_group_sums, &sums, &scratch);
    assert_int_equal(wf_group_sums(s.be, &sums), WF_OK);
    assert_int_equal(s.be->kept, scratch.kept);
    assert_int_equal(wf_mem_peak(s.mem) - live, scratch.kept + scratch.passing);
    assert_int_equal(wf_mem_live_all(s.mem) - live, scratch.kept);
    const size_t kept = scratch.kept;
    s.be->ops.scratch(s.be, WF_OP_group_apply, &apply, &scratch);
    assert_int_equal(wf_group_apply(s.be, &apply), WF_OK);
    assert_int_equal(s.be->kept, scratch.kept > kept ? scratch.kept : kept);
    assert_int_equal(scratch.passing, 0);
    const struct wf_tensor *all[] = {&x, &stats, &y, &weight};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        wf_free(all[i]->data);
    close_stand(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(group_norm_is_torchs),
        cmocka_unit_test(large_means_cost_nothing),
        cmocka_unit_test(threads_change_no_bit),
        cmocka_unit_test(scratch_is_what_is_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
