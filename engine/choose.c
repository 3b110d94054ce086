#include "engine/choose.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>

#include "engine/plan.h"
#include "kernels/base/cgroup.h"

static const struct wf_policy candidates[] = {
    {WF_OFFLOAD_NONE, 0}, {WF_OFFLOAD_MODEL, 0}, {WF_OFFLOAD_GROUP, 1}, {WF_OFFLOAD_SEQUENTIAL, 0}};

enum { CANDIDATES = sizeof candidates / sizeof *candidates };

struct limit {
    size_t bytes;
    bool asked; /* by the user; else it is what there is */
};

/* Of what the system has free, the encoder and the program itself take a part. */
static size_t without_others(size_t bytes)
{
    const size_t others = ((size_t)64 << 20) + bytes / 20;
    return bytes > others ? bytes - others : 0;
}

/* What the engine's memory may come to: what was asked for, and no more than there is. */
static struct limit limit_of(const struct weft_engine *e)
{
    const size_t left = without_others(wf_memory_free("")), held = wf_mem_live_all(e->mem);
    const size_t all = left < SIZE_MAX - held ? left + held : SIZE_MAX;
    const bool asked = e->memory_limit && e->memory_limit <= all;
    return (struct limit){asked ? e->memory_limit : all, asked};
}

/* Rounded up: a limit of that size is enough. */
static double megabytes(size_t bytes)
{
    return ceil((double)bytes * 1e-5) * 0.1;
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

static enum wf_status refuse(struct weft_job *job, const char *latents, size_t needed,
                             struct limit limit)
{
    enum wf_offload offload = WF_OFFLOAD_NONE;
    size_t least;
    char allowed[64];
    snprintf(allowed, sizeof allowed,
             limit.asked ? "--memory-limit allows %.3f MB" : "%.3f MB are free",
             (double)limit.bytes * 1e-6);
    WF_TRY(find_least(job, latents, &least, &offload));
    if (least <= limit.bytes)
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

/* The fastest that fits. */
static enum wf_status choose(struct weft_job *job, const char *latents, struct limit limit)
{
    struct weft_model *m = job->model;
    double best = 0;
    bool found = false;
    size_t needed = 0;
    struct wf_policy policy = {0};
    for (int i = 0; i < CANDIDATES; i++) {
        struct wf_job_plan plan;
        WF_TRY(plan_under(job, latents, candidates[i], &plan));
        WF_TRY(wf_plan_time(m->engine, &plan));
        const double seconds = wf_plan_seconds(&plan);
        needed = wf_plan_peak(&plan);
        if (needed > limit.bytes || (found && seconds >= best))
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
             (double)limit.bytes * 1e-6);
    wf_log(m->engine, WEFT_LOG_INFO, "offload: %s", m->chosen);
    return WF_OK;
}

enum wf_status wf_choose(struct weft_job *job, const char *latents)
{
    const struct weft_model *m = job->model;
    const struct limit limit = limit_of(m->engine);
    if (m->engine->chooses && (!m->has_policy || m->open_jobs == 1)) /* this one alone */
        return choose(job, latents, limit);
    WF_TRY(
        wf_plan_job(m, &job->request, latents, wf_model_policy(m), &job->plan, wf_job_error(job)));
    const size_t needed = wf_plan_peak(&job->plan);
    return needed <= limit.bytes ? WF_OK : refuse(job, latents, needed, limit);
}

enum wf_status wf_choose_again(struct weft_job *job)
{
    const struct weft_engine *e = job->model->engine;
    const struct limit limit = limit_of(e);
    const size_t now = wf_plan_base(job->model), then = job->plan.base;
    const size_t needed = wf_plan_peak(&job->plan) - then + now;
    if (needed <= limit.bytes)
        return WF_OK;
    return wf_fail(
        wf_job_error(job), WF_FAILED,
        "memory: the run needs %.1f MB beside the %.1f MB that other jobs hold by now, and "
        "%.3f MB are allowed; pull them to their end first",
        megabytes(needed - now), megabytes(now), (double)limit.bytes * 1e-6);
}
