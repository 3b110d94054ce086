/* Inside Wan's VAE decoders, 2.1's and 2.2's: the row of stages and their weights. */
#ifndef WEFT_VAE_WAN_VAE_H
#define WEFT_VAE_WAN_VAE_H

#include "temporal/layers.h"
#include "vae/vae.h"

enum { WF_WAN_LEVELS = 8, WF_WAN_LATENT_CHANNELS = 256 };

struct wf_wan_vae_config {
    int64_t z_dim, base_dim, res_blocks, patch, out_channels;
    int64_t mult[WF_WAN_LEVELS];
    int levels;
    bool residual;                    /* 2.2's: blocks with a shortcut around them */
    bool doubles_time[WF_WAN_LEVELS]; /* the upsampler of a decoder level, from the latent on */
    double mean[WF_WAN_LATENT_CHANNELS], std[WF_WAN_LATENT_CHANNELS]; /* z_dim of them */
};

enum wf_wan_stage_kind { STAGE_IN, STAGE_RES, STAGE_ATTENTION, STAGE_UPSAMPLE, STAGE_OUT };

/* What a stage computes, and by which weights. */
struct wf_wan_stage {
    enum wf_wan_stage_kind kind;
    int64_t in;                   /* channels */
    bool has_shortcut;            /* UPSAMPLE: around its block, 2.2's */
    struct wf_param norm1, norm2; /* RES: both; ATTENTION, OUT: norm1 */
    struct wf_layer conv1;        /* UPSAMPLE: the spatial one */
    struct wf_layer conv2;        /* RES; UPSAMPLE: the one over time */
    struct wf_layer project;      /* IN: post_quant_conv; RES: conv_shortcut; ATTENTION: proj */
    struct wf_layer qkv;          /* ATTENTION */
};

struct wf_wan_vae {
    struct wf_vae base;
    struct wf_wan_vae_config config;
    struct wf_wan_stage *stages;
    struct wf_tensor mean, std; /* [z_dim] */
};

/* Reads the configuration and declares every stage and its weights; loads none. */
enum wf_status wf_wan_vae_declare(struct wf_wan_vae *v, struct wf_error *err);

/* y += the shortcut around a block of 2.2's that makes frames twice as large (and, with ft = 2,
   twice as many: of the clip's first frame, where x begins with it, the second only). Each result
   is a copy of one of x (diffusers' DupUp3D): channel o of pixel (dh, dw) of frame dt of channel
   ((o ft + dt) 2 + dh) 2 + dw over ft 4 out / in.
   x [T,h,w,in] and y [T',2h,2w,out] f32; in divides 4 ft out. */
enum wf_status wf_wan_shortcut(const struct wf_vae_state *state, struct wf_tensor x,
                               struct wf_tensor y, int ft, bool first);

#endif
