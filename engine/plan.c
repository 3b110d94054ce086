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

/* Bytes of an account, without those of weights. */
static size_t without_weights(const struct weft_engine *e, int account)
{
    const struct wf_mem *mem = wf_engine_account(e, account);
    return wf_mem_live_all(mem) - wf_mem_live(mem, WF_MEM_WEIGHTS);
}

/* The twin's engine holds what it counts; the model's holds plan->base beside that. */
static enum wf_status run(struct weft_job *job, struct wf_job_plan *plan)
{
    struct weft_frame frame = {0};
    size_t opened[WF_ACCOUNTS];
    for (int a = 0; a < WF_ACCOUNTS; a++)
        opened[a] = without_weights(job->model->engine, a);
    while (job->phase != WF_JOB_DONE) {
        WF_TRY(wf_job_advance(job, &frame));
        if (job->decoder)
            plan->room.decoder = wf_decoder_room_used(job->decoder);
    }
    plan->room.activations = job->arena.peak;
    plan->room.blocks = job->pool.peak;
    plan->room_known = true;
    memcpy(plan->stats, job->stats, sizeof plan->stats);
    for (int i = 0; i < WF_JOB_STAGES; i++) {
        plan->stats[i].seconds = 0; /* those that the planning took */
        for (int a = 0; a < WF_ACCOUNTS; a++) {
            if (plan->stats[i].peak[WF_HOST])
                plan->stats[i].peak[a] += plan->base[a] - opened[a];
        }
    }
    return WF_OK;
}

/* Of the model's own weights, which the plan counts as its twin holds them. */
static size_t held_weights(const struct weft_model *model, int account)
{
    size_t bytes = 0;
    for (int i = 0; i < WF_MAX_COMPONENTS; i++) {
        const struct wf_residency *w = model->weights[i];
        if (w && wf_residency_backend(w)->device.own_memory == (account == WF_DEVICE))
            bytes += wf_residency_held(w);
    }
    return bytes;
}

size_t wf_plan_base(const struct weft_model *model, int account)
{
    return wf_mem_live_all(wf_engine_account(model->engine, account)) -
           held_weights(model, account);
}

static enum wf_status run_job(struct weft_model *twin, const struct weft_request *request,
                              const char *latents, struct wf_job_plan *plan)
{
    for (int a = 0; a < WF_ACCOUNTS; a++)
        plan->base[a] = wf_plan_base(twin->twin_of, a);
    struct weft_job *job = NULL;
    WF_TRY(wf_job_open(twin, request, latents, &job));
    job->plan.room = plan->room;
    const enum wf_status status = run(job, plan);
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

size_t wf_plan_peak(const struct wf_job_plan *plan, int account)
{
    size_t peak = 0;
    for (int i = 0; i < WF_JOB_STAGES; i++)
        peak = plan->stats[i].peak[account] > peak ? plan->stats[i].peak[account] : peak;
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
    r.resume = NULL;
    r.random_seed = 0;
    /* Twice: only when the arenas are known are they taken in one piece, as the job will. */
    if (!plan->room_known)
        WF_TRY(plan_once(model, &r, latents, policy, plan, err));
    return plan_once(model, &r, latents, policy, plan, err);
}
