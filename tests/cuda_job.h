/* Whole jobs on the CUDA backend over the double of its driver. */
#ifndef WEFT_TESTS_CUDA_JOB_H
#define WEFT_TESTS_CUDA_JOB_H

#include "engine/engine.h"
#include "engine/job.h"
#include "tests/compare.h"
#include "tests/cuda_double.h"

/* A model and what is asked of it. */
struct cuda_case {
    const char *name;   /* of a fixture, or "wide" */
    const char *dtype;  /* of products */
    bool decodes;       /* a file of latents */
    bool is_small;      /* a clip that is quick to make, in several chunks */
    const char *resume; /* a folder to go on in; NULL: none */
};

/* Makes the model "wide", and a folder for dumps; false: it could not be. */
bool cuda_jobs_begin(void);
void cuda_jobs_end(void);
const char *cuda_jobs_dump(void); /* the folder */

/* An engine whose one backend is the CUDA backend, or ref where schedule is CUDA_SCHEDULES; what
   else cuda_double says holds. Closes nothing on failure, for cmocka ends the test. */
struct weft_engine *cuda_engine(enum cuda_schedule schedule, struct wf_policy policy,
                                const char *dtype);
/* Closes it; nothing is held any more, on either account. */
void cuda_engine_close(struct weft_engine **engine);
void cuda_model(struct weft_engine *e, const char *name, struct weft_model **model);
void cuda_job(struct weft_model *model, const struct cuda_case *c, const char *dump,
              struct weft_job **job);
/* All frames; stops at the first failure, which is *status. */
struct array cuda_pull(struct weft_job *job, enum weft_status *status);
/* All of it; the job succeeds. */
struct array cuda_make(struct weft_engine *e, const struct cuda_case *c, const char *dump);
/* The path of what diffusers computed for a fixture. */
void cuda_expected(char path[WF_PATH_BYTES], const char *name, const char *file);

#endif
