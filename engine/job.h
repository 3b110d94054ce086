/* A job: ENCODE, DENOISE, DECODE, DRAIN, pulled a frame at a time. */
#ifndef WEFT_ENGINE_JOB_H
#define WEFT_ENGINE_JOB_H

#include "engine/models/family.h"
#include "engine/plan.h"
#include "engine/report.h"
#include "engine/sampler/sampler.h"
#include "vae/decode.h"

enum wf_job_phase { WF_JOB_READY, WF_JOB_DECODING, WF_JOB_DONE, WF_JOB_BROKEN };

struct weft_job {
    struct weft_model *model;
    struct weft_request request; /* with every default filled in */
    enum wf_job_phase phase;
    atomic_bool cancelled;

    int64_t dims[4]; /* of the latents: [T,h,w,C] */
    int64_t frames, given;
    int width, height;
    int halves; /* 2 when guidance is on */
    bool decode_only;
    uint64_t seed;
    void *state; /* the family's: what the job has there; NULL once it has denoised */
    struct wf_sampler *sampler;
    struct wf_tensor latents; /* [T,h,w,C], on the backend */
    float *initial;           /* from a file, diffusers' layout [C,T,h,w]; NULL: the seed's noise */
    struct wf_plan plan;
    struct wf_arena arena; /* activations of encoding and denoising */
    struct wf_decoder *decoder;

    double started, first_frame_seconds, seconds; /* the clock; since it started */
    struct wf_stage_stats stats[3];               /* by enum weft_stage, without writing */
    double *step_seconds;                         /* request.steps of them */
    int steps_done;
};

double wf_clock(void); /* seconds, monotonic */

#endif
