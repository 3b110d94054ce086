/* What generate and decode consist of. */
#ifndef WEFT_ENGINE_CLI_RUN_H
#define WEFT_ENGINE_CLI_RUN_H

#include <stdint.h>

#include "engine/cli/names.h"

/* A run, and the clip that it is at. */
struct cli_run {
    struct cli *cli;
    struct weft_engine *engine;
    struct weft_model *model;
    struct weft_job *job;
    struct weft_writer *writer;
    struct cli_names names;
    uint64_t seed; /* of the first clip; the others' follow */
    bool told;     /* what went wrong */
    bool piped;    /* of a batch: a request has standard output */
};

/* Before the first job: from then on a signal cancels the one that is open. */
void cli_catch_signals(void);

/* The job of a clip, from 0, whose names r->names holds; clips after the first need r->seed. */
enum weft_status cli_make_job(struct cli_run *r, int clip);
/* The same, and a signal cancels it from now on. */
enum weft_status cli_open_job(struct cli_run *r, int clip);
/* r->writer, for r->job and r->names; checks the report. */
enum weft_status cli_open_writer(struct cli_run *r);
/* A clip's names, job and writer. */
enum weft_status cli_open_clip(struct cli_run *r, int clip);
void cli_close_clip(struct cli_run *r);

/* From the first frame to the file's name, and the report. */
enum weft_status cli_pull_clip(struct cli_run *r);

enum weft_status cli_print_plan(struct cli_run *r);
/* Refuses a request without the prompt that the model takes. */
enum weft_status cli_check_prompt(struct cli_run *r);
/* The clips of r->cli, or their plan, with the model that is open; an exit code. */
int cli_run_request(struct cli_run *r);
/* The requests of --jobs, one after the other. */
int cli_run_batch(struct cli_run *r);
/* Whether a signal came. */
bool cli_interrupted(void);
/* That of a status; says what went wrong, if that is not told. */
int cli_exit_code(const struct cli_run *r, enum weft_status status);

#endif
