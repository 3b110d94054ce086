#include "engine/plan.h"

#include <stdlib.h>
#include <string.h>

#include "kernels/rates.h"

static enum wf_status open_engine(struct weft_engine *planner, const struct weft_engine *engine,
                                  struct wf_policy policy)
{
    planner->policy = policy;
    planner->mem = wf_mem_open();
    planner->device_mem = wf_mem_open();
    if (!planner->mem || !planner->device_mem)
        return wf_fail_memory(&planner->err, "plan", 0);
    for (int i = 0; i < engine->backend_count; i++) {
        WF_TRY(wf_backend_open_plan(engine->backends[i], planner->mem, planner->device_mem,
                                    &planner->err, &planner->backends[i]));
        planner->backend_count++;
    }
    return WF_OK;
}

/* base: bytes that the engine holds beside what the plan counts. */
static enum wf_status run(struct weft_job *job, size_t base, struct wf_job_plan *plan)
{
    struct weft_frame frame = {0};
    const struct wf_mem *mem = job->model->engine->mem;
    const size_t opened = wf_mem_live_all(mem) - wf_mem_live(mem, WF_MEM_WEIGHTS);
    while (job->phase != WF_JOB_DONE) {
        WF_TRY(wf_job_advance(job, &frame));
        if (job->decoder)
            plan->room.vae = wf_decoder_room_used(job->decoder);
    }
    plan->room.activations = job->arena.peak;
    plan->room_known = true;
    memcpy(plan->stats, job->stats, sizeof plan->stats);
    for (int i = 0; i < WF_JOB_STAGES; i++) {
        plan->stats[i].seconds = 0; /* those that the planning took */
        if (plan->stats[i].peak_host_bytes)
            plan->stats[i].peak_host_bytes += base - opened;
    }
    return WF_OK;
}

/* The model's own, which the plan counts as its twin holds them. */
static size_t held_weights(const struct weft_model *model)
{
    size_t bytes = 0;
    for (int i = 0; i < WF_MAX_COMPONENTS; i++) {
        const struct wf_residency *w = model->weights[i];
        if (w && !wf_residency_backend(w)->device.own_memory)
            bytes += wf_residency_held(w);
    }
    return bytes;
}

size_t wf_plan_base(const struct weft_model *model)
{
    return wf_mem_live_all(model->engine->mem) - held_weights(model);
}

static enum wf_status run_job(struct weft_model *twin, const struct weft_request *request,
                              const char *latents, struct wf_job_plan *plan)
{
    const size_t base = plan->base = wf_plan_base(twin->twin_of);
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
    for (int i = 0; i < WF_JOB_STAGES; i++)
        peak = plan->stats[i].peak_host_bytes > peak ? plan->stats[i].peak_host_bytes : peak;
    return peak;
}

/* At the rates of one of the engine's backends. */
static void time_stage(struct wf_stage_stats *s, int backend, const double *rates)
{
    struct wf_tally *tally = &s->tally[backend];
    for (int kind = 0; kind < WF_KINDS; kind++) {
        tally->seconds[kind] = tally->work[kind] / rates[kind];
        s->seconds += tally->seconds[kind];
    }
}

enum wf_status wf_plan_time(const struct weft_engine *engine, struct wf_job_plan *plan)
{
    for (int i = 0; i < WF_JOB_STAGES; i++)
        plan->stats[i].seconds = 0;
    for (int b = 0; b < engine->backend_count; b++) {
        const double *rates;
        WF_TRY(wf_backend_rates(engine->backends[b], &rates));
        for (int i = 0; i < WF_JOB_STAGES; i++)
            time_stage(&plan->stats[i], b, rates);
    }
    return WF_OK;
}

double wf_plan_seconds(const struct wf_job_plan *plan)
{
    double seconds = 0;
    for (int i = 0; i < WF_JOB_STAGES; i++)
        seconds += plan->stats[i].seconds;
    return seconds;
}

enum wf_status wf_plan_job(const struct weft_model *model, const struct weft_request *request,
                           const char *latents, struct wf_policy policy, struct wf_job_plan *plan,
                           struct wf_error *err)
{
    struct weft_request r = *request;
    r.progress = NULL;
    r.random_seed = 0;
    /* Twice: only when the arenas are known are they taken in one piece, as the job will. */
    if (!plan->room_known)
        WF_TRY(plan_once(model, &r, latents, policy, plan, err));
    return plan_once(model, &r, latents, policy, plan, err);
}
