/* Opening Stable Video Diffusion's VAE decoder: the configuration, and the stages with their
   weights in the order of their use. */
#include <stdio.h>
#include <string.h>

#include "temporal/mix_factor.h"
#include "vae/svd_vae.h"

/* Frames that neighbouring chunks share where nothing was asked for. Measured on slowly moving
   noise (samples/decode): in chunks of 4, 5 and 8 frames the worst error of a change from frame to
   frame falls to 0.51, 0.27, 0.16 of that without overlap by 1, 2, 3 shared frames; the third costs
   as much work as both before it. */
enum { USUAL_OVERLAP = 2 };

static const float temporal_eps = 1e-5f;

static enum wf_status new_stage(struct wf_svd_vae *v, enum wf_svd_stage_kind kind,
                                struct wf_vae_stage in_row, struct wf_svd_stage **s,
                                struct wf_error *err)
{
    int i;
    WF_TRY(wf_vae_add_stage(&v->base, in_row, &i, err));
    v->stages[i] = (struct wf_svd_stage){.kind = kind};
    *s = &v->stages[i];
    return WF_OK;
}

/* One half of a residual block. The halves along time have kernels of three frames. */
struct half {
    enum wf_svd_stage_kind kind;
    bool temporal;
    int64_t in, out;
};

static enum wf_status add_half(struct wf_svd_vae *v, const struct half *h, const char *block,
                               struct wf_svd_stage **s, struct wf_error *err)
{
    char prefix[128];
    const bool first = h->kind == STAGE_FIRST;
    const struct wf_vae_stage in_row = {.channels = h->out,
                                        .scale = 1,
                                        .reach = h->temporal ? 0 : 1,
                                        .in_place = !first,
                                        .holds = first,
                                        .takes = !first,
                                        .barrier = WF_VAE_STATISTICS};
    const char *const part = h->temporal ? "temporal_res_block" : "spatial_res_block";
    const int number = first ? 1 : 2;
    WF_TRY(new_stage(v, h->kind, in_row, s, err));
    (*s)->temporal = h->temporal;
    snprintf(prefix, sizeof prefix, "%s.%s.norm%d", block, part, number);
    WF_TRY(wf_group_norm_add(v->base.res, &(*s)->norm, h->in,
                             h->temporal ? temporal_eps : WF_SVD_SPATIAL_EPS, prefix, err));
    if (h->temporal)
        return wf_layer_add(v->base.res, &(*s)->conv, WF_PARAM_CONV,
                            WF_DIMS(h->out, h->in, 3, 1, 1), err, "%s.%s.conv%d", block, part,
                            number);
    return wf_layer_add(v->base.res, &(*s)->conv, WF_PARAM_CONV, WF_DIMS(h->out, h->in, 3, 3), err,
                        "%s.%s.conv%d", block, part, number);
}

static enum wf_status add_block(struct wf_svd_vae *v, int64_t in, int64_t out, const char *block,
                                struct wf_error *err)
{
    struct wf_svd_stage *s = NULL;
    WF_TRY(add_half(v, &(struct half){STAGE_FIRST, false, in, out}, block, &s, err));
    WF_TRY(add_half(v, &(struct half){STAGE_SECOND, false, out, out}, block, &s, err));
    if (in != out)
        WF_TRY(wf_layer_add(v->base.res, &s->project, WF_PARAM_CONV, WF_DIMS(out, in, 1, 1), err,
                            "%s.spatial_res_block.conv_shortcut", block));
    WF_TRY(add_half(v, &(struct half){STAGE_FIRST, true, out, out}, block, &s, err));
    WF_TRY(add_half(v, &(struct half){STAGE_SECOND, true, out, out}, block, &s, err));
    /* Here, unlike in the denoiser, the sigmoid is the share of the part along time. */
    return wf_mix_factor_read(v->base.res, block, &s->share, err);
}

static enum wf_status add_in(struct wf_svd_vae *v, int64_t out, struct wf_error *err)
{
    struct wf_svd_stage *s = NULL;
    const struct wf_vae_stage in_row = {.channels = out, .scale = 1, .reach = 1};
    WF_TRY(new_stage(v, STAGE_IN, in_row, &s, err));
    WF_TRY(wf_layer_add(v->base.res, &s->conv, WF_PARAM_CONV,
                        WF_DIMS(out, v->config.latent_channels, 3, 3), err, "decoder.conv_in"));
    s->conv.weight.keep_f32 = true; /* it takes the scaled latents as they are */
    return WF_OK;
}

static enum wf_status add_attention(struct wf_svd_vae *v, int64_t c, struct wf_error *err)
{
    struct wf_svd_stage *s = NULL;
    const struct wf_vae_stage in_row = {
        .channels = c, .scale = 1, .in_place = true, .barrier = WF_VAE_FRAME};
    WF_TRY(new_stage(v, STAGE_ATTEND, in_row, &s, err));
    return wf_svd_attention_add(v->base.res, &s->attention, c, false,
                                "decoder.mid_block.attentions.0", err);
}

/* diffusers runs as many of its blocks as there are attentions, and one more. */
static enum wf_status add_mid(struct wf_svd_vae *v, int64_t c, struct wf_error *err)
{
    WF_TRY(add_block(v, c, c, "decoder.mid_block.resnets.0", err));
    if (v->config.layers < 2)
        return WF_OK;
    WF_TRY(add_attention(v, c, err));
    return add_block(v, c, c, "decoder.mid_block.resnets.1", err);
}

static enum wf_status add_level(struct wf_svd_vae *v, int level, int64_t in, int64_t out,
                                struct wf_error *err)
{
    struct wf_svd_stage *s = NULL;
    const struct wf_vae_stage in_row = {.channels = out, .scale = 2, .reach = 1};
    for (int j = 0; j <= (int)v->config.layers; j++) {
        char block[64];
        snprintf(block, sizeof block, "decoder.up_blocks.%d.resnets.%d", level, j);
        WF_TRY(add_block(v, j == 0 ? in : out, out, block, err));
    }
    if (level == v->config.levels - 1)
        return WF_OK;
    WF_TRY(new_stage(v, STAGE_UPSAMPLE, in_row, &s, err));
    return wf_layer_add(v->base.res, &s->conv, WF_PARAM_UPCONV, WF_DIMS(out, out, 3, 3), err,
                        "decoder.up_blocks.%d.upsamplers.0.conv", level);
}

static enum wf_status add_out(struct wf_svd_vae *v, int64_t c, struct wf_error *err)
{
    struct wf_svd_stage *s = NULL;
    const struct wf_vae_stage out = {
        .channels = 3, .scale = 1, .reach = 1, .barrier = WF_VAE_STATISTICS};
    const struct wf_vae_stage over_time = {.channels = 3, .scale = 1};
    WF_TRY(new_stage(v, STAGE_OUT, out, &s, err));
    WF_TRY(wf_group_norm_add(v->base.res, &s->norm, c, WF_SVD_SPATIAL_EPS, "decoder.conv_norm_out",
                             err));
    WF_TRY(wf_layer_add(v->base.res, &s->conv, WF_PARAM_CONV, WF_DIMS(3, c, 3, 3), err,
                        "decoder.conv_out"));
    WF_TRY(new_stage(v, STAGE_OVER_TIME, over_time, &s, err));
    return wf_layer_add(v->base.res, &s->conv, WF_PARAM_CONV, WF_DIMS(3, 3, 3, 1, 1), err,
                        "decoder.time_conv_out");
}

static enum wf_status add_stages(struct wf_svd_vae *v, struct wf_error *err)
{
    const struct wf_svd_vae_config *c = &v->config;
    int64_t width = c->widths[c->levels - 1];
    WF_TRY(add_in(v, width, err));
    WF_TRY(add_mid(v, width, err));
    for (int level = 0; level < c->levels; level++) {
        const int64_t out = c->widths[c->levels - 1 - level];
        WF_TRY(add_level(v, level, width, out, err));
        width = out;
    }
    return add_out(v, width, err);
}

enum wf_status wf_svd_vae_declare(struct wf_svd_vae *v, struct wf_error *err)
{
    WF_TRY(wf_svd_config_read(wf_checkpoint_config(wf_residency_checkpoint(v->base.res)),
                              &v->config, err));
    v->base.geometry = (struct wf_vae_geometry){.channels = v->config.latent_channels,
                                                .spatial = 1 << (v->config.levels - 1),
                                                .temporal = 1,
                                                .patch = 1,
                                                .frames_first = true,
                                                .chunk_overlap = USUAL_OVERLAP};
    v->stages = wf_calloc(v->base.mem, WF_MEM_MISC, WF_VAE_STAGES, sizeof *v->stages);
    if (!v->stages)
        return wf_fail_memory(err, "vae", WF_VAE_STAGES * sizeof *v->stages);
    return add_stages(v, err);
}
