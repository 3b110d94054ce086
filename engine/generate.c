/* Jobs as weft.h has them: opened and checked, then planned, so that what they need is known before
   they begin. */
#include "engine/plan.h"

static enum wf_status open_planned(struct weft_model *model, const struct weft_request *request,
                                   const char *latents, struct weft_job **job)
{
    struct wf_error *err = &model->engine->err;
    WF_TRY(wf_job_open(model, request, latents, job));
    const enum wf_status status = wf_plan_job(model, &(*job)->request, latents, &(*job)->room, err);
    if (status != WF_OK)
        weft_job_close(job);
    return status;
}

enum weft_status weft_generate(struct weft_model *model, const struct weft_request *request,
                               struct weft_job **job)
{
    return (enum weft_status)open_planned(model, request, NULL, job);
}

enum weft_status weft_decode(struct weft_model *model, const char *latents_file,
                             const struct weft_request *request, struct weft_job **job)
{
    if (!latents_file) {
        *job = NULL;
        return (enum weft_status)wf_fail(&model->engine->err, WF_REFUSED,
                                         "latents: no file was named; give the path of one");
    }
    return (enum weft_status)open_planned(model, request, latents_file, job);
}
