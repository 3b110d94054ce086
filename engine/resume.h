/* --resume: what a job needs to go on after it was killed, kept in a folder: the request, to be
   compared; after each step the latents and what the sampler keeps; and where that is cheaper than
   to decode again, the frames of each chunk and what the decoder carries to the next one. Of a
   state the two newest are there at a time; one that is damaged or half written is told by its
   checksum, and the one before is taken. */
#ifndef WEFT_ENGINE_RESUME_H
#define WEFT_ENGINE_RESUME_H

#include "engine/job.h"

/* Of a job that was checked and planned, whose request names a folder. WF_REFUSED when that cannot
   be used, or holds another request's state: the message says which part of the request changed. A
   seed that was to be drawn becomes that of the state. Writes nothing. */
enum wf_status wf_resume_check(struct weft_job *job, struct wf_error *err);
/* Whether a file of that path would be taken for the folder's own. */
bool wf_resume_writes(const struct weft_job *job, const char *path);
/* Pictures are many files: a run that goes on writes over those of the run before it. Whether that
   one wrote to this path; and notes it, once the job has begun. path NULL: standard output. */
bool wf_resume_wrote(const struct weft_job *job, const char *path);
enum wf_status wf_resume_note_output(const struct weft_job *job, const char *path,
                                     struct wf_error *err);
/* The job begins: makes the folder and holds it, notes the request, and looks for the newest state
   that is whole. job->steps_done is then what is done already. WF_REFUSED while another run has the
   folder. */
enum wf_status wf_resume_begin(struct weft_job *job, struct wf_error *err);
void wf_resume_close(struct wf_resume **resume); /* NULL is allowed */

/* --- steps --- */

bool wf_resume_has_state(const struct weft_job *job); /* that is not loaded yet */
/* Fills the job's latents and its sampler from that state, which is given back. */
enum wf_status wf_resume_load(struct weft_job *job, struct wf_error *err);
/* After a step. */
enum wf_status wf_resume_save(struct weft_job *job, struct wf_error *err);

/* --- frames --- */

/* The job's decoder is open: it goes on behind the chunks that are kept. */
enum wf_status wf_resume_begin_decode(struct weft_job *job, struct wf_error *err);
/* Whether the next frame is kept; then *frame becomes it, valid until the next call. */
bool wf_resume_has_frame(const struct weft_job *job);
enum wf_status wf_resume_frame(struct weft_job *job, const float **frame, struct wf_error *err);
/* Keeps a frame that the decoder gave, and after a chunk's last what it carries. */
enum wf_status wf_resume_keep_frame(struct weft_job *job, const float *frame, struct wf_error *err);

#endif
