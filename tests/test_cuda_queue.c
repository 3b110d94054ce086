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

#include "tests/cuda_job.h"

static const struct wf_policy none = {WF_OFFLOAD_NONE, 0}, group = {WF_OFFLOAD_GROUP, 1},
                              sequential = {WF_OFFLOAD_SEQUENTIAL, 0};
static const struct cuda_case wide = {"wide", "bf16", false, true};

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

/* Units of weights that came before the last kernel of the unit before was run, and after it. What
   the compute stream waits for together is a unit. */
static void count_ahead(struct part part, int *ahead, int *late)
{
    size_t count, kernel = 0;
    const struct cuda_trace *t = cuda_double_trace(&count);
    *ahead = *late = 0;
    for (size_t i = part.first; i < part.end; i++) {
        if (t[i].stream != WF_STREAM_COMPUTE || t[i].kind == CUDA_JOIN || t[i].kind == CUDA_COPY)
            continue;
        if (t[i].kind == CUDA_KERNEL) {
            kernel = i;
            continue;
        }
        uint64_t last = 0;
        for (; i < part.end && t[i].kind != CUDA_KERNEL; i++) {
            if (t[i].kind == CUDA_WAIT && t[i].stream == WF_STREAM_COMPUTE &&
                t[i].event_stream == WF_STREAM_WEIGHTS && t[i].event_index > last)
                last = t[i].event_index;
        }
        i--;
        if (!last)
            continue;
        if (find(WF_STREAM_WEIGHTS, last) < kernel)
            ++*ahead;
        else
            ++*late;
    }
}

static void weights_come_while_the_device_works(void **state)
{
    struct weft_model *model;
    struct weft_job *job;
    struct weft_frame frame = {0};
    struct weft_engine *e = cuda_engine(CUDA_EARLY, group, wide.dtype);
    (void)state;
    cuda_model(e, wide.name, &model);
    cuda_job(model, &wide, NULL, &job);
    while (job->phase != WF_JOB_DONE) {
        struct part part;
        int ahead, late;
        const enum wf_job_phase phase = job->phase;
        (void)cuda_double_trace(&part.first);
        assert_int_equal(wf_job_advance(job, &frame), WF_OK);
        (void)cuda_double_trace(&part.end);
        count_ahead(part, &ahead, &late);
        print_message("phase %d: %zu entries, %d syncs, %d ahead, %d late\n", (int)phase,
                      part.end - part.first, count_syncs(part), ahead, late);
    }
    weft_job_close(&job);
    weft_model_close(&model);
    cuda_engine_close(&e);
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
        cmocka_unit_test_setup(weights_come_while_the_device_works, reset)};
    (void)none;
    (void)sequential;
    if (!cuda_jobs_begin())
        return EXIT_FAILURE;
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    cuda_jobs_end();
    return failed;
}
