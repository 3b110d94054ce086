#include "vae/svd_encoder.h"

#include <math.h>
#include <stdio.h>

#include "temporal/group_norm.h"
#include "vae/svd_vae.h"

enum { PREFIX = 96 };

static const float eps = 1e-6f;

enum kind { IN, RESNET, ATTENTION, DOWN, OUT };

/* The encoder is a row of stages, and a group of weights each. */
struct stage {
    enum kind kind;
    int group;
    int64_t out;
    struct wf_group_norm norm, norm2;
    struct wf_layer conv, conv2; /* OUT: conv_out and quant_conv */
    struct wf_layer shortcut;    /* where the width changes */
    struct wf_layer q, k, v, to_out;
};

enum { STAGES = 2 + WF_SVD_LEVELS * 9 + 3 };

struct wf_svd_encoder {
    struct wf_svd_vae_config config;
    bool keep_f32;
    struct wf_backend *be;
    struct wf_mem *mem;
    struct wf_residency *res;
    struct stage *stages;
    int count;
};

/* --- opening --- */

static enum wf_status add_layer(struct wf_svd_encoder *e, struct wf_layer *layer,
                                enum wf_param_kind kind, int rank, const int64_t *dims,
                                const char *name, struct wf_error *err)
{
    WF_TRY(wf_layer_add(e->res, layer, kind, rank, dims, err, "%s", name));
    layer->weight.keep_f32 = e->keep_f32;
    return WF_OK;
}

static enum wf_status new_stage(struct wf_svd_encoder *e, enum kind kind, int64_t out,
                                struct stage **s, struct wf_error *err)
{
    *s = &e->stages[e->count++];
    **s = (struct stage){.kind = kind, .out = out};
    return wf_residency_group(e->res, &(*s)->group, err);
}

static enum wf_status add_resnet(struct wf_svd_encoder *e, const char *prefix, int64_t in,
                                 int64_t out, struct wf_error *err)
{
    struct stage *s = NULL;
    char name[PREFIX + 16];
    WF_TRY(new_stage(e, RESNET, out, &s, err));
    snprintf(name, sizeof name, "%s.norm1", prefix);
    WF_TRY(wf_group_norm_add(e->res, &s->norm, in, eps, name, err));
    snprintf(name, sizeof name, "%s.conv1", prefix);
    WF_TRY(add_layer(e, &s->conv, WF_PARAM_CONV, WF_DIMS(out, in, 3, 3), name, err));
    snprintf(name, sizeof name, "%s.norm2", prefix);
    WF_TRY(wf_group_norm_add(e->res, &s->norm2, out, eps, name, err));
    snprintf(name, sizeof name, "%s.conv2", prefix);
    WF_TRY(add_layer(e, &s->conv2, WF_PARAM_CONV, WF_DIMS(out, out, 3, 3), name, err));
    snprintf(name, sizeof name, "%s.conv_shortcut", prefix);
    return in == out ? WF_OK
                     : add_layer(e, &s->shortcut, WF_PARAM_CONV, WF_DIMS(out, in, 1, 1), name, err);
}

static enum wf_status add_attention(struct wf_svd_encoder *e, int64_t width, struct wf_error *err)
{
    static const char *const names[] = {
        "encoder.mid_block.attentions.0.to_q", "encoder.mid_block.attentions.0.to_k",
        "encoder.mid_block.attentions.0.to_v", "encoder.mid_block.attentions.0.to_out.0"};
    struct stage *s = NULL;
    WF_TRY(new_stage(e, ATTENTION, width, &s, err));
    struct wf_layer *const layers[] = {&s->q, &s->k, &s->v, &s->to_out};
    WF_TRY(wf_group_norm_add(e->res, &s->norm, width, eps,
                             "encoder.mid_block.attentions.0.group_norm", err));
    for (int i = 0; i < 4; i++)
        WF_TRY(add_layer(e, layers[i], WF_PARAM_LINEAR, WF_DIMS(width, width), names[i], err));
    return WF_OK;
}

static enum wf_status add_level(struct wf_svd_encoder *e, int level, struct wf_error *err)
{
    const struct wf_svd_vae_config *c = &e->config;
    const int64_t out = c->widths[level];
    int64_t in = c->widths[level ? level - 1 : 0];
    struct stage *s = NULL;
    char name[PREFIX];
    for (int j = 0; j < (int)c->layers; j++, in = out) {
        snprintf(name, sizeof name, "encoder.down_blocks.%d.resnets.%d", level, j);
        WF_TRY(add_resnet(e, name, in, out, err));
    }
    if (level == c->levels - 1)
        return WF_OK;
    WF_TRY(new_stage(e, DOWN, out, &s, err));
    snprintf(name, sizeof name, "encoder.down_blocks.%d.downsamplers.0.conv", level);
    return add_layer(e, &s->conv, WF_PARAM_CONV, WF_DIMS(out, out, 3, 3), name, err);
}

static enum wf_status add_out(struct wf_svd_encoder *e, int64_t width, struct wf_error *err)
{
    const int64_t both = 2 * e->config.latent_channels; /* mean and variance */
    struct stage *s = NULL;
    WF_TRY(new_stage(e, OUT, e->config.latent_channels, &s, err));
    WF_TRY(wf_group_norm_add(e->res, &s->norm, width, eps, "encoder.conv_norm_out", err));
    WF_TRY(
        add_layer(e, &s->conv, WF_PARAM_CONV, WF_DIMS(both, width, 3, 3), "encoder.conv_out", err));
    return add_layer(e, &s->conv2, WF_PARAM_CONV, WF_DIMS(both, both, 1, 1), "quant_conv", err);
}

static enum wf_status declare(struct wf_svd_encoder *e, struct wf_error *err)
{
    const struct wf_json *json = wf_checkpoint_config(wf_residency_checkpoint(e->res));
    struct stage *s = NULL;
    e->keep_f32 = true;
    WF_TRY(wf_svd_vae_read_config(json, &e->config, err));
    WF_TRY(wf_json_bool(json, "force_upcast", &e->keep_f32, err));
    const int64_t width = e->config.widths[e->config.levels - 1];
    e->stages = wf_calloc(e->mem, WF_MEM_MISC, STAGES, sizeof *e->stages);
    if (!e->stages)
        return wf_fail_memory(err, "vae", STAGES * sizeof *e->stages);
    wf_residency_order(e->res, false);
    WF_TRY(new_stage(e, IN, e->config.widths[0], &s, err));
    WF_TRY(add_layer(e, &s->conv, WF_PARAM_CONV, WF_DIMS(s->out, 3, 3, 3), "encoder.conv_in", err));
    for (int level = 0; level < e->config.levels; level++)
        WF_TRY(add_level(e, level, err));
    WF_TRY(add_resnet(e, "encoder.mid_block.resnets.0", width, width, err));
    WF_TRY(add_attention(e, width, err));
    WF_TRY(add_resnet(e, "encoder.mid_block.resnets.1", width, width, err));
    return add_out(e, width, err);
}

enum wf_status wf_svd_encoder_open(struct wf_residency *res, struct wf_mem *mem,
                                   struct wf_svd_encoder **enc, struct wf_error *err)
{
    *enc = wf_calloc(mem, WF_MEM_MISC, 1, sizeof **enc);
    if (!*enc)
        return wf_fail_memory(err, "vae", sizeof **enc);
    (*enc)->res = res;
    (*enc)->be = wf_residency_backend(res);
    (*enc)->mem = mem;
    const enum wf_status status = declare(*enc, err);
    if (status != WF_OK)
        wf_svd_encoder_close(enc);
    return status;
}

void wf_svd_encoder_close(struct wf_svd_encoder **enc)
{
    if (!*enc)
        return;
    wf_free((*enc)->stages);
    wf_free(*enc);
    *enc = NULL;
}

/* --- stages, x to y [1,H,W,C] --- */

static enum wf_status operand(const struct wf_work *work, const struct wf_group_norm *norm,
                              const struct wf_layer *layer, struct wf_tensor x, enum wf_act act,
                              struct wf_tensor *y)
{
    WF_TRY(wf_work_take(work, wf_operand_type(work->be, &layer->weight), 4, x.dim, y));
    return wf_group_norm_frames(work, norm, x, act, *y);
}

static enum wf_status convolve(const struct wf_work *work, const struct wf_layer *layer,
                               struct wf_conv conv)
{
    struct wf_tensor source;
    WF_TRY(wf_work_operand(work, layer, conv.x, &source));
    const struct wf_tensor x = conv.x;
    conv.x = source;
    conv.stride_t = 1;
    conv.stride_hw = conv.stride_hw ? conv.stride_hw : 1;
    WF_TRY(wf_layer_conv(work->be, layer, conv));
    wf_work_give_operand(work, x, source);
    return WF_OK;
}

#define SAME_SIZE .pad_h = {1, 1}, .pad_w = {1, 1}

static enum wf_status run_resnet(const struct wf_work *work, const struct stage *s,
                                 struct wf_tensor x, struct wf_tensor y)
{
    struct wf_tensor n, h;
    WF_TRY(operand(work, &s->norm, &s->conv, x, WF_ACT_SILU, &n));
    WF_TRY(wf_work_take(work, WF_F32, 4, y.dim, &h));
    WF_TRY(convolve(work, &s->conv, (struct wf_conv){.x = n, .y = h, SAME_SIZE}));
    wf_work_give(work, n);
    WF_TRY(s->shortcut.weight.rank ? convolve(work, &s->shortcut, (struct wf_conv){.x = x, .y = y})
                                   : wf_copy(work->be, &(struct wf_copy){.x = x, .y = y}));
    WF_TRY(operand(work, &s->norm2, &s->conv2, h, WF_ACT_SILU, &n));
    wf_work_give(work, h);
    WF_TRY(
        convolve(work, &s->conv2, (struct wf_conv){.x = n, .y = y, SAME_SIZE, .accumulate = true}));
    wf_work_give(work, n);
    return WF_OK;
}

static enum wf_status run_attention(const struct wf_work *work, const struct stage *s,
                                    struct wf_tensor x, struct wf_tensor y)
{
    const struct wf_layer *const layers[] = {&s->q, &s->k, &s->v};
    const int64_t width = x.dim[3], positions = x.dim[1] * x.dim[2];
    const int64_t heads[] = {1, positions, 1, width};
    struct wf_tensor n, qkv[3];
    WF_TRY(operand(work, &s->norm, &s->q, x, WF_ACT_NONE, &n));
    /* What is kept in f32 is so here as well. */
    const enum wf_dtype type = s->q.weight.keep_f32 ? WF_F32 : wf_attention_type(work->be, width);
    for (int i = 0; i < 3; i++) {
        WF_TRY(wf_work_take(work, type, 4, heads, &qkv[i]));
        WF_TRY(
            wf_linear(work->be, layers[i], wf_work_lines(n), wf_work_lines(qkv[i]), WF_ACT_NONE));
    }
    WF_TRY(wf_attention(work->be, &(struct wf_attention){.q = qkv[0],
                                                         .k = qkv[1],
                                                         .v = qkv[2],
                                                         .y = wf_tensor_reshape(n, 4, heads),
                                                         .scale = 1.0f / sqrtf((float)width)}));
    for (int i = 2; i >= 0; i--)
        wf_work_give(work, qkv[i]);
    WF_TRY(wf_copy(work->be, &(struct wf_copy){.x = x, .y = y}));
    WF_TRY(wf_linear_add(work->be, &s->to_out, wf_work_lines(n), wf_work_lines(y),
                         (struct wf_tensor){0}));
    wf_work_give(work, n);
    return WF_OK;
}

/* y: the mean, the first half of the channels. */
static enum wf_status run_out(const struct wf_work *work, const struct stage *s, struct wf_tensor x,
                              struct wf_tensor y)
{
    const int64_t dims[] = {1, x.dim[1], x.dim[2], 2 * s->out};
    struct wf_tensor n, both, moments;
    WF_TRY(operand(work, &s->norm, &s->conv, x, WF_ACT_SILU, &n));
    WF_TRY(wf_work_take(work, WF_F32, 4, dims, &both));
    WF_TRY(convolve(work, &s->conv, (struct wf_conv){.x = n, .y = both, SAME_SIZE}));
    wf_work_give(work, n);
    WF_TRY(wf_work_take(work, WF_F32, 4, dims, &moments));
    WF_TRY(convolve(work, &s->conv2, (struct wf_conv){.x = both, .y = moments}));
    WF_TRY(
        wf_copy(work->be, &(struct wf_copy){.x = wf_tensor_slice(moments, 3, 0, s->out), .y = y}));
    wf_work_give(work, moments);
    wf_work_give(work, both);
    return WF_OK;
}

static enum wf_status run_stage(const struct wf_work *work, const struct stage *s,
                                struct wf_tensor x, struct wf_tensor y)
{
    switch (s->kind) {
    case IN:
        return convolve(work, &s->conv, (struct wf_conv){.x = x, .y = y, SAME_SIZE});
    case RESNET:
        return run_resnet(work, s, x, y);
    case ATTENTION:
        return run_attention(work, s, x, y);
    case DOWN: /* zeros behind the last row and column alone */
        return convolve(
            work, &s->conv,
            (struct wf_conv){.x = x, .y = y, .pad_h = {0, 1}, .pad_w = {0, 1}, .stride_hw = 2});
    case OUT:
        break;
    }
    return run_out(work, s, x, y);
}

/* --- encoding --- */

static enum wf_status run(struct wf_svd_encoder *e, const struct wf_work *work,
                          struct wf_tensor image, struct wf_tensor latents)
{
    struct wf_tensor x = image, y;
    for (int i = 0; i < e->count; i++) {
        const struct stage *s = &e->stages[i];
        const int64_t by = s->kind == DOWN ? 2 : 1;
        y = latents;
        if (i < e->count - 1)
            WF_TRY(
                wf_work_take(work, WF_F32, WF_DIMS(1, x.dim[1] / by, x.dim[2] / by, s->out), &y));
        WF_TRY(wf_residency_acquire(e->res, s->group, e->be->err));
        const enum wf_status status = run_stage(work, s, x, y);
        wf_residency_release(e->res, s->group);
        WF_TRY(status);
        if (i > 0)
            wf_work_give(work, x);
        x = y;
    }
    return WF_OK;
}

enum wf_status wf_svd_encoder_encode(struct wf_svd_encoder *e, struct wf_tensor image,
                                     struct wf_tensor latents, struct wf_pool *pool,
                                     struct wf_error *err)
{
    const int64_t scale = (int64_t)1 << (e->config.levels - 1);
    const struct wf_work work = {e->be, pool, "encode"};
    bool fits = image.rank == 4 && latents.rank == 4 && image.dim[0] == 1 && image.dim[3] == 3 &&
                latents.dim[0] == 1 && latents.dim[3] == e->config.latent_channels;
    for (int axis = 1; axis < 3 && fits; axis++)
        fits = image.dim[axis] == latents.dim[axis] * scale;
    if (!fits)
        return wf_fail(err, WF_FAILED, "vae: the picture does not fit the model");
    return run(e, &work, image, latents);
}
