#include "engine/choose.h"

#include <stdint.h>
#include <stdio.h>

#include "engine/plan.h"
#include "kernels/base/cgroup.h"

static const struct wf_policy candidates[] = {
    {WF_OFFLOAD_NONE, 0}, {WF_OFFLOAD_MODEL, 0}, {WF_OFFLOAD_GROUP, 1}, {WF_OFFLOAD_SEQUENTIAL, 0}};

enum { CANDIDATES = sizeof candidates / sizeof *candidates };

/* What the engine's memory may come to. */
static size_t limit_of(const struct weft_engine *e)
{
    if (e->memory_limit)
        return e->memory_limit;
    const size_t left = wf_memory_free(""), held = wf_mem_live_all(e->mem);
    return left < SIZE_MAX - held ? left + held : SIZE_MAX;
}

static double megabytes(size_t bytes)
{
    return (double)bytes * 1e-6;
}

/* Under another policy; the arenas are the same under each, and are looked for once. */
static enum wf_status plan_under(struct weft_job *job, const char *latents, struct wf_policy policy,
                                 struct wf_job_plan *plan)
{
    *plan = (struct wf_job_plan){.room = job->plan.room, .room_known = job->plan.room_known};
    WF_TRY(wf_plan_job(job->model, &job->request, latents, policy, plan, wf_job_error(job)));
    job->plan.room = plan->room;
    job->plan.room_known = true;
    return WF_OK;
}

/* The policy that needs least, for the message. */
static enum wf_status find_least(struct weft_job *job, const char *latents, size_t *bytes,
                                 enum wf_offload *offload)
{
    *bytes = SIZE_MAX;
    /* What a device map places stays. */
    const int count = job->model->engine->device_map[0] ? 1 : CANDIDATES;
    for (int i = 0; i < count; i++) {
        struct wf_job_plan plan;
        WF_TRY(plan_under(job, latents, candidates[i], &plan));
        if (wf_plan_peak(&plan) < *bytes) {
            *bytes = wf_plan_peak(&plan);
            *offload = candidates[i].offload;
        }
    }
    return WF_OK;
}

static enum wf_status refuse(struct weft_job *job, const char *latents, size_t needed, size_t limit)
{
    enum wf_offload offload = WF_OFFLOAD_NONE;
    size_t least;
    char allowed[64];
    snprintf(allowed, sizeof allowed,
             job->model->engine->memory_limit ? "--memory-limit allows %.1f MB"
                                              : "%.1f MB are free",
             megabytes(limit));
    WF_TRY(find_least(job, latents, &least, &offload));
    if (least <= limit)
        return wf_fail(wf_job_error(job), WF_REFUSED,
                       "memory: the run needs %.1f MB, and %s; with --offload %s it needs %.1f MB",
                       megabytes(needed), allowed, wf_offload_name(offload), megabytes(least));
    return wf_fail(wf_job_error(job), WF_REFUSED,
                   "memory: the run needs at least %.1f MB (with --offload %s), and %s; choose a "
                   "smaller size or fewer frames",
                   megabytes(least), wf_offload_name(offload), allowed);
}

static bool same_policy(struct wf_policy a, struct wf_policy b)
{
    return a.offload == b.offload && a.blocks == b.blocks;
}

/* The fastest that fits, by rates that are measured before: that leaves working memory. */
static enum wf_status choose(struct weft_job *job, const char *latents, size_t limit)
{
    struct weft_model *m = job->model;
    double best = 0;
    bool found = false;
    size_t needed = 0;
    struct wf_policy policy = {0};
    WF_TRY(wf_plan_time(m->engine, &job->plan));
    for (int i = 0; i < CANDIDATES; i++) {
        struct wf_job_plan plan;
        WF_TRY(plan_under(job, latents, candidates[i], &plan));
        WF_TRY(wf_plan_time(m->engine, &plan));
        const double seconds = wf_plan_seconds(&plan);
        needed = wf_plan_peak(&plan);
        if (needed > limit || (found && seconds >= best))
            continue;
        found = true;
        best = seconds;
        policy = candidates[i];
        job->plan = plan;
    }
    if (!found)
        return refuse(job, latents, needed, limit);
    if (!m->has_policy || !same_policy(policy, m->policy))
        wf_model_set_policy(m, policy);
    snprintf(m->chosen, sizeof m->chosen,
             "%s: the fastest that fits, %.1f s by the plan, %.1f of %.1f MB",
             wf_offload_name(policy.offload), best, megabytes(wf_plan_peak(&job->plan)),
             megabytes(limit));
    wf_log(m->engine, WEFT_LOG_INFO, "offload: %s", m->chosen);
    return WF_OK;
}

enum wf_status wf_choose(struct weft_job *job, const char *latents)
{
    const struct weft_model *m = job->model;
    const size_t limit = limit_of(m->engine);
    if (m->engine->chooses && (!m->has_policy || m->open_jobs == 1)) /* this one alone */
        return choose(job, latents, limit);
    WF_TRY(
        wf_plan_job(m, &job->request, latents, wf_model_policy(m), &job->plan, wf_job_error(job)));
    const size_t needed = wf_plan_peak(&job->plan);
    return needed <= limit ? WF_OK : refuse(job, latents, needed, limit);
}
