#include "engine/encoders/clip_vision.h"

#include <math.h>
#include <string.h>

#include "temporal/layers.h"

struct config {
    int64_t width, inner, out, layers, heads, size, patch;
    double eps;
    enum wf_act act;
};

struct norm {
    struct wf_param weight, shift;
};

struct layer {
    int group;
    struct norm norm1, norm2;
    struct wf_layer q, k, v, out, up, down;
};

struct wf_clip_vision {
    struct config config;
    struct wf_backend *be;
    struct wf_mem *mem;
    struct wf_residency *res;
    int embed_group, head_group;
    struct wf_layer patches, project;
    struct wf_param class_token, positions;
    struct norm first, last;
    struct layer *layers;
};

/* What layers use and leave. */
struct pass {
    struct wf_arena *arena;
    struct wf_tensor x;      /* [tokens,width], the residual stream */
    struct wf_tensor normed; /* [tokens,width] for products */
    struct wf_tensor q, k, v, wide;
};

/* --- opening --- */

static enum wf_status read_act(const struct wf_json *json, enum wf_act *act, struct wf_error *err)
{
    const char *name = "quick_gelu";
    WF_TRY(wf_json_string(json, "hidden_act", &name, err));
    if (strcmp(name, "gelu") != 0)
        return wf_fail(err, WF_REFUSED,
                       "%s: hidden_act \"%.40s\" is not computed here; expected "
                       "gelu",
                       json->path, name);
    *act = WF_ACT_GELU_ERF;
    return WF_OK;
}

static enum wf_status read_config(const struct wf_json *json, struct config *c,
                                  struct wf_error *err)
{
    int64_t channels = 3;
    *c = (struct config){.width = 768,
                         .inner = 3072,
                         .out = 512,
                         .layers = 12,
                         .heads = 12,
                         .size = 224,
                         .patch = 32,
                         .eps = 1e-5};
    WF_TRY(wf_json_int(json, "hidden_size", 1, 65536, &c->width, err));
    WF_TRY(wf_json_int(json, "intermediate_size", 1, 1 << 20, &c->inner, err));
    WF_TRY(wf_json_int(json, "projection_dim", 1, 65536, &c->out, err));
    WF_TRY(wf_json_int(json, "num_hidden_layers", 1, 1024, &c->layers, err));
    WF_TRY(wf_json_int(json, "num_attention_heads", 1, 1024, &c->heads, err));
    WF_TRY(wf_json_int(json, "image_size", 1, 4096, &c->size, err));
    WF_TRY(wf_json_int(json, "patch_size", 1, 4096, &c->patch, err));
    WF_TRY(wf_json_int(json, "num_channels", 1, 4096, &channels, err));
    WF_TRY(wf_json_double(json, "layer_norm_eps", 0, 1, &c->eps, err));
    WF_TRY(read_act(json, &c->act, err));
    if (channels != 3)
        return wf_fail(err, WF_REFUSED, "%s: num_channels is %lld; expected 3", json->path,
                       (long long)channels);
    if (c->width % c->heads)
        return wf_fail(err, WF_REFUSED,
                       "%s: num_attention_heads %lld do not divide hidden_size "
                       "%lld",
                       json->path, (long long)c->heads, (long long)c->width);
    if (c->patch > c->size)
        return wf_fail(err, WF_REFUSED, "%s: patch_size %lld is more than image_size %lld",
                       json->path, (long long)c->patch, (long long)c->size);
    return WF_OK;
}

static int64_t side_of(const struct config *c)
{
    return c->size / c->patch;
}

static int64_t tokens_of(const struct config *c)
{
    return side_of(c) * side_of(c) + 1;
}

static enum wf_status add_norm(struct wf_clip_vision *enc, struct norm *norm, const char *name,
                               struct wf_error *err)
{
    const int64_t width = enc->config.width;
    WF_TRY(wf_vector_add(enc->res, &norm->weight, 1, &width, err, "vision_model.%s.weight", name));
    return wf_vector_add(enc->res, &norm->shift, 1, &width, err, "vision_model.%s.bias", name);
}

static enum wf_status add_layer(struct wf_clip_vision *enc, int i, struct wf_error *err)
{
    struct layer *l = &enc->layers[i];
    const int64_t width = enc->config.width, inner = enc->config.inner;
    const struct {
        struct wf_layer *layer;
        const char *name;
        int64_t out, in;
    } layers[] = {
        {&l->q, "self_attn.q_proj", width, width}, {&l->k, "self_attn.k_proj", width, width},
        {&l->v, "self_attn.v_proj", width, width}, {&l->out, "self_attn.out_proj", width, width},
        {&l->up, "mlp.fc1", inner, width},         {&l->down, "mlp.fc2", width, inner}};
    char name[64];
    WF_TRY(wf_residency_group(enc->res, &l->group, err));
    snprintf(name, sizeof name, "encoder.layers.%d.layer_norm1", i);
    WF_TRY(add_norm(enc, &l->norm1, name, err));
    snprintf(name, sizeof name, "encoder.layers.%d.layer_norm2", i);
    WF_TRY(add_norm(enc, &l->norm2, name, err));
    for (size_t j = 0; j < sizeof layers / sizeof *layers; j++)
        WF_TRY(wf_layer_add(enc->res, layers[j].layer, WF_PARAM_LINEAR,
                            WF_DIMS(layers[j].out, layers[j].in), err,
                            "vision_model.encoder.layers.%d.%s", i, layers[j].name));
    return WF_OK;
}

static enum wf_status add_embeddings(struct wf_clip_vision *enc, struct wf_error *err)
{
    const struct config *c = &enc->config;
    WF_TRY(wf_residency_group(enc->res, &enc->embed_group, err));
    WF_TRY(wf_vector_add(enc->res, &enc->class_token, WF_DIMS(c->width), err,
                         "vision_model.embeddings.class_embedding"));
    WF_TRY(wf_vector_add(enc->res, &enc->positions, WF_DIMS(tokens_of(c), c->width), err,
                         "vision_model.embeddings.position_embedding.weight"));
    WF_TRY(wf_layer_add_weight(enc->res, &enc->patches, WF_PARAM_CONV,
                               WF_DIMS(c->width, 3, c->patch, c->patch), err,
                               "vision_model.embeddings.patch_embedding"));
    return add_norm(enc, &enc->first, "pre_layrnorm", err); /* spelled so */
}

static enum wf_status declare(struct wf_clip_vision *enc, struct wf_error *err)
{
    WF_TRY(read_config(wf_checkpoint_config(wf_residency_checkpoint(enc->res)), &enc->config, err));
    const struct config *c = &enc->config;
    enc->layers = wf_calloc(enc->mem, WF_MEM_MISC, (size_t)c->layers, sizeof *enc->layers);
    if (!enc->layers)
        return wf_fail_memory(err, "image encoder", (size_t)c->layers * sizeof *enc->layers);
    wf_residency_order(enc->res, false);
    WF_TRY(add_embeddings(enc, err));
    for (int i = 0; i < c->layers; i++)
        WF_TRY(add_layer(enc, i, err));
    WF_TRY(wf_residency_group(enc->res, &enc->head_group, err));
    WF_TRY(add_norm(enc, &enc->last, "post_layernorm", err));
    return wf_layer_add_weight(enc->res, &enc->project, WF_PARAM_LINEAR, WF_DIMS(c->out, c->width),
                               err, "visual_projection");
}

enum wf_status wf_clip_vision_open(struct wf_residency *res, struct wf_mem *mem,
                                   struct wf_clip_vision **enc, struct wf_error *err)
{
    *enc = wf_calloc(mem, WF_MEM_MISC, 1, sizeof **enc);
    if (!*enc)
        return wf_fail_memory(err, "image encoder", sizeof **enc);
    (*enc)->res = res;
    (*enc)->be = wf_residency_backend(res);
    (*enc)->mem = mem;
    const enum wf_status status = declare(*enc, err);
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

int64_t wf_clip_vision_size(const struct wf_clip_vision *enc)
{
    return enc->config.size;
}

int64_t wf_clip_vision_width(const struct wf_clip_vision *enc)
{
    return enc->config.out;
}

/* --- a layer --- */

static enum wf_status normalise(struct wf_clip_vision *enc, const struct norm *norm,
                                struct wf_tensor x, struct wf_tensor y)
{
    return wf_layer_norm(enc->be, &(struct wf_layer_norm){.x = x,
                                                          .y = y,
                                                          .weight = norm->weight.tensor,
                                                          .shift = norm->shift.tensor,
                                                          .eps = (float)enc->config.eps});
}

/* [S,width] as one batch of heads. */
static struct wf_tensor heads(const struct wf_clip_vision *enc, struct wf_tensor t)
{
    t = wf_tensor_split(t, 1, enc->config.width / enc->config.heads);
    return wf_tensor_split(t, 0, t.dim[0]);
}

static enum wf_status attend(struct wf_clip_vision *enc, const struct layer *l,
                             const struct pass *p)
{
    const double head = (double)enc->config.width / (double)enc->config.heads;
    WF_TRY(normalise(enc, &l->norm1, p->x, p->normed));
    WF_TRY(wf_linear(enc->be, &l->q, p->normed, p->q, WF_ACT_NONE));
    WF_TRY(wf_linear(enc->be, &l->k, p->normed, p->k, WF_ACT_NONE));
    WF_TRY(wf_linear(enc->be, &l->v, p->normed, p->v, WF_ACT_NONE));
    WF_TRY(wf_attention(enc->be, &(struct wf_attention){.q = heads(enc, p->q),
                                                        .k = heads(enc, p->k),
                                                        .v = heads(enc, p->v),
                                                        .y = heads(enc, p->normed),
                                                        .scale = (float)(1 / sqrt(head))}));
    return wf_linear_add(enc->be, &l->out, p->normed, p->x, (struct wf_tensor){0});
}

static enum wf_status feed(struct wf_clip_vision *enc, const struct layer *l, const struct pass *p)
{
    WF_TRY(normalise(enc, &l->norm2, p->x, p->normed));
    WF_TRY(wf_linear(enc->be, &l->up, p->normed, p->wide, enc->config.act));
    return wf_linear_add(enc->be, &l->down, p->wide, p->x, (struct wf_tensor){0});
}

static enum wf_status run_layer(struct wf_clip_vision *enc, const struct layer *l,
                                const struct pass *p)
{
    WF_TRY(wf_residency_acquire(enc->res, l->group, enc->be->err));
    enum wf_status status = attend(enc, l, p);
    if (status == WF_OK)
        status = feed(enc, l, p);
    wf_residency_release(enc->res, l->group);
    return status;
}

/* --- all of them --- */

static enum wf_status new_buffers(struct wf_clip_vision *enc, struct pass *p)
{
    const struct config *c = &enc->config;
    const struct layer *l = enc->layers; /* the others are of the same kind */
    const enum wf_dtype head = wf_attention_type(enc->be, c->width / c->heads);
    const struct {
        struct wf_tensor *tensor;
        enum wf_dtype dtype;
        int64_t width;
    } buffers[] = {
        {&p->x, WF_F32, c->width}, {&p->normed, wf_operand_type(enc->be, &l->q.weight), c->width},
        {&p->q, head, c->width},   {&p->k, head, c->width},
        {&p->v, head, c->width},   {&p->wide, wf_operand_type(enc->be, &l->down.weight), c->inner}};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++)
        WF_TRY(wf_tensor_new(p->arena, buffers[i].dtype, buffers[i].tensor, enc->be->err,
                             WF_DIMS(tokens_of(c), buffers[i].width)));
    return WF_OK;
}

/* x = norm([class token; patches] + positions). What of the picture no whole patch covers is left
   out. */
static enum wf_status embed(struct wf_clip_vision *enc, struct wf_tensor pixels,
                            const struct pass *p)
{
    const struct config *c = &enc->config;
    const int64_t side = side_of(c), covered = side * c->patch;
    const struct wf_tensor token = wf_tensor_reshape(enc->class_token.tensor, WF_DIMS(1, c->width));
    const struct wf_tensor patches = wf_tensor_slice(p->x, 0, 1, side * side);
    struct wf_tensor x = wf_tensor_reshape(pixels, WF_DIMS(1, c->size, c->size, 3));
    struct wf_tensor source;
    x = wf_tensor_slice(wf_tensor_slice(x, 1, 0, covered), 2, 0, covered);
    WF_TRY(wf_tensor_new(p->arena, wf_operand_type(enc->be, &enc->patches.weight), &source,
                         enc->be->err, x.rank, x.dim));
    WF_TRY(wf_copy(enc->be, &(struct wf_copy){.x = x, .y = source}));
    WF_TRY(wf_copy(enc->be, &(struct wf_copy){.x = token, .y = wf_tensor_slice(p->x, 0, 0, 1)}));
    WF_TRY(wf_layer_conv(
        enc->be, &enc->patches,
        (struct wf_conv){.x = source,
                         .y = wf_tensor_reshape(patches, WF_DIMS(1, side, side, c->width)),
                         .stride_t = 1,
                         .stride_hw = (int)c->patch}));
    WF_TRY(wf_lincomb(enc->be,
                      &(struct wf_lincomb){
                          .x = {p->x, enc->positions.tensor}, .c = {1, 1}, .terms = 2, .y = p->x}));
    return normalise(enc, &enc->first, p->x, p->x);
}

static enum wf_status project(struct wf_clip_vision *enc, const struct pass *p,
                              struct wf_tensor out)
{
    struct wf_tensor token;
    WF_TRY(wf_tensor_new(p->arena, wf_operand_type(enc->be, &enc->project.weight), &token,
                         enc->be->err, WF_DIMS(1, enc->config.width)));
    WF_TRY(normalise(enc, &enc->last, wf_tensor_slice(p->x, 0, 0, 1), token));
    return wf_linear(enc->be, &enc->project, token, out, WF_ACT_NONE);
}

static enum wf_status encode(struct wf_clip_vision *enc, struct pass *p, struct wf_tensor pixels,
                             struct wf_tensor out)
{
    WF_TRY(new_buffers(enc, p));
    WF_TRY(wf_residency_acquire(enc->res, enc->embed_group, enc->be->err));
    enum wf_status status = embed(enc, pixels, p);
    wf_residency_release(enc->res, enc->embed_group);
    for (int i = 0; i < enc->config.layers && status == WF_OK; i++)
        status = run_layer(enc, &enc->layers[i], p);
    WF_TRY(status);
    WF_TRY(wf_residency_acquire(enc->res, enc->head_group, enc->be->err));
    status = project(enc, p, out);
    wf_residency_release(enc->res, enc->head_group);
    return status;
}

enum wf_status wf_clip_vision_encode(struct wf_clip_vision *enc, struct wf_tensor pixels,
                                     struct wf_tensor out, struct wf_arena *arena,
                                     struct wf_error *err)
{
    const struct config *c = &enc->config;
    struct pass pass = {.arena = arena};
    if (pixels.rank != 3 || pixels.dim[0] != c->size || pixels.dim[1] != c->size ||
        pixels.dim[2] != 3 || out.rank != 2 || out.dim[0] != 1 || out.dim[1] != c->out)
        return wf_fail(err, WF_FAILED, "image encoder: the picture does not fit the model");
    const struct wf_arena_mark mark = wf_arena_mark(arena);
    const enum wf_status status = encode(enc, &pass, pixels, out);
    wf_arena_release(arena, mark);
    return status;
}

/* --- normalisation --- */

static enum wf_status read_three(const struct wf_json *json, const char *key, double low,
                                 float out[3], struct wf_error *err)
{
    double found[3];
    int count = 0;
    WF_TRY(wf_json_doubles(json, key, 3, found, &count, err));
    for (int i = 0; i < count; i++) {
        if (count != 3 || !(found[i] >= low && found[i] <= 1e6))
            return wf_fail(err, WF_REFUSED, "%s: %s is not three numbers from %g", json->path, key,
                           low);
        out[i] = (float)found[i];
    }
    return WF_OK;
}

enum wf_status wf_clip_normalisation_read(const char *path, struct wf_clip_normalisation *n,
                                          struct wf_error *err)
{
    struct wf_json json = {0};
    *n = (struct wf_clip_normalisation){{0.48145466f, 0.4578275f, 0.40821073f},
                                        {0.26862954f, 0.26130258f, 0.27577711f}};
    WF_TRY(wf_json_open(path, &json, err));
    enum wf_status status = read_three(&json, "image_mean", -1e6, n->mean, err);
    if (status == WF_OK)
        status = read_three(&json, "image_std", 1e-6, n->std, err);
    wf_json_close(&json);
    return status;
}
