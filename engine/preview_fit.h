/* Examples of what the model's own VAE makes of latents, for the colours of a preview. */
#ifndef WEFT_ENGINE_PREVIEW_FIT_H
#define WEFT_ENGINE_PREVIEW_FIT_H

#include "engine/colours.h"
#include "engine/job.h"

/* The i-th of `count` frames that are spread evenly over all. */
static inline int64_t wf_preview_nth(int64_t i, int64_t count, int64_t all)
{
    return count > 1 ? i * (all - 1) / (count - 1) : 0;
}

/* Decodes a small window of the guess, latents [T,h,w,C] of the job's dims on the host, and adds
   its cells to the examples. The VAE is held meanwhile, within the job's own rules for weights.
   What fails there fails as it would in decoding. */
enum wf_status wf_preview_examples(struct weft_job *job, const float *guess,
                                   struct wf_colours *colours, struct wf_error *err);

#endif
