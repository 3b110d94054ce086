/* generate and decode: one clip, or several of one model. */
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>

#include "engine/cli/run.h"

/* What a user forgot: a text that is empty is given on purpose. */
enum weft_status cli_check_prompt(struct cli_run *r)
{
    const struct weft_model_info *info;
    if (r->cli->verb->bit != CLI_GENERATE || r->cli->request.prompt || r->cli->jobs)
        return WEFT_OK;
    const enum weft_status status = weft_model_describe(r->model, &info);
    if (status != WEFT_OK || !(info->takes & WEFT_TAKES_PROMPT))
        return status;
    cli_say("usage: the prompt is missing; give -p TEXT");
    r->told = true;
    return WEFT_REFUSED;
}

static enum weft_status open_model(struct cli_run *r)
{
    enum weft_status status = weft_engine_open(&r->cli->settings, &r->engine);
    if (status == WEFT_OK)
        status = weft_model_open(r->engine, r->cli->model, r->cli->variant, &r->model);
    return status == WEFT_OK ? cli_check_prompt(r) : status;
}

/* A pipe: to open it would wait for its reader, and give it nothing. */
static bool is_pipe(const char *path)
{
    struct stat info;
    return path && stat(path, &info) == 0 && S_ISFIFO(info.st_mode);
}

/* What a later clip writes, opened and let go. A dump and a preview are
   checked by a job of their own. */
static enum weft_status check_clip(const struct cli_run *first, int clip)
{
    struct cli_run r = {.cli = first->cli, .engine = first->engine, .model = first->model};
    enum weft_status status = cli_name_clip(r.cli, r.engine, clip, &r.names);
    r.seed = first->seed;
    r.job = first->job;
    if (status == WEFT_OK && (r.names.dump || r.names.preview))
        status = cli_make_job(&r, clip);
    if (status == WEFT_OK && !is_pipe(r.names.output))
        status = cli_open_writer(&r);
    else if (status == WEFT_OK && r.names.report)
        status = weft_job_report_check(r.job, NULL, r.names.report);
    weft_writer_close(&r.writer);
    if (r.job != first->job)
        weft_job_close(&r.job);
    return status;
}

/* All that can be refused is, before the first clip is computed. */
static enum weft_status check_clips(struct cli_run *r)
{
    const int clips = cli_clips(r->cli);
    struct weft_job_info info;
    enum weft_status status = WEFT_OK;
    weft_job_describe(r->job, &info);
    r->seed = info.seed;
    r->cli->checking = true;
    for (int clip = 1; clip < clips && status == WEFT_OK; clip++)
        status = check_clip(r, clip);
    r->cli->checking = false;
    if (status != WEFT_OK || clips == 1)
        return status;
    status = cli_check_meeting(r->cli, r->engine, info.frames);
    r->told = status != WEFT_OK;
    return status;
}

static enum weft_status run_later_clip(struct cli_run *r, int clip)
{
    cli_close_clip(r);
    r->cli->clip = clip;
    enum weft_status status = cli_open_clip(r, clip);
    if (status == WEFT_OK)
        status = cli_pull_clip(r);
    return status == WEFT_REFUSED ? WEFT_FAILED : status; /* it is not before any compute */
}

static enum weft_status run_clips(struct cli_run *r)
{
    enum weft_status status = cli_open_clip(r, 0);
    if (status == WEFT_OK)
        status = check_clips(r);
    if (status == WEFT_OK)
        status = cli_pull_clip(r);
    for (int clip = 1; clip < cli_clips(r->cli) && status == WEFT_OK; clip++)
        status = run_later_clip(r, clip);
    return status;
}

static enum weft_status plan_clip(struct cli_run *r)
{
    r->names.dump = r->cli->request.dump;
    r->names.preview = r->cli->request.preview;
    const enum weft_status status = cli_open_job(r, 0);
    return status == WEFT_OK ? cli_print_plan(r) : status;
}

int cli_run_request(struct cli_run *r)
{
    const struct cli *cli = r->cli;
    const enum weft_status status = cli->plan ? plan_clip(r) : run_clips(r);
    weft_writer_close(&r->writer); /* before the message: what failed leaves nothing */
    int code = cli_exit_code(r, status);
    if (cli->plan && code == CLI_OK && (fflush(stdout) != 0 || ferror(stdout))) {
        cli_tell(cli, "error", "standard output: the plan could not be written");
        code = CLI_FAILED;
    }
    cli_close_clip(r);
    return code;
}

int cli_run_clip(struct cli *cli)
{
    struct cli_run r = {.cli = cli};
    cli_catch_signals();
    const enum weft_status status = open_model(&r);
    int code = CLI_OK;
    if (status != WEFT_OK)
        code = cli_exit_code(&r, status);
    else
        code = cli->jobs ? cli_run_batch(&r) : cli_run_request(&r);
    weft_model_close(&r.model);
    weft_engine_close(&r.engine);
    return code;
}
