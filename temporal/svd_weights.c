/* Opening Stable Video Diffusion's denoiser: every weight declared in the order of its use. */
#include "temporal/svd_weights.h"

#include <stdio.h>
#include <string.h>

#include "io/weights/weight.h"
#include "temporal/mix_factor.h"

enum { PREFIX = 96 };

/* The epsilon of residual blocks goes by the block's type (diffusers never hands on the one that
   the model asks for to those with attention, nor to those on the way up). */
static const float eps_plain = 1e-5f, eps_attending = 1e-6f, eps_up = 1e-6f;

/* --- parts --- */

/* One of the two residual blocks of a resnet: norm, conv, time, norm, conv. */
static enum wf_status add_half(struct wf_svd_unet *u, const char *prefix, bool over_time, float eps,
                               struct wf_svd_resnet *r, struct wf_error *err)
{
    const int64_t in = over_time ? r->out : r->in, out = r->out;
    const int64_t kernel_1[] = {out, in, 3, over_time ? 1 : 3, 1};
    const int64_t kernel_2[] = {out, out, 3, over_time ? 1 : 3, 1};
    const int rank = over_time ? 5 : 4;
    char name[PREFIX + 40];
    snprintf(name, sizeof name, "%s.norm1", prefix);
    WF_TRY(wf_group_norm_add(u->res, over_time ? &r->time_norm1 : &r->norm1, in, eps, name, err));
    WF_TRY(wf_layer_add(u->res, over_time ? &r->time_conv1 : &r->conv1, WF_PARAM_CONV, rank,
                        kernel_1, err, "%s.conv1", prefix));
    WF_TRY(wf_layer_add(u->res, over_time ? &r->time_emb : &r->emb, WF_PARAM_LINEAR,
                        WF_DIMS(out, 4 * u->config.widths[0]), err, "%s.time_emb_proj", prefix));
    snprintf(name, sizeof name, "%s.norm2", prefix);
    WF_TRY(wf_group_norm_add(u->res, over_time ? &r->time_norm2 : &r->norm2, out, eps, name, err));
    return wf_layer_add(u->res, over_time ? &r->time_conv2 : &r->conv2, WF_PARAM_CONV, rank,
                        kernel_2, err, "%s.conv2", prefix);
}

static enum wf_status add_resnet(struct wf_svd_unet *u, const char *prefix, int64_t in, int64_t out,
                                 float eps, struct wf_svd_resnet *r, struct wf_error *err)
{
    char part[PREFIX + 24];
    *r = (struct wf_svd_resnet){.in = in, .out = out};
    snprintf(part, sizeof part, "%s.spatial_res_block", prefix);
    WF_TRY(add_half(u, part, false, eps, r, err));
    if (in != out)
        WF_TRY(wf_layer_add(u->res, &r->shortcut, WF_PARAM_CONV, WF_DIMS(out, in, 1, 1), err,
                            "%s.conv_shortcut", part));
    snprintf(part, sizeof part, "%s.temporal_res_block", prefix);
    WF_TRY(add_half(u, part, true, eps, r, err));
    return wf_mix_factor_read(u->res, prefix, &r->spatial, err);
}

static enum wf_status add_norm(struct wf_svd_unet *u, struct wf_svd_norm *norm, int64_t width,
                               const char *prefix, const char *name, struct wf_error *err)
{
    WF_TRY(wf_vector_add(u->res, &norm->weight, WF_DIMS(width), err, "%s.%s.weight", prefix, name));
    return wf_vector_add(u->res, &norm->shift, WF_DIMS(width), err, "%s.%s.bias", prefix, name);
}

static enum wf_status add_feed(struct wf_svd_unet *u, struct wf_svd_feed *f, int64_t width,
                               const char *prefix, const char *norm, const char *name,
                               struct wf_error *err)
{
    WF_TRY(add_norm(u, &f->norm, width, prefix, norm, err));
    WF_TRY(wf_layer_add(u->res, &f->in, WF_PARAM_LINEAR, WF_DIMS(8 * width, width), err,
                        "%s.%s.net.0.proj", prefix, name));
    return wf_layer_add(u->res, &f->out, WF_PARAM_LINEAR, WF_DIMS(width, 4 * width), err,
                        "%s.%s.net.2", prefix, name);
}

static enum wf_status add_attention(struct wf_svd_unet *u, struct wf_svd_self_attention *a,
                                    int64_t width, const char *prefix, struct wf_error *err)
{
    static const char *const names[] = {"to_q", "to_k", "to_v"};
    struct wf_layer *const layers[] = {&a->q, &a->k, &a->v};
    WF_TRY(add_norm(u, &a->norm, width, prefix, "norm1", err));
    for (int i = 0; i < 3; i++)
        WF_TRY(wf_layer_add_weight(u->res, layers[i], WF_PARAM_LINEAR, WF_DIMS(width, width), err,
                                   "%s.attn1.%s", prefix, names[i]));
    return wf_layer_add(u->res, &a->out, WF_PARAM_LINEAR, WF_DIMS(width, width), err,
                        "%s.attn1.to_out.0", prefix);
}

/* A tensor that is there, and is not read. */
static enum wf_status check_unread(struct wf_svd_unet *u, int rank, const int64_t *dims,
                                   const char *prefix, const char *name, struct wf_error *err)
{
    char full[PREFIX + 80];
    struct wf_param p;
    const struct wf_st_tensor *tensor;
    snprintf(full, sizeof full, "%s.%s", prefix, name);
    return wf_weight_find(wf_residency_checkpoint(u->res),
                          rank == 1 ? WF_PARAM_VECTOR : WF_PARAM_LINEAR, full, rank, dims, &p,
                          &tensor, err);
}

/* Of attention to one token, queries and keys change nothing: they are not read. */
static enum wf_status add_cross(struct wf_svd_unet *u, struct wf_svd_cross *c, int64_t width,
                                const char *prefix, struct wf_error *err)
{
    c->index = u->crosses++;
    WF_TRY(check_unread(u, WF_DIMS(width), prefix, "norm2.weight", err));
    WF_TRY(check_unread(u, WF_DIMS(width), prefix, "norm2.bias", err));
    WF_TRY(check_unread(u, WF_DIMS(width, width), prefix, "attn2.to_q.weight", err));
    WF_TRY(check_unread(u, WF_DIMS(width, u->config.cross_dim), prefix, "attn2.to_k.weight", err));
    WF_TRY(wf_layer_add_weight(u->res, &c->v, WF_PARAM_LINEAR, WF_DIMS(width, u->config.cross_dim),
                               err, "%s.attn2.to_v", prefix));
    return wf_layer_add(u->res, &c->out, WF_PARAM_LINEAR, WF_DIMS(width, width), err,
                        "%s.attn2.to_out.0", prefix);
}

static enum wf_status add_block(struct wf_svd_unet *u, struct wf_svd_block *b, int64_t width,
                                bool over_time, const char *prefix, struct wf_error *err)
{
    if (over_time)
        WF_TRY(add_feed(u, &b->first, width, prefix, "norm_in", "ff_in", err));
    WF_TRY(add_attention(u, &b->self, width, prefix, err));
    WF_TRY(add_cross(u, &b->cross, width, prefix, err));
    return add_feed(u, &b->feed, width, prefix, "norm3", "ff", err);
}

static enum wf_status add_blocks(struct wf_svd_unet *u, struct wf_svd_transformer *t,
                                 const char *prefix, struct wf_error *err)
{
    char name[PREFIX + 40];
    for (int i = 0; i < t->blocks; i++) {
        snprintf(name, sizeof name, "%s.transformer_blocks.%d", prefix, i);
        WF_TRY(add_block(u, &t->within[i], t->width, false, name, err));
        snprintf(name, sizeof name, "%s.temporal_transformer_blocks.%d", prefix, i);
        WF_TRY(add_block(u, &t->over_time[i], t->width, true, name, err));
    }
    return WF_OK;
}

static enum wf_status add_transformer(struct wf_svd_unet *u, const char *prefix, int64_t width,
                                      int level, struct wf_svd_transformer *t, struct wf_error *err)
{
    const size_t blocks = (size_t)u->config.blocks[level];
    char name[PREFIX + 8];
    *t = (struct wf_svd_transformer){.width = width,
                                     .heads = u->config.heads[level],
                                     .blocks = (int)blocks,
                                     .index = u->transformers++};
    t->within = wf_calloc(u->mem, WF_MEM_MISC, 2 * blocks, sizeof *t->within);
    if (!t->within)
        return wf_fail_memory(err, "unet", 2 * blocks * sizeof *t->within);
    t->over_time = t->within + blocks;
    snprintf(name, sizeof name, "%s.norm", prefix);
    WF_TRY(wf_group_norm_add(u->res, &t->norm, width, 1e-6f, name, err));
    WF_TRY(wf_layer_add(u->res, &t->in, WF_PARAM_LINEAR, WF_DIMS(width, width), err, "%s.proj_in",
                        prefix));
    WF_TRY(wf_layer_add(u->res, &t->position_1, WF_PARAM_LINEAR, WF_DIMS(4 * width, width), err,
                        "%s.time_pos_embed.linear_1", prefix));
    WF_TRY(wf_layer_add(u->res, &t->position_2, WF_PARAM_LINEAR, WF_DIMS(width, 4 * width), err,
                        "%s.time_pos_embed.linear_2", prefix));
    WF_TRY(add_blocks(u, t, prefix, err));
    WF_TRY(wf_layer_add(u->res, &t->out, WF_PARAM_LINEAR, WF_DIMS(width, width), err, "%s.proj_out",
                        prefix));
    return wf_mix_factor_read(u->res, prefix, &t->spatial, err);
}

/* --- steps --- */

static enum wf_status new_step(struct wf_svd_unet *u, struct wf_svd_step step,
                               struct wf_svd_step **out, struct wf_error *err)
{
    *out = &u->steps[u->step_count++];
    **out = step;
    return wf_residency_group(u->res, &(*out)->group, err);
}

/* What add_pair adds: resnets.j of a block, and attentions.j. */
struct pair {
    const char *block;
    int j, level;
    int64_t in, out;
    float eps;
    bool pops, keeps, attends;
};

static enum wf_status add_pair(struct wf_svd_unet *u, const struct pair *d, struct wf_error *err)
{
    struct wf_svd_step *s = NULL;
    char prefix[PREFIX];
    const struct wf_svd_step step = {.pops = d->pops, .keeps = d->keeps, .attends = d->attends};
    WF_TRY(new_step(u, step, &s, err));
    snprintf(prefix, sizeof prefix, "%s.resnets.%d", d->block, d->j);
    WF_TRY(add_resnet(u, prefix, d->in, d->out, d->eps, &s->resnet, err));
    snprintf(prefix, sizeof prefix, "%s.attentions.%d", d->block, d->j);
    return d->attends ? add_transformer(u, prefix, d->out, d->level, &s->transformer, err) : WF_OK;
}

static enum wf_status add_down(struct wf_svd_unet *u, int level, struct wf_error *err)
{
    const struct wf_svd_unet_config *c = &u->config;
    const int64_t out = c->widths[level];
    const bool attends = c->attends_down[level];
    struct wf_svd_step *s = NULL;
    char block[32];
    snprintf(block, sizeof block, "down_blocks.%d", level);
    struct pair pair = {.block = block,
                        .level = level,
                        .in = c->widths[level ? level - 1 : 0],
                        .out = out,
                        .eps = attends ? eps_attending : eps_plain,
                        .keeps = true,
                        .attends = attends};
    for (; pair.j < (int)c->layers[level]; pair.j++, pair.in = out)
        WF_TRY(add_pair(u, &pair, err));
    if (level == c->levels - 1)
        return WF_OK;
    WF_TRY(new_step(u, (struct wf_svd_step){.kind = WF_SVD_DOWN, .keeps = true}, &s, err));
    return wf_layer_add(u->res, &s->conv, WF_PARAM_CONV, WF_DIMS(out, out, 3, 3), err,
                        "%s.downsamplers.0.conv", block);
}

static enum wf_status add_mid(struct wf_svd_unet *u, struct wf_error *err)
{
    const int level = u->config.levels - 1;
    const int64_t width = u->config.widths[level];
    struct pair pair = {.block = "mid_block",
                        .level = level,
                        .in = width,
                        .out = width,
                        .eps = eps_plain,
                        .attends = true};
    WF_TRY(add_pair(u, &pair, err));
    pair.j = 1;
    pair.attends = false;
    return add_pair(u, &pair, err);
}

/* The level is that of the way down; the block of the way up is counted from the deepest. */
static enum wf_status add_up(struct wf_svd_unet *u, int level, struct wf_error *err)
{
    const struct wf_svd_unet_config *c = &u->config;
    const int number = c->levels - 1 - level, layers = (int)c->layers[level];
    const int64_t out = c->widths[level];
    int64_t before = c->widths[number ? level + 1 : level];
    struct wf_svd_step *s = NULL;
    char block[32];
    snprintf(block, sizeof block, "up_blocks.%d", number);
    for (int j = 0; j <= layers; j++, before = out) {
        const int64_t kept = j == layers && level ? c->widths[level - 1] : out;
        WF_TRY(add_pair(u,
                        &(struct pair){.block = block,
                                       .j = j,
                                       .level = level,
                                       .in = before + kept,
                                       .out = out,
                                       .eps = eps_up,
                                       .pops = true,
                                       .attends = c->attends_up[number]},
                        err));
    }
    if (level == 0)
        return WF_OK;
    WF_TRY(new_step(u, (struct wf_svd_step){.kind = WF_SVD_UP}, &s, err));
    return wf_layer_add(u->res, &s->conv, WF_PARAM_UPCONV, WF_DIMS(out, out, 3, 3), err,
                        "%s.upsamplers.0.conv", block);
}

static enum wf_status add_plain(struct wf_svd_unet *u, struct wf_error *err)
{
    int number = 0;
    wf_residency_aside(u->res);
    for (int i = 0; i < u->step_count; i++) {
        struct wf_svd_step *s = &u->steps[i];
        if (s->kind != WF_SVD_UP)
            continue;
        const int64_t width = s->conv.bias.dim[0];
        WF_TRY(wf_residency_group(u->res, &s->plain_group, err));
        WF_TRY(wf_layer_add(u->res, &s->plain, WF_PARAM_CONV, WF_DIMS(width, width, 3, 3), err,
                            "up_blocks.%d.upsamplers.0.conv", number++));
    }
    return WF_OK;
}

static enum wf_status add_embeds(struct wf_svd_unet *u, struct wf_error *err)
{
    const struct wf_svd_unet_config *c = &u->config;
    const int64_t width = c->widths[0], d = 4 * width;
    const struct {
        struct wf_layer *layer;
        const char *name;
        int64_t in;
    } layers[] = {{&u->time_1, "time_embedding.linear_1", width},
                  {&u->time_2, "time_embedding.linear_2", d},
                  {&u->ids_1, "add_embedding.linear_1", c->ids_dim},
                  {&u->ids_2, "add_embedding.linear_2", d}};
    WF_TRY(wf_residency_group(u->res, &u->embed_group, err));
    for (size_t i = 0; i < sizeof layers / sizeof *layers; i++)
        WF_TRY(wf_layer_add(u->res, layers[i].layer, WF_PARAM_LINEAR, WF_DIMS(d, layers[i].in), err,
                            "%s", layers[i].name));
    return wf_layer_add(u->res, &u->conv_in, WF_PARAM_CONV, WF_DIMS(width, c->in_channels, 3, 3),
                        err, "conv_in");
}

static enum wf_status add_head(struct wf_svd_unet *u, struct wf_error *err)
{
    const struct wf_svd_unet_config *c = &u->config;
    WF_TRY(wf_residency_group(u->res, &u->head_group, err));
    WF_TRY(wf_group_norm_add(u->res, &u->norm_out, c->widths[0], eps_plain, "conv_norm_out", err));
    return wf_layer_add(u->res, &u->conv_out, WF_PARAM_CONV,
                        WF_DIMS(c->out_channels, c->widths[0], 3, 3), err, "conv_out");
}

enum wf_status wf_svd_unet_declare(struct wf_svd_unet *u, struct wf_error *err)
{
    WF_TRY(wf_svd_unet_read_config(wf_checkpoint_config(wf_residency_checkpoint(u->res)),
                                   &u->config, err));
    u->steps = wf_calloc(u->mem, WF_MEM_MISC, WF_SVD_STEPS, sizeof *u->steps);
    if (!u->steps)
        return wf_fail_memory(err, "unet", WF_SVD_STEPS * sizeof *u->steps);
    WF_TRY(add_embeds(u, err));
    for (int level = 0; level < u->config.levels; level++)
        WF_TRY(add_down(u, level, err));
    WF_TRY(add_mid(u, err));
    for (int level = u->config.levels - 1; level >= 0; level--)
        WF_TRY(add_up(u, level, err));
    WF_TRY(add_head(u, err));
    return add_plain(u, err);
}
