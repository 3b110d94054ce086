/* Jobs as weft.h has them: opened and checked, then planned, so that what they need is known before
   they begin. */
#include "engine/choose.h"
#include "engine/plan.h"
#include "engine/resume.h"

/* Seconds too, where somebody is told how long it will take: not of a job that is done before its
   rates are measured. */
static enum wf_status plan_seconds(struct weft_job *job)
{
    const double long_job = 1e12; /* FLOPs */
    double flops = 0;
    for (int i = 0; i < WF_JOB_STAGES; i++) {
        const struct wf_tally all = wf_stage_tally(&job->plan.stats[i]);
        flops += wf_flops(&all);
    }
    if (!job->request.progress || flops < long_job)
        return WF_OK;
    return wf_plan_time(job->model->engine, &job->plan);
}

static enum wf_status open_planned(struct weft_model *model, const struct weft_request *request,
                                   const char *latents, struct weft_job **job)
{
    WF_TRY(wf_job_open(model, request, latents, job));
    enum wf_status status = wf_choose(*job, latents);
    if (status == WF_OK && request->resume)
        status = latents ? wf_fail(wf_job_error(*job), WF_REFUSED,
                                   "resume: decoding alone has no steps; leave it away")
                         : wf_resume_check(*job, wf_job_error(*job));
    if (status == WF_OK)
        status = plan_seconds(*job);
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

enum weft_status weft_job_plan(struct weft_job *job, enum weft_stage stage,
                               struct weft_stage_plan *plan)
{
    *plan = (struct weft_stage_plan){0};
    if ((unsigned)stage >= WF_JOB_STAGES)
        return WEFT_OK;
    const struct wf_stage_stats *s = &job->plan.stats[stage];
    const struct wf_tally all = wf_stage_tally(s);
    const enum wf_status status = wf_plan_time(job->model->engine, &job->plan);
    if (status == WF_OK)
        *plan = (struct weft_stage_plan){.seconds = s->seconds,
                                         .flops = wf_flops(&all),
                                         .peak_host_bytes = s->peak[WF_HOST],
                                         .peak_device_bytes = s->peak[WF_DEVICE],
                                         .transfer_bytes = (uint64_t)all.work[WF_KIND_LOAD]};
    return (enum weft_status)status;
}

static enum wf_status pull(struct weft_job *job, struct weft_frame *frame)
{
    if (job->phase == WF_JOB_READY)
        WF_TRY(wf_choose_again(job));
    do {
        WF_TRY(wf_job_advance(job, frame));
        if (atomic_load(&job->cancelled))
            return wf_fail_cancelled(wf_job_error(job));
    } while (!frame->rgb && job->phase != WF_JOB_DONE);
    return WF_OK;
}

enum weft_status weft_job_next(struct weft_job *job, struct weft_frame *frame)
{
    const struct weft_engine *e = job->model->engine;
    *frame = (struct weft_frame){.width = job->width, .height = job->height};
    for (int b = 0; b < e->backend_count; b++)
        e->backends[b]->cancel = &job->cancelled;
    const enum wf_status status = pull(job, frame);
    for (int b = 0; b < e->backend_count; b++)
        e->backends[b]->cancel = NULL;
    if (status != WF_OK) {
        frame->rgb = NULL;
        job->phase = WF_JOB_BROKEN;
    }
    return (enum weft_status)status;
}
