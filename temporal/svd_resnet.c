/* The spatio-temporal residual block: one within each frame, a few frames at a time, and one along
   time behind it, a few rows at a time. */
#include "temporal/svd_weights.h"

/* --- within frames --- */

/* What goes through the pieces. */
struct within {
    const struct wf_svd_resnet *r;
    struct wf_tensor x, skip, time, y; /* all frames; time [1,out] */
};

static enum wf_status normed(const struct wf_svd_pass *p, const struct wf_group_norm *norm,
                             const struct wf_layer *conv, struct wf_tensor x, struct wf_tensor *y)
{
    WF_TRY(wf_work_take(&p->work, wf_operand_type(p->be, &conv->weight), x.rank, x.dim, y));
    return wf_group_norm_frames(&p->work, norm, x, WF_ACT_SILU, *y);
}

static enum wf_status convolve(const struct wf_svd_pass *p, const struct wf_layer *layer,
                               struct wf_tensor x, struct wf_tensor y, bool accumulate)
{
    return wf_layer_conv(
        p->be, layer,
        (struct wf_conv){.x = x, .y = y, WF_SVD_PADDED, .stride_hw = 1, .accumulate = accumulate});
}

/* y = x, or what the shortcut makes of it. */
static enum wf_status begin_sum(const struct wf_svd_pass *p, const struct wf_svd_resnet *r,
                                struct wf_tensor x, struct wf_tensor y)
{
    struct wf_tensor source;
    if (!r->shortcut.weight.rank)
        return wf_copy(p->be, &(struct wf_copy){.x = x, .y = y});
    WF_TRY(wf_work_operand(&p->work, &r->shortcut, x, &source));
    WF_TRY(wf_layer_conv(p->be, &r->shortcut,
                         (struct wf_conv){.x = source, .y = y, .stride_t = 1, .stride_hw = 1}));
    wf_work_give_operand(&p->work, x, source);
    return WF_OK;
}

static enum wf_status run_piece(const struct wf_svd_pass *p, const struct within *w,
                                struct wf_tensor x, struct wf_tensor y)
{
    const struct wf_svd_resnet *r = w->r;
    struct wf_tensor a, h;
    WF_TRY(normed(p, &r->norm1, &r->conv1, x, &a));
    WF_TRY(wf_work_take(&p->work, WF_F32, y.rank, y.dim, &h));
    WF_TRY(convolve(p, &r->conv1, a, h, false));
    wf_work_give(&p->work, a);
    WF_TRY(wf_svd_add_row(p->be, w->time, h));
    WF_TRY(normed(p, &r->norm2, &r->conv2, h, &a));
    wf_work_give(&p->work, h);
    WF_TRY(begin_sum(p, r, x, y));
    WF_TRY(convolve(p, &r->conv2, a, y, true));
    wf_work_give(&p->work, a);
    return WF_OK;
}

/* x's channels and, behind them, skip's. */
static enum wf_status join(const struct wf_svd_pass *p, struct wf_tensor x, struct wf_tensor skip,
                           struct wf_tensor *both)
{
    const int64_t in = x.dim[3], kept = skip.dim[3];
    WF_TRY(wf_work_take(&p->work, WF_F32, WF_DIMS(x.dim[0], x.dim[1], x.dim[2], in + kept), both));
    WF_TRY(wf_copy(p->be, &(struct wf_copy){.x = x, .y = wf_tensor_slice(*both, 3, 0, in)}));
    return wf_copy(p->be, &(struct wf_copy){.x = skip, .y = wf_tensor_slice(*both, 3, in, kept)});
}

static enum wf_status run_frames(const struct wf_svd_pass *p, const struct within *w, int64_t first,
                                 int64_t count)
{
    const struct wf_tensor y = wf_tensor_slice(w->y, 0, first, count);
    struct wf_tensor x = wf_tensor_slice(w->x, 0, first, count);
    if (!w->skip.data)
        return run_piece(p, w, x, y);
    WF_TRY(join(p, x, wf_tensor_slice(w->skip, 0, first, count), &x));
    WF_TRY(run_piece(p, w, x, y));
    wf_work_give(&p->work, x);
    return WF_OK;
}

static enum wf_status run_all_frames(const struct wf_svd_pass *p, const struct within *w)
{
    const struct wf_tensor y = w->y;
    const int64_t widest = w->r->in > w->r->out ? w->r->in : w->r->out;
    const int64_t bytes = y.dim[1] * y.dim[2] * widest * (int64_t)sizeof(float);
    const int64_t n = wf_work_pieces(bytes, y.dim[0]);
    for (int64_t i = 0; i < y.dim[0]; i += n)
        WF_TRY(run_frames(p, w, i, y.dim[0] - i < n ? y.dim[0] - i : n));
    return WF_OK;
}

static enum wf_status within_frames(const struct wf_svd_pass *p, const struct within *w)
{
    const struct wf_layer *const layers[] = {&w->r->conv1, &w->r->conv2, &w->r->shortcut};
    const int count = w->r->shortcut.weight.rank ? 3 : 2;
    WF_TRY(wf_layers_acquire(layers, count, p->be->err));
    const enum wf_status status = run_all_frames(p, w);
    wf_layers_release(layers, count);
    return status;
}

/* --- along time --- */

/* A norm and a convolution of three frames, from x to y [T,H,W,C]; y = conv, or y += share conv. */
struct over_time {
    const struct wf_group_norm *norm;
    const struct wf_layer *conv;
    struct wf_tensor x, y, stats;
    float share; /* 0: y is set */
};

static enum wf_status add_share(const struct wf_svd_pass *p, const struct over_time *o,
                                struct wf_conv conv)
{
    const struct wf_tensor y = conv.y;
    WF_TRY(wf_work_take(&p->work, WF_F32, y.rank, y.dim, &conv.y));
    WF_TRY(wf_layer_conv(p->be, o->conv, conv));
    WF_TRY(wf_lincomb(
        p->be, &(struct wf_lincomb){.x = {y, conv.y}, .c = {1, o->share}, .terms = 2, .y = y}));
    wf_work_give(&p->work, conv.y);
    return WF_OK;
}

static enum wf_status run_rows(const struct wf_svd_pass *p, const struct over_time *o,
                               int64_t first, int64_t count)
{
    const struct wf_tensor x = wf_tensor_slice(o->x, 1, first, count);
    struct wf_conv conv = {.y = wf_tensor_slice(o->y, 1, first, count),
                           .pad_front = 1,
                           .pad_back = 1,
                           .stride_t = 1,
                           .stride_hw = 1};
    WF_TRY(
        wf_work_take(&p->work, wf_operand_type(p->be, &o->conv->weight), x.rank, x.dim, &conv.x));
    WF_TRY(wf_group_norm_apply(p->be, o->norm, o->stats, x, WF_ACT_SILU, conv.x));
    WF_TRY(o->share == 0 ? wf_layer_conv(p->be, o->conv, conv) : add_share(p, o, conv));
    wf_work_give(&p->work, conv.x);
    return WF_OK;
}

static enum wf_status run_all_rows(const struct wf_svd_pass *p, const struct over_time *o)
{
    const int64_t *dim = o->x.dim;
    const int64_t bytes = dim[0] * dim[2] * dim[3] * (int64_t)sizeof(float);
    const int64_t n = wf_work_pieces(bytes, dim[1]);
    for (int64_t i = 0; i < dim[1]; i += n)
        WF_TRY(run_rows(p, o, i, dim[1] - i < n ? dim[1] - i : n));
    return WF_OK;
}

static enum wf_status convolve_time(const struct wf_svd_pass *p, struct over_time o)
{
    WF_TRY(wf_group_norm_survey(&p->work, o.x, &o.stats));
    WF_TRY(run_all_rows(p, &o));
    wf_work_give(&p->work, o.stats);
    return WF_OK;
}

/* y [T,h,w,C] += (1 - spatial) * the block along time: of both mixed, y is a part of each. time
   [1,C]. */
static enum wf_status along_time(const struct wf_svd_pass *p, const struct wf_svd_resnet *r,
                                 struct wf_tensor time, struct wf_tensor y)
{
    struct wf_tensor h;
    WF_TRY(wf_work_take(&p->work, WF_F32, y.rank, y.dim, &h));
    WF_TRY(convolve_time(
        p, (struct over_time){.norm = &r->time_norm1, .conv = &r->time_conv1, .x = y, .y = h}));
    WF_TRY(wf_svd_add_row(p->be, time, h));
    WF_TRY(convolve_time(p, (struct over_time){.norm = &r->time_norm2,
                                               .conv = &r->time_conv2,
                                               .x = h,
                                               .y = y,
                                               .share = 1 - r->spatial}));
    wf_work_give(&p->work, h);
    return WF_OK;
}

/* Both halves, one after the other, while the layers are held. */
static enum wf_status all_along_time(const struct wf_svd_pass *p, const struct wf_svd_resnet *r,
                                     struct wf_tensor time, struct wf_tensor y)
{
    const struct wf_layer *const layers[] = {&r->time_conv1, &r->time_conv2};
    enum wf_status status = wf_layers_acquire(layers, 2, p->be->err);
    if (status != WF_OK)
        return status;
    for (int half = 0; half < p->run->halves && status == WF_OK; half++)
        status = along_time(p, r, time, wf_svd_half(p, y, half));
    wf_layers_release(layers, 2);
    return status;
}

/* --- the block --- */

static enum wf_status time_row(const struct wf_svd_pass *p, const struct wf_layer *layer,
                               int64_t width, struct wf_tensor *row)
{
    WF_TRY(wf_work_take(&p->work, WF_F32, WF_DIMS(1, width), row));
    return wf_svd_linear(p, layer, p->emb, WF_ACT_NONE, *row);
}

enum wf_status wf_svd_resnet_run(const struct wf_svd_pass *p, const struct wf_svd_resnet *r,
                                 struct wf_tensor x, struct wf_tensor skip, struct wf_tensor y)
{
    struct within w = {.r = r, .x = x, .skip = skip, .y = y};
    struct wf_tensor time;
    WF_TRY(time_row(p, &r->emb, r->out, &w.time));
    WF_TRY(within_frames(p, &w));
    wf_work_give(&p->work, w.time);
    WF_TRY(time_row(p, &r->time_emb, r->out, &time));
    WF_TRY(all_along_time(p, r, time, y));
    wf_work_give(&p->work, time);
    return WF_OK;
}
