/* Inside Wan 2.1's VAE decoder: the row of stages, their weights, and what they keep of the clip.
 */
#ifndef WEFT_VAE_WAN_VAE_H
#define WEFT_VAE_WAN_VAE_H

#include "temporal/layers.h"
#include "vae/vae.h"

enum { WF_WAN_LEVELS = 8, WF_WAN_STAGES = 128, WF_WAN_LATENT_CHANNELS = 256 };

struct wf_wan_vae_config {
    int64_t z_dim, base_dim, res_blocks;
    int64_t mult[WF_WAN_LEVELS];
    int levels;
    bool doubles_time[WF_WAN_LEVELS]; /* the upsampler of a decoder level, from the latent on */
    double mean[WF_WAN_LATENT_CHANNELS], std[WF_WAN_LATENT_CHANNELS]; /* z_dim of them */
};

enum wf_wan_stage_kind { STAGE_IN, STAGE_RES, STAGE_ATTENTION, STAGE_UPSAMPLE, STAGE_OUT };

struct wf_wan_stage {
    enum wf_wan_stage_kind kind;
    int group;
    int64_t in, out;              /* channels */
    bool doubles_time;            /* UPSAMPLE */
    struct wf_param norm1, norm2; /* RES: both; ATTENTION, OUT: norm1 */
    struct wf_layer conv1;        /* UPSAMPLE: the spatial one */
    struct wf_layer conv2;        /* RES; UPSAMPLE: the one over time */
    struct wf_layer project;      /* IN: post_quant_conv; RES: conv_shortcut; ATTENTION: proj */
    struct wf_layer qkv;          /* ATTENTION */
};

struct wf_wan_vae {
    struct wf_vae base;
    struct wf_wan_vae_config config;
    struct wf_residency *res;
    struct wf_wan_stage *stages;
    int stage_count;
    struct wf_tensor mean, std; /* [z_dim] */
    struct wf_tensor half;      /* [3] of 0.5: from -1..1 to 0..1 */
};

/* Reads the configuration and declares every stage and its weights; loads none. */
enum wf_status wf_wan_vae_declare(struct wf_wan_vae *v, struct wf_error *err);

#endif
