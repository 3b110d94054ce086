/* The configuration of Stable Video Diffusion's denoiser. */
#include <string.h>

#include "temporal/svd_weights.h"

/* One number for all levels, or a list of one a level. */
static enum wf_status read_levels(const struct wf_json *json, const char *key, int64_t high,
                                  int levels, int64_t *out, struct wf_error *err)
{
    int count = 0;
    if (!json_is_array(json_object_get(json->root, key))) {
        WF_TRY(wf_json_int(json, key, 1, high, &out[0], err));
        for (int i = 1; i < levels && wf_json_is_there(json, key); i++)
            out[i] = out[0];
        return WF_OK;
    }
    WF_TRY(wf_json_ints(json, key, 1, high, WF_SVD_UNET_LEVELS, out, &count, err));
    if (count == levels)
        return WF_OK;
    return wf_fail(err, WF_REFUSED, "%s: %s has %d numbers, block_out_channels %d", json->path, key,
                   count, levels);
}

/* The embedding is one: blocks that take others of another width cannot share it. */
static enum wf_status read_cross(const struct wf_json *json, struct wf_svd_unet_config *c,
                                 struct wf_error *err)
{
    int64_t widths[WF_SVD_UNET_LEVELS] = {1024, 1024, 1024, 1024, 1024, 1024, 1024, 1024};
    WF_TRY(read_levels(json, "cross_attention_dim", 1 << 16, c->levels, widths, err));
    c->cross_dim = widths[0];
    for (int i = 1; i < c->levels; i++) {
        if (widths[i] != c->cross_dim)
            return wf_fail(err, WF_REFUSED,
                           "%s: cross_attention_dim has %lld and %lld; weft expects one width",
                           json->path, (long long)c->cross_dim, (long long)widths[i]);
    }
    return WF_OK;
}

/* Which of the blocks of one way attend; the last one down and the first one up do not, where
   nothing is said. */
static enum wf_status read_types(const struct wf_json *json, const char *key, const char *attends,
                                 const char *plain, int levels, int usual, bool *out,
                                 struct wf_error *err)
{
    const json_t *list = json_object_get(json->root, key);
    for (int i = 0; i < levels && !json_is_array(list); i++)
        out[i] = i != usual;
    if (!list || json_is_null(list))
        return WF_OK;
    if ((int)json_array_size(list) != levels)
        return wf_fail(err, WF_REFUSED,
                       "%s: %s is no list of %d blocks, as many as "
                       "block_out_channels",
                       json->path, key, levels);
    for (int i = 0; i < levels; i++) {
        const char *type = json_string_value(json_array_get(list, (size_t)i));
        if (!type || (strcmp(type, attends) != 0 && strcmp(type, plain) != 0))
            return wf_fail(err, WF_REFUSED, "%s: %s has %.60s; weft knows %s and %s", json->path,
                           key, type ? type : "what is no text", attends, plain);
        out[i] = strcmp(type, attends) == 0;
    }
    return WF_OK;
}

static enum wf_status check_widths(const struct wf_json *json, const struct wf_svd_unet_config *c,
                                   struct wf_error *err)
{
    for (int i = 0; i < c->levels; i++) {
        if (c->widths[i] % WF_NORM_GROUPS)
            return wf_fail(err, WF_REFUSED,
                           "%s: block_out_channels has %lld, which %d groups do not divide",
                           json->path, (long long)c->widths[i], WF_NORM_GROUPS);
        if (c->widths[i] % c->heads[i])
            return wf_fail(err, WF_REFUSED,
                           "%s: num_attention_heads has %lld, which do not divide "
                           "%lld channels",
                           json->path, (long long)c->heads[i], (long long)c->widths[i]);
    }
    if (c->ids_dim != WF_SVD_IDS * c->id_dim)
        return wf_fail(err, WF_REFUSED,
                       "%s: projection_class_embeddings_input_dim is %lld; expected %d times "
                       "addition_time_embed_dim, %lld",
                       json->path, (long long)c->ids_dim, WF_SVD_IDS,
                       (long long)(WF_SVD_IDS * c->id_dim));
    if (c->in_channels <= c->out_channels)
        return wf_fail(err, WF_REFUSED,
                       "%s: in_channels is %lld; expected more than the %lld of "
                       "the latents, for the image's",
                       json->path, (long long)c->in_channels, (long long)c->out_channels);
    return WF_OK;
}

enum wf_status wf_svd_unet_read_config(const struct wf_json *json, struct wf_svd_unet_config *c,
                                       struct wf_error *err)
{
    *c = (struct wf_svd_unet_config){.in_channels = 8,
                                     .out_channels = 4,
                                     .levels = 4,
                                     .widths = {320, 640, 1280, 1280},
                                     .heads = {5, 10, 20, 20, 20, 20, 20, 20},
                                     .id_dim = 256,
                                     .ids_dim = 768,
                                     .num_frames = 25};
    int count = 0;
    for (int i = 0; i < WF_SVD_UNET_LEVELS; i++) {
        c->layers[i] = 2;
        c->blocks[i] = 1;
    }
    WF_TRY(wf_json_ints(json, "block_out_channels", 1, 16384, WF_SVD_UNET_LEVELS, c->widths, &count,
                        err));
    c->levels = count ? count : c->levels;
    WF_TRY(wf_json_int(json, "in_channels", 1, 4096, &c->in_channels, err));
    WF_TRY(wf_json_int(json, "out_channels", 1, 4096, &c->out_channels, err));
    WF_TRY(read_levels(json, "layers_per_block", WF_SVD_UNET_LAYERS, c->levels, c->layers, err));
    WF_TRY(read_levels(json, "num_attention_heads", 1024, c->levels, c->heads, err));
    WF_TRY(read_levels(json, "transformer_layers_per_block", 16, c->levels, c->blocks, err));
    WF_TRY(read_cross(json, c, err));
    WF_TRY(wf_json_int(json, "addition_time_embed_dim", 2, 65536, &c->id_dim, err));
    WF_TRY(
        wf_json_int(json, "projection_class_embeddings_input_dim", 2, 1 << 20, &c->ids_dim, err));
    WF_TRY(wf_json_int(json, "num_frames", 1, 4096, &c->num_frames, err));
    WF_TRY(read_types(json, "down_block_types", "CrossAttnDownBlockSpatioTemporal",
                      "DownBlockSpatioTemporal", c->levels, c->levels - 1, c->attends_down, err));
    WF_TRY(read_types(json, "up_block_types", "CrossAttnUpBlockSpatioTemporal",
                      "UpBlockSpatioTemporal", c->levels, 0, c->attends_up, err));
    return check_widths(json, c, err);
}
