/* What a run will take. */
#include <stdio.h>

#include "engine/cli/run.h"

static void print_stage(const char *name, const struct weft_stage_plan *plan)
{
    printf("%-8s %10.2f s %12.1f GFLOP %10.1f MB at most", name, plan->seconds, plan->flops * 1e-9,
           (double)plan->peak_host_bytes * 1e-6);
    if (plan->peak_device_bytes)
        printf(" %10.1f MB on the device", (double)plan->peak_device_bytes * 1e-6);
    printf(" %10.1f MB of weights brought in\n", (double)plan->transfer_bytes * 1e-6);
}

/* What chunks of that many frames would take, where that is less. */
static enum weft_status print_chunk(struct cli_run *r, int size, uint64_t whole)
{
    struct weft_stage_plan plan = {0};
    struct cli cli = *r->cli;
    struct cli_run smaller = {.cli = &cli, .engine = r->engine, .model = r->model};
    cli.request.decode_chunk_size = size;
    enum weft_status status = cli_make_job(&smaller, 0);
    if (status == WEFT_OK)
        status = weft_job_plan(smaller.job, WEFT_STAGE_DECODE, &plan);
    weft_job_close(&smaller.job);
    const uint64_t bytes = plan.peak_device_bytes ? plan.peak_device_bytes : plan.peak_host_bytes;
    if (status == WEFT_OK && bytes < whole)
        printf("%-8s %10.2f s %12.1f GFLOP %10.1f MB at most with --decode-chunk-size %d\n", "",
               plan.seconds, plan.flops * 1e-9, (double)bytes * 1e-6, size);
    return status;
}

/* All frames together are diffusers' pixels, and the most memory. */
static enum weft_status print_smaller_chunks(struct cli_run *r,
                                             const struct weft_stage_plan *decode)
{
    struct weft_job_info info;
    enum weft_status status = WEFT_OK;
    const uint64_t bytes =
        decode->peak_device_bytes ? decode->peak_device_bytes : decode->peak_host_bytes;
    weft_job_describe(r->job, &info);
    if (r->cli->request.decode_chunk_size || info.decode_chunk_size < info.frames)
        return WEFT_OK;
    r->cli->checking = true;
    for (int parts = 2; parts <= 4 && status == WEFT_OK; parts *= 2) {
        if (info.frames >= 2 * parts)
            status = print_chunk(r, (int)(info.frames + parts - 1) / parts, bytes);
    }
    r->cli->checking = false;
    return status;
}

enum weft_status cli_print_plan(struct cli_run *r)
{
    static const char *const names[] = {"encode", "denoise", "decode"};
    const int clips = cli_clips(r->cli);
    struct weft_stage_plan plan;
    double seconds = 0;
    cli_accept(r->cli);
    if (r->cli->json)
        return weft_job_plan_report(r->job, "-");
    for (int i = 0; i < 3; i++) {
        const enum weft_status status = weft_job_plan(r->job, (enum weft_stage)i, &plan);
        if (status != WEFT_OK)
            return status;
        if (plan.peak_host_bytes) /* else the job does not have it */
            print_stage(names[i], &plan);
        seconds += plan.seconds;
    }
    const enum weft_status status = print_smaller_chunks(r, &plan); /* the last stage's */
    if (status != WEFT_OK)
        return status;
    if (clips > 1) /* weights that stay are read once: it may be less */
        printf("%d clips of these take %.2f s at most\n", clips, seconds * clips);
    return WEFT_OK;
}
