/* Jobs as weft.h has them: opened and checked, then planned, so that what they need is known before
   they begin. */
#include "engine/plan.h"
#include "kernels/rates.h"

static enum wf_status open_planned(struct weft_model *model, const struct weft_request *request,
                                   const char *latents, struct weft_job **job)
{
    struct wf_error *err = &model->engine->err;
    WF_TRY(wf_job_open(model, request, latents, job));
    const enum wf_status status = wf_plan_job(model, &(*job)->request, latents, &(*job)->plan, err);
    if (status != WF_OK)
        weft_job_close(job);
    return status;
}

enum weft_status weft_generate(struct weft_model *model, const struct weft_request *request,
                               struct weft_job **job)
{
    return (enum weft_status)open_planned(model, request, NULL, job);
}

enum weft_status weft_decode(struct weft_model *model, const char *latents_file,
                             const struct weft_request *request, struct weft_job **job)
{
    if (!latents_file) {
        *job = NULL;
        return (enum weft_status)wf_fail(&model->engine->err, WF_REFUSED,
                                         "latents: no file was named; give the path of one");
    }
    return (enum weft_status)open_planned(model, request, latents_file, job);
}

/* By kind: work at the device's rate for it. */
static enum wf_status add_seconds(struct weft_job *job)
{
    const double *rates;
    WF_TRY(wf_backend_rates(wf_job_backend(job), &rates));
    for (int i = 0; i < 3; i++) {
        struct wf_stage_stats *s = &job->plan.stats[i];
        s->seconds = 0;
        for (int kind = 0; kind < WF_KINDS; kind++) {
            s->tally.seconds[kind] = s->tally.work[kind] / rates[kind];
            s->seconds += s->tally.seconds[kind];
        }
    }
    return WF_OK;
}

enum weft_status weft_job_plan(struct weft_job *job, enum weft_stage stage,
                               struct weft_stage_plan *plan)
{
    const struct wf_stage_stats *s = &job->plan.stats[stage];
    *plan = (struct weft_stage_plan){0};
    const enum wf_status status = add_seconds(job);
    if (status == WF_OK)
        *plan = (struct weft_stage_plan){.seconds = s->seconds,
                                         .flops = wf_flops(&s->tally),
                                         .peak_host_bytes = s->peak_host_bytes,
                                         .transfer_bytes = (uint64_t)s->tally.work[WF_KIND_LOAD]};
    return (enum weft_status)status;
}

enum weft_status weft_job_plan_report(struct weft_job *job, const char *path)
{
    enum wf_status status = add_seconds(job);
    if (status == WF_OK)
        status = wf_report_write_plan(job, path, wf_job_error(job));
    return (enum weft_status)status;
}
