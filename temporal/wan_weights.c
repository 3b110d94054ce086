/* Opening Wan's denoiser: the configuration, and every weight declared in the order of its use. */
#include <string.h>

#include "temporal/wan_weights.h"

static enum wf_status read_patch(const struct wf_json *json, int64_t patch[3], struct wf_error *err)
{
    int count = 0;
    int64_t found[3];
    WF_TRY(wf_json_ints(json, "patch_size", 1, 64, 3, found, &count, err));
    if (count == 0)
        return WF_OK;
    if (count != 3)
        return wf_fail(err, WF_REFUSED, "%s: patch_size has %d numbers; expected 3", json->path,
                       count);
    memcpy(patch, found, sizeof found);
    return WF_OK;
}

/* Settings that change what is computed and are not built: a clear word instead of wrong pixels. */
static enum wf_status refuse_unsupported(const struct wf_json *json, struct wf_error *err)
{
    static const char *const unset[] = {"image_dim", "added_kv_proj_dim", "pos_embed_seq_len"};
    for (size_t i = 0; i < sizeof unset / sizeof *unset; i++) {
        const json_t *value = json_object_get(json->root, unset[i]);
        if (value && !json_is_null(value))
            return wf_fail(err, WF_REFUSED,
                           "%s: %s is set; image-to-video weights are not supported yet, use a "
                           "text-to-video folder",
                           json->path, unset[i]);
    }
    return WF_OK;
}

static enum wf_status read_config(const struct wf_json *json, struct wf_wan_config *c,
                                  struct wf_error *err)
{
    *c = (struct wf_wan_config){
        .patch = {1, 2, 2},
        .heads = 40,
        .head_dim = 128,
        .in_channels = 16,
        .out_channels = 16,
        .text_dim = 4096,
        .freq_dim = 256,
        .ffn_dim = 13824,
        .layers = 40,
        .rope_max = 1024,
        .cross_attn_norm = true,
        .eps = 1e-6,
    };
    WF_TRY(refuse_unsupported(json, err));
    WF_TRY(read_patch(json, c->patch, err));
    WF_TRY(wf_json_int(json, "num_attention_heads", 1, 1024, &c->heads, err));
    WF_TRY(wf_json_int(json, "attention_head_dim", 2, 1024, &c->head_dim, err));
    WF_TRY(wf_json_int(json, "in_channels", 1, 4096, &c->in_channels, err));
    if (json_is_null(json_object_get(json->root, "out_channels")))
        c->out_channels = c->in_channels;
    WF_TRY(wf_json_int(json, "out_channels", 1, 4096, &c->out_channels, err));
    WF_TRY(wf_json_int(json, "text_dim", 1, 65536, &c->text_dim, err));
    WF_TRY(wf_json_int(json, "freq_dim", 2, 65536, &c->freq_dim, err));
    WF_TRY(wf_json_int(json, "ffn_dim", 1, 1 << 20, &c->ffn_dim, err));
    WF_TRY(wf_json_int(json, "num_layers", 1, 1024, &c->layers, err));
    WF_TRY(wf_json_int(json, "rope_max_seq_len", 1, 1 << 20, &c->rope_max, err));
    WF_TRY(wf_json_bool(json, "cross_attn_norm", &c->cross_attn_norm, err));
    WF_TRY(wf_json_double(json, "eps", 0, 1, &c->eps, err));
    if (c->head_dim % 2)
        return wf_fail(err, WF_REFUSED, "%s: attention_head_dim %lld is odd; RoPE needs pairs",
                       json->path, (long long)c->head_dim);
    return WF_OK;
}

static enum wf_status add_attention(struct wf_wan *w, struct wf_wan_attention *a, int layer,
                                    const char *name, struct wf_error *err)
{
    const int64_t square[2] = {w->d, w->d};
    static const char *const part[4] = {"to_q", "to_k", "to_v", "to_out.0"};
    struct wf_layer *const target[4] = {&a->q, &a->k, &a->v, &a->out};
    for (int i = 0; i < 4; i++)
        WF_TRY(wf_layer_add(w->res, target[i], WF_PARAM_LINEAR, 2, square, err, "blocks.%d.%s.%s",
                            layer, name, part[i]));
    WF_TRY(wf_vector_add(w->res, &a->norm_q, 1, &w->d, err, "blocks.%d.%s.norm_q.weight", layer,
                         name));
    return wf_vector_add(w->res, &a->norm_k, 1, &w->d, err, "blocks.%d.%s.norm_k.weight", layer,
                         name);
}

static enum wf_status add_norm2(struct wf_wan *w, struct wf_wan_block *b, int i,
                                struct wf_error *err)
{
    WF_TRY(wf_vector_add(w->res, &b->norm2_weight, 1, &w->d, err, "blocks.%d.norm2.weight", i));
    return wf_vector_add(w->res, &b->norm2_bias, 1, &w->d, err, "blocks.%d.norm2.bias", i);
}

static enum wf_status add_block(struct wf_wan *w, int i, struct wf_error *err)
{
    struct wf_wan_block *b = &w->blocks[i];
    const int64_t d = w->d, ffn = w->config.ffn_dim;
    WF_TRY(wf_residency_group(w->res, &b->group, err));
    WF_TRY(
        wf_vector_add(w->res, &b->table, WF_DIMS(1, 6, d), err, "blocks.%d.scale_shift_table", i));
    WF_TRY(add_attention(w, &b->self, i, "attn1", err));
    WF_TRY(add_attention(w, &b->cross, i, "attn2", err));
    if (w->config.cross_attn_norm)
        WF_TRY(add_norm2(w, b, i, err));
    WF_TRY(wf_layer_add(w->res, &b->ffn_in, WF_PARAM_LINEAR, WF_DIMS(ffn, d), err,
                        "blocks.%d.ffn.net.0.proj", i));
    return wf_layer_add(w->res, &b->ffn_out, WF_PARAM_LINEAR, WF_DIMS(d, ffn), err,
                        "blocks.%d.ffn.net.2", i);
}

static enum wf_status add_embedders(struct wf_wan *w, struct wf_error *err)
{
    const struct wf_wan_config *c = &w->config;
    const int64_t d = w->d;
    static const char *const time = "condition_embedder.time_embedder.linear_%d";
    static const char *const text = "condition_embedder.text_embedder.linear_%d";
    WF_TRY(wf_residency_group(w->res, &w->embed_group, err));
    WF_TRY(wf_layer_add(w->res, &w->patch_embedding, WF_PARAM_LINEAR,
                        WF_DIMS(d, c->in_channels, c->patch[0], c->patch[1], c->patch[2]), err,
                        "patch_embedding"));
    WF_TRY(
        wf_layer_add(w->res, &w->time_1, WF_PARAM_LINEAR, WF_DIMS(d, c->freq_dim), err, time, 1));
    WF_TRY(wf_layer_add(w->res, &w->time_2, WF_PARAM_LINEAR, WF_DIMS(d, d), err, time, 2));
    WF_TRY(wf_layer_add(w->res, &w->time_proj, WF_PARAM_LINEAR, WF_DIMS(6 * d, d), err,
                        "condition_embedder.time_proj"));
    WF_TRY(
        wf_layer_add(w->res, &w->text_1, WF_PARAM_LINEAR, WF_DIMS(d, c->text_dim), err, text, 1));
    WF_TRY(wf_layer_add(w->res, &w->text_2, WF_PARAM_LINEAR, WF_DIMS(d, d), err, text, 2));
    struct wf_layer *const exact[] = {&w->patch_embedding, &w->time_1, &w->time_2,
                                      &w->time_proj,       &w->text_1, &w->text_2};
    for (size_t i = 0; i < sizeof exact / sizeof *exact; i++)
        exact[i]->weight.keep_f32 = true; /* next to no work, and all that follows lives on them */
    return WF_OK;
}

static enum wf_status add_head(struct wf_wan *w, struct wf_error *err)
{
    const struct wf_wan_config *c = &w->config;
    const int64_t out = c->out_channels * c->patch[0] * c->patch[1] * c->patch[2];
    WF_TRY(wf_residency_group(w->res, &w->head_group, err));
    WF_TRY(wf_vector_add(w->res, &w->table, WF_DIMS(1, 2, w->d), err, "scale_shift_table"));
    WF_TRY(
        wf_layer_add(w->res, &w->proj_out, WF_PARAM_LINEAR, WF_DIMS(out, w->d), err, "proj_out"));
    w->proj_out.weight.keep_f32 = true; /* little work, and its rounding would be the velocity's */
    return WF_OK;
}

static enum wf_status open_into(struct wf_wan *w, struct wf_error *err)
{
    WF_TRY(read_config(wf_checkpoint_config(wf_residency_checkpoint(w->res)), &w->config, err));
    w->d = w->config.heads * w->config.head_dim;
    const size_t layers = (size_t)w->config.layers;
    w->blocks = wf_calloc(w->mem, WF_MEM_MISC, layers, sizeof *w->blocks);
    if (!w->blocks)
        return wf_fail_memory(err, "transformer", layers * sizeof *w->blocks);
    WF_TRY(add_embedders(w, err));
    for (int i = 0; i < (int)w->config.layers; i++)
        WF_TRY(add_block(w, i, err));
    return add_head(w, err);
}

enum wf_status wf_wan_open(struct wf_residency *res, struct wf_mem *mem, struct wf_wan **wan,
                           struct wf_error *err)
{
    *wan = NULL;
    struct wf_wan *w = wf_calloc(mem, WF_MEM_MISC, 1, sizeof *w);
    if (!w)
        return wf_fail_memory(err, "transformer", sizeof *w);
    w->res = res;
    w->be = wf_residency_backend(res);
    w->mem = mem;
    const enum wf_status status = open_into(w, err);
    if (status != WF_OK) {
        wf_wan_close(&w);
        return status;
    }
    *wan = w;
    return WF_OK;
}
