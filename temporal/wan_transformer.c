#include "temporal/wan_transformer.h"

#include <math.h>

#include "temporal/sincos.h"
#include "temporal/wan_weights.h"

/* What one forward shares between blocks. Rows are modulation vectors [d] of a [6,d] tensor. The
   halves lie one after the other, so that a layer is held once for both. */
struct pass {
    int64_t tokens; /* S, of a half */
    int halves;
    struct wf_wan_run *run;
    struct wf_tensor x;          /* [halves S,d], the residual stream */
    struct wf_tensor time;       /* [1,d] */
    struct wf_tensor modulation; /* [6,d] of the step, the same for every block */
    struct wf_tensor scale_one;  /* [6,d]: 1 in the rows of scales, to make 1 + scale */
    struct wf_arena *arena;
};

const struct wf_wan_config *wf_wan_get_config(const struct wf_wan *w)
{
    return &w->config;
}

/* --- one block --- */

static struct wf_tensor row(struct wf_tensor table, int64_t i)
{
    return wf_tensor_reshape(wf_tensor_slice(table, 0, i, 1), 1, &table.dim[1]);
}

static struct wf_tensor heads(const struct wf_wan *w, struct wf_tensor t)
{
    return wf_tensor_split(t, 1, w->config.head_dim);
}

/* [n S,h d] as n batches of heads, [n,S,h,d]. */
static struct wf_tensor batches(const struct wf_wan *w, struct wf_tensor t, int64_t n)
{
    return wf_tensor_split(heads(w, t), 0, t.dim[0] / n);
}

static struct wf_tensor half_of(const struct pass *p, struct wf_tensor t, int half)
{
    return wf_tensor_slice(t, 0, half * p->tokens, p->tokens);
}

/* Of both halves. */
static enum wf_status new_rows(const struct pass *p, struct wf_wan *w, enum wf_dtype dtype,
                               int64_t width, struct wf_tensor *t)
{
    return wf_tensor_new(p->arena, dtype, t, w->be->err, WF_DIMS(p->halves * p->tokens, width));
}

/* Queries or keys: projected, normalised over all heads together, and turned when there is a table;
   in f32 up to y, which is rounded once. */
static enum wf_status project(struct wf_wan *w, const struct pass *p, const struct wf_layer *layer,
                              const struct wf_param *norm, bool turned, struct wf_tensor x,
                              struct wf_tensor y)
{
    struct wf_tensor wide = y;
    const struct wf_arena_mark mark = wf_arena_mark(p->arena);
    if (y.dtype != WF_F32)
        WF_TRY(wf_tensor_new(p->arena, WF_F32, &wide, w->be->err, y.rank, y.dim));
    WF_TRY(wf_linear(w->be, layer, x, wide, WF_ACT_NONE));
    WF_TRY(wf_rms_norm(w->be, &(struct wf_rms_norm){.x = wide,
                                                    .y = turned ? wide : y,
                                                    .weight = norm->tensor,
                                                    .eps = (float)w->config.eps}));
    if (turned)
        WF_TRY(wf_rope(w->be, &(struct wf_rope){.x = heads(w, wide),
                                                .y = heads(w, y),
                                                .cos = p->run->cos,
                                                .sin = p->run->sin}));
    wf_arena_release(p->arena, mark);
    return WF_OK;
}

/* The same for every half, one after the other. */
static enum wf_status project_halves(struct wf_wan *w, const struct pass *p,
                                     const struct wf_layer *layer, const struct wf_param *norm,
                                     bool turned, struct wf_tensor x, struct wf_tensor y)
{
    WF_TRY(wf_layer_acquire(layer, w->be->err));
    enum wf_status status = WF_OK;
    for (int half = 0; half < p->halves && status == WF_OK; half++)
        status = project(w, p, layer, norm, turned, half_of(p, x, half), half_of(p, y, half));
    wf_layer_release(layer);
    return status;
}

/* The texts' keys and values of a layer: they do not change from step to step. */
static enum wf_status text_keys(struct wf_wan *w, const struct pass *p,
                                const struct wf_wan_block *b, int layer, struct wf_wan_text *text)
{
    struct wf_tensor *k = &text->keys[layer], *v = &text->values[layer];
    if (v->data)
        return WF_OK;
    const enum wf_dtype type = wf_attention_type(w->be, w->config.head_dim);
    const int64_t rows = text->context.dim[0];
    WF_TRY(wf_wan_take(w, type, k, WF_DIMS(rows, w->d)));
    WF_TRY(project(w, p, &b->cross.k, &b->cross.norm_k, false, text->context, *k));
    WF_TRY(wf_wan_take(w, type, v, WF_DIMS(rows, w->d)));
    return wf_linear(w->be, &b->cross.v, text->context, *v, WF_ACT_NONE);
}

static enum wf_status attend(struct wf_wan *w, struct wf_tensor q, struct wf_tensor k,
                             struct wf_tensor v, struct wf_tensor key_bias, struct wf_tensor y,
                             int64_t n)
{
    return wf_attention(w->be,
                        &(struct wf_attention){.q = batches(w, q, n),
                                               .k = batches(w, k, n),
                                               .v = batches(w, v, n),
                                               .y = batches(w, y, n),
                                               .key_bias = key_bias,
                                               .scale = 1.0f / sqrtf((float)w->config.head_dim)});
}

static enum wf_status self_attention(struct wf_wan *w, const struct pass *p,
                                     const struct wf_wan_block *b, struct wf_tensor modulation)
{
    struct wf_tensor n, q, k, v;
    const enum wf_dtype type = wf_attention_type(w->be, w->config.head_dim);
    WF_TRY(new_rows(p, w, wf_wan_type_for(w, &b->self.q), w->d, &n));
    WF_TRY(new_rows(p, w, type, w->d, &q));
    WF_TRY(new_rows(p, w, type, w->d, &k));
    WF_TRY(new_rows(p, w, type, w->d, &v));
    WF_TRY(wf_layer_norm(w->be, &(struct wf_layer_norm){.x = p->x,
                                                        .y = n,
                                                        .shift = row(modulation, 0),
                                                        .weight = row(modulation, 1),
                                                        .eps = (float)w->config.eps}));
    WF_TRY(project_halves(w, p, &b->self.q, &b->self.norm_q, true, n, q));
    WF_TRY(project_halves(w, p, &b->self.k, &b->self.norm_k, true, n, k));
    WF_TRY(wf_linear(w->be, &b->self.v, n, v, WF_ACT_NONE));
    WF_TRY(attend(w, q, k, v, (struct wf_tensor){0}, n, p->halves));
    return wf_linear_add(w->be, &b->self.out, n, p->x, row(modulation, 2));
}

static enum wf_status cross_attention(struct wf_wan *w, const struct pass *p,
                                      const struct wf_wan_block *b, int layer)
{
    struct wf_tensor n, q, source;
    WF_TRY(new_rows(p, w, wf_wan_type_for(w, &b->cross.q), w->d, &n));
    WF_TRY(new_rows(p, w, wf_attention_type(w->be, w->config.head_dim), w->d, &q));
    if (w->config.cross_attn_norm)
        WF_TRY(wf_layer_norm(w->be, &(struct wf_layer_norm){.x = p->x,
                                                            .y = n,
                                                            .weight = b->norm2_weight.tensor,
                                                            .shift = b->norm2_bias.tensor,
                                                            .eps = (float)w->config.eps}));
    WF_TRY(wf_operand(w->be, p->arena, &b->cross.q, w->config.cross_attn_norm ? n : p->x, &source));
    WF_TRY(project_halves(w, p, &b->cross.q, &b->cross.norm_q, false, source, q));
    for (int half = 0; half < p->halves; half++) {
        const struct wf_wan_text *text = &p->run->texts[half];
        WF_TRY(attend(w, half_of(p, q, half), text->keys[layer], text->values[layer],
                      text->key_bias, half_of(p, n, half), 1));
    }
    return wf_linear_add(w->be, &b->cross.out, n, p->x, (struct wf_tensor){0});
}

/* In slices of rows: the hidden layer is five or six times as wide as the stream. */
static enum wf_status feed_slices(struct wf_wan *w, const struct pass *p,
                                  const struct wf_wan_block *b, struct wf_tensor modulation)
{
    enum { SLICE = 4096 };
    const int64_t all = p->x.dim[0], rows = all < SLICE ? all : SLICE;
    struct wf_tensor n, hidden;
    WF_TRY(wf_tensor_new(p->arena, wf_wan_type_for(w, &b->ffn_in), &n, w->be->err,
                         WF_DIMS(rows, w->d)));
    WF_TRY(wf_tensor_new(p->arena, wf_wan_type_for(w, &b->ffn_out), &hidden, w->be->err,
                         WF_DIMS(rows, w->config.ffn_dim)));
    for (int64_t i = 0; i < all; i += SLICE) {
        const int64_t count = all - i < SLICE ? all - i : SLICE;
        const struct wf_tensor part = wf_tensor_slice(p->x, 0, i, count);
        const struct wf_tensor normed = wf_tensor_slice(n, 0, 0, count);
        const struct wf_tensor wide = wf_tensor_slice(hidden, 0, 0, count);
        WF_TRY(wf_layer_norm(w->be, &(struct wf_layer_norm){.x = part,
                                                            .y = normed,
                                                            .shift = row(modulation, 3),
                                                            .weight = row(modulation, 4),
                                                            .eps = (float)w->config.eps}));
        WF_TRY(wf_linear(w->be, &b->ffn_in, normed, wide, WF_ACT_GELU_TANH));
        WF_TRY(wf_linear_add(w->be, &b->ffn_out, wide, part, row(modulation, 5)));
    }
    return WF_OK;
}

/* Both layers are held while the slices go through them. */
static enum wf_status feed_forward(struct wf_wan *w, const struct pass *p,
                                   const struct wf_wan_block *b, struct wf_tensor modulation)
{
    WF_TRY(wf_layer_acquire(&b->ffn_in, w->be->err));
    enum wf_status status = wf_layer_acquire(&b->ffn_out, w->be->err);
    if (status == WF_OK) {
        status = feed_slices(w, p, b, modulation);
        wf_layer_release(&b->ffn_out);
    }
    wf_layer_release(&b->ffn_in);
    return status;
}

static enum wf_status all_text_keys(struct wf_wan *w, const struct pass *p, int layer)
{
    for (int half = 0; half < p->halves; half++)
        WF_TRY(text_keys(w, p, &w->blocks[layer], layer, &p->run->texts[half]));
    return WF_OK;
}

static enum wf_status compute_block(struct wf_wan *w, const struct pass *p, int layer)
{
    const struct wf_wan_block *b = &w->blocks[layer];
    struct wf_tensor modulation;
    WF_TRY(wf_tensor_new(p->arena, WF_F32, &modulation, w->be->err, WF_DIMS(6, w->d)));
    const struct wf_tensor table = wf_tensor_reshape(b->table.tensor, 2, modulation.dim);
    WF_TRY(wf_lincomb(w->be, &(struct wf_lincomb){.x = {table, p->modulation, p->scale_one},
                                                  .c = {1, 1, 1},
                                                  .terms = 3,
                                                  .y = modulation}));
    const struct wf_arena_mark mark = wf_arena_mark(p->arena);
    WF_TRY(all_text_keys(w, p, layer));
    WF_TRY(self_attention(w, p, b, modulation));
    wf_arena_release(p->arena, mark);
    WF_TRY(cross_attention(w, p, b, layer));
    wf_arena_release(p->arena, mark);
    WF_TRY(feed_forward(w, p, b, modulation));
    wf_arena_release(p->arena, mark);
    return WF_OK;
}

static enum wf_status run_block(struct wf_wan *w, const struct pass *p, int layer,
                                struct wf_error *err)
{
    const struct wf_wan_block *b = &w->blocks[layer];
    WF_TRY(wf_residency_acquire(w->res, b->group, err));
    const struct wf_arena_mark mark = wf_arena_mark(p->arena);
    const enum wf_status status = compute_block(w, p, layer);
    wf_arena_release(p->arena, mark);
    wf_residency_release(w->res, b->group);
    return status;
}

/* --- before and after the blocks --- */

static enum wf_status upload_rows(struct wf_wan *w, struct wf_arena *arena, int64_t rows,
                                  int64_t width, const float *values, struct wf_tensor *t)
{
    WF_TRY(wf_tensor_new(arena, WF_F32, t, w->be->err, WF_DIMS(rows, width)));
    return wf_upload(w->be, *t, values);
}

/* scratch holds at least max(freq_dim, 6 d) floats. */
static enum wf_status embed_time(struct wf_wan *w, struct pass *p, double timestep, float *scratch)
{
    const int64_t d = w->d, freq = w->config.freq_dim;
    struct wf_tensor angles, hidden, modulation;
    wf_sincos(scratch, freq, timestep);
    WF_TRY(upload_rows(w, p->arena, 1, freq, scratch, &angles));
    WF_TRY(wf_tensor_new(p->arena, WF_F32, &hidden, w->be->err, WF_DIMS(1, d)));
    WF_TRY(wf_tensor_new(p->arena, WF_F32, &p->time, w->be->err, WF_DIMS(1, d)));
    WF_TRY(wf_tensor_new(p->arena, WF_F32, &modulation, w->be->err, WF_DIMS(1, 6 * d)));
    WF_TRY(wf_linear(w->be, &w->time_1, angles, hidden, WF_ACT_SILU));
    WF_TRY(wf_linear(w->be, &w->time_2, hidden, p->time, WF_ACT_NONE));
    WF_TRY(
        wf_activate(w->be, &(struct wf_activate){.y = hidden, .x = p->time, .act = WF_ACT_SILU}));
    WF_TRY(wf_linear(w->be, &w->time_proj, hidden, modulation, WF_ACT_NONE));
    p->modulation = wf_tensor_reshape(modulation, WF_DIMS(6, d));
    for (int64_t i = 0; i < 6 * d; i++)
        scratch[i] = i / d == 1 || i / d == 4 ? 1.0f : 0.0f;
    return upload_rows(w, p->arena, 6, d, scratch, &p->scale_one);
}

/* [T,h,w,C] as [T/pt, h/ph, w/pw, C, pt, ph, pw]: tokens whose values have the channel slowest, as
   the patch embedding's weight. */
static struct wf_tensor patches(const struct wf_wan_config *c, struct wf_tensor t)
{
    t = wf_tensor_split(t, 2, c->patch[2]);
    t = wf_tensor_split(t, 1, c->patch[1]);
    t = wf_tensor_split(t, 0, c->patch[0]);
    return wf_tensor_permute(t, WF_ORDER(0, 2, 4, 6, 1, 3, 5));
}

static enum wf_status embed_latents(struct wf_wan *w, struct pass *p, struct wf_tensor latents)
{
    struct wf_tensor tokens = patches(&w->config, latents), dense;
    WF_TRY(wf_tensor_new(p->arena, wf_wan_type_for(w, &w->patch_embedding), &dense, w->be->err,
                         tokens.rank, tokens.dim));
    WF_TRY(wf_copy(w->be, &(struct wf_copy){.y = dense, .x = tokens}));
    dense = wf_tensor_reshape(dense, WF_DIMS(p->tokens, wf_tensor_count(&dense) / p->tokens));
    const struct wf_tensor first = half_of(p, p->x, 0);
    WF_TRY(wf_linear(w->be, &w->patch_embedding, dense, first, WF_ACT_NONE));
    for (int half = 1; half < p->halves; half++)
        WF_TRY(wf_copy(w->be, &(struct wf_copy){.y = half_of(p, p->x, half), .x = first}));
    return WF_OK;
}

static enum wf_status prologue(struct wf_wan *w, struct pass *p, struct wf_tensor latents,
                               double timestep)
{
    const int64_t most = 6 * w->d > w->config.freq_dim ? 6 * w->d : w->config.freq_dim;
    float *scratch = wf_calloc(w->mem, WF_MEM_ACTIVATIONS, (size_t)most, sizeof *scratch);
    if (!scratch)
        return wf_fail_memory(w->be->err, "transformer", (size_t)most * sizeof *scratch);
    const enum wf_status status = embed_time(w, p, timestep, scratch);
    wf_free(scratch);
    return status == WF_OK ? embed_latents(w, p, latents) : status;
}

/* The head's columns are [pt, ph, pw, C]: the channel is fastest, unlike in the patch embedding. */
static enum wf_status unpatch(struct wf_wan *w, struct wf_tensor columns, struct wf_tensor velocity)
{
    const struct wf_tensor target =
        wf_tensor_permute(patches(&w->config, velocity), WF_ORDER(0, 1, 2, 4, 5, 6, 3));
    return wf_copy(
        w->be,
        &(struct wf_copy){.y = target, .x = wf_tensor_reshape(columns, target.rank, target.dim)});
}

static enum wf_status head_halves(struct wf_wan *w, const struct pass *p,
                                  const struct wf_tensor *velocity)
{
    struct wf_tensor modulation, n, columns;
    WF_TRY(wf_tensor_new(p->arena, WF_F32, &modulation, w->be->err, WF_DIMS(2, w->d)));
    const struct wf_tensor table = wf_tensor_reshape(w->table.tensor, 2, modulation.dim);
    const struct wf_tensor ones =
        wf_tensor_slice(p->scale_one, 0, 0, 2); /* 0 for shift, 1 for scale */
    struct wf_tensor time = p->time;
    time.dim[0] = 2; /* the same row for both */
    time.stride[0] = 0;
    WF_TRY(wf_lincomb(w->be,
                      &(struct wf_lincomb){
                          .x = {table, time, ones}, .c = {1, 1, 1}, .terms = 3, .y = modulation}));
    WF_TRY(wf_tensor_new(p->arena, wf_wan_type_for(w, &w->proj_out), &n, w->be->err,
                         WF_DIMS(p->tokens, w->d)));
    WF_TRY(wf_tensor_new(p->arena, WF_F32, &columns, w->be->err,
                         WF_DIMS(p->tokens, w->proj_out.bias.dim[0])));
    for (int half = 0; half < p->halves; half++) {
        WF_TRY(wf_layer_norm(w->be, &(struct wf_layer_norm){.x = half_of(p, p->x, half),
                                                            .y = n,
                                                            .shift = row(modulation, 0),
                                                            .weight = row(modulation, 1),
                                                            .eps = (float)w->config.eps}));
        WF_TRY(wf_linear(w->be, &w->proj_out, n, columns, WF_ACT_NONE));
        WF_TRY(unpatch(w, columns, velocity[half]));
    }
    return WF_OK;
}

static enum wf_status finish_halves(struct wf_wan *w, const struct pass *p,
                                    const struct wf_tensor *velocity, struct wf_error *err)
{
    WF_TRY(wf_residency_acquire(w->res, w->head_group, err));
    enum wf_status status = wf_layer_acquire(&w->proj_out, err);
    if (status == WF_OK) {
        status = head_halves(w, p, velocity);
        wf_layer_release(&w->proj_out);
    }
    wf_residency_release(w->res, w->head_group);
    return status;
}

/* --- forward --- */

static enum wf_status check_latents(const struct wf_wan_run *run, struct wf_tensor latents,
                                    int halves, struct wf_error *err)
{
    const struct wf_wan_config *c = &run->wan->config;
    bool ok = latents.rank == 4 && latents.dim[3] == c->in_channels && halves >= 1 &&
              halves <= WF_WAN_HALVES;
    for (int i = 0; ok && i < 3; i++)
        ok = latents.dim[i] % c->patch[i] == 0 && latents.dim[i] / c->patch[i] <= c->rope_max;
    for (int half = 0; ok && half < halves; half++)
        ok = run->texts[half].context.data;
    return ok ? WF_OK
              : wf_fail(err, WF_FAILED, "transformer: latents or texts do not fit the model");
}

static enum wf_status forward(struct wf_wan *w, struct pass *p, struct wf_tensor latents,
                              double timestep, const struct wf_tensor *velocity,
                              struct wf_error *err)
{
    WF_TRY(new_rows(p, w, WF_F32, w->d, &p->x));
    WF_TRY(wf_residency_acquire(w->res, w->embed_group, err));
    const enum wf_status status = prologue(w, p, latents, timestep);
    wf_residency_release(w->res, w->embed_group);
    WF_TRY(status);
    for (int layer = 0; layer < (int)w->config.layers; layer++)
        WF_TRY(run_block(w, p, layer, err));
    return finish_halves(w, p, velocity, err);
}

enum wf_status wf_wan_forward(struct wf_wan_run *run, struct wf_tensor latents, double timestep,
                              int halves, const struct wf_tensor *velocity, struct wf_arena *arena,
                              struct wf_error *err)
{
    WF_TRY(check_latents(run, latents, halves, err));
    const int64_t *patch = run->wan->config.patch;
    const int64_t grid[3] = {latents.dim[0] / patch[0], latents.dim[1] / patch[1],
                             latents.dim[2] / patch[2]};
    struct pass p = {
        .run = run, .halves = halves, .arena = arena, .tokens = grid[0] * grid[1] * grid[2]};
    WF_TRY(wf_wan_set_positions(run, grid));
    const struct wf_arena_mark mark = wf_arena_mark(arena);
    const enum wf_status status = forward(run->wan, &p, latents, timestep, velocity, err);
    wf_arena_release(arena, mark);
    return status;
}

void wf_wan_close(struct wf_wan **wan)
{
    struct wf_wan *w = *wan;
    if (!w)
        return;
    wf_free(w->blocks);
    wf_free(w);
    *wan = NULL;
}
