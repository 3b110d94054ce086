/* How the CUDA backend uses its streams, on the double of its driver: what is fetched ahead, where
   the host waits, how a job ends that is cancelled or that the device fails, and that the plan is
   the run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/cuda/cuda.h"
#include "tests/cuda_job.h"

static const struct wf_policy none = {WF_OFFLOAD_NONE, 0}, group = {WF_OFFLOAD_GROUP, 1},
                              sequential = {WF_OFFLOAD_SEQUENTIAL, 0};
static const struct cuda_case wide = {"wide", "bf16", false, true, NULL};

/* --- the trace --- */

/* Part of the trace: a step. */
struct part {
    size_t first, end;
};

/* Where the step's syncs are: those that kernels run for. */
static int count_syncs(struct part part)
{
    size_t count;
    const struct cuda_trace *t = cuda_double_trace(&count);
    int syncs = 0;
    bool joined = false;
    for (size_t i = part.first; i < part.end; i++) {
        if (t[i].kind == CUDA_JOIN && t[i].main) {
            joined = true;
        } else if (t[i].kind == CUDA_KERNEL && t[i].stream == WF_STREAM_COMPUTE && joined) {
            syncs++;
            joined = false;
        }
    }
    return syncs;
}

static size_t find(enum wf_stream stream, uint64_t index)
{
    size_t count;
    const struct cuda_trace *t = cuda_double_trace(&count);
    for (size_t i = 0; i < count; i++) {
        if (t[i].kind != CUDA_JOIN && t[i].stream == stream && t[i].index == index)
            return i;
    }
    return count;
}

/* Of a unit's weights, which the compute stream waits for together: whether they had come before
   the last kernel of the unit before ran. A unit that no kernel stands before, in its part, or
   behind is not counted. */
struct units {
    int ahead, late;
};

static struct units count_units(struct part part)
{
    size_t count, kernel = 0;
    const struct cuda_trace *t = cuda_double_trace(&count);
    struct units units = {0, 0};
    uint64_t last = 0;
    for (size_t i = part.first; i < part.end; i++) {
        if (t[i].stream != WF_STREAM_COMPUTE || t[i].kind == CUDA_JOIN)
            continue;
        if (t[i].kind == CUDA_WAIT && t[i].event_stream == WF_STREAM_WEIGHTS &&
            t[i].event_index > last)
            last = t[i].event_index;
        if (t[i].kind != CUDA_KERNEL)
            continue;
        if (last && kernel)
            *(find(WF_STREAM_WEIGHTS, last) < kernel ? &units.ahead : &units.late) += 1;
        last = 0;
        kernel = i;
    }
    return units;
}

static struct part advance(struct weft_job *job)
{
    struct part part;
    struct weft_frame frame = {0};
    (void)cuda_double_trace(&part.first);
    if (wf_job_advance(job, &frame) != WF_OK)
        fail_msg("%s", weft_engine_error(job->model->engine));
    (void)cuda_double_trace(&part.end);
    return part;
}

/* What is open for a test. */
struct opened {
    struct weft_engine *engine;
    struct weft_model *model;
    struct weft_job *job;
};

static void open_job(struct opened *o, enum cuda_schedule schedule, struct wf_policy policy)
{
    o->engine = cuda_engine(schedule, policy, wide.dtype);
    if (cuda_double.memory) /* less than the plan knows of */
        o->engine->backends[0]->device.memory = 0;
    cuda_model(o->engine, wide.name, &o->model);
    cuda_job(o->model, &wide, NULL, &o->job);
}

static void close_job(struct opened *o)
{
    weft_job_close(&o->job);
    weft_model_close(&o->model);
    cuda_engine_close(&o->engine);
}

/* A step beyond the first, of six blocks and the head: the first one's unit was fetched when the
   step before ended. The host waits at the end alone, for all of its kernels. */
static void weights_come_while_the_device_works(void **state)
{
    struct opened o;
    struct part part = {0, 0};
    (void)state;
    open_job(&o, CUDA_EARLY, group);
    while (o.job->phase != WF_JOB_DECODING)
        part = advance(o.job);
    const struct units units = count_units(part);
    if (units.ahead != 7 || units.late != 0)
        fail_msg("%d units came ahead, %d late", units.ahead, units.late);
    assert_int_equal(count_syncs(part), 1);
    close_job(&o);
}

/* --- frames --- */

/* Kernels that were queued and have not run. */
static long count_pending(void)
{
    size_t count;
    const struct cuda_trace *t = cuda_double_trace(&count);
    long pending = cuda_double_launches();
    for (size_t i = 0; i < count; i++)
        pending -= t[i].kind == CUDA_KERNEL;
    return pending;
}

/* When the first chunk's frames are handed out, the second chunk's kernels are queued. */
static void frames_go_while_the_device_works(void **state)
{
    struct opened o;
    (void)state;
    open_job(&o, CUDA_LATE, none);
    while (o.job->given == 0)
        (void)advance(o.job);
    assert_true(count_pending() > 100);
    close_job(&o);
}

/* --- the order of the calls --- */

enum { DOWNLOADS = 6, VALUES = DOWNLOADS << 18 }; /* more than the ring has */

static void expect_all(const float *values, float want)
{
    for (int i = 0; i < VALUES; i++) {
        if (values[i] != want)
            fail_msg("value %d is %g, not %g", i, (double)values[i], (double)want);
    }
}

static void upload_all(struct wf_backend *be, struct wf_tensor t, float *from, float value)
{
    for (int i = 0; i < VALUES; i++)
        from[i] = value;
    assert_int_equal(wf_upload(be, t, from), WF_OK);
    for (int i = 0; i < VALUES; i++)
        from[i] = -1; /* it is the caller's again, pinned or not */
}

/* The i-th writing of a tensor, and what it holds then. */
static float write_anew(struct wf_backend *be, struct wf_tensor t, float *from,
                        const struct wf_param *table, int i, float before)
{
    const int32_t row = 0;
    if (i % 3 == 0) {
        upload_all(be, t, from, (float)i + 1);
        return (float)i + 1;
    }
    if (i % 3 == 1) {
        assert_int_equal(wf_gather(be, &(struct wf_gather){t, table, &row}), WF_OK);
        return 7;
    }
    const struct wf_lincomb twice = {.x = {t}, .c = {2}, .terms = 1, .y = t};
    assert_int_equal(wf_lincomb(be, &twice), WF_OK);
    return 2 * before;
}

/* One tensor goes down again and again, and is written anew each time, then given. */
static void order_case(struct wf_backend *be, const struct wf_param *table)
{
    const size_t bytes = VALUES * sizeof(float);
    struct wf_tensor t = wf_tensor_of(NULL, WF_F32, WF_DIMS(1, VALUES));
    float *from = be->ops.take_host(be, WF_MEM_FRAMES, bytes), *down[DOWNLOADS];
    float want[DOWNLOADS];
    uint64_t ticket[DOWNLOADS];
    t.data = be->ops.take(be, WF_MEM_FRAMES, bytes);
    assert_true(from && t.data);
    for (int i = 0; i < DOWNLOADS; i++) {
        down[i] = be->ops.take_host(be, WF_MEM_FRAMES, bytes);
        assert_non_null(down[i]);
        want[i] = write_anew(be, t, from, table, i, i ? want[i - 1] : 0);
        assert_int_equal(wf_download_begin(be, down[i], t, &ticket[i]), WF_OK);
    }
    be->ops.give(be, t.data);
    t.data = be->ops.take(be, WF_MEM_FRAMES, bytes);
    upload_all(be, t, from, 99);
    assert_int_equal(wf_download(be, from, t), WF_OK);
    expect_all(from, 99);
    for (int i = 0; i < DOWNLOADS; i++) {
        assert_int_equal(wf_wait(be, ticket[i]), WF_OK);
        expect_all(down[i], want[i]);
        be->ops.give_host(be, down[i]);
    }
    be->ops.give(be, t.data);
    be->ops.give_host(be, from);
}

/* More downloads than are looked after, of parts, and then the whole is written. */
static void parts_case(struct wf_backend *be)
{
    const size_t bytes = VALUES * sizeof(float);
    const struct wf_tensor t = wf_tensor_of(be->ops.take(be, WF_MEM_FRAMES, bytes), WF_F32,
                                            WF_DIMS(DOWNLOADS, VALUES / DOWNLOADS));
    const struct wf_tensor all = wf_tensor_reshape(t, WF_DIMS(1, VALUES));
    float *from = be->ops.take_host(be, WF_MEM_FRAMES, bytes);
    float *down = be->ops.take_host(be, WF_MEM_FRAMES, bytes);
    uint64_t ticket[DOWNLOADS];
    assert_true(from && down && t.data);
    upload_all(be, all, from, 3);
    for (int i = 0; i < DOWNLOADS; i++)
        assert_int_equal(
            wf_download_begin(be, down + i * t.dim[1], wf_tensor_slice(t, 0, i, 1), &ticket[i]),
            WF_OK);
    upload_all(be, all, from, 99);
    assert_int_equal(wf_download(be, from, all), WF_OK);
    expect_all(from, 99);
    for (int i = 0; i < DOWNLOADS; i++)
        assert_int_equal(wf_wait(be, ticket[i]), WF_OK);
    expect_all(down, 3);
    be->ops.give(be, t.data);
    be->ops.give_host(be, from);
    be->ops.give_host(be, down);
}

static void orders(struct wf_backend *be)
{
    static float row[VALUES];
    const struct wf_source source = wf_source_memory(row, WF_F32, sizeof row);
    struct wf_param table = {.kind = WF_PARAM_TABLE, .rank = 2, .dim = {1, VALUES}};
    for (int i = 0; i < VALUES; i++)
        row[i] = 7;
    assert_int_equal(wf_param_load(be, &table, NULL, &source), WF_OK);
    order_case(be, &table);
    wf_param_unload(be, &table);
    parts_case(be);
}

static void what_is_called_first_is_done_first(void **state)
{
    (void)state;
    for (int schedule = 0; schedule < CUDA_SCHEDULES; schedule++) {
        struct weft_engine *e = cuda_engine((enum cuda_schedule)schedule, none, "f32");
        orders(e->backends[0]);
        cuda_engine_close(&e);
    }
}

/* --- cancelling --- */

/* In the second step, or when the first frame is out. */
static void cancel_denoise(void *context, const struct weft_progress *progress)
{
    struct opened *o = context;
    if (progress->stage == WEFT_STAGE_DENOISE && progress->done == 1)
        weft_job_cancel(o->job);
}

static void cancel_decode(void *context, const struct weft_progress *progress)
{
    struct opened *o = context;
    if (progress->stage == WEFT_STAGE_DECODE && progress->done == 1)
        weft_job_cancel(o->job);
}

static void expect_clip(struct opened *o, const struct array *want)
{
    enum weft_status status;
    struct array have;
    weft_job_close(&o->job);
    cuda_job(o->model, &wide, NULL, &o->job);
    have = cuda_pull(o->job, &status);
    assert_int_equal(status, WEFT_OK);
    assert_int_equal(have.count, want->count);
    assert_memory_equal(have.data, want->data, want->count * sizeof(float));
    array_free(&have);
}

/* The next job of the model gives what it gives alone. */
static void a_cancelled_job_leaves_nothing(void **state)
{
    const struct wf_policy policies[] = {none, group, sequential};
    struct opened o;
    enum weft_status status;
    (void)state;
    open_job(&o, CUDA_LATE, none);
    struct array want = cuda_pull(o.job, &status);
    close_job(&o);
    for (int i = 0; i < 2 * CUDA_SCHEDULES; i++) {
        open_job(&o, (enum cuda_schedule)(i / 2), policies[i / 2]);
        o.job->request.progress = i % 2 ? cancel_decode : cancel_denoise;
        o.job->request.progress_context = &o;
        struct array cut = cuda_pull(o.job, &status);
        assert_int_equal(status, WEFT_CANCELLED);
        array_free(&cut);
        expect_clip(&o, &want);
        close_job(&o);
    }
    array_free(&want);
}

/* --- failing --- */

static void expect_failure(const char *word, long launch)
{
    struct opened o;
    enum weft_status status;
    const bool late = cuda_double.fails_late;
    open_job(&o, cuda_double.schedule, launch % 2 ? group : sequential);
    struct array cut = cuda_pull(o.job, &status);
    const char *said = weft_engine_error(o.engine);
    if (status != WEFT_FAILED || strncmp(said, "cuda: ", 6) != 0 || !strstr(said, word) ||
        strchr(said, '\n'))
        fail_msg("launch %ld, %s: status %d, \"%s\"", launch, late ? "late" : "at once",
                 (int)status, said);
    array_free(&cut);
    close_job(&o);
}

static long count_launches(void)
{
    struct opened o;
    enum weft_status status;
    open_job(&o, CUDA_LATE, group);
    struct array all = cuda_pull(o.job, &status);
    assert_int_equal(status, WEFT_OK);
    array_free(&all);
    const long launches = cuda_double_launches();
    close_job(&o);
    return launches;
}

/* Any kernel, of products or weights; not the last ones: what is fetched ahead when a job ends is
   told to the next. */
static void a_device_that_fails_is_one_message(void **state)
{
    const long launches = count_launches();
    (void)state;
    for (long i = 1; i < launches * 9 / 10; i += launches / 11) {
        cuda_double.fail_launch = i;
        cuda_double.fails_late = i % 3 != 0;
        cuda_double.schedule = (enum cuda_schedule)(i % CUDA_SCHEDULES);
        expect_failure("illegal memory access", i);
    }
}

/* The last ones are looked for while the job runs. */
static void a_plan_that_fails_is_its_message(void **state)
{
    struct opened o;
    enum weft_status status;
    (void)state;
    open_job(&o, CUDA_LATE, none);
    struct array all = cuda_pull(o.job, &status);
    array_free(&all);
    close_job(&o);
    for (long plans = cuda_double_plans(), i = 0; i < 3; i++) {
        cuda_double.fail_plan = plans - 20 * i;
        open_job(&o, CUDA_EARLY, none);
        struct array cut = cuda_pull(o.job, &status);
        assert_int_equal(status, WEFT_FAILED);
        assert_string_equal(weft_engine_error(o.engine), "double: no plan");
        array_free(&cut);
        close_job(&o);
    }
}

/* --- too little memory --- */

static void open_with(size_t memory, bool opens)
{
    struct wf_error err;
    struct wf_backend *be;
    struct wf_mem *mem = wf_mem_open(), *device_mem = wf_mem_open();
    cuda_double.memory = memory;
    const enum wf_status status =
        wf_backend_open_table(&wf_cuda_ops, "f32", 1, mem, device_mem, &err, &be);
    assert_int_equal(status == WF_OK, opens);
    if (opens)
        assert_int_equal(wf_mem_live_all(device_mem), memory);
    else
        assert_non_null(strstr(err.text, "memory"));
    wf_backend_close(&be);
    assert_int_equal(wf_mem_live_all(mem), 0);
    assert_int_equal(wf_mem_live_all(device_mem), 0);
    wf_mem_close(&mem);
    wf_mem_close(&device_mem);
}

static void a_small_device_is_a_message(void **state)
{
    const size_t piece = (size_t)16 << 20;
    (void)state;
    for (size_t i = 1; i <= 8; i++)
        open_with(i * piece, i == 8);
    for (size_t more = 1 << 20; more < (size_t)16 << 20; more *= 3) {
        struct opened o;
        enum weft_status status;
        cuda_double.memory = 8 * piece + more;
        open_job(&o, CUDA_LATE, group);
        struct array cut = cuda_pull(o.job, &status);
        assert_int_equal(status, more < 2 << 20 ? WEFT_FAILED : WEFT_OK);
        if (status != WEFT_OK)
            assert_non_null(strstr(weft_engine_error(o.engine), "memory"));
        array_free(&cut);
        close_job(&o);
    }
}

/* What the plan knows of is refused before anything is loaded. */
static void what_does_not_fit_the_device_is_refused(void **state)
{
    struct weft_model *model;
    struct weft_request request;
    struct weft_job *job;
    struct weft_engine *e = cuda_engine(CUDA_LATE, none, wide.dtype);
    (void)state;
    e->backends[0]->device.memory = (size_t)130 << 20;
    cuda_model(e, wide.name, &model);
    weft_request_defaults(model, &request);
    request.width = request.height = 128;
    request.num_frames = 33;
    assert_int_equal(weft_generate(model, &request, &job), WEFT_REFUSED);
    assert_non_null(strstr(weft_engine_error(e), "of the device's"));
    weft_model_close(&model);
    cuda_engine_close(&e);
}

/* --- the plan --- */

static void compare_plan(struct opened *o, const char *policy)
{
    enum weft_status status;
    struct array all = cuda_pull(o->job, &status);
    assert_int_equal(status, WEFT_OK);
    array_free(&all);
    for (int stage = 0; stage < WF_JOB_STAGES; stage++) {
        const struct wf_stage_stats *plan = &o->job->plan.stats[stage];
        const struct wf_stage_stats *done = &o->job->stats[stage];
        const struct wf_tally want = wf_stage_tally(plan), have = wf_stage_tally(done);
        for (int kind = 0; kind < WF_KINDS; kind++)
            assert_true(have.work[kind] == want.work[kind]);
        for (int a = 0; a < WF_ACCOUNTS; a++) {
            if (plan->peak[a] != done->peak[a])
                fail_msg("%s, stage %d, account %d: %zu bytes planned, %zu taken", policy, stage, a,
                         plan->peak[a], done->peak[a]);
        }
    }
}

static void the_plan_is_the_run(void **state)
{
    const struct wf_policy policies[] = {none, {WF_OFFLOAD_MODEL, 0}, group, sequential};
    (void)state;
    for (size_t i = 0; i < 8; i++) {
        struct opened o;
        cuda_double.no_graphs = i > 3;
        open_job(&o, CUDA_LATE, policies[i % 4]);
        compare_plan(&o, wf_offload_name(policies[i % 4].offload));
        close_job(&o);
    }
}

/* --- where the time goes --- */

static void the_time_goes_somewhere_when_asked(void **state)
{
    (void)state;
    for (int asked = 0; asked < 2; asked++) {
        struct opened o;
        enum weft_status status;
        double sum = 0;
        open_job(&o, CUDA_RANDOM, group);
        o.engine->backends[0]->profiled = asked;
        struct array all = cuda_pull(o.job, &status);
        assert_int_equal(status, WEFT_OK);
        array_free(&all);
        const struct wf_tally denoise = wf_stage_tally(&o.job->stats[WEFT_STAGE_DENOISE]);
        const struct wf_tally decode = wf_stage_tally(&o.job->stats[WEFT_STAGE_DECODE]);
        for (int kind = 0; kind < WF_KINDS; kind++)
            sum += denoise.seconds[kind];
        assert_true(asked ? sum > 0 : sum == 0);
        assert_true((denoise.seconds[WF_KIND_GEMM] > 0) == asked);
        assert_true((denoise.seconds[WF_KIND_ATTENTION] > 0) == asked);
        assert_true((denoise.seconds[WF_KIND_LOAD] > 0) == asked);
        assert_true((decode.seconds[WF_KIND_CONV] > 0) == asked);
        close_job(&o);
    }
}

static int reset(void **state)
{
    (void)state;
    cuda_double = (struct cuda_double){0};
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(weights_come_while_the_device_works, reset),
        cmocka_unit_test_setup(frames_go_while_the_device_works, reset),
        cmocka_unit_test_setup(what_is_called_first_is_done_first, reset),
        cmocka_unit_test_setup(a_cancelled_job_leaves_nothing, reset),
        cmocka_unit_test_setup(a_device_that_fails_is_one_message, reset),
        cmocka_unit_test_setup(a_plan_that_fails_is_its_message, reset),
        cmocka_unit_test_setup(a_small_device_is_a_message, reset),
        cmocka_unit_test_setup(what_does_not_fit_the_device_is_refused, reset),
        cmocka_unit_test_setup(the_time_goes_somewhere_when_asked, reset),
        cmocka_unit_test_setup(the_plan_is_the_run, reset)};
    if (!cuda_jobs_begin())
        return EXIT_FAILURE;
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    cuda_jobs_end();
    return failed;
}
