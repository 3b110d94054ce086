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
    if (clips > 1) /* weights that stay are read once: it may be less */
        printf("%d clips of these take %.2f s at most\n", clips, seconds * clips);
    return WEFT_OK;
}
