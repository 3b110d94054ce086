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
    int table_group, norm_group; /* before and after the layers */
    struct wf_param embedding, final_norm;
    struct layer *layers;
};

/* Where the values of one text lie in one layer; S is the count of tokens. */
struct pass {
    int64_t count;
    struct wf_tensor x, normed;         /* [S,width]; normed, attended and gated for products */
    struct wf_tensor q, k, v, attended; /* [S,inner] */
    struct wf_tensor gate, up, gated;   /* [S,feed_forward] */
    struct wf_tensor bias;              /* [heads,2S-1] */
    float *host_table, *host_bias;      /* [buckets,heads], [heads,2S-1] */
};

struct call {
    const struct wf_umt5_text *texts;
    int text_count;
    struct wf_arena *arena;
    float *host_table, *host_bias; /* for the longest text */
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

static enum wf_status add_table(struct wf_umt5 *enc, const struct wf_checkpoint *ckpt,
                                struct wf_error *err)
{
    const struct config *c = &enc->config;
    const char *name = "shared.weight";
    if (!wf_checkpoint_find(ckpt, name) && wf_checkpoint_find(ckpt, "encoder.embed_tokens.weight"))
        name = "encoder.embed_tokens.weight";
    WF_TRY(wf_residency_group(enc->res, &enc->table_group, err));
    return wf_residency_add(enc->res, &enc->embedding, WF_PARAM_TABLE, name,
                            WF_DIMS(c->vocabulary, c->width), err);
}

static enum wf_status add_norm(struct wf_umt5 *enc, struct wf_error *err)
{
    WF_TRY(wf_residency_group(enc->res, &enc->norm_group, err));
    return wf_residency_add(enc->res, &enc->final_norm, WF_PARAM_VECTOR,
                            "encoder.final_layer_norm.weight", WF_DIMS(enc->config.width), err);
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
    wf_residency_pass_once(enc->res);
    WF_TRY(add_table(enc, ckpt, err));
    for (int i = 0; i < enc->config.layers; i++)
        WF_TRY(add_layer(enc, i, err));
    return add_norm(enc, err);
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

static enum wf_status new_pass(struct wf_umt5 *enc, const struct call *call,
                               const struct wf_umt5_text *text, struct pass *p)
{
    const struct config *c = &enc->config;
    const struct layer *l = enc->layers; /* the others are of the same kind */
    const enum wf_dtype compute[3] = {wf_operand_type(enc->be, &l->q),
                                      wf_operand_type(enc->be, &l->o),
                                      wf_operand_type(enc->be, &l->down)};
    *p = (struct pass){.count = text->count,
                       .x = text->out,
                       .host_table = call->host_table,
                       .host_bias = call->host_bias};
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
        WF_TRY(wf_tensor_new(call->arena, buffers[i].dtype, buffers[i].tensor, enc->be->err,
                             WF_DIMS(buffers[i].rows, buffers[i].width)));
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

/* [S,h d] as one batch of heads, [1,S,h,d]. */
static struct wf_tensor heads(const struct wf_umt5 *enc, struct wf_tensor t)
{
    return wf_tensor_split(wf_tensor_split(t, 1, enc->config.head_width), 0, t.dim[0]);
}

static enum wf_status self_attention(struct wf_umt5 *enc, const struct layer *l,
                                     const struct pass *p)
{
    WF_TRY(make_bias(enc, l, p));
    WF_TRY(normalise(enc, &l->attention_norm, p->x, p->normed));
    WF_TRY(project(enc, &l->q, p->normed, p->q, false));
    WF_TRY(project(enc, &l->k, p->normed, p->k, false));
    WF_TRY(project(enc, &l->v, p->normed, p->v, false));
    const struct wf_attention attention = {.q = heads(enc, p->q),
                                           .k = heads(enc, p->k),
                                           .v = heads(enc, p->v),
                                           .y = heads(enc, p->attended),
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
    WF_TRY(wf_gated_act(
        enc->be,
        &(struct wf_gated_act){.y = p->gated, .a = p->gate, .b = p->up, .act = WF_ACT_GELU_TANH}));
    return project(enc, &l->down, p->gated, p->x, true);
}

static enum wf_status pass_layer(struct wf_umt5 *enc, const struct layer *l,
                                 const struct call *call)
{
    for (int i = 0; i < call->text_count; i++) {
        struct pass p;
        const struct wf_arena_mark mark = wf_arena_mark(call->arena);
        WF_TRY(new_pass(enc, call, &call->texts[i], &p));
        WF_TRY(self_attention(enc, l, &p));
        WF_TRY(feed_forward(enc, l, &p));
        wf_arena_release(call->arena, mark);
    }
    return WF_OK;
}

static enum wf_status look_up(struct wf_umt5 *enc, const struct call *call)
{
    for (int i = 0; i < call->text_count; i++)
        WF_TRY(wf_gather(enc->be, &(struct wf_gather){.y = call->texts[i].out,
                                                      .table = &enc->embedding,
                                                      .ids = call->texts[i].ids}));
    return WF_OK;
}

static enum wf_status normalise_all(struct wf_umt5 *enc, const struct call *call)
{
    for (int i = 0; i < call->text_count; i++)
        WF_TRY(normalise(enc, &enc->final_norm, call->texts[i].out, call->texts[i].out));
    return WF_OK;
}

/* A group of weights on hand; the next one is on its way meanwhile. */
static enum wf_status hold(struct wf_umt5 *enc, int group)
{
    wf_residency_prefetch(enc->res, group + 1);
    return wf_residency_acquire(enc->res, group, enc->be->err);
}

/* Returns how the group's use went. What is still running reads the weights: it ends first. */
static enum wf_status let_go(struct wf_umt5 *enc, int group, enum wf_status used)
{
    const enum wf_status status = used == WF_OK ? wf_sync(enc->be) : used;
    wf_residency_release(enc->res, group);
    return status;
}

static enum wf_status run(struct wf_umt5 *enc, const struct call *call)
{
    WF_TRY(hold(enc, enc->table_group));
    WF_TRY(let_go(enc, enc->table_group, look_up(enc, call)));
    for (int i = 0; i < enc->config.layers; i++) {
        const struct layer *l = &enc->layers[i];
        WF_TRY(hold(enc, l->group));
        WF_TRY(let_go(enc, l->group, pass_layer(enc, l, call)));
    }
    WF_TRY(hold(enc, enc->norm_group));
    return let_go(enc, enc->norm_group, normalise_all(enc, call));
}

static enum wf_status encode(struct wf_umt5 *enc, struct call *call)
{
    int longest = 0;
    for (int i = 0; i < call->text_count; i++)
        longest = call->texts[i].count > longest ? call->texts[i].count : longest;
    const struct config *c = &enc->config;
    const size_t table = (size_t)(c->buckets * c->heads);
    const size_t bias = (size_t)c->heads * (2 * (size_t)longest - 1);
    call->host_table = wf_calloc(enc->mem, WF_MEM_ACTIVATIONS, table, sizeof(float));
    call->host_bias = wf_calloc(enc->mem, WF_MEM_ACTIVATIONS, bias, sizeof(float));
    enum wf_status status = WF_OK;
    if (!call->host_table || !call->host_bias)
        status = wf_fail_memory(enc->be->err, "text encoder", (table + bias) * sizeof(float));
    else
        status = run(enc, call);
    wf_free(call->host_table);
    wf_free(call->host_bias);
    return status;
}

static enum wf_status check_text(const struct wf_umt5 *enc, const struct wf_umt5_text *text,
                                 struct wf_error *err)
{
    const struct config *c = &enc->config;
    const struct wf_tensor *out = &text->out;
    if (text->count < 1 || out->rank != 2 || out->dim[0] != text->count || out->dim[1] != c->width)
        return wf_fail(err, WF_FAILED, "text encoder: %d tokens do not fit the output",
                       text->count);
    for (int i = 0; i < text->count; i++) {
        if (text->ids[i] < 0 || text->ids[i] >= c->vocabulary)
            return wf_fail(err, WF_REFUSED,
                           "text encoder: token %d is outside of its vocabulary of %lld; tokenizer "
                           "and text_encoder do not belong together, download the folder again",
                           (int)text->ids[i], (long long)c->vocabulary);
    }
    return WF_OK;
}

enum wf_status wf_umt5_encode(struct wf_umt5 *enc, const struct wf_umt5_text *texts, int text_count,
                              struct wf_arena *arena, struct wf_error *err)
{
    for (int i = 0; i < text_count; i++)
        WF_TRY(check_text(enc, &texts[i], err));
    if (text_count < 1)
        return wf_fail(err, WF_FAILED, "text encoder: there is no text");
    struct call call = {.texts = texts, .text_count = text_count, .arena = arena};
    const struct wf_arena_mark mark = wf_arena_mark(arena);
    /* Whatever fails below, its message is the backend's: it is handed on here. */
    struct wf_error *const inner = enc->be->err;
    const enum wf_status status = encode(enc, &call);
    if (status != WF_OK && err && inner && err != inner)
        *err = *inner;
    wf_arena_release(arena, mark);
    return status;
}

void wf_umt5_stage_end(struct wf_umt5 *enc)
{
    wf_residency_stage_end(enc->res);
}
