/* Under which policy a job runs, so that it fits the memory there is. */
#ifndef WEFT_ENGINE_CHOOSE_H
#define WEFT_ENGINE_CHOOSE_H

#include "engine/job.h"

/* Plans an opened job. Where the policy is to be chosen, and the model has none yet, takes the
   fastest of those that fit. WF_REFUSED when the job does not fit: the message names what would.
   latents: the file of a decoding job, or NULL. */
enum wf_status wf_choose(struct weft_job *job, const char *latents);
/* The same when it begins: other jobs may have taken memory since. */
enum wf_status wf_choose_again(struct weft_job *job);

#endif
