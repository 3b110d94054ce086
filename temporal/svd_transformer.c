/* The spatio-temporal transformer: a block that attends within each frame, and one that attends
   along time at each position, whose result is mixed in. */
#include <math.h>

#include "temporal/sincos.h"
#include "temporal/svd_weights.h"

/* Positions as a batch, [n,T,..] of [T n,..], or frames, [n,S,..] of [n S,..]. */
struct shape {
    int64_t outer; /* of the rows' two axes, the slower one */
    bool over_time;
};

/* --- parts of a block, on rows x [M,C] --- */

static enum wf_status norm_rows(const struct wf_svd_pass *p, const struct wf_svd_norm *norm,
                                struct wf_tensor x, struct wf_tensor y)
{
    return wf_layer_norm(p->be, &(struct wf_layer_norm){.x = x,
                                                        .y = y,
                                                        .weight = norm->weight.tensor,
                                                        .shift = norm->shift.tensor,
                                                        .eps = 1e-5f});
}

static enum wf_status feed_rows(const struct wf_svd_pass *p, const struct wf_svd_feed *f,
                                struct wf_tensor x)
{
    const int64_t rows = x.dim[0], width = x.dim[1];
    struct wf_tensor normed, wide, gated;
    WF_TRY(wf_work_take(&p->work, wf_operand_type(p->be, &f->in.weight), 2, x.dim, &normed));
    WF_TRY(norm_rows(p, &f->norm, x, normed));
    WF_TRY(wf_work_take(&p->work, WF_F32, WF_DIMS(rows, 8 * width), &wide));
    WF_TRY(wf_linear(p->be, &f->in, normed, wide, WF_ACT_NONE));
    wf_work_give(&p->work, normed);
    WF_TRY(wf_work_take(&p->work, wf_operand_type(p->be, &f->out.weight), WF_DIMS(rows, 4 * width),
                        &gated));
    WF_TRY(wf_gated_act(p->be,
                        &(struct wf_gated_act){.a = wf_tensor_slice(wide, 1, 4 * width, 4 * width),
                                               .b = wf_tensor_slice(wide, 1, 0, 4 * width),
                                               .y = gated,
                                               .act = WF_ACT_GELU_ERF}));
    wf_work_give(&p->work, wide);
    WF_TRY(wf_linear_add(p->be, &f->out, gated, x, (struct wf_tensor){0}));
    wf_work_give(&p->work, gated);
    return WF_OK;
}

/* x += the feed-forward, in slices of rows: its hidden layer is eight times as wide. */
static enum wf_status feed(const struct wf_svd_pass *p, const struct wf_svd_feed *f,
                           struct wf_tensor x)
{
    const int64_t n = wf_work_pieces(8 * x.dim[1] * (int64_t)sizeof(float), x.dim[0]);
    for (int64_t i = 0; i < x.dim[0]; i += n)
        WF_TRY(feed_rows(p, f, wf_tensor_slice(x, 0, i, x.dim[0] - i < n ? x.dim[0] - i : n)));
    return WF_OK;
}

static struct wf_tensor batches(struct wf_tensor t, const struct wf_svd_transformer *tr,
                                struct shape shape)
{
    t = wf_tensor_split(t, 1, tr->width / tr->heads);
    t = wf_tensor_split(t, 0, t.dim[0] / shape.outer);
    return shape.over_time ? wf_tensor_permute(t, WF_ORDER(1, 0, 2, 3)) : t;
}

/* x += attention of each batch to itself. */
static enum wf_status attend(const struct wf_svd_pass *p, const struct wf_svd_transformer *tr,
                             const struct wf_svd_self_attention *a, struct shape shape,
                             struct wf_tensor x)
{
    const struct wf_layer *const layers[] = {&a->q, &a->k, &a->v};
    const int64_t head = tr->width / tr->heads;
    struct wf_tensor n, qkv[3];
    WF_TRY(wf_work_take(&p->work, wf_operand_type(p->be, &a->q.weight), 2, x.dim, &n));
    WF_TRY(norm_rows(p, &a->norm, x, n));
    for (int i = 0; i < 3; i++) {
        WF_TRY(wf_work_take(&p->work, wf_attention_type(p->be, head), 2, x.dim, &qkv[i]));
        WF_TRY(wf_linear(p->be, layers[i], n, qkv[i], WF_ACT_NONE));
    }
    WF_TRY(wf_attention(p->be, &(struct wf_attention){.q = batches(qkv[0], tr, shape),
                                                      .k = batches(qkv[1], tr, shape),
                                                      .v = batches(qkv[2], tr, shape),
                                                      .y = batches(n, tr, shape),
                                                      .scale = 1.0f / sqrtf((float)head)}));
    for (int i = 2; i >= 0; i--)
        wf_work_give(&p->work, qkv[i]);
    WF_TRY(wf_linear_add(p->be, &a->out, n, x, (struct wf_tensor){0}));
    wf_work_give(&p->work, n);
    return WF_OK;
}

static struct wf_tensor cross_value(const struct wf_svd_pass *p, const struct wf_svd_cross *c,
                                    int half)
{
    return wf_tensor_slice(p->run->values[c->index], 0, half, 1);
}

static enum wf_status run_block(const struct wf_svd_pass *p, const struct wf_svd_transformer *tr,
                                const struct wf_svd_block *b, struct shape shape, int half,
                                struct wf_tensor x)
{
    if (shape.over_time)
        WF_TRY(feed(p, &b->first, x));
    WF_TRY(attend(p, tr, &b->self, shape, x));
    WF_TRY(wf_svd_add_row(p->be, cross_value(p, &b->cross, half), x));
    return feed(p, &b->feed, x);
}

/* --- a block over its pieces --- */

/* The layers of a block but the cross-attention's. */
static int layers_of(const struct wf_svd_block *b, bool over_time, const struct wf_layer *list[8])
{
    const struct wf_layer *const all[] = {&b->self.q,  &b->self.k,   &b->self.v,   &b->self.out,
                                          &b->feed.in, &b->feed.out, &b->first.in, &b->first.out};
    for (int i = 0; i < 8; i++)
        list[i] = all[i];
    return over_time ? 8 : 6;
}

/* One of both kinds of block: run takes it through pieces of h, which may be one. */
typedef enum wf_status run_pieces(const struct wf_svd_pass *p, const struct wf_svd_transformer *tr,
                                  int block, struct wf_tensor h);

/* Where there are several pieces, the block's layers are held while they go through, so that each
   is loaded once; a single piece holds one after the other. */
static enum wf_status hold_and_run(const struct wf_svd_pass *p, const struct wf_svd_transformer *tr,
                                   int block, bool over_time, bool holds, run_pieces *run,
                                   struct wf_tensor h)
{
    const struct wf_layer *layers[8];
    const int count =
        holds ? layers_of(over_time ? &tr->over_time[block] : &tr->within[block], over_time, layers)
              : 0;
    WF_TRY(wf_layers_acquire(layers, count, p->be->err));
    const enum wf_status status = run(p, tr, block, h);
    wf_layers_release(layers, count);
    return status;
}

/* Positions of a frame, and how many frames or positions make a piece. */
static int64_t positions_of(const struct wf_svd_pass *p, struct wf_tensor h)
{
    return h.dim[0] / p->frames / p->run->halves;
}

static int64_t frames_together(const struct wf_svd_pass *p, struct wf_tensor h)
{
    return wf_work_pieces(positions_of(p, h) * h.dim[1] * (int64_t)sizeof(float), p->frames);
}

static int64_t positions_together(const struct wf_svd_pass *p, struct wf_tensor h)
{
    return wf_work_pieces(p->frames * h.dim[1] * (int64_t)sizeof(float), positions_of(p, h));
}

/* Rows of one half. */
static struct wf_tensor half_rows(const struct wf_svd_pass *p, struct wf_tensor h, int half)
{
    const int64_t rows = h.dim[0] / p->run->halves;
    return wf_tensor_slice(h, 0, half * rows, rows);
}

static enum wf_status run_within(const struct wf_svd_pass *p, const struct wf_svd_transformer *tr,
                                 int block, struct wf_tensor h)
{
    const int64_t n = frames_together(p, h), positions = positions_of(p, h);
    for (int half = 0; half < p->run->halves; half++) {
        for (int64_t i = 0; i < p->frames; i += n) {
            const int64_t count = p->frames - i < n ? p->frames - i : n;
            const struct wf_tensor x =
                wf_tensor_slice(half_rows(p, h, half), 0, i * positions, count * positions);
            WF_TRY(run_block(p, tr, &tr->within[block], (struct shape){count, false}, half, x));
        }
    }
    return WF_OK;
}

/* part [T,n,C] = spatial part + (1 - spatial) block(part + positions). */
static enum wf_status mix_positions(const struct wf_svd_pass *p,
                                    const struct wf_svd_transformer *tr, int block, int half,
                                    struct wf_tensor part)
{
    struct wf_tensor mixed, places = p->run->positions[tr->index];
    WF_TRY(wf_work_take(&p->work, WF_F32, part.rank, part.dim, &mixed));
    places = wf_tensor_reshape(places, WF_DIMS(p->frames, 1, tr->width));
    places.dim[1] = part.dim[1];
    places.stride[1] = 0;
    WF_TRY(wf_lincomb(
        p->be, &(struct wf_lincomb){.x = {part, places}, .c = {1, 1}, .terms = 2, .y = mixed}));
    WF_TRY(run_block(p, tr, &tr->over_time[block], (struct shape){p->frames, true}, half,
                     wf_work_lines(mixed)));
    WF_TRY(wf_lincomb(p->be, &(struct wf_lincomb){.x = {part, mixed},
                                                  .c = {tr->spatial, 1 - tr->spatial},
                                                  .terms = 2,
                                                  .y = part}));
    wf_work_give(&p->work, mixed);
    return WF_OK;
}

static enum wf_status run_over_time(const struct wf_svd_pass *p,
                                    const struct wf_svd_transformer *tr, int block,
                                    struct wf_tensor h)
{
    const int64_t n = positions_together(p, h), positions = positions_of(p, h);
    for (int half = 0; half < p->run->halves; half++) {
        const struct wf_tensor all = wf_tensor_split(half_rows(p, h, half), 0, positions);
        for (int64_t i = 0; i < positions; i += n)
            WF_TRY(
                mix_positions(p, tr, block, half,
                              wf_tensor_slice(all, 1, i, positions - i < n ? positions - i : n)));
    }
    return WF_OK;
}

static enum wf_status run_blocks(const struct wf_svd_pass *p, const struct wf_svd_transformer *tr,
                                 struct wf_tensor h)
{
    const bool several = p->run->halves > 1 || frames_together(p, h) < p->frames;
    const bool parted = p->run->halves > 1 || positions_together(p, h) < positions_of(p, h);
    for (int i = 0; i < tr->blocks; i++) {
        WF_TRY(hold_and_run(p, tr, i, false, several, run_within, h));
        WF_TRY(hold_and_run(p, tr, i, true, parted, run_over_time, h));
    }
    return WF_OK;
}

/* --- before and after the blocks --- */

/* tokens = in(norm(x)), or x += out(tokens), a few frames at a time. */
static enum wf_status enter(const struct wf_svd_pass *p, const struct wf_svd_transformer *tr,
                            struct wf_tensor x, struct wf_tensor tokens)
{
    struct wf_tensor n;
    WF_TRY(wf_work_take(&p->work, wf_operand_type(p->be, &tr->in.weight), x.rank, x.dim, &n));
    WF_TRY(wf_group_norm_frames(&p->work, &tr->norm, x, WF_ACT_NONE, n));
    WF_TRY(wf_linear(p->be, &tr->in, wf_work_lines(n), tokens, WF_ACT_NONE));
    wf_work_give(&p->work, n);
    return WF_OK;
}

static enum wf_status leave(const struct wf_svd_pass *p, const struct wf_svd_transformer *tr,
                            struct wf_tensor x, struct wf_tensor tokens)
{
    struct wf_tensor operand;
    WF_TRY(wf_work_operand(&p->work, &tr->out, tokens, &operand));
    WF_TRY(wf_linear_add(p->be, &tr->out, operand, wf_work_lines(x), (struct wf_tensor){0}));
    wf_work_give_operand(&p->work, tokens, operand);
    return WF_OK;
}

typedef enum wf_status pass_frames(const struct wf_svd_pass *p, const struct wf_svd_transformer *tr,
                                   struct wf_tensor x, struct wf_tensor tokens);

static enum wf_status over_frames(const struct wf_svd_pass *p, const struct wf_svd_transformer *tr,
                                  const struct wf_layer *layer, pass_frames *pass,
                                  struct wf_tensor x, struct wf_tensor tokens)
{
    const int64_t positions = x.dim[1] * x.dim[2];
    const int64_t n = wf_work_pieces(positions * tr->width * (int64_t)sizeof(float), x.dim[0]);
    WF_TRY(wf_layer_acquire(layer, p->be->err));
    enum wf_status status = WF_OK;
    for (int64_t i = 0; i < x.dim[0] && status == WF_OK; i += n) {
        const int64_t count = x.dim[0] - i < n ? x.dim[0] - i : n;
        status = pass(p, tr, wf_tensor_slice(x, 0, i, count),
                      wf_tensor_slice(tokens, 0, i * positions, count * positions));
    }
    wf_layer_release(layer);
    return status;
}

/* --- what does not change from step to step --- */

static enum wf_status embed_positions(const struct wf_svd_pass *p,
                                      const struct wf_svd_transformer *tr, const float *angles)
{
    struct wf_tensor places, turned, hidden;
    WF_TRY(wf_work_take(&p->work, WF_F32, WF_DIMS(p->frames, tr->width), &turned));
    WF_TRY(wf_upload(p->be, turned, angles));
    WF_TRY(wf_work_take(&p->work, WF_F32, WF_DIMS(p->frames, 4 * tr->width), &hidden));
    WF_TRY(wf_svd_linear(p, &tr->position_1, turned, WF_ACT_SILU, hidden));
    WF_TRY(wf_work_take(&p->work, WF_F32, 2, turned.dim, &places));
    WF_TRY(wf_svd_linear(p, &tr->position_2, hidden, WF_ACT_NONE, places));
    WF_TRY(wf_svd_keep(p->run->unet, places, &p->run->positions[tr->index]));
    wf_work_give(&p->work, places);
    wf_work_give(&p->work, hidden);
    wf_work_give(&p->work, turned);
    return WF_OK;
}

static enum wf_status place_frames(const struct wf_svd_pass *p, const struct wf_svd_transformer *tr)
{
    const size_t count = (size_t)(p->frames * tr->width);
    if (p->run->positions[tr->index].data)
        return WF_OK;
    float *angles = wf_calloc(p->run->unet->mem, WF_MEM_ACTIVATIONS, count, sizeof *angles);
    if (!angles)
        return wf_fail_memory(p->be->err, "unet", count * sizeof *angles);
    for (int64_t t = 0; t < p->frames; t++)
        wf_sincos(angles + t * tr->width, tr->width, (double)t);
    const enum wf_status status = embed_positions(p, tr, angles);
    wf_free(angles);
    return status;
}

/* What cross-attention adds: out(v(context)) of each half. */
static enum wf_status value_context(const struct wf_svd_pass *p, const struct wf_svd_cross *c,
                                    int64_t width)
{
    struct wf_tensor *value = &p->run->values[c->index], v, out;
    if (value->data)
        return WF_OK;
    WF_TRY(wf_work_take(&p->work, WF_F32, WF_DIMS(p->run->halves, width), &v));
    WF_TRY(wf_svd_linear(p, &c->v, p->run->context, WF_ACT_NONE, v));
    WF_TRY(wf_work_take(&p->work, WF_F32, 2, v.dim, &out));
    WF_TRY(wf_svd_linear(p, &c->out, v, WF_ACT_NONE, out));
    WF_TRY(wf_svd_keep(p->run->unet, out, value));
    wf_work_give(&p->work, out);
    wf_work_give(&p->work, v);
    return WF_OK;
}

static enum wf_status prepare(const struct wf_svd_pass *p, const struct wf_svd_transformer *tr)
{
    WF_TRY(place_frames(p, tr));
    for (int i = 0; i < tr->blocks; i++) {
        WF_TRY(value_context(p, &tr->within[i].cross, tr->width));
        WF_TRY(value_context(p, &tr->over_time[i].cross, tr->width));
    }
    return WF_OK;
}

enum wf_status wf_svd_transformer_run(const struct wf_svd_pass *p,
                                      const struct wf_svd_transformer *tr, struct wf_tensor x)
{
    struct wf_tensor tokens;
    WF_TRY(prepare(p, tr));
    WF_TRY(wf_work_take(&p->work, WF_F32, WF_DIMS(x.dim[0] * x.dim[1] * x.dim[2], tr->width),
                        &tokens));
    WF_TRY(over_frames(p, tr, &tr->in, enter, x, tokens));
    WF_TRY(run_blocks(p, tr, tokens));
    WF_TRY(over_frames(p, tr, &tr->out, leave, x, tokens));
    wf_work_give(&p->work, tokens);
    return WF_OK;
}
