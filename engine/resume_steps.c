/* The state after a step: the latents, and what the sampler keeps. */
#include "engine/resume_folder.h"

enum { MOST_TENSORS = 8 };

static const char name[] = "state";

struct head {
    uint64_t steps, tensors, bytes; /* of each tensor */
};

static bool fits(const struct weft_job *job, const struct head *h, uint64_t left)
{
    return h->steps >= 1 && h->steps <= (uint64_t)job->request.steps && h->tensors >= 1 &&
           h->tensors <= MOST_TENSORS && h->bytes == left / h->tensors && left % h->tensors == 0;
}

/* A state that is whole; *in NULL where it is not. */
static enum wf_status open_state(struct weft_job *job, int64_t steps, struct wf_kept_in **in,
                                 struct wf_error *err)
{
    struct head h;
    const struct wf_tensor latents = wf_tensor_of(NULL, WF_F32, 4, job->dims);
    const uint64_t most = sizeof h + MOST_TENSORS * (uint64_t)wf_tensor_bytes(&latents);
    WF_TRY(wf_resume_open(job, name, steps, most, in, err));
    if (!*in)
        return WF_OK;
    if (wf_kept_left(*in) < sizeof h)
        return wf_kept_close(in), WF_OK;
    WF_TRY(wf_kept_read(*in, &h, sizeof h, err));
    if (!fits(job, &h, wf_kept_left(*in)) || h.steps != (uint64_t)steps)
        wf_kept_close(in);
    return WF_OK;
}

enum wf_status wf_resume_find_state(struct weft_job *job, struct wf_error *err)
{
    struct wf_resume *r = job->resume;
    for (int64_t n = INT64_MAX; !r->state && (n = wf_resume_newest(job, name, n)) > 0;) {
        WF_TRY(open_state(job, n, &r->state, err));
        job->steps_done = r->state ? (int)n : 0;
    }
    if (r->state && job->request.dump)
        wf_log(job->model->engine, WEFT_LOG_WARNING,
               "dump: the %d steps of the run before are not dumped again", job->steps_done);
    if (r->state)
        wf_log(job->model->engine, WEFT_LOG_INFO, "resume: %d of %d steps are there",
               job->steps_done, job->request.steps);
    return WF_OK;
}

/* The latents, then what the sampler keeps. */
static int tensors_of(const struct weft_job *job, struct wf_tensor tensors[MOST_TENSORS])
{
    tensors[0] = job->latents;
    return 1 + wf_sampler_kept(job->sampler, tensors + 1, MOST_TENSORS - 1);
}

static enum wf_status load(struct weft_job *job, struct wf_kept_in *in, struct wf_error *err)
{
    struct wf_tensor tensors[MOST_TENSORS];
    WF_TRY(wf_sampler_go_on(job->sampler, job->be, job->steps_done, job->latents));
    const int count = tensors_of(job, tensors);
    if (wf_kept_left(in) != (uint64_t)count * wf_tensor_bytes(&job->latents))
        return wf_fail(err, WF_FAILED, "%s: its state is of another size; use another folder",
                       job->request.resume);
    for (int i = 0; i < count; i++)
        WF_TRY(wf_kept_read_tensor(in, job->be, tensors[i], err));
    return WF_OK;
}

enum wf_status wf_resume_load(struct weft_job *job, struct wf_error *err)
{
    const enum wf_status status = load(job, job->resume->state, err);
    wf_kept_close(&job->resume->state);
    return status;
}

bool wf_resume_has_state(const struct weft_job *job)
{
    return job->resume && job->resume->state;
}

static enum wf_status write_state(const struct weft_job *job, struct wf_kept_out *out,
                                  struct wf_error *err)
{
    struct wf_tensor tensors[MOST_TENSORS];
    const int count = tensors_of(job, tensors);
    const struct head h = {.steps = (uint64_t)job->steps_done,
                           .tensors = (uint64_t)count,
                           .bytes = wf_tensor_bytes(&tensors[0])};
    WF_TRY(wf_kept_write(out, &h, sizeof h, err));
    for (int i = 0; i < count; i++)
        WF_TRY(wf_kept_write_tensor(out, job->be, tensors[i], err));
    return WF_OK;
}

enum wf_status wf_resume_save(struct weft_job *job, struct wf_error *err)
{
    return wf_resume_keep(job, name, job->steps_done, write_state, err);
}
