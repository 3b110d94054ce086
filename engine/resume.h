/* --resume: what a job needs to go on after it was killed, kept in a folder: the request, to be
   compared, and after each step the latents and what the sampler keeps. The two newest states are
   there at a time; one that is damaged or half written is told by its checksum, and the one before
   is taken. */
#ifndef WEFT_ENGINE_RESUME_H
#define WEFT_ENGINE_RESUME_H

#include "engine/job.h"

/* Of a job that was checked and planned, whose request names a folder. WF_REFUSED when that cannot
   be used, or holds another request's state: the message says which part of the request changed. A
   seed that was to be drawn becomes that of the state. Writes nothing. */
enum wf_status wf_resume_check(struct weft_job *job, struct wf_error *err);
/* The job begins: makes the folder, notes the request, and looks for the newest state that is
   whole. job->steps_done is then what is done already. */
enum wf_status wf_resume_begin(struct weft_job *job, struct wf_error *err);
/* Fills the job's latents and its sampler from that state, which is given back. */
enum wf_status wf_resume_load(struct weft_job *job, struct wf_error *err);
/* After a step. */
enum wf_status wf_resume_save(struct weft_job *job, struct wf_error *err);

#endif
