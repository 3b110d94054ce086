/* Whole jobs on the CUDA backend, over a double of its driver and libraries: what the fixtures
   expect, and the same bytes under every policy, whenever the streams run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/cuda_job.h"

static const struct wf_policy policies[] = {{WF_OFFLOAD_NONE, 0},
                                            {WF_OFFLOAD_MODEL, 0},
                                            {WF_OFFLOAD_GROUP, 1},
                                            {WF_OFFLOAD_GROUP, 3},
                                            {WF_OFFLOAD_SEQUENTIAL, 0}};
enum { POLICIES = sizeof policies / sizeof *policies };

static const struct cuda_case cases[] = {
    {"basic", "f32", false, false, NULL}, {"basic", "f32", true, false, NULL},
    {"bf16", "bf16", false, false, NULL}, {"bf16", "bf16", true, false, NULL},
    {"wide", "f32", false, false, NULL},  {"wide", "bf16", false, false, NULL},
    {"svd_a", "f32", false, false, NULL}, {"svd_a", "bf16", false, false, NULL},
    {"svd_b", "bf16", false, false, NULL}};
enum { CASES = sizeof cases / sizeof *cases };

/* Where every memory access is checked, what runs is enough to reach every line; its numbers are
   those of the other builds. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
static const bool is_slow = true;
#else
static const bool is_slow = false;
#endif

/* --- what is expected --- */

static void check_latents(const struct cuda_case *c)
{
    char path[WF_PATH_BYTES];
    struct array want, have;
    const bool narrow = strcmp(c->dtype, "bf16") == 0;
    cuda_expected(path, c->name, "latents");
    assert_true(array_read(path, "latents", &want));
    snprintf(path, sizeof path, "%s/latents.safetensors", cuda_jobs_dump());
    assert_true(array_read(path, "latents", &have));
    assert_true(array_same_dims(&have, &want));
    const double error = relative_l2(have.data, want.data, want.count);
    print_message("%s, %s: latents %.3g\n", c->name, c->dtype, error);
    assert_true(error <= (narrow ? 2e-2 : 5e-5));
    array_free(&have);
    array_free(&want);
}

static void check_frames(const struct cuda_case *c, const struct array *have,
                         const struct array *want)
{
    const bool narrow = strcmp(c->dtype, "bf16") == 0;
    assert_true(array_same_dims(have, want) && have->count == want->count);
    const double db = psnr(have->data, want->data, want->count);
    const double share = share_within(have->data, want->data, want->count, 1.0 / 255 + 1e-7);
    print_message("%s, %s: frames %.1f dB, %.5f within 1/255\n", c->name, c->dtype, db, share);
    assert_true(narrow ? db >= 45 : share >= 0.9999 && db >= 90);
}

/* Where diffusers has computed nothing: what ref computes in f32. */
static struct array expected_frames(const struct cuda_case *c)
{
    char path[WF_PATH_BYTES];
    struct array want;
    cuda_expected(path, c->name, "frames");
    if (strcmp(c->name, "wide") != 0) {
        assert_true(array_read(path, "frames", &want));
        return want;
    }
    struct weft_engine *e = cuda_engine(CUDA_SCHEDULES, policies[0], "f32");
    want = cuda_make(e, c, NULL);
    weft_engine_close(&e);
    return want;
}

/* At first on the latest schedule, with every weight resident. */
static void check_case(const struct cuda_case *c)
{
    const bool dumps = !c->decodes && strcmp(c->name, "wide") != 0;
    struct array want = expected_frames(c);
    struct weft_engine *e = cuda_engine(CUDA_LATE, policies[0], c->dtype);
    struct array have = cuda_make(e, c, dumps ? cuda_jobs_dump() : NULL);
    cuda_engine_close(&e);
    if (dumps)
        check_latents(c);
    check_frames(c, &have, &want);
    array_free(&have);
    array_free(&want);
}

static void fixtures_are_met(void **state)
{
    (void)state;
    for (int i = 0; i < (is_slow ? 1 : CASES); i++)
        check_case(&cases[i]);
}

static void so_they_are_where_libraries_take_nothing(void **state)
{
    (void)state;
    cuda_double.no_graphs = cuda_double.no_products = true;
    for (int i = 0; i < (is_slow ? 1 : CASES); i++)
        check_case(&cases[i]);
}

/* --- the same bytes --- */

static void compare(const struct cuda_case *c, const struct array *want, struct wf_policy policy,
                    enum cuda_schedule schedule)
{
    struct weft_engine *e = cuda_engine(schedule, policy, c->dtype);
    struct array have = cuda_make(e, c, NULL);
    if (have.count != want->count ||
        memcmp(have.data, want->data, want->count * sizeof(float)) != 0)
        fail_msg("%s in %s, policy %s %d, schedule %d: other samples", c->name, c->dtype,
                 wf_offload_name(policy.offload), policy.blocks, (int)schedule);
    array_free(&have);
    cuda_engine_close(&e);
}

static void compare_all(const struct cuda_case *c)
{
    struct weft_engine *e = cuda_engine(CUDA_LATE, policies[0], c->dtype);
    struct array want = cuda_make(e, c, NULL);
    cuda_engine_close(&e);
    for (int i = 0; i < POLICIES; i++) {
        for (int schedule = 0; schedule < CUDA_SCHEDULES; schedule++) {
            cuda_double.seed = (uint64_t)(i + 1);
            compare(c, &want, policies[i], (enum cuda_schedule)schedule);
        }
    }
    array_free(&want);
}

static void policies_and_schedules_do_not_show(void **state)
{
    (void)state;
    compare_all(&(const struct cuda_case){"bf16", "bf16", false, true, NULL});
    if (is_slow)
        return;
    compare_all(&(const struct cuda_case){"basic", "f32", false, true, NULL});
    compare_all(&(const struct cuda_case){"basic", "f32", true, false, NULL});
    compare_all(&(const struct cuda_case){"wide", "bf16", false, true, NULL});
    compare_all(&(const struct cuda_case){"svd_b", "bf16", false, false, NULL});
}

static void nor_do_they_where_libraries_take_nothing(void **state)
{
    (void)state;
    cuda_double.no_graphs = cuda_double.no_products = true;
    if (!is_slow)
        compare_all(&(const struct cuda_case){"wide", "bf16", false, true, NULL});
}

static int reset(void **state)
{
    (void)state;
    cuda_double = (struct cuda_double){0};
    return 0;
}

/* --- going on --- */

/* A job that ends behind its first chunk. */
static void begin(struct weft_engine *e, const struct cuda_case *c)
{
    struct weft_model *model;
    struct weft_job *job;
    struct weft_frame frame;
    cuda_model(e, c->name, &model);
    cuda_job(model, c, NULL, &job);
    assert_int_equal(weft_job_next(job, &frame), WEFT_OK);
    assert_non_null(frame.rgb);
    weft_job_close(&job);
    weft_model_close(&model);
}

static void jobs_go_on_with_the_same_bytes(void **state)
{
    (void)state;
    char folder[WF_PATH_BYTES], carried[WF_PATH_BYTES + 32];
    struct cuda_case c = {"basic", "f32", false, true, NULL};
    snprintf(folder, sizeof folder, "%s-resume", cuda_jobs_dump());
    snprintf(carried, sizeof carried, "%s/decoder-00001", folder);
    struct weft_engine *e = cuda_engine(CUDA_LATE, policies[0], c.dtype);
    struct array want = cuda_make(e, &c, NULL);
    c.resume = folder;
    begin(e, &c);
    assert_int_equal(access(carried, R_OK), 0);
    struct array have = cuda_make(e, &c, NULL);
    assert_int_equal(have.count, want.count);
    assert_memory_equal(have.data, want.data, want.count * sizeof(float));
    array_free(&have);
    array_free(&want);
    cuda_engine_close(&e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(fixtures_are_met, reset),
        cmocka_unit_test_setup(so_they_are_where_libraries_take_nothing, reset),
        cmocka_unit_test_setup(policies_and_schedules_do_not_show, reset),
        cmocka_unit_test_setup(nor_do_they_where_libraries_take_nothing, reset),
        cmocka_unit_test_setup(jobs_go_on_with_the_same_bytes, reset)};
    if (!cuda_jobs_begin())
        return EXIT_FAILURE;
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    cuda_jobs_end();
    return failed;
}
