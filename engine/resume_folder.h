/* What the parts of --resume share: resume.c has the folder and the request, resume_steps.c the
   state after a step, resume_frames.c the frames and what the decoder carries. */
#ifndef WEFT_ENGINE_RESUME_FOLDER_H
#define WEFT_ENGINE_RESUME_FOLDER_H

#include "engine/kept.h"
#include "engine/resume.h"

enum { WF_RESUME_PATH = WF_PATH_BYTES + 32, WF_RESUME_STATES = 2 }; /* of a kind, the newest ones */

struct wf_resume {
    int folder;                 /* open, and locked */
    unsigned char owner[16];    /* the request's checksum, in all files that are its */
    struct wf_kept_in *state;   /* found, and not yet loaded */
    int64_t kept;               /* chunks that the decoder need not do again */
    int64_t shown;              /* of those, handed on */
    struct wf_kept_in *clip;    /* the frames of the one that is handed on */
    float *frame;               /* of them */
    bool keeps;                 /* frames that are decoded, and what the decoder carries */
    int64_t decoded;            /* chunks that are kept, or were once decoded */
    struct wf_kept_out *frames; /* of the one that is being decoded */
};

/* The path of a file in the folder: NAME, or where number is not below 0 NAME-NUMBER. */
enum wf_status wf_resume_path(const struct weft_job *job, const char *name, int64_t number,
                              char path[WF_RESUME_PATH], struct wf_error *err);
/* Removes one; it need not be there. */
void wf_resume_remove(const struct weft_job *job, const char *name, int64_t number);
/* Opens one that is whole, of the kind that its name tells, with at most so many bytes of content.
 *in NULL where there is none: one that is damaged is told. */
enum wf_status wf_resume_open(const struct weft_job *job, const char *name, int64_t number,
                              uint64_t most, struct wf_kept_in **in, struct wf_error *err);
enum wf_status wf_resume_create(const struct weft_job *job, const char *name, int64_t number,
                                struct wf_kept_out **out, struct wf_error *err);
/* Keeps a state: what write puts into its file, which has its name once it is whole. The one that
   is too old by then goes. */
enum wf_status wf_resume_keep(const struct weft_job *job, const char *name, int64_t number,
                              enum wf_status (*write)(const struct weft_job *job,
                                                      struct wf_kept_out *out,
                                                      struct wf_error *err),
                              struct wf_error *err);
/* The largest number below `below` that a file of that name has; 0: there is none. */
int64_t wf_resume_newest(const struct weft_job *job, const char *name, int64_t below);

/* job->steps_done and job->resume->state from the newest state that is whole. */
enum wf_status wf_resume_find_state(struct weft_job *job, struct wf_error *err);

#endif
