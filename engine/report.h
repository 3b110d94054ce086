/* What each stage of a job took, and the JSON file that says so. */
#ifndef WEFT_ENGINE_REPORT_H
#define WEFT_ENGINE_REPORT_H

#include <stddef.h>

#include "engine/engine.h"

struct weft_job;
struct weft_writer_info;

struct wf_stage_stats {
    double seconds;
    struct wf_tally tally[WF_MAX_BACKENDS]; /* by the engine's backends */
    size_t peak[WF_ACCOUNTS];               /* bytes */
};

struct wf_tally wf_stage_tally(const struct wf_stage_stats *s); /* of all backends */

/* A text as JSON has it: bytes that are no UTF-8 become U+FFFD. NULL when memory is short. */
json_t *wf_report_string(const char *text);

/* write NULL: the job had no writer. */
enum wf_status wf_report_write(const struct weft_job *job, const struct weft_writer_info *write,
                               const char *path, struct wf_error *err);
/* The same of what is planned. */
enum wf_status wf_report_write_plan(const struct weft_job *job, const char *path,
                                    struct wf_error *err);
/* WF_REFUSED when a report could not be written there. Writes nothing. */
enum wf_status wf_report_check(const char *path, struct wf_mem *mem, struct wf_error *err);

#endif
