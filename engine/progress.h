/* What a job tells of where it is. */
#ifndef WEFT_ENGINE_PROGRESS_H
#define WEFT_ENGINE_PROGRESS_H

#include "engine/job.h"

/* To request.progress, if there is one: so many of a stage's units are done. */
void wf_progress_tell(struct weft_job *job, enum weft_stage stage, int done, int total);

#endif
