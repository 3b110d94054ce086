#include "engine/progress.h"

#include "kernels/base/clock.h"

/* A job on its way, in seconds. */
struct pace {
    double spent;  /* so far */
    double passed; /* of the plan, for the same */
    double own;    /* still to come of the stage under way, by its plan */
    double later;  /* of those after it, by theirs */
    double unit;   /* a step or a frame of the stage under way, as measured; 0: none was */
};

/* Steps that were done here: none that an earlier run did has taken any time. */
static int steps_here(const struct weft_job *job, double *seconds)
{
    int count = 0;
    *seconds = 0;
    for (int i = 0; i < job->steps_done; i++) {
        count += job->step_seconds[i] > 0;
        *seconds += job->step_seconds[i];
    }
    return count;
}

/* What a stage took, or is planned to: seconds, or its work where it is not planned in seconds. */
static double planned(const struct weft_job *job, int stage)
{
    const struct wf_stage_stats *s = &job->plan.stats[stage];
    double seconds = 0;
    for (int i = 0; i < WF_JOB_STAGES; i++)
        seconds += job->plan.stats[i].seconds;
    if (seconds > 0)
        return s->seconds;
    const struct wf_tally all = wf_stage_tally(s);
    return wf_flops(&all);
}

static double share(const struct weft_job *job, enum weft_stage stage, int done, int total)
{
    double passed = 0, whole = 0;
    for (int i = 0; i < WF_JOB_STAGES; i++) {
        const double own = planned(job, i);
        whole += own;
        passed += i < (int)stage ? own : i == (int)stage && total ? own * done / total : 0;
    }
    return whole > 0 ? passed / whole : 0;
}

static struct pace find_pace(const struct weft_job *job, enum weft_stage stage, int done, int total)
{
    const double own = job->plan.stats[stage].seconds;
    struct pace p = {.own = own * (total - done) / total};
    int here = done;
    double seconds = job->stats[stage].seconds;
    if (stage == WEFT_STAGE_DENOISE)
        here = steps_here(job, &seconds);
    else if (stage == WEFT_STAGE_DECODE)
        here = done - (int)job->kept;
    p.unit = here && seconds > 0 ? seconds / here : 0;
    p.passed = own * here / total;
    for (int i = 0; i < WF_JOB_STAGES; i++) {
        p.spent += job->stats[i].seconds;
        p.passed += i < (int)stage && job->stats[i].seconds > 0 ? job->plan.stats[i].seconds : 0;
        p.later += i > (int)stage ? job->plan.stats[i].seconds : 0;
    }
    return p;
}

/* Seconds until the last frame. Of the stage under way what a unit took counts, once one was
   measured; of what is not measured the plan, corrected by what was spent so far by its share of
   the whole: the first units are the least like the others. */
static double remaining(const struct pace *p, int left)
{
    const double whole = p->passed + p->own + p->later, trust = 0.1 * whole;
    if (whole <= 0)
        return p->unit > 0 || left == 0 ? p->unit * left : -1;
    const double pace = (p->spent + trust) / (p->passed + trust);
    return (p->unit > 0 ? p->unit * left : p->own * pace) + p->later * pace;
}

/* Of the whole job, in time, where that is planned; it never goes back. */
static double fraction(struct weft_job *job, const struct pace *p, double left, double share)
{
    const bool timed = p->own + p->later > 0 && p->spent + left > 0;
    const double now = timed ? p->spent / (p->spent + left) : share;
    if (now > job->told)
        job->told = now;
    return job->told;
}

/* At most, since the job began: of the device's own memory, where it has some in use. */
static uint64_t peak_bytes(const struct weft_job *job)
{
    size_t peak[WF_ACCOUNTS];
    for (int a = 0; a < WF_ACCOUNTS; a++) {
        peak[a] = wf_mem_peak(wf_engine_account(job->model->engine, a));
        for (int i = 0; i < WF_JOB_STAGES; i++)
            peak[a] = job->stats[i].peak[a] > peak[a] ? job->stats[i].peak[a] : peak[a];
    }
    return peak[WF_DEVICE] ? peak[WF_DEVICE] : peak[WF_HOST];
}

void wf_progress_tell(struct weft_job *job, enum weft_stage stage, int done, int total)
{
    if (!job->request.progress)
        return;
    const struct pace p = find_pace(job, stage, done, total);
    const double left = remaining(&p, total - done);
    const struct weft_progress progress = {
        .stage = stage,
        .done = done,
        .total = total,
        .seconds = wf_clock() - job->started,
        .remaining_seconds = left,
        .fraction = fraction(job, &p, left, share(job, stage, done, total)),
        .unit_seconds = stage == WEFT_STAGE_ENCODE ? 0 : p.unit,
        .peak_bytes = peak_bytes(job)};
    job->request.progress(job->request.progress_context, &progress);
}
