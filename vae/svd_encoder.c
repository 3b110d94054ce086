/* Steps in the order of their use: each is a group of weights, a norm and its convolution run one
   after the other. All of them work in three rooms, each as large as the largest activation. */
#include "vae/svd_encoder.h"

#include <stdio.h>
#include <string.h>

#include "vae/svd_attention.h"
#include "vae/svd_config.h"

enum kind {
    STEP_IN,    /* conv */
    STEP_BLOCK, /* norm, conv, norm, conv; + its input */
    STEP_DOWN,  /* conv, half as many rows and columns */
    STEP_ATTEND,
    STEP_OUT, /* norm, conv, conv */
};

struct step {
    enum kind kind;
    int group;
    int64_t in, out; /* channels */
    struct wf_group_norm norm[2];
    struct wf_layer conv[2];
    struct wf_layer shortcut; /* BLOCK, where the width changes */
    struct wf_svd_attention attention;
};

struct wf_svd_encoder {
    struct wf_mem *mem;
    struct wf_backend *be;
    struct wf_residency *res;
    struct wf_svd_vae_config config;
    struct step *steps;
    int count;
};

/* One picture on its way. x [1,H,W,C] lies in a room of its own, once the first step is done. */
struct pass {
    struct wf_arena *arena;
    struct wf_tensor x;
    struct wf_tensor sums;        /* [1,G,3]: of what is normed */
    void *first, *normed, *spare; /* rooms: of the first x, of what feeds a convolution, unused */
};

/* --- opening --- */

static enum wf_status check_blocks(const struct wf_json *json, const struct wf_svd_vae_config *c,
                                   struct wf_error *err)
{
    static const char *const known = "DownEncoderBlock2D";
    const json_t *types = json_object_get(json->root, "down_block_types"), *type;
    size_t i;
    if (!wf_json_is_there(json, "down_block_types"))
        return WF_OK;
    if (json_array_size(types) != (size_t)c->levels)
        return wf_fail(err, WF_REFUSED,
                       "%s: down_block_types and block_out_channels are not of one length",
                       json->path);
    json_array_foreach(types, i, type)
    {
        const char *name = json_string_value(type);
        if (!name || strcmp(name, known) != 0)
            return wf_fail(err, WF_REFUSED, "%s: down_block_types has %.60s; expected %s",
                           json->path, name ? name : "what is no name", known);
    }
    return WF_OK;
}

static enum wf_status read_config(const struct wf_json *json, struct wf_svd_vae_config *c,
                                  struct wf_error *err)
{
    int64_t in = 3;
    WF_TRY(wf_svd_config_read(json, c, err));
    WF_TRY(wf_json_int(json, "in_channels", 1, 4096, &in, err));
    if (in != 3)
        return wf_fail(err, WF_REFUSED, "%s: in_channels is %lld; expected 3", json->path,
                       (long long)in);
    return check_blocks(json, c, err);
}

static enum wf_status add_step(struct wf_svd_encoder *enc, enum kind kind, int64_t in, int64_t out,
                               struct step **s, struct wf_error *err)
{
    *s = &enc->steps[enc->count++];
    **s = (struct step){.kind = kind, .in = in, .out = out};
    return wf_residency_group(enc->res, &(*s)->group, err);
}

static enum wf_status add_norm(struct wf_svd_encoder *enc, struct wf_group_norm *norm,
                               int64_t width, const char *prefix, const char *name,
                               struct wf_error *err)
{
    char full[128];
    snprintf(full, sizeof full, "%s%s", prefix, name);
    return wf_group_norm_add(enc->res, norm, width, WF_SVD_SPATIAL_EPS, full, err);
}

/* dims: [out,in,side,side]. The tensors' name is that of the prefix and what follows. */
static enum wf_status add_conv(struct wf_svd_encoder *enc, struct wf_layer *layer,
                               const int64_t *dims, const char *prefix, const char *name,
                               struct wf_error *err)
{
    WF_TRY(wf_layer_add(enc->res, layer, WF_PARAM_CONV, 4, dims, err, "%s%s", prefix, name));
    layer->weight.keep_f32 = enc->config.force_upcast;
    return WF_OK;
}

static enum wf_status add_in(struct wf_svd_encoder *enc, int64_t out, struct wf_error *err)
{
    struct step *s;
    WF_TRY(add_step(enc, STEP_IN, 3, out, &s, err));
    WF_TRY(add_conv(enc, &s->conv[0], (const int64_t[]){out, 3, 3, 3}, "encoder", ".conv_in", err));
    s->conv[0].weight.keep_f32 = true; /* it takes the picture as it is */
    return WF_OK;
}

static enum wf_status add_block(struct wf_svd_encoder *enc, int64_t in, int64_t out,
                                const char *block, struct wf_error *err)
{
    struct step *s;
    WF_TRY(add_step(enc, STEP_BLOCK, in, out, &s, err));
    WF_TRY(add_norm(enc, &s->norm[0], in, block, ".norm1", err));
    WF_TRY(add_norm(enc, &s->norm[1], out, block, ".norm2", err));
    WF_TRY(add_conv(enc, &s->conv[0], (const int64_t[]){out, in, 3, 3}, block, ".conv1", err));
    WF_TRY(add_conv(enc, &s->conv[1], (const int64_t[]){out, out, 3, 3}, block, ".conv2", err));
    if (in == out)
        return WF_OK;
    return add_conv(enc, &s->shortcut, (const int64_t[]){out, in, 1, 1}, block, ".conv_shortcut",
                    err);
}

static enum wf_status add_level(struct wf_svd_encoder *enc, int level, int64_t in,
                                struct wf_error *err)
{
    const int64_t out = enc->config.widths[level];
    struct step *s;
    char prefix[64];
    for (int j = 0; j < (int)enc->config.layers; j++) {
        snprintf(prefix, sizeof prefix, "encoder.down_blocks.%d.resnets.%d", level, j);
        WF_TRY(add_block(enc, j == 0 ? in : out, out, prefix, err));
    }
    if (level == enc->config.levels - 1)
        return WF_OK;
    WF_TRY(add_step(enc, STEP_DOWN, out, out, &s, err));
    snprintf(prefix, sizeof prefix, "encoder.down_blocks.%d", level);
    return add_conv(enc, &s->conv[0], (const int64_t[]){out, out, 3, 3}, prefix,
                    ".downsamplers.0.conv", err);
}

static enum wf_status add_mid(struct wf_svd_encoder *enc, int64_t c, struct wf_error *err)
{
    struct step *s;
    WF_TRY(add_block(enc, c, c, "encoder.mid_block.resnets.0", err));
    WF_TRY(add_step(enc, STEP_ATTEND, c, c, &s, err));
    WF_TRY(wf_svd_attention_add(enc->res, &s->attention, c, enc->config.force_upcast,
                                "encoder.mid_block.attentions.0", err));
    return add_block(enc, c, c, "encoder.mid_block.resnets.1", err);
}

static enum wf_status add_out(struct wf_svd_encoder *enc, int64_t c, struct wf_error *err)
{
    const int64_t moments = 2 * enc->config.latent_channels;
    struct step *s;
    WF_TRY(add_step(enc, STEP_OUT, c, moments, &s, err));
    WF_TRY(add_norm(enc, &s->norm[0], c, "encoder", ".conv_norm_out", err));
    WF_TRY(add_conv(enc, &s->conv[0], (const int64_t[]){moments, c, 3, 3}, "encoder", ".conv_out",
                    err));
    return add_conv(enc, &s->conv[1], (const int64_t[]){moments, moments, 1, 1}, "quant_conv", "",
                    err);
}

static enum wf_status open_encoder(struct wf_svd_encoder *enc, struct wf_error *err)
{
    struct wf_svd_vae_config *c = &enc->config;
    WF_TRY(read_config(wf_checkpoint_config(wf_residency_checkpoint(enc->res)), c, err));
    /* in; the levels, a way down between two of them; two blocks and the attention; out */
    const size_t count = (size_t)(1 + c->levels * c->layers + c->levels - 1 + 3 + 1);
    enc->steps = wf_calloc(enc->mem, WF_MEM_MISC, count, sizeof *enc->steps);
    if (!enc->steps)
        return wf_fail_memory(err, "vae", count * sizeof *enc->steps);
    wf_residency_order(enc->res, false);
    WF_TRY(add_in(enc, c->widths[0], err));
    for (int i = 0; i < c->levels; i++)
        WF_TRY(add_level(enc, i, c->widths[i ? i - 1 : 0], err));
    WF_TRY(add_mid(enc, c->widths[c->levels - 1], err));
    return add_out(enc, c->widths[c->levels - 1], err);
}

enum wf_status wf_svd_encoder_open(struct wf_residency *res, struct wf_mem *mem,
                                   struct wf_svd_encoder **enc, struct wf_error *err)
{
    *enc = wf_calloc(mem, WF_MEM_MISC, 1, sizeof **enc);
    if (!*enc)
        return wf_fail_memory(err, "vae", sizeof **enc);
    (*enc)->mem = mem;
    (*enc)->res = res;
    (*enc)->be = wf_residency_backend(res);
    const enum wf_status status = open_encoder(*enc, err);
    if (status != WF_OK)
        wf_svd_encoder_close(enc);
    return status;
}

void wf_svd_encoder_close(struct wf_svd_encoder **enc)
{
    if (!*enc)
        return;
    wf_free((*enc)->steps);
    wf_free(*enc);
    *enc = NULL;
}

int wf_svd_encoder_scale(const struct wf_svd_encoder *enc)
{
    return 1 << (enc->config.levels - 1);
}

int wf_svd_encoder_channels(const struct wf_svd_encoder *enc)
{
    return (int)enc->config.latent_channels;
}

/* --- steps --- */

/* As large as x, of other channels, in a room. */
static struct wf_tensor place(const struct pass *p, void *room, enum wf_dtype dtype,
                              int64_t channels)
{
    return wf_tensor_of(room, dtype, WF_DIMS(1, p->x.dim[1], p->x.dim[2], channels));
}

/* The same, of the type that the layer takes. */
static struct wf_tensor place_for(const struct wf_svd_encoder *enc, const struct pass *p,
                                  const struct wf_layer *layer)
{
    return place(p, p->normed, wf_operand_type(enc->be, &layer->weight), layer->weight.dim[1]);
}

/* x in the type that the layer takes: itself, or a copy in the room for that. */
static enum wf_status operand(const struct wf_svd_encoder *enc, const struct pass *p,
                              const struct wf_layer *layer, struct wf_tensor x, struct wf_tensor *y)
{
    *y = place_for(enc, p, layer);
    if (y->dtype != x.dtype)
        return wf_copy(enc->be, &(struct wf_copy){.x = x, .y = *y});
    *y = x;
    return WF_OK;
}

static enum wf_status sum(const struct wf_svd_encoder *enc, const struct pass *p,
                          struct wf_tensor x)
{
    return wf_group_sums(enc->be, &(struct wf_group_sums){.x = x, .y = p->sums});
}

/* y = silu(norm(x)) */
static enum wf_status normalise(const struct wf_svd_encoder *enc, const struct pass *p,
                                const struct wf_group_norm *norm, struct wf_tensor x,
                                struct wf_tensor y)
{
    WF_TRY(sum(enc, p, x));
    return wf_group_norm_apply(enc->be, norm, p->sums, x, WF_ACT_SILU, y);
}

/* As many rows and columns as x has; x is in the layer's type. */
static enum wf_status convolve(const struct wf_svd_encoder *enc, const struct wf_layer *layer,
                               struct wf_tensor x, struct wf_tensor y, bool accumulate)
{
    const int pad = (int)layer->weight.dim[3] / 2;
    return wf_layer_conv(enc->be, layer,
                         (struct wf_conv){.x = x,
                                          .y = y,
                                          .pad_h = {pad, pad},
                                          .pad_w = {pad, pad},
                                          .stride_t = 1,
                                          .stride_hw = 1,
                                          .accumulate = accumulate});
}

static enum wf_status run_in(const struct wf_svd_encoder *enc, const struct step *s, struct pass *p)
{
    const struct wf_tensor y = place(p, p->first, WF_F32, s->out);
    WF_TRY(convolve(enc, &s->conv[0], p->x, y, false));
    p->x = y;
    return WF_OK;
}

/* The result adds up in x's room. With a shortcut it adds up in the spare one, and what lies
   between the convolutions takes x's room. */
static enum wf_status run_block(const struct wf_svd_encoder *enc, const struct step *s,
                                struct pass *p)
{
    const struct wf_tensor x = p->x;
    const bool projects = s->in != s->out;
    const struct wf_tensor y = place(p, projects ? p->spare : x.data, WF_F32, s->out);
    const struct wf_tensor between = place(p, projects ? x.data : p->spare, WF_F32, s->out);
    struct wf_tensor fed;
    if (projects) {
        WF_TRY(operand(enc, p, &s->shortcut, x, &fed));
        WF_TRY(convolve(enc, &s->shortcut, fed, y, false));
    }
    fed = place_for(enc, p, &s->conv[0]);
    WF_TRY(normalise(enc, p, &s->norm[0], x, fed));
    WF_TRY(convolve(enc, &s->conv[0], fed, between, false));
    fed = place_for(enc, p, &s->conv[1]);
    WF_TRY(normalise(enc, p, &s->norm[1], between, fed));
    WF_TRY(convolve(enc, &s->conv[1], fed, y, true));
    p->x = y;
    p->spare = between.data;
    return WF_OK;
}

/* Zeros are added at the right and the bottom only. */
static enum wf_status run_down(const struct wf_svd_encoder *enc, const struct step *s,
                               struct pass *p)
{
    const struct wf_tensor x = p->x;
    const struct wf_tensor y =
        wf_tensor_of(p->spare, WF_F32, WF_DIMS(1, x.dim[1] / 2, x.dim[2] / 2, s->out));
    struct wf_conv conv = {.y = y, .pad_h = {0, 1}, .pad_w = {0, 1}, .stride_t = 1, .stride_hw = 2};
    WF_TRY(operand(enc, p, &s->conv[0], x, &conv.x));
    WF_TRY(wf_layer_conv(enc->be, &s->conv[0], conv));
    p->x = y;
    p->spare = x.data;
    return WF_OK;
}

static enum wf_status run_attention(const struct wf_svd_encoder *enc, const struct step *s,
                                    struct pass *p)
{
    struct wf_svd_attention_room room =
        wf_svd_attention_shapes(enc->be, &s->attention, p->x.dim[1] * p->x.dim[2]);
    struct wf_tensor *const all[] = {&room.normed, &room.qkv[0], &room.qkv[1], &room.qkv[2]};
    const struct wf_arena_mark mark = wf_arena_mark(p->arena);
    for (int i = 0; i < 4; i++)
        WF_TRY(wf_tensor_new(p->arena, all[i]->dtype, all[i], enc->be->err, all[i]->rank,
                             all[i]->dim));
    WF_TRY(sum(enc, p, p->x));
    WF_TRY(wf_svd_attention_run(enc->be, &s->attention, p->sums, p->x, &room));
    wf_arena_release(p->arena, mark);
    return WF_OK;
}

static enum wf_status run_out(const struct wf_svd_encoder *enc, const struct step *s,
                              struct pass *p)
{
    const struct wf_tensor between = place(p, p->spare, WF_F32, s->out);
    const struct wf_tensor moments = place(p, p->x.data, WF_F32, s->out);
    struct wf_tensor fed = place_for(enc, p, &s->conv[0]);
    WF_TRY(normalise(enc, p, &s->norm[0], p->x, fed));
    WF_TRY(convolve(enc, &s->conv[0], fed, between, false));
    WF_TRY(operand(enc, p, &s->conv[1], between, &fed));
    WF_TRY(convolve(enc, &s->conv[1], fed, moments, false));
    p->x = moments;
    return WF_OK;
}

/* --- a picture --- */

static enum wf_status run_step(const struct wf_svd_encoder *enc, const struct step *s,
                               struct pass *p)
{
    static enum wf_status (*const run[])(const struct wf_svd_encoder *, const struct step *,
                                         struct pass *) = {
        [STEP_IN] = run_in,     [STEP_BLOCK] = run_block,
        [STEP_DOWN] = run_down, [STEP_ATTEND] = run_attention,
        [STEP_OUT] = run_out,
    };
    WF_TRY(wf_residency_acquire(enc->res, s->group, enc->be->err));
    const enum wf_status status = run[s->kind](enc, s, p);
    wf_residency_release(enc->res, s->group);
    return status;
}

/* Values of the largest activation. */
static int64_t room_values(const struct wf_svd_encoder *enc, const struct pass *p)
{
    int64_t most = 0, pixels = p->x.dim[1] * p->x.dim[2];
    for (int i = 0; i < enc->count; i++) {
        const struct step *s = &enc->steps[i];
        const int64_t wider = s->in > s->out ? s->in : s->out;
        most = pixels * wider > most ? pixels * wider : most;
        pixels /= s->kind == STEP_DOWN ? 4 : 1;
    }
    return most;
}

static enum wf_status encode(const struct wf_svd_encoder *enc, struct pass *p,
                             struct wf_tensor latents)
{
    void **const rooms[] = {&p->first, &p->normed, &p->spare};
    const int64_t values = room_values(enc, p);
    struct wf_tensor room;
    for (int i = 0; i < 3; i++) {
        WF_TRY(wf_tensor_new(p->arena, WF_F32, &room, enc->be->err, WF_DIMS(values)));
        *rooms[i] = room.data;
    }
    WF_TRY(wf_tensor_new(p->arena, WF_F32, &p->sums, enc->be->err, WF_DIMS(1, WF_NORM_GROUPS, 3)));
    for (int i = 0; i < enc->count; i++)
        WF_TRY(run_step(enc, &enc->steps[i], p));
    /* The first half of the channels are the means, the second logarithms of variances. */
    const struct wf_tensor mean = wf_tensor_slice(p->x, 3, 0, enc->config.latent_channels);
    return wf_copy(enc->be, &(struct wf_copy){.x = mean, .y = latents});
}

static enum wf_status check_call(const struct wf_svd_encoder *enc, const struct wf_tensor *image,
                                 const struct wf_tensor *latents, struct wf_error *err)
{
    const int64_t scale = wf_svd_encoder_scale(enc), *x = image->dim, *y = latents->dim;
    if (image->rank != 4 || x[0] != 1 || x[3] != 3 || x[1] < 1 || x[2] < 1 || x[1] % scale ||
        x[2] % scale || image->dtype != WF_F32 || !wf_tensor_is_dense(image))
        return wf_fail(err, WF_FAILED,
                       "vae: expected a picture [1, H, W, 3] in f32 without gaps, whose sides are "
                       "multiples of %lld",
                       (long long)scale);
    if (latents->rank != 4 || y[0] != 1 || y[1] != x[1] / scale || y[2] != x[2] / scale ||
        y[3] != enc->config.latent_channels || latents->dtype != WF_F32)
        return wf_fail(err, WF_FAILED, "vae: expected latents [1, %lld, %lld, %lld] in f32",
                       (long long)(x[1] / scale), (long long)(x[2] / scale),
                       (long long)enc->config.latent_channels);
    return WF_OK;
}

enum wf_status wf_svd_encoder_encode(struct wf_svd_encoder *enc, struct wf_tensor image,
                                     struct wf_tensor latents, struct wf_arena *arena,
                                     struct wf_error *err)
{
    WF_TRY(check_call(enc, &image, &latents, err));
    struct pass pass = {.arena = arena, .x = image};
    const struct wf_arena_mark mark = wf_arena_mark(arena);
    /* Whatever fails below, its message is the backend's: it is handed on here. */
    struct wf_error *const inner = enc->be->err;
    const enum wf_status status = encode(enc, &pass, latents);
    if (status != WF_OK && err && inner && err != inner)
        *err = *inner;
    wf_arena_release(arena, mark);
    return status;
}
