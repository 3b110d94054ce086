#include "engine/choose.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "engine/plan.h"
#include "engine/request.h"
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

static bool same_policy(struct wf_policy a, struct wf_policy b)
{
    return a.offload == b.offload && a.blocks == b.blocks;
}

/* What is looked for: the fastest of the plans that fit. */
struct search {
    struct weft_job *job;
    const char *latents;
    struct limits limits;
    bool chooses; /* among the policies; else the model has one */
    bool found;   /* what is in best, policy and tile */
    struct wf_job_plan best;
    struct wf_policy policy;
    struct wf_job_plan last; /* that was tried and does not fit, on `account` */
    int account;
};

static enum wf_status try_policy(struct search *s, struct wf_policy policy)
{
    struct wf_job_plan plan;
    WF_TRY(plan_under(s->job, s->latents, policy, &plan));
    const int account = exceeded(&plan, &s->limits);
    if (account < WF_ACCOUNTS) {
        s->account = account;
        s->last = plan;
        return WF_OK;
    }
    if (s->chooses)
        WF_TRY(wf_plan_time(s->job->model->engine, &plan));
    if (!s->found || wf_plan_seconds(&plan) < wf_plan_seconds(&s->best)) {
        s->found = true;
        s->best = plan;
        s->policy = policy;
    }
    return WF_OK;
}

/* With the job's tiles. */
static enum wf_status try_policies(struct search *s)
{
    s->found = false;
    if (!s->chooses)
        return try_policy(s, wf_model_policy(s->job->model));
    for (int i = 0; i < CANDIDATES; i++)
        WF_TRY(try_policy(s, candidates[i]));
    return WF_OK;
}

/* --- tiles --- */

/* Sides of exact tiles in pixels, the largest first: below the last one, halos are most of the
   work. */
static const int sides[] = {768, 640, 512, 448, 384, 320, 256, 224, 192, 160, 128, 96, 64};

enum { SIDES = sizeof sides / sizeof *sides };

static enum wf_status take_tile(struct weft_job *job, int width, int height)
{
    struct weft_request *r = &job->request;
    r->tiling = WEFT_TILING_EXACT;
    r->tile_width = width;
    r->tile_height = height;
    job->decoding = wf_request_decoding(r);
    job->plan.room_known = false; /* other tiles, other arenas */
    return wf_decode_settle(job->model->vae, job->dims, &job->decoding, wf_job_error(job));
}

static enum wf_status try_side(struct search *s, int i)
{
    WF_TRY(take_tile(s->job, sides[i], sides[i]));
    return try_policies(s);
}

/* The largest tiles that fit: what they need falls with their side. */
static enum wf_status search_tiles(struct search *s)
{
    int low = 0, high = SIDES - 1, tried = high; /* the first that fits is within */
    while (low < high && sides[low] >= s->job->width && sides[low] >= s->job->height)
        low++;
    WF_TRY(try_side(s, high));
    if (!s->found)
        return WF_OK;
    while (low < high) {
        tried = (low + high) / 2;
        WF_TRY(try_side(s, tried));
        if (s->found)
            high = tried;
        else
            low = tried + 1;
    }
    return tried == high ? WF_OK : try_side(s, high);
}

static enum wf_status search_tiling(struct search *s)
{
    struct weft_job *job = s->job;
    const struct weft_request asked = job->request;
    const size_t untiled = wf_plan_peak(&s->last, s->account);
    if (asked.tile_width) {
        WF_TRY(take_tile(job, asked.tile_width, asked.tile_height));
        WF_TRY(try_policies(s));
    } else {
        WF_TRY(search_tiles(s));
    }
    if (!s->found)
        return WF_OK;
    snprintf(job->tiling_chosen, sizeof job->tiling_chosen,
             "exact, %dx%d: untiled it needs %.1f MB, and %.1f are allowed",
             job->request.tile_width, job->request.tile_height, megabytes(untiled),
             (double)s->limits.bytes[s->account] * 1e-6);
    wf_log(job->model->engine, WEFT_LOG_INFO, "tiling: %s", job->tiling_chosen);
    return WF_OK;
}

/* --- refusing --- */

/* The policy that needs least on an account, for the message. */
static enum wf_status find_least(struct search *s, size_t *bytes, enum wf_offload *offload)
{
    *bytes = SIZE_MAX;
    /* What a device map places stays. */
    const int count = s->job->model->engine->device_map[0] ? 1 : CANDIDATES;
    for (int i = 0; i < count; i++) {
        struct wf_job_plan plan;
        WF_TRY(plan_under(s->job, s->latents, candidates[i], &plan));
        if (wf_plan_peak(&plan, s->account) < *bytes) {
            *bytes = wf_plan_peak(&plan, s->account);
            *offload = candidates[i].offload;
        }
    }
    return WF_OK;
}

/* Smaller chunks would take less: they are not the smallest. */
static bool can_chunk(const struct weft_job *job)
{
    return !job->model->vae->geometry.causal && job->decoding.chunk_size != 1 && job->frames > 1;
}

/* A job that does not fit on an account. */
static enum wf_status refuse(struct search *s)
{
    static const char *const kinds[WF_ACCOUNTS] = {"", " of the device's"};
    struct wf_error *err = wf_job_error(s->job);
    const size_t needed = wf_plan_peak(&s->last, s->account), limit = s->limits.bytes[s->account];
    enum wf_offload offload = WF_OFFLOAD_NONE;
    size_t least;
    char allowed[64];
    snprintf(allowed, sizeof allowed,
             s->limits.asked[s->account] ? "--memory-limit allows %.3f MB" : "%.3f MB are free",
             (double)limit * 1e-6);
    WF_TRY(find_least(s, &least, &offload));
    if (least <= limit)
        return wf_fail(
            err, WF_REFUSED,
            "memory: the run needs %.1f MB%s, and %s; with --offload %s it needs %.1f MB",
            megabytes(needed), kinds[s->account], allowed, wf_offload_name(offload),
            megabytes(least));
    return wf_fail(
        err, WF_REFUSED,
        "memory: the run needs %.1f MB%s even with --offload %s%s, and %s; choose a smaller size%s "
        "or fewer frames",
        megabytes(least), kinds[s->account], wf_offload_name(offload),
        s->job->decoding.tiling == WF_TILING_EXACT ? " and exact tiles" : "", allowed,
        can_chunk(s->job) ? ", a smaller --decode-chunk-size" : "");
}

/* --- choosing --- */

static void take_policy(const struct search *s)
{
    struct weft_model *m = s->job->model;
    const int account = s->limits.bytes[WF_DEVICE] < SIZE_MAX ? WF_DEVICE : WF_HOST;
    if (!m->has_policy || !same_policy(s->policy, m->policy))
        wf_model_set_policy(m, s->policy);
    snprintf(m->chosen, sizeof m->chosen,
             "%s: the fastest that fits, %.1f s by the plan, %.1f of %.1f MB",
             wf_offload_name(s->policy.offload), wf_plan_seconds(&s->best),
             megabytes(wf_plan_peak(&s->best, account)), (double)s->limits.bytes[account] * 1e-6);
    wf_log(m->engine, WEFT_LOG_INFO, "offload: %s", m->chosen);
}

enum wf_status wf_choose(struct weft_job *job, const char *latents)
{
    const struct weft_model *m = job->model;
    struct search s = {.job = job, .latents = latents, .limits = limits_of(m->engine)};
    s.chooses = m->engine->chooses && (!m->has_policy || m->open_jobs == 1); /* this one alone */
    WF_TRY(try_policies(&s));
    if (!s.found && job->request.tiling == WEFT_TILING_AUTO)
        WF_TRY(search_tiling(&s));
    if (!s.found)
        return refuse(&s);
    job->plan = s.best;
    if (s.chooses)
        take_policy(&s);
    return WF_OK;
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
