/* What a job will need, found by running it on the backend that computes nothing: the same code,
   so that the plan cannot drift from the truth. */
#ifndef WEFT_ENGINE_PLAN_H
#define WEFT_ENGINE_PLAN_H

#include "engine/job.h"

/* Bytes that the engine holds now beside the model's weights: what a plan begins with. */
size_t wf_plan_base(const struct weft_model *model, int account);
/* Bytes at the worst moment of a plan. */
size_t wf_plan_peak(const struct wf_job_plan *plan, int account);
/* Seconds at the rates of the engine's backends, which are measured when they are first asked for.
 */
enum wf_status wf_plan_time(const struct weft_engine *engine, struct wf_job_plan *plan);
double wf_plan_seconds(const struct wf_job_plan *plan); /* of all stages; 0 before wf_plan_time */
/* Plans a job of that request on a twin of the model; latents: the file of a decoding job, or NULL.
 */
enum wf_status wf_plan_job(const struct weft_model *model, const struct weft_request *request,
                           const char *latents, struct wf_policy policy, struct wf_job_plan *plan,
                           struct wf_error *err);

#endif
