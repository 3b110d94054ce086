/* --preview: what the sampler takes the clip to be, as a picture after each step. */
#ifndef WEFT_ENGINE_PREVIEW_H
#define WEFT_ENGINE_PREVIEW_H

#include "engine/colours.h"
#include "engine/job.h"

/* Opens job->preview for request.preview. WF_REFUSED when that cannot be written, is no name of a
   PNG, or is one of the job's inputs. Writes nothing. */
enum wf_status wf_preview_open(struct weft_job *job, struct wf_error *err);
void wf_preview_close(struct wf_preview **preview);
/* Between a step's prediction and the step: the picture of what they say of the clip. Which colours
   latents have is fitted to what the model's own VAE makes of a part of that guess, in the first
   step and in a few later ones. A picture that cannot be written is a warning, once. */
enum wf_status wf_preview_step(struct weft_job *job, int step, struct wf_tensor prediction,
                               struct wf_error *err);

#endif
