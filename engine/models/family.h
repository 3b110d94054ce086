/* A model family: data, and a few callbacks. job.c and the CLI never name one. */
#ifndef WEFT_ENGINE_MODELS_FAMILY_H
#define WEFT_ENGINE_MODELS_FAMILY_H

#include "engine/engine.h"

/* The prompt and the negative prompt. */
enum { WF_HALVES = 2 };

struct wf_component {
    const char *name;      /* folder; its key in model_index.json */
    const char *base;      /* stem of its weight files; NULL: no weights */
    enum weft_stage stage; /* that it is needed in */
    /* What the class takes from config.json, in a row; any other key but "_..." is skipped with a
       warning. NULL: not looked at. */
    const char *keys;
};

struct wf_family {
    const char *name;
    const char *pipelines[4]; /* class names in model_index.json, NULL at the end */
    const char *vae_class;    /* which, alone in a folder, is taken for this family's */
    struct wf_component components[WF_MAX_COMPONENTS]; /* in the order of their stages */
    const char *denoiser; /* of these; conditions and latents are where it computes */
    struct wf_defaults defaults;

    /* The parts before the VAE. open refuses what the family does not do yet, then checks all
       weights, the VAE's too (wf_model_open_vae), and loads none. */
    enum wf_status (*open)(struct weft_model *model, void **pipeline, struct wf_error *err);
    void (*close)(void *pipeline);

    /* Size, frames, text length: WF_REFUSED names the nearest that can be done. dims becomes
     * [T,h,w,C]. */
    enum wf_status (*check)(struct weft_model *model, const struct weft_request *request,
                            int64_t dims[4], struct wf_error *err);
    /* Begins a job: cleans and tokenises both texts of the request (half 1 only when guidance is
       on), computes nothing. What belongs to the job from here on is in *state, token ids, text
       keys and values, never in the pipeline: several jobs of one model may be open. The pipeline
       outlives the state. */
    enum wf_status (*prepare)(void *pipeline, const struct weft_request *request, int halves,
                              void **state, struct wf_error *err);
    void (*finish)(void *state);
    /* Encodes the halves: embeds[half] [rows,width], the real rows, taken from the arena. */
    enum wf_status (*encode)(void *state, struct wf_arena *arena, struct wf_tensor *embeds,
                             struct wf_error *err);
    int64_t (*text_rows)(const void *state); /* that the denoiser sees: embeds and then zeros */
    /* Hands the embeds of a half to the denoiser. */
    enum wf_status (*condition)(void *state, int half, struct wf_tensor embeds,
                                struct wf_arena *arena, struct wf_error *err);
    /* One forward for each half: velocity[half] [T,h,w,C] at latents [T,h,w,C]. */
    enum wf_status (*denoise)(void *state, struct wf_tensor latents, double timestep,
                              const struct wf_tensor *velocity, struct wf_arena *arena,
                              struct wf_error *err);
};

/* The family of a pipeline class, or NULL. */
const struct wf_family *wf_family_find(const char *pipeline);
/* The family of a VAE's class, or NULL. */
const struct wf_family *wf_family_find_vae(const char *class_name);
/* The pipelines' class names that are known, in a row. */
void wf_family_names(char *out, size_t bytes);

extern const struct wf_family wf_family_wan, wf_family_svd;

#endif
