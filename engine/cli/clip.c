/* generate and decode: from a job to a file. */
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "engine/cli/cli.h"

struct run {
    struct cli *cli;
    struct weft_engine *engine;
    struct weft_model *model;
    struct weft_job *job;
    struct weft_writer *writer;
};

/* For the signal handler, which can be given nothing else: the job to cancel and what came. */
static struct weft_job *volatile signal_job;
static volatile sig_atomic_t signal_number;

static void on_signal(int number)
{
    signal_number = number;
    if (signal_job)
        weft_job_cancel(signal_job);
}

/* A second signal ends the program at once. Calls that wait are interrupted: a pipe may have no
   reader. What was ignored when the program began, as in a background job or under nohup, stays so.
 */
static void catch_signals(void)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND}, before;
        sigemptyset(&action.sa_mask);
        if (sigaction(numbers[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN)
            sigaction(numbers[i], &action, NULL);
    }
    signal(SIGPIPE, SIG_IGN); /* a reader that went away is an error of writing */
    signal(SIGXFSZ, SIG_IGN); /* and so is a file that may not grow */
}

static enum weft_status open_job(struct run *r, struct weft_request *request)
{
    const struct cli *cli = r->cli;
    enum weft_status status = weft_engine_open(&cli->settings, &r->engine);
    if (status == WEFT_OK)
        status = weft_model_open(r->engine, cli->model, cli->variant, &r->model);
    if (status != WEFT_OK)
        return status;
    *request = cli->request;
    request->progress = cli_show_progress;
    request->progress_context = (void *)(uintptr_t)cli;
    status = cli->verb == CLI_DECODE ? weft_decode(r->model, cli->latents, request, &r->job)
                                     : weft_generate(r->model, request, &r->job);
    signal_job = r->job;
    if (r->job && signal_number) /* it came before there was a job to cancel */
        weft_job_cancel(r->job);
    return status;
}

static enum weft_status open_all(struct run *r, struct weft_request *request)
{
    enum weft_status status = open_job(r, request);
    if (status == WEFT_OK)
        status = weft_writer_open(r->job, &r->cli->output, &r->writer);
    if (status == WEFT_OK && r->cli->report)
        status = weft_job_report_check(r->job, r->writer, r->cli->report);
    return status;
}

static void announce(const struct run *r)
{
    struct weft_job_info info;
    weft_job_describe(r->job, &info);
    cli_accept(r->cli);
    if (!r->cli->quiet && r->cli->verb == CLI_GENERATE && r->cli->request.random_seed)
        cli_tell(r->cli, "info", "seed %llu", (unsigned long long)info.seed);
}

static void summarize(const struct run *r)
{
    struct weft_writer_info info;
    if (!r->cli->verbose || r->cli->quiet)
        return;
    weft_writer_describe(r->writer, &info);
    cli_tell(r->cli, "info",
             "%lld frames, %lld bytes, %.1f kbit/s, %lld key frames, %s %s, %.1f s in the encoder",
             (long long)info.frames, (long long)info.bytes, info.bits_per_second / 1000,
             (long long)info.key_frames, info.codec ? info.codec : info.format,
             info.pix_fmt ? info.pix_fmt : "", info.encode_seconds);
}

static enum weft_status pull_frames(struct run *r)
{
    struct weft_frame frame;
    for (;;) {
        enum weft_status status = weft_job_next(r->job, &frame);
        if (status != WEFT_OK || !frame.rgb)
            return status;
        status = weft_writer_write(r->writer, &frame);
        if (status != WEFT_OK)
            return status;
    }
}

static enum weft_status run_all(struct run *r)
{
    announce(r);
    enum weft_status status = pull_frames(r);
    if (status == WEFT_OK)
        status = weft_writer_finish(r->writer);
    if (status == WEFT_OK && r->cli->report)
        status = weft_job_report(r->job, r->writer, r->cli->report);
    cli_end_progress(r->cli);
    if (status == WEFT_OK)
        summarize(r);
    return status;
}

static int exit_code(const struct run *r, enum weft_status status)
{
    if (status == WEFT_OK)
        return CLI_OK;
    cli_tell(r->cli, "error", "%s", weft_engine_error(r->engine));
    if (status == WEFT_CANCELLED && signal_number)
        return 128 + signal_number;
    return status == WEFT_REFUSED ? CLI_REFUSED : CLI_FAILED;
}

static void print_stage(const char *name, const struct weft_stage_plan *plan)
{
    printf("%-8s %10.2f s %12.1f GFLOP %10.1f MB at most", name, plan->seconds, plan->flops * 1e-9,
           (double)plan->peak_host_bytes * 1e-6);
    if (plan->peak_device_bytes)
        printf(" %10.1f MB on the device", (double)plan->peak_device_bytes * 1e-6);
    printf(" %10.1f MB of weights brought in\n", (double)plan->transfer_bytes * 1e-6);
}

static enum weft_status print_plan(struct run *r)
{
    static const char *const names[] = {"encode", "denoise", "decode"};
    struct weft_stage_plan plan;
    cli_accept(r->cli);
    if (r->cli->json)
        return weft_job_plan_report(r->job, "-");
    for (int i = 0; i < 3; i++) {
        const enum weft_status status = weft_job_plan(r->job, (enum weft_stage)i, &plan);
        if (status != WEFT_OK)
            return status;
        if (plan.peak_host_bytes) /* else the job does not have it */
            print_stage(names[i], &plan);
    }
    return WEFT_OK;
}

int cli_run_clip(struct cli *cli)
{
    struct run r = {.cli = cli};
    struct weft_request request;
    catch_signals();
    enum weft_status status = cli->plan ? open_job(&r, &request) : open_all(&r, &request);
    if (status == WEFT_OK)
        status = cli->plan ? print_plan(&r) : run_all(&r);
    signal_job = NULL;
    weft_writer_close(&r.writer);
    int code = exit_code(&r, status);
    if (cli->plan && code == CLI_OK && (fflush(stdout) != 0 || ferror(stdout))) {
        cli_tell(cli, "error", "standard output: the plan could not be written");
        code = CLI_FAILED;
    }
    weft_job_close(&r.job);
    weft_model_close(&r.model);
    weft_engine_close(&r.engine);
    return code;
}
