/* A model family: data, and a few callbacks. job.c and the CLI never name one. */
#ifndef WEFT_ENGINE_MODELS_FAMILY_H
#define WEFT_ENGINE_MODELS_FAMILY_H

#include "engine/engine.h"
#include "engine/generator.h"
#include "engine/sampler/sampler.h"
#include "kernels/base/pool.h"

/* With the condition, and without it or with the negative prompt: the halves of guidance. */
enum { WF_HALVES = 2, WF_MAX_CONDITIONS = 4 };

struct wf_component {
    const char *name;      /* folder; its key in model_index.json */
    const char *base;      /* stem of its weight files; NULL: no weights */
    enum weft_stage stage; /* that it is needed in */
    /* What the class takes from config.json, in a row; any other key but "_..." is skipped with a
       warning. NULL: not looked at. */
    const char *keys;
    /* Beginnings of the names of tensors that nothing reads, in a row; others that nothing reads
       are a warning. */
    const char *unread;
    /* Another component: this is a second part of it, of the same folder, files and place, that is
       needed in a stage of its own. NULL: none. */
    const char *part_of;
};

/* What the denoiser is conditioned on, in diffusers' words. */
struct wf_condition_kind {
    const char *name; /* of the dump's file, and of the tensor in it: "prompt_embeds" */
    const char *what; /* for messages: "the embeddings of the prompt" */
};

/* value: rows [n,d], in a file [1,rows,d] with zeros behind them; or a picture [1,h,w,C], in a file
   [1,C,h,w]. Dense f32 where the denoiser computes; data NULL: this job has none. */
struct wf_condition {
    struct wf_tensor value;
    int64_t rows;
};

struct wf_family {
    const char *name;
    const char *pipelines[4]; /* class names in model_index.json, NULL at the end */
    const char *vae_class;    /* which, alone in a folder, is taken for this family's */
    struct wf_component components[WF_MAX_COMPONENTS]; /* in the order of their stages */
    const char *denoiser; /* of these; conditions and latents are where it computes */
    struct wf_condition_kind conditions[WF_MAX_CONDITIONS]; /* name NULL at the end */
    unsigned takes; /* enum weft_takes: fields of a request; any other that is set is refused */
    enum wf_prediction prediction; /* that its denoisers learn */
    struct wf_defaults defaults;

    /* Defaults that a model's own files say. NULL: none do. */
    enum wf_status (*read_defaults)(const struct weft_model *model, struct wf_defaults *defaults,
                                    struct wf_error *err);
    /* The parts before the VAE. open refuses what the family does not do yet, then checks all
       weights, the VAE's too (wf_model_open_vae), and loads none. */
    enum wf_status (*open)(struct weft_model *model, void **pipeline, struct wf_error *err);
    void (*close)(void *pipeline);

    /* Size, frames, text length: WF_REFUSED names the nearest that can be done. dims becomes
     * [T,h,w,C]. */
    enum wf_status (*check)(struct weft_model *model, const struct weft_request *request,
                            int64_t dims[4], struct wf_error *err);
    /* How far a frame of latents is led to the condition: guidance is on where any is above 1. */
    double (*guidance)(const struct weft_request *request, int64_t frame, int64_t frames);
    /* Begins a job: reads and checks all of the request that conditions are made from (the second
       half's only when halves is 2), computes nothing. What belongs to the job from here on is in
       *state, token ids, text keys and values, never in the pipeline: several jobs of one model may
       be open. The pipeline outlives the state. */
    enum wf_status (*prepare)(void *pipeline, const struct weft_request *request, int halves,
                              void **state, struct wf_error *err);
    void (*finish)(void *state);
    /* Fills the conditions, by their kinds' numbers, taken from the arena; draws what it needs from
       the generator before anybody else does. */
    enum wf_status (*encode)(void *state, struct wf_generator *generator, struct wf_arena *arena,
                             struct wf_condition *conditions, struct wf_error *err);
    /* Hands them to the denoiser. */
    enum wf_status (*condition)(void *state, const struct wf_condition *conditions,
                                struct wf_arena *arena, struct wf_error *err);
    /* One forward for each half: prediction[half] [T,h,w,C] at latents [T,h,w,C] as the sampler
       scales them. Working memory is the arena's or the pool's, and given back. */
    enum wf_status (*denoise)(void *state, struct wf_tensor latents, double timestep,
                              const struct wf_tensor *prediction, struct wf_arena *arena,
                              struct wf_pool *pool, struct wf_error *err);
};

/* The family of a pipeline class, or NULL. */
const struct wf_family *wf_family_find(const char *pipeline);
/* The family of a VAE's class, or NULL. */
const struct wf_family *wf_family_find_vae(const char *class_name);
/* The pipelines' class names that are known, in a row. */
void wf_family_names(char *out, size_t bytes);

extern const struct wf_family wf_family_wan, wf_family_svd;

#endif
