/* Inside Stable Video Diffusion's VAE decoder: the row of stages and their weights. */
#ifndef WEFT_VAE_SVD_VAE_H
#define WEFT_VAE_SVD_VAE_H

#include "temporal/layers.h"
#include "vae/svd_attention.h"
#include "vae/svd_config.h"
#include "vae/vae.h"

enum wf_svd_stage_kind {
    STAGE_IN,     /* scaling, conv */
    STAGE_FIRST,  /* of a residual block: norm, conv */
    STAGE_SECOND, /* norm, conv; + the block's input */
    STAGE_ATTEND, /* within each frame */
    STAGE_UPSAMPLE,
    STAGE_OUT,      /* norm, conv */
    STAGE_OVER_TIME /* conv */
};

/* What a stage computes, and by which weights. */
struct wf_svd_stage {
    enum wf_svd_stage_kind kind;
    bool temporal; /* FIRST, SECOND: the norm is that of all frames, the kernel spans three */
    float share;   /* SECOND and temporal: of what is added */
    struct wf_group_norm norm;
    struct wf_layer conv;
    struct wf_layer project; /* SECOND: conv_shortcut, where the width changes */
    struct wf_svd_attention attention;
};

struct wf_svd_vae {
    struct wf_vae base;
    struct wf_svd_vae_config config;
    struct wf_svd_stage *stages;
};

/* Reads the configuration and declares every stage and its weights; loads none. */
enum wf_status wf_svd_vae_declare(struct wf_svd_vae *v, struct wf_error *err);

#endif
