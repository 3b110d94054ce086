/* What a run of Wan's denoiser keeps from step to step: the texts, and the positions' tables. */
#include <math.h>
#include <string.h>

#include "temporal/rope.h"
#include "temporal/wan_weights.h"

static void give(const struct wf_wan *w, struct wf_tensor *t)
{
    w->be->ops.give(w->be, t->data);
    *t = (struct wf_tensor){0};
}

enum wf_status wf_wan_take(const struct wf_wan *w, enum wf_dtype dtype, struct wf_tensor *t,
                           int rank, const int64_t *dims)
{
    struct wf_tensor shape = wf_tensor_of(NULL, dtype, rank, dims);
    shape.data = w->be->ops.take(w->be, WF_MEM_CACHE, wf_tensor_bytes(&shape));
    if (!shape.data)
        return wf_fail_memory(w->be->err, "transformer", wf_tensor_bytes(&shape));
    *t = shape;
    return WF_OK;
}

/* --- opening --- */

static enum wf_status open_texts(struct wf_wan_run *run, struct wf_error *err)
{
    const size_t layers = (size_t)run->wan->config.layers;
    for (int half = 0; half < WF_WAN_HALVES; half++) {
        struct wf_tensor *kv = wf_calloc(run->wan->mem, WF_MEM_MISC, 2 * layers, sizeof *kv);
        if (!kv)
            return wf_fail_memory(err, "transformer", 2 * layers * sizeof *kv);
        run->texts[half].keys = kv;
        run->texts[half].values = kv + layers;
    }
    return WF_OK;
}

enum wf_status wf_wan_run_open(struct wf_wan *wan, struct wf_wan_run **run, struct wf_error *err)
{
    *run = wf_calloc(wan->mem, WF_MEM_MISC, 1, sizeof **run);
    if (!*run)
        return wf_fail_memory(err, "transformer", sizeof **run);
    (*run)->wan = wan;
    const enum wf_status status = open_texts(*run, err);
    if (status != WF_OK)
        wf_wan_run_close(run);
    return status;
}

static void drop_text(struct wf_wan_run *run, struct wf_wan_text *text)
{
    give(run->wan, &text->context);
    give(run->wan, &text->key_bias);
    for (int64_t i = 0; text->keys && i < run->wan->config.layers; i++) {
        give(run->wan, &text->keys[i]);
        give(run->wan, &text->values[i]);
    }
}

static void drop_positions(struct wf_wan_run *run)
{
    give(run->wan, &run->cos);
    give(run->wan, &run->sin);
    memset(run->grid, 0, sizeof run->grid);
}

void wf_wan_run_close(struct wf_wan_run **run)
{
    struct wf_wan_run *r = *run;
    if (!r)
        return;
    drop_positions(r);
    for (int half = 0; half < WF_WAN_HALVES; half++) {
        drop_text(r, &r->texts[half]);
        wf_free(r->texts[half].keys);
    }
    wf_free(r);
    *run = NULL;
}

/* --- texts --- */

/* The row that stands for all padding has ln(count) added to its scores: softmax then gives it the
   weight of count equal keys. */
static enum wf_status fill_key_bias(struct wf_wan *w, struct wf_wan_text *text, int64_t real,
                                    int64_t total)
{
    const size_t rows = (size_t)text->key_bias.dim[0];
    float *bias = wf_calloc(w->mem, WF_MEM_MISC, rows, sizeof *bias);
    if (!bias)
        return wf_fail_memory(w->be->err, "transformer", rows * sizeof *bias);
    if (total > real)
        bias[real] = (float)log((double)(total - real));
    const enum wf_status status = wf_upload(w->be, text->key_bias, bias);
    wf_free(bias);
    return status;
}

/* The real rows, and under them one of zeros when the prompt does not fill all rows. */
static enum wf_status padded_rows(struct wf_wan *w, struct wf_tensor embeds, int64_t rows,
                                  struct wf_arena *arena, struct wf_tensor *padded)
{
    WF_TRY(wf_tensor_new(arena, WF_F32, padded, w->be->err, WF_DIMS(rows, w->config.text_dim)));
    const int64_t real = embeds.dim[0];
    WF_TRY(
        wf_copy(w->be, &(struct wf_copy){.y = wf_tensor_slice(*padded, 0, 0, real), .x = embeds}));
    if (rows == real)
        return WF_OK;
    const struct wf_tensor zeros = wf_tensor_slice(*padded, 0, real, 1);
    return wf_lincomb(
        w->be, &(struct wf_lincomb){
                   .x = {wf_tensor_slice(embeds, 0, 0, 1)}, .c = {0}, .terms = 1, .y = zeros});
}

static enum wf_status embed_text(struct wf_wan *w, struct wf_wan_text *text,
                                 struct wf_tensor embeds, int64_t total, struct wf_arena *arena)
{
    const int64_t real = embeds.dim[0], rows = real < total ? real + 1 : real;
    struct wf_tensor padded, operand, hidden;
    WF_TRY(wf_wan_take(w, wf_wan_type_for(w, &w->blocks[0].cross.k), &text->context,
                       WF_DIMS(rows, w->d)));
    WF_TRY(wf_wan_take(w, WF_F32, &text->key_bias, WF_DIMS(rows)));
    WF_TRY(fill_key_bias(w, text, real, total));
    WF_TRY(padded_rows(w, embeds, rows, arena, &padded));
    WF_TRY(wf_operand(w->be, arena, &w->text_1, padded, &operand));
    WF_TRY(wf_tensor_new(arena, wf_wan_type_for(w, &w->text_2), &hidden, w->be->err,
                         WF_DIMS(rows, w->d)));
    WF_TRY(wf_linear(w->be, &w->text_1, operand, hidden, WF_ACT_GELU_TANH));
    return wf_linear(w->be, &w->text_2, hidden, text->context, WF_ACT_NONE);
}

enum wf_status wf_wan_set_text(struct wf_wan_run *run, int half, struct wf_tensor embeds,
                               int64_t total, struct wf_arena *arena, struct wf_error *err)
{
    struct wf_wan *w = run->wan;
    struct wf_wan_text *text = &run->texts[half];
    drop_text(run, text);
    WF_TRY(wf_residency_acquire(w->res, w->embed_group, err));
    const struct wf_arena_mark mark = wf_arena_mark(arena);
    const enum wf_status status = embed_text(w, text, embeds, total, arena);
    wf_arena_release(arena, mark);
    wf_residency_release(w->res, w->embed_group);
    return status;
}

/* --- positions --- */

static enum wf_status upload_tables(struct wf_wan_run *run, const int64_t grid[3], float *tables)
{
    struct wf_backend *be = run->wan->be;
    const int64_t head_dim = run->wan->config.head_dim;
    float *cosines = tables, *sines = tables + wf_tensor_count(&run->cos);
    if (!be->is_plan)
        wf_rope_table_3d(cosines, sines, grid[0], grid[1], grid[2], head_dim);
    WF_TRY(wf_upload(be, run->cos, cosines));
    return wf_upload(be, run->sin, sines);
}

enum wf_status wf_wan_set_positions(struct wf_wan_run *run, const int64_t grid[3])
{
    struct wf_wan *w = run->wan;
    if (memcmp(run->grid, grid, sizeof run->grid) == 0)
        return WF_OK;
    const int64_t tokens = grid[0] * grid[1] * grid[2], half = w->config.head_dim / 2;
    drop_positions(run);
    WF_TRY(wf_wan_take(w, WF_F32, &run->cos, WF_DIMS(tokens, half)));
    WF_TRY(wf_wan_take(w, WF_F32, &run->sin, WF_DIMS(tokens, half)));
    const size_t count = 2 * (size_t)wf_tensor_count(&run->cos);
    float *tables = wf_calloc(w->mem, WF_MEM_ACTIVATIONS, count, sizeof *tables);
    if (!tables)
        return wf_fail_memory(w->be->err, "transformer", count * sizeof *tables);
    const enum wf_status status = upload_tables(run, grid, tables);
    wf_free(tables);
    if (status == WF_OK)
        memcpy(run->grid, grid, sizeof run->grid);
    return status;
}
