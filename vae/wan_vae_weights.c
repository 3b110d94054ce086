/* Opening a Wan VAE's decoder: the configuration, and the stages with their weights in the order
   of their use. */
#include <stdio.h>
#include <string.h>

#include "vae/wan_vae.h"

static const double default_mean[16] = {-0.7571, -0.7089, -0.9113, 0.1075,  -0.1745, 0.9653,
                                        -0.1517, 1.5508,  0.4134,  -0.0715, 0.5517,  -0.3632,
                                        -0.1922, -0.9497, 0.2503,  -0.2921};
static const double default_std[16] = {2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708,
                                       2.6052, 2.0743, 3.2687, 2.1526, 2.8652, 1.5579,
                                       1.6382, 1.1253, 2.8251, 1.9160};

static enum wf_status refuse_unsupported(const struct wf_json *json,
                                         const struct wf_wan_vae_config *c, struct wf_error *err)
{
    const int64_t channels = 3 * c->patch * c->patch;
    if (c->out_channels != channels)
        return wf_fail(err, WF_REFUSED,
                       "%s: out_channels %lld with patch_size %lld is not supported; expected %lld",
                       json->path, (long long)c->out_channels, (long long)c->patch,
                       (long long)channels);
    return WF_OK;
}

static enum wf_status read_levels(const struct wf_json *json, struct wf_wan_vae_config *c,
                                  struct wf_error *err)
{
    static const int64_t mult[4] = {1, 2, 4, 4};
    bool halves[WF_WAN_LEVELS] = {false, true, true};
    int count = 0;
    memcpy(c->mult, mult, sizeof mult);
    c->levels = 4;
    WF_TRY(wf_json_ints(json, "dim_mult", 1, 1024, WF_WAN_LEVELS, c->mult, &count, err));
    if (count)
        c->levels = count;
    count = 0;
    WF_TRY(wf_json_bools(json, "temperal_downsample", WF_WAN_LEVELS, halves, &count, err));
    if ((count ? count : 3) < c->levels - 1)
        return wf_fail(err, WF_REFUSED,
                       "%s: temperal_downsample has %d entries for %d levels; expected %d",
                       json->path, count ? count : 3, c->levels, c->levels - 1);
    const int last = (count ? count : 3) - 1;
    for (int i = 0; i < c->levels - 1; i++)
        c->doubles_time[i] = halves[last - i];
    return WF_OK;
}

static enum wf_status read_statistics(const struct wf_json *json, struct wf_wan_vae_config *c,
                                      struct wf_error *err)
{
    int count[2] = {0, 0};
    memcpy(c->mean, default_mean, sizeof default_mean);
    memcpy(c->std, default_std, sizeof default_std);
    WF_TRY(wf_json_doubles(json, "latents_mean", WF_WAN_LATENT_CHANNELS, c->mean, &count[0], err));
    WF_TRY(wf_json_doubles(json, "latents_std", WF_WAN_LATENT_CHANNELS, c->std, &count[1], err));
    for (int i = 0; i < 2; i++) {
        if ((count[i] ? count[i] : 16) != c->z_dim)
            return wf_fail(err, WF_REFUSED, "%s: %s has %d numbers for z_dim %lld", json->path,
                           i ? "latents_std" : "latents_mean", count[i] ? count[i] : 16,
                           (long long)c->z_dim);
    }
    return WF_OK;
}

static enum wf_status read_config(const struct wf_json *json, struct wf_wan_vae_config *c,
                                  struct wf_error *err)
{
    *c = (struct wf_wan_vae_config){
        .z_dim = 16, .base_dim = 96, .res_blocks = 2, .patch = 1, .out_channels = 3};
    WF_TRY(wf_json_bool(json, "is_residual", &c->residual, err));
    WF_TRY(wf_json_int(json, "patch_size", 1, 64, &c->patch, err));
    WF_TRY(wf_json_int(json, "out_channels", 1, 4096 * 3, &c->out_channels, err));
    WF_TRY(refuse_unsupported(json, c, err));
    WF_TRY(wf_json_int(json, "z_dim", 1, WF_WAN_LATENT_CHANNELS, &c->z_dim, err));
    WF_TRY(wf_json_int(json, "base_dim", 1, 4096, &c->base_dim, err));
    WF_TRY(wf_json_int(json, "decoder_base_dim", 1, 4096, &c->base_dim, err));
    WF_TRY(wf_json_int(json, "num_res_blocks", 0, 16, &c->res_blocks, err));
    WF_TRY(read_levels(json, c, err));
    return read_statistics(json, c, err);
}

/* The compression that the layers give; the configuration's own numbers, which size the latents in
   diffusers, must agree. */
static enum wf_status read_geometry(const struct wf_json *json, const struct wf_wan_vae_config *c,
                                    struct wf_vae_geometry *g, struct wf_error *err)
{
    *g = (struct wf_vae_geometry){.channels = c->z_dim,
                                  .spatial = c->patch,
                                  .temporal = 1,
                                  .patch = c->patch,
                                  .causal = true};
    for (int i = 0; i < c->levels - 1; i++) {
        g->spatial *= 2;
        g->temporal *= c->doubles_time[i] ? 2 : 1;
    }
    int64_t spatial = 8, temporal = 4;
    WF_TRY(wf_json_int(json, "scale_factor_spatial", 1, 1024, &spatial, err));
    WF_TRY(wf_json_int(json, "scale_factor_temporal", 1, 1024, &temporal, err));
    if (spatial != g->spatial || temporal != g->temporal)
        return wf_fail(
            err, WF_REFUSED,
            "%s: scale_factor_spatial %lld and scale_factor_temporal %lld do not fit the "
            "layers, which give %lld and %lld",
            json->path, (long long)spatial, (long long)temporal, (long long)g->spatial,
            (long long)g->temporal);
    return WF_OK;
}

static enum wf_status new_stage(struct wf_wan_vae *v, enum wf_wan_stage_kind kind, int64_t in,
                                struct wf_vae_stage in_row, struct wf_wan_stage **s,
                                struct wf_error *err)
{
    int i;
    WF_TRY(wf_vae_add_stage(&v->base, in_row, &i, err));
    v->stages[i] = (struct wf_wan_stage){.kind = kind, .in = in};
    *s = &v->stages[i];
    return WF_OK;
}

static enum wf_status add_conv(struct wf_wan_vae *v, struct wf_layer *layer, int64_t out,
                               int64_t in, struct wf_error *err, const char *prefix,
                               const char *name)
{
    return wf_layer_add(v->base.res, layer, WF_PARAM_CONV, WF_DIMS(out, in, 3, 3, 3), err, "%s%s",
                        prefix, name);
}

static enum wf_status add_in(struct wf_wan_vae *v, int64_t out, struct wf_error *err)
{
    struct wf_wan_stage *s = NULL;
    const int64_t z = v->config.z_dim;
    const struct wf_vae_stage in_row = {.channels = out, .scale = 1, .reach = 1};
    WF_TRY(new_stage(v, STAGE_IN, z, in_row, &s, err));
    WF_TRY(wf_layer_add(v->base.res, &s->project, WF_PARAM_LINEAR, WF_DIMS(z, z, 1, 1, 1), err,
                        "post_quant_conv"));
    s->project.weight.keep_f32 = true;
    return add_conv(v, &s->conv1, out, z, err, "decoder.", "conv_in");
}

static enum wf_status add_res(struct wf_wan_vae *v, int64_t in, int64_t out, bool holds,
                              const char *prefix, struct wf_error *err)
{
    struct wf_wan_stage *s = NULL;
    const struct wf_vae_stage in_row = {
        .channels = out, .scale = 1, .reach = 2, .in_place = in == out, .holds = holds};
    WF_TRY(new_stage(v, STAGE_RES, in, in_row, &s, err));
    struct wf_residency *res = v->base.res;
    WF_TRY(wf_vector_add(res, &s->norm1, WF_DIMS(in, 1, 1, 1), err, "%snorm1.gamma", prefix));
    WF_TRY(wf_vector_add(res, &s->norm2, WF_DIMS(out, 1, 1, 1), err, "%snorm2.gamma", prefix));
    WF_TRY(add_conv(v, &s->conv1, out, in, err, prefix, "conv1"));
    WF_TRY(add_conv(v, &s->conv2, out, out, err, prefix, "conv2"));
    if (in == out)
        return WF_OK;
    return wf_layer_add(res, &s->project, WF_PARAM_LINEAR, WF_DIMS(out, in, 1, 1, 1), err,
                        "%sconv_shortcut", prefix);
}

static enum wf_status add_attention(struct wf_wan_vae *v, int64_t c, struct wf_error *err)
{
    struct wf_wan_stage *s = NULL;
    static const char *const prefix = "decoder.mid_block.attentions.0";
    const struct wf_vae_stage in_row = {.channels = c, .scale = 1, .in_place = true};
    WF_TRY(new_stage(v, STAGE_ATTENTION, c, in_row, &s, err));
    struct wf_residency *res = v->base.res;
    WF_TRY(wf_vector_add(res, &s->norm1, WF_DIMS(c, 1, 1), err, "%s.norm.gamma", prefix));
    WF_TRY(wf_layer_add(res, &s->qkv, WF_PARAM_LINEAR, WF_DIMS(3 * c, c, 1, 1), err, "%s.to_qkv",
                        prefix));
    return wf_layer_add(res, &s->project, WF_PARAM_LINEAR, WF_DIMS(c, c, 1, 1), err, "%s.proj",
                        prefix);
}

/* 2.1's halves the channels; 2.2's keeps them and adds a shortcut of the block's input. */
static enum wf_status add_upsample(struct wf_wan_vae *v, int level, int64_t c, int64_t block_in,
                                   struct wf_error *err)
{
    struct wf_wan_stage *s = NULL;
    const bool residual = v->config.residual, doubles = v->config.doubles_time[level];
    const struct wf_vae_stage in_row = {.channels = residual ? c : c / 2,
                                        .scale = 2,
                                        .reach = 1,
                                        .doubles_time = doubles,
                                        .takes = residual};
    const char *const name = residual ? "upsampler" : "upsamplers.0";
    if (residual && c * (doubles ? 8 : 4) % block_in)
        return wf_fail(err, WF_REFUSED,
                       "vae: a block from %lld to %lld channels has no shortcut; dim_mult is wrong",
                       (long long)block_in, (long long)c);
    WF_TRY(new_stage(v, STAGE_UPSAMPLE, c, in_row, &s, err));
    s->has_shortcut = residual;
    WF_TRY(wf_layer_add(v->base.res, &s->conv1, WF_PARAM_UPCONV, WF_DIMS(in_row.channels, c, 3, 3),
                        err, "decoder.up_blocks.%d.%s.resample.1", level, name));
    if (!doubles)
        return WF_OK;
    return wf_layer_add(v->base.res, &s->conv2, WF_PARAM_CONV, WF_DIMS(2 * c, c, 3, 1, 1), err,
                        "decoder.up_blocks.%d.%s.time_conv", level, name);
}

static enum wf_status add_level(struct wf_wan_vae *v, int level, int64_t in, int64_t out,
                                struct wf_error *err)
{
    const bool upsamples = level < v->config.levels - 1;
    for (int j = 0; j <= (int)v->config.res_blocks; j++) {
        char prefix[64];
        snprintf(prefix, sizeof prefix, "decoder.up_blocks.%d.resnets.%d.", level, j);
        const bool holds = j == 0 && upsamples && v->config.residual;
        WF_TRY(add_res(v, j == 0 ? in : out, out, holds, prefix, err));
    }
    return upsamples ? add_upsample(v, level, out, in, err) : WF_OK;
}

static enum wf_status add_out(struct wf_wan_vae *v, int64_t c, struct wf_error *err)
{
    struct wf_wan_stage *s = NULL;
    const struct wf_vae_stage in_row = {.channels = v->config.out_channels, .scale = 1, .reach = 1};
    WF_TRY(new_stage(v, STAGE_OUT, c, in_row, &s, err));
    WF_TRY(
        wf_vector_add(v->base.res, &s->norm1, WF_DIMS(c, 1, 1, 1), err, "decoder.norm_out.gamma"));
    return add_conv(v, &s->conv1, in_row.channels, c, err, "decoder.", "conv_out");
}

static enum wf_status add_stages(struct wf_wan_vae *v, struct wf_error *err)
{
    const struct wf_wan_vae_config *c = &v->config;
    int64_t width = c->base_dim * c->mult[c->levels - 1];
    WF_TRY(add_in(v, width, err));
    WF_TRY(add_res(v, width, width, false, "decoder.mid_block.resnets.0.", err));
    WF_TRY(add_attention(v, width, err));
    WF_TRY(add_res(v, width, width, false, "decoder.mid_block.resnets.1.", err));
    for (int level = 0; level < c->levels; level++) {
        const int64_t out = c->base_dim * c->mult[c->levels - 1 - level];
        WF_TRY(add_level(v, level, level && !c->residual ? width / 2 : width, out, err));
        width = out;
        /* a twentieth of the work: on small frames, and behind it nothing sees far */
        for (int i = 0; level == 0 && i < v->base.stage_count; i++)
            v->base.stages[i].barrier = WF_VAE_FRAME;
    }
    return add_out(v, width, err);
}

static enum wf_status upload_vector(struct wf_wan_vae *v, const double *values, int64_t count,
                                    struct wf_tensor *t, struct wf_error *err)
{
    float f32[WF_WAN_LATENT_CHANNELS];
    for (int64_t i = 0; i < count; i++)
        f32[i] = (float)values[i];
    struct wf_tensor shape = wf_tensor_of(NULL, WF_F32, WF_DIMS(count));
    shape.data = v->base.be->ops.take(v->base.be, WF_MEM_MISC, wf_tensor_bytes(&shape));
    if (!shape.data)
        return wf_fail_memory(err, "vae", wf_tensor_bytes(&shape));
    *t = shape;
    return wf_upload(v->base.be, *t, f32);
}

enum wf_status wf_wan_vae_declare(struct wf_wan_vae *v, struct wf_error *err)
{
    const struct wf_json *json = wf_checkpoint_config(wf_residency_checkpoint(v->base.res));
    WF_TRY(read_config(json, &v->config, err));
    WF_TRY(read_geometry(json, &v->config, &v->base.geometry, err));
    v->stages = wf_calloc(v->base.mem, WF_MEM_MISC, WF_VAE_STAGES, sizeof *v->stages);
    if (!v->stages)
        return wf_fail_memory(err, "vae", WF_VAE_STAGES * sizeof *v->stages);
    WF_TRY(add_stages(v, err));
    WF_TRY(upload_vector(v, v->config.mean, v->config.z_dim, &v->mean, err));
    return upload_vector(v, v->config.std, v->config.z_dim, &v->std, err);
}
