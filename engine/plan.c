#include "engine/plan.h"

#include <stdlib.h>

/* Steps are alike, and the sampler keeps all that it ever keeps after the fourth. */
enum { STEPS = 4 };

static enum wf_status open_engine(struct weft_engine *planner, const struct weft_engine *engine)
{
    planner->policy = engine->policy;
    planner->mem = wf_mem_open();
    if (!planner->mem)
        return wf_fail_memory(&planner->err, "plan", 0);
    return wf_backend_open_plan(engine->be, planner->mem, &planner->err, &planner->be);
}

static enum wf_status run(struct weft_job *job, struct wf_job_room *room)
{
    struct weft_frame frame = {0};
    while (job->phase != WF_JOB_DONE) {
        WF_TRY(wf_job_advance(job, &frame));
        if (job->decoder)
            room->vae = wf_decoder_room_used(job->decoder);
    }
    room->activations = job->arena.peak;
    return WF_OK;
}

static enum wf_status plan_with(struct weft_engine *planner, const struct weft_model *model,
                                const struct weft_request *request, const char *latents,
                                struct wf_job_room *room)
{
    struct weft_model *opened = NULL;
    struct weft_job *job = NULL;
    struct weft_request r = *request;
    r.progress = NULL;
    r.dump = NULL;
    r.random_seed = 0;
    r.steps = r.steps < STEPS ? r.steps : STEPS;
    enum wf_status status =
        (enum wf_status)weft_model_open(planner, model->folder, model->variant, &opened);
    if (status == WF_OK)
        status = wf_job_open(opened, &r, latents, &job);
    if (status == WF_OK)
        status = run(job, room);
    weft_job_close(&job);
    weft_model_close(&opened);
    return status;
}

enum wf_status wf_plan_job(const struct weft_model *model, const struct weft_request *request,
                           const char *latents, struct wf_job_room *room, struct wf_error *err)
{
    struct weft_engine *planner = calloc(1, sizeof *planner);
    if (!planner)
        return wf_fail_memory(err, "plan", sizeof *planner);
    enum wf_status status = open_engine(planner, model->engine);
    if (status == WF_OK)
        status = plan_with(planner, model, request, latents, room);
    if (status != WF_OK)
        *err = planner->err;
    weft_engine_close(&planner);
    return status;
}
