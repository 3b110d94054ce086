#include "engine/encoders/clip_vision.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "temporal/layers.h"

struct config {
    int64_t width, feed_forward, projection, layers, heads, size, patch;
    int64_t side, tokens; /* patches along a side; all of them, and the class token */
    double eps;
    enum wf_act act;
};

struct norm {
    struct wf_param weight, shift;
};

/* One block: self-attention, then a feed-forward, each after a norm of its own. */
struct layer {
    int group;
    struct norm attention_norm, feed_norm;
    struct wf_layer q, k, v, o, up, down;
};

struct wf_clip_vision {
    struct wf_mem *mem;
    struct wf_backend *be;
    struct wf_residency *res;
    struct config config;
    int embed_group, head_group; /* before and after the layers */
    struct wf_layer patches;
    struct wf_param class_token, positions; /* [width], [tokens,width] */
    struct norm first_norm, last_norm;
    struct wf_layer projection;
    struct layer *layers;
};

/* S is the count of tokens, the class token's row is the first. */
struct pass {
    struct wf_arena *arena;
    struct wf_tensor x, normed;         /* [S,width]; normed and attended for products */
    struct wf_tensor q, k, v, attended; /* [S,width] */
    struct wf_tensor up;                /* [S,feed_forward], for a product */
};

/* --- opening --- */

static enum wf_status read_activation(const struct wf_json *json, enum wf_act *act,
                                      struct wf_error *err)
{
    static const struct {
        const char *name;
        enum wf_act act;
    } known[] = {{"gelu", WF_ACT_GELU_ERF},
                 {"gelu_new", WF_ACT_GELU_TANH},
                 {"gelu_pytorch_tanh", WF_ACT_GELU_TANH}};
    const char *name = "quick_gelu";
    WF_TRY(wf_json_string(json, "hidden_act", &name, err));
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strcmp(known[i].name, name) == 0) {
            *act = known[i].act;
            return WF_OK;
        }
    }
    return wf_fail(err, WF_REFUSED,
                   "%s: hidden_act \"%.40s\" is not computed here; use an image encoder with gelu, "
                   "gelu_new or gelu_pytorch_tanh",
                   json->path, name);
}

static enum wf_status check_config(const struct wf_json *json, const struct config *c,
                                   int64_t channels, struct wf_error *err)
{
    if (channels != 3)
        return wf_fail(err, WF_REFUSED, "%s: num_channels is %lld; expected 3", json->path,
                       (long long)channels);
    if (c->width % c->heads)
        return wf_fail(err, WF_REFUSED,
                       "%s: hidden_size is %lld, which num_attention_heads %lld does not divide",
                       json->path, (long long)c->width, (long long)c->heads);
    if (c->patch > c->size)
        return wf_fail(err, WF_REFUSED, "%s: patch_size is %lld; expected at most image_size %lld",
                       json->path, (long long)c->patch, (long long)c->size);
    return WF_OK;
}

static enum wf_status read_config(const struct wf_json *json, struct config *c,
                                  struct wf_error *err)
{
    int64_t channels = 3;
    *c = (struct config){.width = 768,
                         .feed_forward = 3072,
                         .projection = 512,
                         .layers = 12,
                         .heads = 12,
                         .size = 224,
                         .patch = 32,
                         .eps = 1e-5};
    WF_TRY(wf_json_int(json, "hidden_size", 1, 1 << 16, &c->width, err));
    WF_TRY(wf_json_int(json, "intermediate_size", 1, 1 << 20, &c->feed_forward, err));
    WF_TRY(wf_json_int(json, "projection_dim", 1, 1 << 16, &c->projection, err));
    WF_TRY(wf_json_int(json, "num_hidden_layers", 1, 1 << 10, &c->layers, err));
    WF_TRY(wf_json_int(json, "num_attention_heads", 1, 1 << 10, &c->heads, err));
    WF_TRY(wf_json_int(json, "num_channels", 1, 1 << 10, &channels, err));
    WF_TRY(wf_json_int(json, "image_size", 1, 1 << 12, &c->size, err));
    WF_TRY(wf_json_int(json, "patch_size", 1, 1 << 12, &c->patch, err));
    WF_TRY(wf_json_double(json, "layer_norm_eps", 0, 1, &c->eps, err));
    WF_TRY(read_activation(json, &c->act, err));
    WF_TRY(check_config(json, c, channels, err));
    c->side = c->size / c->patch; /* what is left at the right and the bottom is not seen */
    c->tokens = c->side * c->side + 1;
    return WF_OK;
}

static enum wf_status add_norm(struct wf_clip_vision *enc, struct norm *norm, const char *prefix,
                               struct wf_error *err)
{
    const int64_t width = enc->config.width;
    WF_TRY(wf_vector_add(enc->res, &norm->weight, WF_DIMS(width), err, "%s.weight", prefix));
    return wf_vector_add(enc->res, &norm->shift, WF_DIMS(width), err, "%s.bias", prefix);
}

static enum wf_status add_embeddings(struct wf_clip_vision *enc, struct wf_error *err)
{
    const struct config *c = &enc->config;
    WF_TRY(wf_residency_group(enc->res, &enc->embed_group, err));
    WF_TRY(wf_vector_add(enc->res, &enc->class_token, WF_DIMS(c->width), err,
                         "vision_model.embeddings.class_embedding"));
    WF_TRY(wf_vector_add(enc->res, &enc->positions, WF_DIMS(c->tokens, c->width), err,
                         "vision_model.embeddings.position_embedding.weight"));
    WF_TRY(add_norm(enc, &enc->first_norm, "vision_model.pre_layrnorm", err)); /* spelled so */
    return wf_layer_add_weight(enc->res, &enc->patches, WF_PARAM_CONV,
                               WF_DIMS(c->width, 3, c->patch, c->patch), err,
                               "vision_model.embeddings.patch_embedding");
}

static enum wf_status add_layer(struct wf_clip_vision *enc, int index, struct wf_error *err)
{
    static const char *const prefix = "vision_model.encoder.layers";
    const int64_t width = enc->config.width, inner = enc->config.feed_forward;
    struct layer *l = &enc->layers[index];
    const struct {
        struct wf_layer *layer;
        const char *name;
        int64_t out, in;
    } linears[] = {
        {&l->q, "self_attn.q_proj", width, width}, {&l->k, "self_attn.k_proj", width, width},
        {&l->v, "self_attn.v_proj", width, width}, {&l->o, "self_attn.out_proj", width, width},
        {&l->up, "mlp.fc1", inner, width},         {&l->down, "mlp.fc2", width, inner},
    };
    char name[96];
    WF_TRY(wf_residency_group(enc->res, &l->group, err));
    snprintf(name, sizeof name, "%s.%d.layer_norm1", prefix, index);
    WF_TRY(add_norm(enc, &l->attention_norm, name, err));
    snprintf(name, sizeof name, "%s.%d.layer_norm2", prefix, index);
    WF_TRY(add_norm(enc, &l->feed_norm, name, err));
    for (size_t i = 0; i < sizeof linears / sizeof *linears; i++)
        WF_TRY(wf_layer_add(enc->res, linears[i].layer, WF_PARAM_LINEAR,
                            WF_DIMS(linears[i].out, linears[i].in), err, "%s.%d.%s", prefix, index,
                            linears[i].name));
    return WF_OK;
}

static enum wf_status add_head(struct wf_clip_vision *enc, struct wf_error *err)
{
    const struct config *c = &enc->config;
    WF_TRY(wf_residency_group(enc->res, &enc->head_group, err));
    WF_TRY(add_norm(enc, &enc->last_norm, "vision_model.post_layernorm", err));
    return wf_layer_add_weight(enc->res, &enc->projection, WF_PARAM_LINEAR,
                               WF_DIMS(c->projection, c->width), err, "visual_projection");
}

static enum wf_status open_encoder(struct wf_clip_vision *enc, struct wf_error *err)
{
    const struct wf_checkpoint *ckpt = wf_residency_checkpoint(enc->res);
    WF_TRY(read_config(wf_checkpoint_config(ckpt), &enc->config, err));
    const size_t layers = (size_t)enc->config.layers;
    enc->layers = wf_calloc(enc->mem, WF_MEM_MISC, layers, sizeof *enc->layers);
    if (!enc->layers)
        return wf_fail_memory(err, "image encoder", layers * sizeof *enc->layers);
    wf_residency_order(enc->res, false);
    WF_TRY(add_embeddings(enc, err));
    for (int i = 0; i < enc->config.layers; i++)
        WF_TRY(add_layer(enc, i, err));
    return add_head(enc, err);
}

enum wf_status wf_clip_vision_open(struct wf_residency *res, struct wf_mem *mem,
                                   struct wf_clip_vision **enc, struct wf_error *err)
{
    *enc = wf_calloc(mem, WF_MEM_MISC, 1, sizeof **enc);
    if (!*enc)
        return wf_fail_memory(err, "image encoder", sizeof **enc);
    (*enc)->mem = mem;
    (*enc)->res = res;
    (*enc)->be = wf_residency_backend(res);
    const enum wf_status status = open_encoder(*enc, err);
    if (status != WF_OK)
        wf_clip_vision_close(enc);
    return status;
}

void wf_clip_vision_close(struct wf_clip_vision **enc)
{
    if (!*enc)
        return;
    wf_free((*enc)->layers);
    wf_free(*enc);
    *enc = NULL;
}

int wf_clip_vision_size(const struct wf_clip_vision *enc)
{
    return (int)enc->config.size;
}

int wf_clip_vision_width(const struct wf_clip_vision *enc)
{
    return (int)enc->config.projection;
}

/* --- one layer --- */

/* What layers use and leave. */
static enum wf_status new_buffers(struct wf_clip_vision *enc, struct pass *p)
{
    const struct config *c = &enc->config;
    const struct layer *l = enc->layers; /* the others are of the same kind */
    const enum wf_dtype attention = wf_attention_type(enc->be, c->width / c->heads);
    const struct {
        struct wf_tensor *tensor;
        enum wf_dtype dtype;
        int64_t width;
    } buffers[] = {
        {&p->x, WF_F32, c->width},
        {&p->normed, wf_operand_type(enc->be, &l->q.weight), c->width},
        {&p->q, attention, c->width},
        {&p->k, attention, c->width},
        {&p->v, attention, c->width},
        {&p->attended, wf_operand_type(enc->be, &l->o.weight), c->width},
        {&p->up, wf_operand_type(enc->be, &l->down.weight), c->feed_forward},
    };
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++)
        WF_TRY(wf_tensor_new(p->arena, buffers[i].dtype, buffers[i].tensor, enc->be->err,
                             WF_DIMS(c->tokens, buffers[i].width)));
    return WF_OK;
}

static enum wf_status normalise(struct wf_clip_vision *enc, const struct norm *norm,
                                struct wf_tensor x, struct wf_tensor y)
{
    return wf_layer_norm(enc->be, &(struct wf_layer_norm){.x = x,
                                                          .y = y,
                                                          .weight = norm->weight.tensor,
                                                          .shift = norm->shift.tensor,
                                                          .eps = (float)enc->config.eps});
}

/* [S,h d] as one batch of heads, [1,S,h,d]. */
static struct wf_tensor heads(const struct wf_clip_vision *enc, struct wf_tensor t)
{
    const struct config *c = &enc->config;
    return wf_tensor_reshape(t, WF_DIMS(1, c->tokens, c->heads, c->width / c->heads));
}

static enum wf_status self_attention(struct wf_clip_vision *enc, const struct layer *l,
                                     const struct pass *p)
{
    const double head_width = (double)(enc->config.width / enc->config.heads);
    WF_TRY(normalise(enc, &l->attention_norm, p->x, p->normed));
    WF_TRY(wf_linear(enc->be, &l->q, p->normed, p->q, WF_ACT_NONE));
    WF_TRY(wf_linear(enc->be, &l->k, p->normed, p->k, WF_ACT_NONE));
    WF_TRY(wf_linear(enc->be, &l->v, p->normed, p->v, WF_ACT_NONE));
    WF_TRY(wf_attention(enc->be, &(struct wf_attention){.q = heads(enc, p->q),
                                                        .k = heads(enc, p->k),
                                                        .v = heads(enc, p->v),
                                                        .y = heads(enc, p->attended),
                                                        .scale = (float)(1 / sqrt(head_width))}));
    return wf_linear_add(enc->be, &l->o, p->attended, p->x, (struct wf_tensor){0});
}

static enum wf_status feed_forward(struct wf_clip_vision *enc, const struct layer *l,
                                   const struct pass *p)
{
    WF_TRY(normalise(enc, &l->feed_norm, p->x, p->normed));
    WF_TRY(wf_linear(enc->be, &l->up, p->normed, p->up, enc->config.act));
    return wf_linear_add(enc->be, &l->down, p->up, p->x, (struct wf_tensor){0});
}

static enum wf_status run_layer(struct wf_clip_vision *enc, const struct layer *l,
                                const struct pass *p)
{
    WF_TRY(wf_residency_acquire(enc->res, l->group, enc->be->err));
    enum wf_status status = self_attention(enc, l, p);
    if (status == WF_OK)
        status = feed_forward(enc, l, p);
    wf_residency_release(enc->res, l->group);
    return status;
}

/* --- all of them --- */

/* x = the class token and the patches, each with its position's vector, normed. */
static enum wf_status embed_tokens(struct wf_clip_vision *enc, struct wf_tensor pixels,
                                   const struct pass *p)
{
    const struct config *c = &enc->config;
    const struct wf_tensor patches = wf_tensor_slice(p->x, 0, 1, c->tokens - 1);
    struct wf_conv conv = {.y = wf_tensor_reshape(patches, WF_DIMS(1, c->side, c->side, c->width)),
                           .stride_t = 1,
                           .stride_hw = (int)c->patch};
    WF_TRY(wf_operand(enc->be, p->arena, &enc->patches,
                      wf_tensor_reshape(pixels, WF_DIMS(1, c->size, c->size, 3)), &conv.x));
    WF_TRY(wf_layer_conv(enc->be, &enc->patches, conv));
    WF_TRY(wf_copy(enc->be, &(struct wf_copy){.x = wf_tensor_reshape(enc->class_token.tensor,
                                                                     WF_DIMS(1, c->width)),
                                              .y = wf_tensor_slice(p->x, 0, 0, 1)}));
    WF_TRY(wf_lincomb(enc->be,
                      &(struct wf_lincomb){
                          .x = {p->x, enc->positions.tensor}, .c = {1, 1}, .terms = 2, .y = p->x}));
    return normalise(enc, &enc->first_norm, p->x, p->x);
}

static enum wf_status embed(struct wf_clip_vision *enc, struct wf_tensor pixels,
                            const struct pass *p)
{
    WF_TRY(wf_residency_acquire(enc->res, enc->embed_group, enc->be->err));
    const enum wf_status status = embed_tokens(enc, pixels, p);
    wf_residency_release(enc->res, enc->embed_group);
    return status;
}

/* out = the projection of the class token. */
static enum wf_status project(struct wf_clip_vision *enc, const struct pass *p,
                              struct wf_tensor out)
{
    const struct wf_tensor token = wf_tensor_slice(p->x, 0, 0, 1);
    const struct wf_tensor normed = wf_tensor_slice(p->normed, 0, 0, 1); /* of the same width */
    WF_TRY(wf_residency_acquire(enc->res, enc->head_group, enc->be->err));
    enum wf_status status = normalise(enc, &enc->last_norm, token, normed);
    if (status == WF_OK)
        status = wf_linear(enc->be, &enc->projection, normed, out, WF_ACT_NONE);
    wf_residency_release(enc->res, enc->head_group);
    return status;
}

/* p->x = transformers' hidden_states[layers]: who wants those of a layer before the last stops
   here. */
static enum wf_status run(struct wf_clip_vision *enc, struct wf_tensor pixels, int64_t layers,
                          struct pass *p)
{
    WF_TRY(new_buffers(enc, p));
    WF_TRY(embed(enc, pixels, p));
    for (int64_t i = 0; i < layers; i++)
        WF_TRY(run_layer(enc, &enc->layers[i], p));
    return WF_OK;
}

static enum wf_status check_call(const struct wf_clip_vision *enc, const struct wf_tensor *pixels,
                                 const struct wf_tensor *out, struct wf_error *err)
{
    const struct config *c = &enc->config;
    if (pixels->rank != 3 || pixels->dim[0] != c->size || pixels->dim[1] != c->size ||
        pixels->dim[2] != 3 || pixels->dtype != WF_F32 || !wf_tensor_is_dense(pixels))
        return wf_fail(err, WF_FAILED,
                       "image encoder: expected a picture [%lld, %lld, 3] in f32 without gaps",
                       (long long)c->size, (long long)c->size);
    if (out->rank != 2 || out->dim[0] != 1 || out->dim[1] != c->projection || out->dtype != WF_F32)
        return wf_fail(err, WF_FAILED, "image encoder: expected an output [1, %lld] in f32",
                       (long long)c->projection);
    return WF_OK;
}

enum wf_status wf_clip_vision_encode(struct wf_clip_vision *enc, struct wf_tensor pixels,
                                     struct wf_tensor out, struct wf_arena *arena,
                                     struct wf_error *err)
{
    WF_TRY(check_call(enc, &pixels, &out, err));
    struct pass pass = {.arena = arena};
    const struct wf_arena_mark mark = wf_arena_mark(arena);
    /* Whatever fails below, its message is the backend's: it is handed on here. */
    struct wf_error *const inner = enc->be->err;
    enum wf_status status = run(enc, pixels, enc->config.layers, &pass);
    if (status == WF_OK)
        status = project(enc, &pass, out);
    if (status != WF_OK && err && inner && err != inner)
        *err = *inner;
    wf_arena_release(arena, mark);
    return status;
}
