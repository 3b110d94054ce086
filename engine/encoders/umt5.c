#include "engine/encoders/umt5.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "temporal/layers.h"

struct config {
    int64_t vocabulary, width, head_width, inner, feed_forward, layers, heads, buckets, distance;
    double eps;
};

/* One block: self-attention with a bias of its own, then a gated feed-forward. */
struct layer {
    int group;
    struct wf_param attention_norm, feed_norm, position_bias; /* [buckets,heads] */
    struct wf_layer q, k, v, o, gate, up, down;
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

/* The texts lie one after the other in the rows of x, so that a weight is read once for all. S is
   the count of all tokens. */
struct pass {
    const struct wf_umt5_text *texts;
    int text_count;
    struct wf_arena *arena;
    int32_t *buckets; /* 2 n - 1 of the longest text: of key minus query, from -(n - 1) on */
    int longest;      /* n */
    struct wf_tensor x, normed;         /* [S,width]; normed, attended and gated for products */
    struct wf_tensor q, k, v, attended; /* [S,inner] */
    struct wf_tensor gate, up, gated;   /* [S,feed_forward] */
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

static enum wf_status add_linear(struct wf_umt5 *enc, struct wf_layer *layer, int index,
                                 const char *name, int64_t out, int64_t in, struct wf_error *err)
{
    return wf_layer_add_weight(enc->res, layer, WF_PARAM_LINEAR, WF_DIMS(out, in), err,
                               "encoder.block.%d.layer.%s", index, name);
}

static enum wf_status add_layer(struct wf_umt5 *enc, int index, struct wf_error *err)
{
    static const char *const prefix = "encoder.block.%d.layer.%s.weight";
    const struct config *c = &enc->config;
    struct layer *l = &enc->layers[index];
    char name[128];
    WF_TRY(wf_residency_group(enc->res, &l->group, err));
    WF_TRY(wf_vector_add(enc->res, &l->attention_norm, WF_DIMS(c->width), err, prefix, index,
                         "0.layer_norm"));
    WF_TRY(wf_vector_add(enc->res, &l->feed_norm, WF_DIMS(c->width), err, prefix, index,
                         "1.layer_norm"));
    snprintf(name, sizeof name, prefix, index, "0.SelfAttention.relative_attention_bias");
    WF_TRY(wf_residency_add(enc->res, &l->position_bias, WF_PARAM_TABLE, name,
                            WF_DIMS(c->buckets, c->heads), err));
    WF_TRY(add_linear(enc, &l->q, index, "0.SelfAttention.q", c->inner, c->width, err));
    WF_TRY(add_linear(enc, &l->k, index, "0.SelfAttention.k", c->inner, c->width, err));
    WF_TRY(add_linear(enc, &l->v, index, "0.SelfAttention.v", c->inner, c->width, err));
    WF_TRY(add_linear(enc, &l->o, index, "0.SelfAttention.o", c->width, c->inner, err));
    WF_TRY(
        add_linear(enc, &l->gate, index, "1.DenseReluDense.wi_0", c->feed_forward, c->width, err));
    WF_TRY(add_linear(enc, &l->up, index, "1.DenseReluDense.wi_1", c->feed_forward, c->width, err));
    return add_linear(enc, &l->down, index, "1.DenseReluDense.wo", c->width, c->feed_forward, err);
}

static enum wf_status open_encoder(struct wf_umt5 *enc, struct wf_error *err)
{
    const struct wf_checkpoint *ckpt = wf_residency_checkpoint(enc->res);
    WF_TRY(read_config(wf_checkpoint_config(ckpt), &enc->config, err));
    const size_t layers = (size_t)enc->config.layers;
    enc->layers = wf_calloc(enc->mem, WF_MEM_MISC, layers, sizeof *enc->layers);
    if (!enc->layers)
        return wf_fail_memory(err, "text encoder", layers * sizeof *enc->layers);
    wf_residency_order(enc->res, false);
    WF_TRY(add_table(enc, ckpt, err));
    for (int i = 0; i < enc->config.layers; i++)
        WF_TRY(add_layer(enc, i, err));
    return add_norm(enc, err);
}

enum wf_status wf_umt5_open(struct wf_residency *res, struct wf_mem *mem, struct wf_umt5 **enc,
                            struct wf_error *err)
{
    *enc = wf_calloc(mem, WF_MEM_MISC, 1, sizeof **enc);
    if (!*enc)
        return wf_fail_memory(err, "text encoder", sizeof **enc);
    (*enc)->mem = mem;
    (*enc)->res = res;
    (*enc)->be = wf_residency_backend(res);
    const enum wf_status status = open_encoder(*enc, err);
    if (status != WF_OK)
        wf_umt5_close(enc);
    return status;
}

void wf_umt5_close(struct wf_umt5 **enc)
{
    if (!*enc)
        return;
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

/* --- one layer --- */

/* What layers use and leave. */
static enum wf_status new_buffers(struct wf_umt5 *enc, struct pass *p)
{
    const struct config *c = &enc->config;
    const struct layer *l = enc->layers; /* the others are of the same kind */
    const enum wf_dtype compute[3] = {wf_operand_type(enc->be, &l->q.weight),
                                      wf_operand_type(enc->be, &l->o.weight),
                                      wf_operand_type(enc->be, &l->down.weight)};
    const int64_t rows = p->x.dim[0];
    const struct {
        struct wf_tensor *tensor;
        enum wf_dtype dtype;
        int64_t width;
    } buffers[] = {
        {&p->normed, compute[0], c->width},
        {&p->q, WF_F32, c->inner},
        {&p->k, WF_F32, c->inner},
        {&p->v, WF_F32, c->inner},
        {&p->attended, compute[1], c->inner},
        {&p->gate, WF_F32, c->feed_forward},
        {&p->up, WF_F32, c->feed_forward},
        {&p->gated, compute[2], c->feed_forward},
    };
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++)
        WF_TRY(wf_tensor_new(p->arena, buffers[i].dtype, buffers[i].tensor, enc->be->err,
                             WF_DIMS(rows, buffers[i].width)));
    return WF_OK;
}

/* bias[h][r] = table[bucket of r - (n-1)][h], where r - (n-1) is key minus query. */
static enum wf_status make_bias(struct wf_umt5 *enc, const struct layer *l, const struct pass *p,
                                int64_t n, struct wf_tensor *bias)
{
    const int64_t length = 2 * n - 1, heads = enc->config.heads;
    struct wf_tensor rows;
    WF_TRY(wf_tensor_new(p->arena, WF_F32, &rows, enc->be->err, WF_DIMS(length, heads)));
    WF_TRY(wf_tensor_new(p->arena, WF_F32, bias, enc->be->err, WF_DIMS(heads, length)));
    WF_TRY(wf_gather(enc->be, &(struct wf_gather){.y = rows,
                                                  .table = &l->position_bias,
                                                  .ids = p->buckets + (p->longest - n)}));
    return wf_copy(enc->be,
                   &(struct wf_copy){.y = *bias, .x = wf_tensor_permute(rows, WF_ORDER(1, 0))});
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

/* Some rows of [S,h d] as one batch of heads, [1,n,h,d]. */
static struct wf_tensor heads(const struct wf_umt5 *enc, struct wf_tensor t, int64_t first,
                              int64_t n)
{
    t = wf_tensor_slice(t, 0, first, n);
    return wf_tensor_split(wf_tensor_split(t, 1, enc->config.head_width), 0, n);
}

static enum wf_status attend(struct wf_umt5 *enc, const struct layer *l, const struct pass *p,
                             int64_t first, int64_t n)
{
    struct wf_tensor bias;
    WF_TRY(make_bias(enc, l, p, n, &bias));
    return wf_attention(enc->be, &(struct wf_attention){.q = heads(enc, p->q, first, n),
                                                        .k = heads(enc, p->k, first, n),
                                                        .v = heads(enc, p->v, first, n),
                                                        .y = heads(enc, p->attended, first, n),
                                                        .rel_bias = bias,
                                                        .scale = 1});
}

static enum wf_status self_attention(struct wf_umt5 *enc, const struct layer *l,
                                     const struct pass *p)
{
    WF_TRY(normalise(enc, &l->attention_norm, p->x, p->normed));
    WF_TRY(wf_linear(enc->be, &l->q, p->normed, p->q, WF_ACT_NONE));
    WF_TRY(wf_linear(enc->be, &l->k, p->normed, p->k, WF_ACT_NONE));
    WF_TRY(wf_linear(enc->be, &l->v, p->normed, p->v, WF_ACT_NONE));
    int64_t first = 0;
    for (int i = 0; i < p->text_count; i++) {
        const struct wf_arena_mark mark = wf_arena_mark(p->arena);
        WF_TRY(attend(enc, l, p, first, p->texts[i].count));
        wf_arena_release(p->arena, mark);
        first += p->texts[i].count;
    }
    return wf_linear_add(enc->be, &l->o, p->attended, p->x, (struct wf_tensor){0});
}

static enum wf_status feed_forward(struct wf_umt5 *enc, const struct layer *l, const struct pass *p)
{
    WF_TRY(normalise(enc, &l->feed_norm, p->x, p->normed));
    WF_TRY(wf_linear(enc->be, &l->gate, p->normed, p->gate, WF_ACT_NONE));
    WF_TRY(wf_linear(enc->be, &l->up, p->normed, p->up, WF_ACT_NONE));
    WF_TRY(wf_gated_act(
        enc->be,
        &(struct wf_gated_act){.y = p->gated, .a = p->gate, .b = p->up, .act = WF_ACT_GELU_TANH}));
    return wf_linear_add(enc->be, &l->down, p->gated, p->x, (struct wf_tensor){0});
}

static enum wf_status run_layer(struct wf_umt5 *enc, const struct layer *l, const struct pass *p)
{
    WF_TRY(wf_residency_acquire(enc->res, l->group, enc->be->err));
    enum wf_status status = self_attention(enc, l, p);
    if (status == WF_OK)
        status = feed_forward(enc, l, p);
    wf_residency_release(enc->res, l->group);
    return status;
}

/* --- all of them --- */

/* The rows of the i-th text. */
static struct wf_tensor rows_of(const struct pass *p, int i)
{
    int64_t first = 0;
    for (int before = 0; before < i; before++)
        first += p->texts[before].count;
    return wf_tensor_slice(p->x, 0, first, p->texts[i].count);
}

static enum wf_status look_up(struct wf_umt5 *enc, const struct pass *p)
{
    WF_TRY(wf_residency_acquire(enc->res, enc->table_group, enc->be->err));
    enum wf_status status = WF_OK;
    for (int i = 0; i < p->text_count && status == WF_OK; i++)
        status = wf_gather(enc->be, &(struct wf_gather){.y = rows_of(p, i),
                                                        .table = &enc->embedding,
                                                        .ids = p->texts[i].ids});
    wf_residency_release(enc->res, enc->table_group);
    return status;
}

static enum wf_status normalise_all(struct wf_umt5 *enc, const struct pass *p)
{
    WF_TRY(wf_residency_acquire(enc->res, enc->norm_group, enc->be->err));
    enum wf_status status = WF_OK;
    for (int i = 0; i < p->text_count && status == WF_OK; i++)
        status = normalise(enc, &enc->final_norm, rows_of(p, i), p->texts[i].out);
    wf_residency_release(enc->res, enc->norm_group);
    return status;
}

static enum wf_status run(struct wf_umt5 *enc, struct pass *p)
{
    int64_t rows = 0;
    for (int i = 0; i < p->text_count; i++)
        rows += p->texts[i].count;
    WF_TRY(wf_tensor_new(p->arena, WF_F32, &p->x, enc->be->err, WF_DIMS(rows, enc->config.width)));
    WF_TRY(new_buffers(enc, p));
    WF_TRY(look_up(enc, p));
    for (int i = 0; i < enc->config.layers; i++)
        WF_TRY(run_layer(enc, &enc->layers[i], p));
    return normalise_all(enc, p);
}

static enum wf_status encode(struct wf_umt5 *enc, struct pass *p)
{
    const struct config *c = &enc->config;
    for (int i = 0; i < p->text_count; i++)
        p->longest = p->texts[i].count > p->longest ? p->texts[i].count : p->longest;
    const int length = 2 * p->longest - 1;
    p->buckets = wf_calloc(enc->mem, WF_MEM_MISC, (size_t)length, sizeof *p->buckets);
    if (!p->buckets)
        return wf_fail_memory(enc->be->err, "text encoder", (size_t)length * sizeof *p->buckets);
    for (int r = 0; r < length; r++)
        p->buckets[r] = wf_umt5_bucket(r - (p->longest - 1), c->buckets, c->distance);
    const enum wf_status status = run(enc, p);
    wf_free(p->buckets);
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
    struct pass pass = {.texts = texts, .text_count = text_count, .arena = arena};
    const struct wf_arena_mark mark = wf_arena_mark(arena);
    /* Whatever fails below, its message is the backend's: it is handed on here. */
    struct wf_error *const inner = enc->be->err;
    const enum wf_status status = encode(enc, &pass);
    if (status != WF_OK && err && inner && err != inner)
        *err = *inner;
    wf_arena_release(arena, mark);
    return status;
}
