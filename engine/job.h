/* A job: ENCODE, DENOISE, DECODE, DRAIN, one unit of work at a time, pulled a frame at a time. */
#ifndef WEFT_ENGINE_JOB_H
#define WEFT_ENGINE_JOB_H

#include "engine/models/family.h"
#include "engine/report.h"
#include "engine/sampler/sampler.h"
#include "io/file.h"
#include "vae/decode.h"

/* What the next unit of work belongs to. */
enum wf_job_phase {
    WF_JOB_READY,
    WF_JOB_ENCODING,
    WF_JOB_DENOISING,
    WF_JOB_DECODING,
    WF_JOB_DONE,
    WF_JOB_BROKEN
};

/* Memory that is taken at once when the job begins, where it is known; else as it is needed. */
struct wf_job_room {
    size_t activations; /* of the job's arena: encoding and denoising */
    size_t blocks;      /* of the job's pool: denoising */
    size_t decoder;     /* of the decoder's pool */
};

/* What the job will need and do, as its plan found it. */
enum { WF_JOB_STAGES = 3 }; /* of enum weft_stage: encode, denoise, decode */

struct wf_job_plan {
    struct wf_job_room room;
    bool room_known;
    size_t base[WF_ACCOUNTS]; /* that the engine held when it was planned, in the peaks */
    struct wf_stage_stats stats[WF_JOB_STAGES]; /* seconds: 0 until wf_plan_time */
};

struct wf_preview;
struct wf_resume;

struct weft_job {
    struct weft_model *model;
    struct wf_backend *be;       /* where its latents are: the denoiser's, then the VAE's */
    struct weft_request request; /* with every default filled in */
    enum wf_job_phase phase;
    atomic_bool cancelled;

    int64_t dims[4]; /* of the latents: [T,h,w,C] */
    int64_t frames, given;
    int64_t kept; /* of those given, decoded by an earlier run */
    int width, height;
    int halves; /* 2 when guidance is on */
    bool decode_only;
    uint64_t seed;
    bool noise_of_gpu; /* else as torch draws it on a CPU */
    struct wf_generator generator;
    void *state; /* the family's: what the job has there; NULL once it has denoised */
    struct wf_sampler *sampler;
    struct wf_tensor latents;  /* [T,h,w,C], on the backend */
    float *initial;            /* from a file, in diffusers' layout; NULL: the seed's noise */
    struct wf_file_set inputs; /* the model's files and the latents', not to be written over */
    struct wf_job_plan plan;
    struct wf_arena arena;              /* activations of encoding and denoising */
    struct wf_pool pool;                /* of denoising, what is given back in any order */
    struct wf_decode_settings decoding; /* asked for, then as it is done */
    char tiling_chosen[128];            /* what was, and why; "": what was asked for */
    struct wf_decoder *decoder;

    struct wf_preview *preview;           /* NULL: none is asked for */
    char noted_tiling[8], noted_tile[48]; /* that a run before this one chose; "": none did */
    struct wf_resume *resume;             /* what --resume has there; see resume.h */
    double started, first_frame_seconds, seconds; /* the clock; since it started */
    struct wf_stage_stats stats[WF_JOB_STAGES];
    double *step_seconds; /* request.steps of them */
    int steps_done;
    double told; /* of the whole job, the last time: wf_progress_tell */
};

/* Opens a job and checks all of the request; latents: the file of a decoding job, or NULL. Nothing
   is computed. */
enum wf_status wf_job_open(struct weft_model *model, const struct weft_request *request,
                           const char *latents, struct weft_job **job);
/* One unit of work: the encoding, one step, one frame (with its chunk, where that is not decoded
   yet). frame->rgb is set when a frame came out. */
enum wf_status wf_job_advance(struct weft_job *job, struct weft_frame *frame);
/* The job needs nothing of what stands before the VAE any more; may be called twice. */
void wf_job_end_denoise(struct weft_job *job);
void wf_job_end_decode(struct weft_job *job); /* likewise, of the VAE */

static inline struct wf_error *wf_job_error(const struct weft_job *job)
{
    return &job->model->engine->err;
}

#endif
