#include "engine/text/umt5.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

struct config {
    int64_t vocabulary, width, head_width, inner, feed_forward, layers, heads, buckets, distance;
    double eps;
};

/* One block: self-attention with a bias of its own, then a gated feed-forward. */
struct layer {
    int group;
    struct wf_param attention_norm, q, k, v, o, position_bias;
    struct wf_param feed_norm, gate, up, down;
};

struct wf_umt5 {
    struct wf_mem *mem;
    struct wf_backend *be;
    struct wf_residency *res;
    struct config config;
    int outer_group; /* of the two weights before and after the layers */
    struct wf_param embedding, final_norm;
    struct layer *layers;
};

/* Where the values of a call lie; S is the count of tokens. */
struct pass {
    int64_t count;
    struct wf_tensor x, normed;         /* [S,width]; normed, attended and gated for products */
    struct wf_tensor q, k, v, attended; /* [S,inner] */
    struct wf_tensor gate, up, gated;   /* [S,feed_forward] */
    struct wf_tensor bias;              /* [heads,2S-1] */
    float *host_table, *host_bias;      /* [buckets,heads], [heads,2S-1] */
};

static enum wf_status read_config(const struct wf_json *json, struct config *c,
                                  struct wf_error *err)
{
    const char *projection = "gated-gelu";
    *c = (struct config){.vocabulary = 250112,
                         .width = 512,
                         .head_width = 64,
                         .feed_forward = 1024,
                         .layers = 8,
                         .heads = 6,
                         .buckets = 32,
                         .distance = 128,
                         .eps = 1e-6};
    WF_TRY(wf_json_int(json, "vocab_size", 1, 1 << 24, &c->vocabulary, err));
    WF_TRY(wf_json_int(json, "d_model", 1, 1 << 16, &c->width, err));
    WF_TRY(wf_json_int(json, "d_kv", 1, 1 << 12, &c->head_width, err));
    WF_TRY(wf_json_int(json, "d_ff", 1, 1 << 20, &c->feed_forward, err));
    WF_TRY(wf_json_int(json, "num_layers", 1, 1 << 10, &c->layers, err));
    WF_TRY(wf_json_int(json, "num_heads", 1, 1 << 10, &c->heads, err));
    WF_TRY(wf_json_int(json, "relative_attention_num_buckets", 4, 1 << 12, &c->buckets, err));
    /* Half of the buckets are for each direction, half of those for single distances. */
    WF_TRY(wf_json_int(json, "relative_attention_max_distance", c->buckets / 4 + 1, 1 << 20,
                       &c->distance, err));
    WF_TRY(wf_json_double(json, "layer_norm_epsilon", 0, 1, &c->eps, err));
    WF_TRY(wf_json_string(json, "feed_forward_proj", &projection, err));
    if (strcmp(projection, "gated-gelu") != 0)
        return wf_fail(err, WF_REFUSED,
                       "%s: feed_forward_proj \"%.40s\" is not computed here; use a UMT5 encoder "
                       "with gated-gelu",
                       json->path, projection);
    c->inner = c->heads * c->head_width;
    return WF_OK;
}

static enum wf_status add_outer(struct wf_umt5 *enc, const struct wf_checkpoint *ckpt,
                                struct wf_error *err)
{
    const struct config *c = &enc->config;
    const char *name = "shared.weight";
    if (!wf_checkpoint_find(ckpt, name) && wf_checkpoint_find(ckpt, "encoder.embed_tokens.weight"))
        name = "encoder.embed_tokens.weight";
    WF_TRY(wf_residency_group(enc->res, &enc->outer_group, err));
    WF_TRY(wf_residency_add(enc->res, &enc->embedding, WF_PARAM_TABLE, name,
                            WF_DIMS(c->vocabulary, c->width), err));
    return wf_residency_add(enc->res, &enc->final_norm, WF_PARAM_VECTOR,
                            "encoder.final_layer_norm.weight", WF_DIMS(c->width), err);
}

static enum wf_status add_layer(struct wf_umt5 *enc, int index, struct wf_error *err)
{
    const struct config *c = &enc->config;
    struct layer *l = &enc->layers[index];
    const struct {
        struct wf_param *param;
        enum wf_param_kind kind;
        const char *name;
        int64_t dim[2]; /* the second is 0 for a vector */
    } weights[] = {
        {&l->attention_norm, WF_PARAM_VECTOR, "0.layer_norm", {c->width, 0}},
        {&l->q, WF_PARAM_LINEAR, "0.SelfAttention.q", {c->inner, c->width}},
        {&l->k, WF_PARAM_LINEAR, "0.SelfAttention.k", {c->inner, c->width}},
        {&l->v, WF_PARAM_LINEAR, "0.SelfAttention.v", {c->inner, c->width}},
        {&l->o, WF_PARAM_LINEAR, "0.SelfAttention.o", {c->width, c->inner}},
        {&l->position_bias,
         WF_PARAM_VECTOR,
         "0.SelfAttention.relative_attention_bias",
         {c->buckets, c->heads}},
        {&l->feed_norm, WF_PARAM_VECTOR, "1.layer_norm", {c->width, 0}},
        {&l->gate, WF_PARAM_LINEAR, "1.DenseReluDense.wi_0", {c->feed_forward, c->width}},
        {&l->up, WF_PARAM_LINEAR, "1.DenseReluDense.wi_1", {c->feed_forward, c->width}},
        {&l->down, WF_PARAM_LINEAR, "1.DenseReluDense.wo", {c->width, c->feed_forward}},
    };
    WF_TRY(wf_residency_group(enc->res, &l->group, err));
    for (size_t i = 0; i < sizeof weights / sizeof *weights; i++) {
        char name[128];
        snprintf(name, sizeof name, "encoder.block.%d.layer.%s.weight", index, weights[i].name);
        WF_TRY(wf_residency_add(enc->res, weights[i].param, weights[i].kind, name,
                                weights[i].dim[1] ? 2 : 1, weights[i].dim, err));
    }
    return WF_OK;
}

static enum wf_status open_encoder(struct wf_umt5 *enc, struct wf_checkpoint *ckpt,
                                   enum wf_offload offload, struct wf_error *err)
{
    WF_TRY(read_config(wf_checkpoint_config(ckpt), &enc->config, err));
    const size_t layers = (size_t)enc->config.layers;
    enc->layers = wf_calloc(enc->mem, WF_MEM_MISC, layers, sizeof *enc->layers);
    if (!enc->layers)
        return wf_fail_memory(err, "text encoder", layers * sizeof *enc->layers);
    WF_TRY(wf_residency_open(offload, ckpt, enc->be, enc->mem, &enc->res, err));
    WF_TRY(add_outer(enc, ckpt, err));
    for (int i = 0; i < enc->config.layers; i++)
        WF_TRY(add_layer(enc, i, err));
    return WF_OK;
}

enum wf_status wf_umt5_open(struct wf_checkpoint *ckpt, enum wf_offload offload,
                            struct wf_backend *be, struct wf_mem *mem, struct wf_umt5 **enc,
                            struct wf_error *err)
{
    *enc = wf_calloc(mem, WF_MEM_MISC, 1, sizeof **enc);
    if (!*enc)
        return wf_fail_memory(err, "text encoder", sizeof **enc);
    (*enc)->mem = mem;
    (*enc)->be = be;
    const enum wf_status status = open_encoder(*enc, ckpt, offload, err);
    if (status != WF_OK)
        wf_umt5_close(enc);
    return status;
}

void wf_umt5_close(struct wf_umt5 **enc)
{
    if (!*enc)
        return;
    wf_residency_close(&(*enc)->res); /* before the parameters that it unloads */
    wf_free((*enc)->layers);
    wf_free(*enc);
    *enc = NULL;
}

int wf_umt5_width(const struct wf_umt5 *enc)
{
    return (int)enc->config.width;
}

int wf_umt5_vocabulary(const struct wf_umt5 *enc)
{
    return (int)enc->config.vocabulary;
}

int wf_umt5_bucket(int64_t offset, int64_t buckets, int64_t max_distance)
{
    const int64_t half = buckets / 2, exact = half / 2;
    const int64_t base = offset > 0 ? half : 0, distance = offset < 0 ? -offset : offset;
    if (distance < exact)
        return (int)(base + distance);
    /* In float, as torch computes it. */
    const float ratio =
        logf((float)distance / (float)exact) / (float)log((double)max_distance / (double)exact);
    const int64_t bucket = exact + (int64_t)(ratio * (float)(half - exact));
    return (int)(base + (bucket < half ? bucket : half - 1));
}

static enum wf_status new_pass(struct wf_umt5 *enc, struct wf_arena *arena, struct pass *p,
                               struct wf_error *err)
{
    const struct config *c = &enc->config;
    const struct layer *l = enc->layers; /* the others are of the same kind */
    const enum wf_dtype compute[3] = {wf_operand_type(enc->be, &l->q),
                                      wf_operand_type(enc->be, &l->o),
                                      wf_operand_type(enc->be, &l->down)};
    const struct {
        struct wf_tensor *tensor;
        enum wf_dtype dtype;
        int64_t rows, width;
    } buffers[] = {
        {&p->normed, compute[0], p->count, c->width},
        {&p->q, WF_F32, p->count, c->inner},
        {&p->k, WF_F32, p->count, c->inner},
        {&p->v, WF_F32, p->count, c->inner},
        {&p->attended, compute[1], p->count, c->inner},
        {&p->gate, WF_F32, p->count, c->feed_forward},
        {&p->up, WF_F32, p->count, c->feed_forward},
        {&p->gated, compute[2], p->count, c->feed_forward},
        {&p->bias, WF_F32, c->heads, 2 * p->count - 1},
    };
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++)
        WF_TRY(wf_tensor_new(arena, buffers[i].dtype, buffers[i].tensor, err,
                             WF_DIMS(buffers[i].rows, buffers[i].width)));
    const size_t table = (size_t)(c->buckets * c->heads), bias = (size_t)wf_tensor_count(&p->bias);
    p->host_table = wf_calloc(enc->mem, WF_MEM_ACTIVATIONS, table, sizeof(float));
    p->host_bias = wf_calloc(enc->mem, WF_MEM_ACTIVATIONS, bias, sizeof(float));
    if (!p->host_table || !p->host_bias)
        return wf_fail_memory(err, "text encoder", (table + bias) * sizeof(float));
    return WF_OK;
}

/* bias[h][r] = table[bucket of r - (S-1)][h], where r - (S-1) is key minus query. */
static enum wf_status make_bias(struct wf_umt5 *enc, const struct layer *l, const struct pass *p)
{
    const struct config *c = &enc->config;
    const int64_t length = 2 * p->count - 1;
    WF_TRY(wf_download(enc->be, p->host_table, l->position_bias.tensor));
    for (int64_t r = 0; r < length; r++) {
        const int bucket = wf_umt5_bucket(r - (p->count - 1), c->buckets, c->distance);
        for (int64_t h = 0; h < c->heads; h++)
            p->host_bias[h * length + r] = p->host_table[bucket * c->heads + h];
    }
    return wf_upload(enc->be, p->bias, p->host_bias);
}

static enum wf_status normalise(struct wf_umt5 *enc, const struct wf_param *weight,
                                struct wf_tensor x, struct wf_tensor y)
{
    const struct wf_rms_norm norm = {.x = x,
                                     .y = y,
                                     .weight = weight->tensor,
                                     .form = WF_RMS_MEAN,
                                     .eps = (float)enc->config.eps};
    return wf_rms_norm(enc->be, &norm);
}

static enum wf_status project(struct wf_umt5 *enc, const struct wf_param *w, struct wf_tensor x,
                              struct wf_tensor y, bool accumulate)
{
    const struct wf_gemm gemm = {.x = x, .y = y, .w = w, .accumulate = accumulate};
    return wf_gemm(enc->be, &gemm);
}

static enum wf_status self_attention(struct wf_umt5 *enc, const struct layer *l,
                                     const struct pass *p)
{
    const int64_t head = enc->config.head_width;
    WF_TRY(make_bias(enc, l, p));
    WF_TRY(normalise(enc, &l->attention_norm, p->x, p->normed));
    WF_TRY(project(enc, &l->q, p->normed, p->q, false));
    WF_TRY(project(enc, &l->k, p->normed, p->k, false));
    WF_TRY(project(enc, &l->v, p->normed, p->v, false));
    const struct wf_attention attention = {.q = wf_tensor_split(p->q, 1, head),
                                           .k = wf_tensor_split(p->k, 1, head),
                                           .v = wf_tensor_split(p->v, 1, head),
                                           .y = wf_tensor_split(p->attended, 1, head),
                                           .rel_bias = p->bias,
                                           .scale = 1};
    WF_TRY(wf_attention(enc->be, &attention));
    return project(enc, &l->o, p->attended, p->x, true);
}

static enum wf_status feed_forward(struct wf_umt5 *enc, const struct layer *l, const struct pass *p)
{
    WF_TRY(normalise(enc, &l->feed_norm, p->x, p->normed));
    WF_TRY(project(enc, &l->gate, p->normed, p->gate, false));
    WF_TRY(project(enc, &l->up, p->normed, p->up, false));
    WF_TRY(wf_gated_act(enc->be, p->gated, p->gate, p->up, WF_ACT_GELU_TANH));
    return project(enc, &l->down, p->gated, p->x, true);
}

static enum wf_status run_layer(struct wf_umt5 *enc, int index, const struct pass *p,
                                struct wf_error *err)
{
    const struct layer *l = &enc->layers[index];
    if (index + 1 < enc->config.layers)
        wf_residency_prefetch(enc->res, l[1].group);
    WF_TRY(wf_residency_acquire(enc->res, l->group, err));
    enum wf_status status = self_attention(enc, l, p);
    if (status == WF_OK)
        status = feed_forward(enc, l, p);
    wf_residency_release(enc->res, l->group);
    return status;
}

/* The outer group is held. */
static enum wf_status run(struct wf_umt5 *enc, const int32_t *ids, const struct pass *p,
                          struct wf_error *err)
{
    WF_TRY(wf_gather(enc->be, p->x, &enc->embedding, ids));
    for (int i = 0; i < enc->config.layers; i++)
        WF_TRY(run_layer(enc, i, p, err));
    WF_TRY(normalise(enc, &enc->final_norm, p->x, p->x));
    return wf_sync(enc->be);
}

static enum wf_status encode(struct wf_umt5 *enc, const int32_t *ids, struct pass *p,
                             struct wf_arena *arena, struct wf_error *err)
{
    WF_TRY(new_pass(enc, arena, p, err));
    WF_TRY(wf_residency_acquire(enc->res, enc->outer_group, err));
    const enum wf_status status = run(enc, ids, p, err);
    wf_residency_release(enc->res, enc->outer_group);
    return status;
}

static enum wf_status check_call(const struct wf_umt5 *enc, const int32_t *ids, int count,
                                 const struct wf_tensor *out, struct wf_error *err)
{
    const struct config *c = &enc->config;
    if (count < 1 || out->rank != 2 || out->dim[0] != count || out->dim[1] != c->width)
        return wf_fail(err, WF_FAILED, "text encoder: %d tokens do not fit the output", count);
    for (int i = 0; i < count; i++) {
        if (ids[i] < 0 || ids[i] >= c->vocabulary)
            return wf_fail(err, WF_REFUSED,
                           "text encoder: token %d is outside of its vocabulary of %lld; tokenizer "
                           "and text_encoder do not belong together, download the folder again",
                           (int)ids[i], (long long)c->vocabulary);
    }
    return WF_OK;
}

enum wf_status wf_umt5_encode(struct wf_umt5 *enc, const int32_t *ids, int count,
                              struct wf_arena *arena, struct wf_tensor out, struct wf_error *err)
{
    WF_TRY(check_call(enc, ids, count, &out, err));
    struct pass p = {.count = count, .x = out};
    const struct wf_arena_mark mark = wf_arena_mark(arena);
    /* Whatever fails below, its message is the backend's: it is handed on here. */
    struct wf_error *const inner = enc->be->err;
    const enum wf_status status = encode(enc, ids, &p, arena, inner);
    if (status != WF_OK && err && inner && err != inner)
        *err = *inner;
    wf_arena_release(arena, mark);
    wf_free(p.host_table);
    wf_free(p.host_bias);
    return status;
}

void wf_umt5_stage_end(struct wf_umt5 *enc)
{
    wf_residency_stage_end(enc->res);
}
