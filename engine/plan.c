#include "engine/plan.h"

#include <stdlib.h>
#include <string.h>

#include "kernels/rates.h"

static enum wf_status open_engine(struct weft_engine *planner, const struct weft_engine *engine,
                                  struct wf_policy policy)
{
    planner->policy = policy;
    planner->mem = wf_mem_open();
    if (!planner->mem)
        return wf_fail_memory(&planner->err, "plan", 0);
    return wf_backend_open_plan(engine->be, planner->mem, &planner->err, &planner->be);
}

/* base: bytes that the engine holds beside what the plan counts. */
static enum wf_status run(struct weft_job *job, size_t base, struct wf_job_plan *plan)
{
    struct weft_frame frame = {0};
    const size_t opened = wf_mem_live_all(job->model->engine->mem);
    while (job->phase != WF_JOB_DONE) {
        WF_TRY(wf_job_advance(job, &frame));
        if (job->decoder)
            plan->room.vae = wf_decoder_room_used(job->decoder);
    }
    plan->room.activations = job->arena.peak;
    memcpy(plan->stats, job->stats, sizeof plan->stats);
    for (size_t i = 0; i < sizeof plan->stats / sizeof *plan->stats; i++) {
        if (plan->stats[i].peak_host_bytes)
            plan->stats[i].peak_host_bytes += base - opened;
    }
    return WF_OK;
}

static enum wf_status run_job(struct weft_model *twin, const struct weft_request *request,
                              const char *latents, struct wf_job_plan *plan)
{
    /* Of the job that is planned too, which is open; the weights that are held already, the plan
       counts as it comes to them. */
    const struct wf_mem *mem = twin->twin_of->engine->mem;
    const size_t base = wf_mem_live_all(mem) - wf_mem_live(mem, WF_MEM_WEIGHTS);
    struct weft_job *job = NULL;
    WF_TRY(wf_job_open(twin, request, latents, &job));
    job->plan.room = plan->room;
    const enum wf_status status = run(job, base, plan);
    weft_job_close(&job);
    return status;
}

static enum wf_status plan_once(const struct weft_model *model, const struct weft_request *request,
                                const char *latents, struct wf_policy policy,
                                struct wf_job_plan *plan, struct wf_error *err)
{
    struct weft_model *twin = NULL;
    struct weft_engine *planner = calloc(1, sizeof *planner);
    if (!planner)
        return wf_fail_memory(err, "plan", sizeof *planner);
    enum wf_status status = open_engine(planner, model->engine, policy);
    if (status == WF_OK)
        status = wf_model_open_twin(model, planner, &twin);
    if (status == WF_OK)
        status = run_job(twin, request, latents, plan);
    if (status != WF_OK)
        *err = planner->err;
    weft_model_close(&twin);
    weft_engine_close(&planner);
    return status;
}

size_t wf_plan_peak(const struct wf_job_plan *plan)
{
    size_t peak = 0;
    for (size_t i = 0; i < sizeof plan->stats / sizeof *plan->stats; i++)
        peak = plan->stats[i].peak_host_bytes > peak ? plan->stats[i].peak_host_bytes : peak;
    return peak;
}

enum wf_status wf_plan_time(struct wf_backend *be, struct wf_job_plan *plan, double *seconds)
{
    const double *rates;
    WF_TRY(wf_backend_rates(be, &rates));
    *seconds = 0;
    for (size_t i = 0; i < sizeof plan->stats / sizeof *plan->stats; i++) {
        struct wf_stage_stats *s = &plan->stats[i];
        s->seconds = 0;
        for (int kind = 0; kind < WF_KINDS; kind++) {
            s->tally.seconds[kind] = s->tally.work[kind] / rates[kind];
            s->seconds += s->tally.seconds[kind];
        }
        *seconds += s->seconds;
    }
    return WF_OK;
}

enum wf_status wf_plan_job(const struct weft_model *model, const struct weft_request *request,
                           const char *latents, struct wf_policy policy, struct wf_job_plan *plan,
                           struct wf_error *err)
{
    struct weft_request r = *request;
    r.progress = NULL;
    r.dump = NULL;
    r.random_seed = 0;
    /* Twice: only when the arenas are known are they taken in one piece, as the job will. */
    if (!plan->room.vae.scratch)
        WF_TRY(plan_once(model, &r, latents, policy, plan, err));
    return plan_once(model, &r, latents, policy, plan, err);
}
