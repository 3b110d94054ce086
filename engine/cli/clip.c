/* generate and decode: from a job to a file. */
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>

#include "engine/cli/names.h"

/* A run, and the clip that it is at. */
struct run {
    struct cli *cli;
    struct weft_engine *engine;
    struct weft_model *model;
    struct weft_job *job;
    struct weft_writer *writer;
    struct cli_names names;
    uint64_t seed; /* of the first clip; the others' follow */
    bool told;     /* what went wrong */
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

static enum weft_status open_model(struct run *r)
{
    const enum weft_status status = weft_engine_open(&r->cli->settings, &r->engine);
    return status == WEFT_OK ? weft_model_open(r->engine, r->cli->model, r->cli->variant, &r->model)
                             : status;
}

/* The job of a clip, from 0. */
static enum weft_status make_job(struct run *r, int clip)
{
    const struct cli *cli = r->cli;
    struct weft_request request = cli->request;
    request.progress = cli_show_progress;
    request.progress_context = (void *)(uintptr_t)cli;
    request.dump = r->names.dump;
    if (clip > 0) {
        request.seed = r->seed + (uint64_t)clip;
        request.random_seed = 0;
    }
    return cli->verb == CLI_DECODE ? weft_decode(r->model, cli->latents, &request, &r->job)
                                   : weft_generate(r->model, &request, &r->job);
}

static enum weft_status open_job(struct run *r, int clip)
{
    const enum weft_status status = make_job(r, clip);
    signal_job = r->job;
    if (r->job && signal_number) /* it came before there was a job to cancel */
        weft_job_cancel(r->job);
    return status;
}

static enum weft_status open_writer(struct run *r)
{
    struct weft_output output = r->cli->output;
    output.path = r->names.output;
    enum weft_status status = weft_writer_open(r->job, &output, &r->writer);
    if (status == WEFT_OK && r->names.report)
        status = weft_job_report_check(r->job, r->writer, r->names.report);
    return status;
}

static enum weft_status open_clip(struct run *r, int clip)
{
    enum weft_status status = cli_name_clip(r->cli, r->engine, clip, &r->names);
    if (status == WEFT_OK)
        status = open_job(r, clip);
    return status == WEFT_OK ? open_writer(r) : status;
}

static void close_clip(struct run *r)
{
    signal_job = NULL;
    weft_writer_close(&r->writer);
    weft_job_close(&r->job);
}

static void announce(const struct run *r)
{
    char label[CLI_LABEL];
    struct weft_job_info info;
    weft_job_describe(r->job, &info);
    cli_accept(r->cli);
    if (!r->cli->quiet && r->cli->verb == CLI_GENERATE && r->cli->request.random_seed)
        cli_tell(r->cli, "info", "%sseed %llu", cli_label(r->cli, ": ", label),
                 (unsigned long long)info.seed);
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

static enum weft_status run_clip(struct run *r)
{
    announce(r);
    enum weft_status status = pull_frames(r);
    if (status == WEFT_OK)
        status = weft_writer_finish(r->writer);
    if (status == WEFT_OK && r->names.report)
        status = weft_job_report(r->job, r->writer, r->names.report);
    cli_end_progress(r->cli);
    if (status == WEFT_OK)
        summarize(r);
    return status;
}

/* --- several clips --- */

/* A pipe: to open it would wait for its reader, and give it nothing. */
static bool is_pipe(const char *path)
{
    struct stat info;
    return path && stat(path, &info) == 0 && S_ISFIFO(info.st_mode);
}

/* What a later clip writes, opened and let go. A dump is checked by a job of its own. */
static enum weft_status check_clip(const struct run *first, int clip)
{
    struct run r = {.cli = first->cli, .engine = first->engine, .model = first->model};
    enum weft_status status = cli_name_clip(r.cli, r.engine, clip, &r.names);
    r.seed = first->seed;
    r.job = first->job;
    if (status == WEFT_OK && r.names.dump)
        status = make_job(&r, clip);
    if (status == WEFT_OK && !is_pipe(r.names.output))
        status = open_writer(&r);
    weft_writer_close(&r.writer);
    if (r.job != first->job)
        weft_job_close(&r.job);
    return status;
}

/* All that can be refused is, before the first clip is computed. */
static enum weft_status check_clips(struct run *r)
{
    const int clips = cli_clips(r->cli);
    struct weft_job_info info;
    enum weft_status status = WEFT_OK;
    weft_job_describe(r->job, &info);
    r->seed = info.seed;
    r->cli->repeated = true;
    for (int clip = 1; clip < clips && status == WEFT_OK; clip++)
        status = check_clip(r, clip);
    r->cli->repeated = false;
    if (status != WEFT_OK || clips == 1)
        return status;
    const int code = cli_check_meeting(r->cli, r->engine, info.frames);
    r->told = code != CLI_OK;
    return code == CLI_OK ? WEFT_OK : code == CLI_REFUSED ? WEFT_REFUSED : WEFT_FAILED;
}

static enum weft_status run_later_clip(struct run *r, int clip)
{
    close_clip(r);
    r->cli->clip = clip;
    r->cli->repeated = true;
    enum weft_status status = open_clip(r, clip);
    r->cli->repeated = false;
    if (status == WEFT_OK)
        status = run_clip(r);
    return status == WEFT_REFUSED ? WEFT_FAILED : status; /* it is not before any compute */
}

static enum weft_status run_clips(struct run *r)
{
    enum weft_status status = open_clip(r, 0);
    if (status == WEFT_OK)
        status = check_clips(r);
    if (status == WEFT_OK)
        status = run_clip(r);
    for (int clip = 1; clip < cli_clips(r->cli) && status == WEFT_OK; clip++)
        status = run_later_clip(r, clip);
    return status;
}

static int exit_code(const struct run *r, enum weft_status status)
{
    if (status == WEFT_OK)
        return CLI_OK;
    if (!r->told)
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

static enum weft_status plan_clip(struct run *r)
{
    r->names.dump = r->cli->request.dump;
    const enum weft_status status = open_job(r, 0);
    return status == WEFT_OK ? print_plan(r) : status;
}

int cli_run_clip(struct cli *cli)
{
    struct run r = {.cli = cli};
    catch_signals();
    enum weft_status status = open_model(&r);
    if (status == WEFT_OK)
        status = cli->plan ? plan_clip(&r) : run_clips(&r);
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
