#include "engine/choose.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "engine/plan.h"
#include "kernels/base/cgroup.h"

static const struct wf_policy candidates[] = {
    {WF_OFFLOAD_NONE, 0}, {WF_OFFLOAD_MODEL, 0}, {WF_OFFLOAD_GROUP, 1}, {WF_OFFLOAD_SEQUENTIAL, 0}};

enum { CANDIDATES = sizeof candidates / sizeof *candidates };

/* What the engine's memory may come to, on each account. */
struct limits {
    size_t bytes[WF_ACCOUNTS];
    bool asked[WF_ACCOUNTS]; /* by the user; else it is what there is */
};

/* Of what the system has free, the encoder and the program itself take a part. */
static size_t without_others(size_t bytes)
{
    const size_t others = ((size_t)64 << 20) + bytes / 20;
    return bytes > others ? bytes - others : 0;
}

static size_t free_host(const struct weft_engine *e)
{
    const size_t left = without_others(wf_memory_free("")), held = wf_mem_live_all(e->mem);
    return left < SIZE_MAX - held ? left + held : SIZE_MAX;
}

/* Of all devices that have memory of their own, when they were opened, less what libraries put
   there later; 0: there is none. */
static size_t free_device(const struct weft_engine *e)
{
    size_t bytes = 0;
    for (int b = 0; b < e->backend_count; b++) {
        bool again = false;
        for (int before = 0; before < b; before++)
            again |= strcmp(e->devices[before], e->devices[b]) == 0;
        bytes += again ? 0 : e->backends[b]->device.memory;
    }
    return bytes - bytes / 20;
}

/* The limit is the device's, where that has memory of its own; nobody gets more than there is. */
static struct limits limits_of(const struct weft_engine *e)
{
    struct limits limits = {.bytes = {free_host(e), free_device(e)}};
    const int account = limits.bytes[WF_DEVICE] ? WF_DEVICE : WF_HOST;
    if (!limits.bytes[WF_DEVICE])
        limits.bytes[WF_DEVICE] = SIZE_MAX;
    if (e->memory_limit && e->memory_limit <= limits.bytes[account]) {
        limits.bytes[account] = e->memory_limit;
        limits.asked[account] = true;
    }
    return limits;
}

/* The account that a plan does not fit on; WF_ACCOUNTS: it fits. */
static int exceeded(const struct wf_job_plan *plan, const struct limits *limits)
{
    int account = 0;
    while (account < WF_ACCOUNTS && wf_plan_peak(plan, account) <= limits->bytes[account])
        account++;
    return account;
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

/* The policy that needs least on an account, for the message. */
static enum wf_status find_least(struct weft_job *job, const char *latents, int account,
                                 size_t *bytes, enum wf_offload *offload)
{
    *bytes = SIZE_MAX;
    /* What a device map places stays. */
    const int count = job->model->engine->device_map[0] ? 1 : CANDIDATES;
    for (int i = 0; i < count; i++) {
        struct wf_job_plan plan;
        WF_TRY(plan_under(job, latents, candidates[i], &plan));
        if (wf_plan_peak(&plan, account) < *bytes) {
            *bytes = wf_plan_peak(&plan, account);
            *offload = candidates[i].offload;
        }
    }
    return WF_OK;
}

/* A plan that does not fit on an account. */
static enum wf_status refuse(struct weft_job *job, const char *latents,
                             const struct wf_job_plan *plan, const struct limits *limits,
                             int account)
{
    static const char *const kinds[WF_ACCOUNTS] = {"", " of the device's"};
    const size_t needed = wf_plan_peak(plan, account), limit = limits->bytes[account];
    enum wf_offload offload = WF_OFFLOAD_NONE;
    size_t least;
    char allowed[64];
    snprintf(allowed, sizeof allowed,
             limits->asked[account] ? "--memory-limit allows %.3f MB" : "%.3f MB are free",
             (double)limit * 1e-6);
    WF_TRY(find_least(job, latents, account, &least, &offload));
    if (least <= limit)
        return wf_fail(
            wf_job_error(job), WF_REFUSED,
            "memory: the run needs %.1f MB%s, and %s; with --offload %s it needs %.1f MB",
            megabytes(needed), kinds[account], allowed, wf_offload_name(offload), megabytes(least));
    return wf_fail(wf_job_error(job), WF_REFUSED,
                   "memory: the run needs at least %.1f MB%s (with --offload %s), and %s; choose a "
                   "smaller size or fewer frames",
                   megabytes(least), kinds[account], wf_offload_name(offload), allowed);
}

static bool same_policy(struct wf_policy a, struct wf_policy b)
{
    return a.offload == b.offload && a.blocks == b.blocks;
}

static void take_policy(struct weft_model *m, struct wf_policy policy,
                        const struct wf_job_plan *plan, const struct limits *limits)
{
    const int account = limits->bytes[WF_DEVICE] < SIZE_MAX ? WF_DEVICE : WF_HOST;
    if (!m->has_policy || !same_policy(policy, m->policy))
        wf_model_set_policy(m, policy);
    snprintf(m->chosen, sizeof m->chosen,
             "%s: the fastest that fits, %.1f s by the plan, %.1f of %.1f MB",
             wf_offload_name(policy.offload), wf_plan_seconds(plan),
             megabytes(wf_plan_peak(plan, account)), (double)limits->bytes[account] * 1e-6);
    wf_log(m->engine, WEFT_LOG_INFO, "offload: %s", m->chosen);
}

/* The fastest that fits. */
static enum wf_status choose(struct weft_job *job, const char *latents, const struct limits *limits)
{
    struct wf_job_plan plan, best;
    int found = -1, account = WF_HOST;
    for (int i = 0; i < CANDIDATES; i++) {
        WF_TRY(plan_under(job, latents, candidates[i], &plan));
        WF_TRY(wf_plan_time(job->model->engine, &plan));
        const int too_small = exceeded(&plan, limits);
        if (too_small < WF_ACCOUNTS) {
            account = too_small;
        } else if (found < 0 || wf_plan_seconds(&plan) < wf_plan_seconds(&best)) {
            found = i;
            best = plan;
        }
    }
    if (found < 0)
        return refuse(job, latents, &plan, limits, account);
    job->plan = best;
    take_policy(job->model, candidates[found], &best, limits);
    return WF_OK;
}

enum wf_status wf_choose(struct weft_job *job, const char *latents)
{
    const struct weft_model *m = job->model;
    const struct limits limits = limits_of(m->engine);
    if (m->engine->chooses && (!m->has_policy || m->open_jobs == 1)) /* this one alone */
        return choose(job, latents, &limits);
    WF_TRY(
        wf_plan_job(m, &job->request, latents, wf_model_policy(m), &job->plan, wf_job_error(job)));
    const int account = exceeded(&job->plan, &limits);
    return account == WF_ACCOUNTS ? WF_OK : refuse(job, latents, &job->plan, &limits, account);
}

enum wf_status wf_choose_again(struct weft_job *job)
{
    const struct limits limits = limits_of(job->model->engine);
    for (int a = 0; a < WF_ACCOUNTS; a++) {
        const size_t now = wf_plan_base(job->model, a);
        const size_t own = wf_plan_peak(&job->plan, a) - job->plan.base[a];
        if (own + now > limits.bytes[a])
            return wf_fail(wf_job_error(job), WF_FAILED,
                           "memory: the run needs %.1f MB beside the %.1f MB that other jobs hold "
                           "by now, and %.3f MB are allowed; pull them to their end first",
                           megabytes(own), megabytes(now), (double)limits.bytes[a] * 1e-6);
    }
    return WF_OK;
}
