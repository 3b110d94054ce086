/* One clip: from a job to a file. */
#include <signal.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/cli/run.h"

/* For the signal handler, which can be given nothing else: the job to cancel and what came. */
static struct weft_job *volatile signal_job;
static volatile sig_atomic_t signal_number;

static void on_signal(int number)
{
    struct weft_job *job = signal_job;
    signal_number = number;
    if (job)
        weft_job_cancel(job);
}

/* A second signal ends the program at once. Calls that wait are interrupted: a pipe may have no
   reader. What was ignored when the program began, as in a background job or under nohup, stays so.
 */
void cli_catch_signals(void)
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

bool cli_interrupted(void)
{
    return signal_number != 0;
}

enum weft_status cli_make_job(struct cli_run *r, int clip)
{
    const struct cli *cli = r->cli;
    struct weft_request request = cli->request;
    request.progress = cli_show_progress;
    request.progress_context = (void *)(uintptr_t)cli;
    request.dump = r->names.dump;
    request.preview = r->names.preview;
    if (clip > 0) {
        request.seed = r->seed + (uint64_t)clip;
        request.random_seed = 0;
    }
    enum weft_status status = cli->verb->bit == CLI_DECODE
                                  ? weft_decode(r->model, cli->latents, &request, &r->job)
                                  : weft_generate(r->model, &request, &r->job);
    if (status == WEFT_OK && cli->recipe)
        status = weft_recipe_check(cli->recipe, r->job);
    return status;
}

enum weft_status cli_open_job(struct cli_run *r, int clip)
{
    const enum weft_status status = cli_make_job(r, clip);
    signal_job = r->job;
    if (r->job && signal_number) /* it came before there was a job to cancel */
        weft_job_cancel(r->job);
    return status;
}

enum weft_status cli_open_writer(struct cli_run *r)
{
    struct weft_output output = r->cli->output;
    output.path = r->names.output;
    enum weft_status status = weft_writer_open(r->job, &output, &r->writer);
    if (status == WEFT_OK && r->names.report)
        status = weft_job_report_check(r->job, r->writer, r->names.report);
    return status;
}

enum weft_status cli_open_clip(struct cli_run *r, int clip)
{
    enum weft_status status = cli_name_clip(r->cli, r->engine, clip, &r->names);
    if (status == WEFT_OK)
        status = cli_open_job(r, clip);
    return status == WEFT_OK ? cli_open_writer(r) : status;
}

void cli_close_clip(struct cli_run *r)
{
    signal_job = NULL;
    weft_writer_close(&r->writer);
    weft_job_close(&r->job);
}

static void announce(const struct cli_run *r)
{
    char label[CLI_LABEL];
    struct weft_job_info info;
    weft_job_describe(r->job, &info);
    cli_accept(r->cli);
    if (!r->cli->quiet && r->cli->verb->bit == CLI_GENERATE && r->cli->request.random_seed)
        cli_tell(r->cli, "info", "%sseed %llu", cli_label(r->cli, ": ", label),
                 (unsigned long long)info.seed);
}

static void summarize(const struct cli_run *r)
{
    char label[CLI_LABEL];
    struct weft_writer_info info;
    if (!r->cli->verbose || r->cli->quiet)
        return;
    weft_writer_describe(r->writer, &info);
    cli_tell(
        r->cli, "info",
        "%s%lld frames, %lld bytes, %.1f kbit/s, %lld key frames, %s %s, %.1f s in the encoder",
        cli_label(r->cli, ": ", label), (long long)info.frames, (long long)info.bytes,
        info.bits_per_second / 1000, (long long)info.key_frames,
        info.codec ? info.codec : info.format, info.pix_fmt ? info.pix_fmt : "",
        info.encode_seconds);
}

static enum weft_status pull_frames(struct cli_run *r)
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

enum weft_status cli_pull_clip(struct cli_run *r)
{
    announce(r);
    enum weft_status status = pull_frames(r);
    if (status == WEFT_OK) {
        cli_show_writing(r->cli);
        status = weft_writer_finish(r->writer);
    }
    if (status == WEFT_OK && r->names.report)
        status = weft_job_report(r->job, r->writer, r->names.report);
    cli_end_progress(r->cli);
    if (status == WEFT_OK)
        summarize(r);
    return status;
}

int cli_exit_code(const struct cli_run *r, enum weft_status status)
{
    if (status == WEFT_OK)
        return CLI_OK;
    if (!r->told)
        cli_tell(r->cli, "error", "%s", weft_engine_error(r->engine));
    if (status == WEFT_CANCELLED && signal_number)
        return 128 + signal_number;
    return status == WEFT_REFUSED ? CLI_REFUSED : CLI_FAILED;
}
