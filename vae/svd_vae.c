/* Stable Video Diffusion's VAE decoder, as diffusers' AutoencoderKLTemporalDecoder computes it.
   Each residual block is one within frames and one along time, and each of its group norms needs
   the statistics of whole frames, or of all frames of the chunk: a stage is a norm and its
   convolution.
 */
#include "vae/svd_vae.h"

#include "temporal/work.h"

struct decode {
    struct wf_vae_state base;
    const struct wf_svd_vae *v;
    struct wf_backend *be;
    struct wf_tensor sums; /* [T,G,3]: of the frames of a chunk; room for `frames` */
    struct wf_tensor all;  /* [1,G,3]: of all of them */
    int64_t frames;
};

/* One call of a stage. */
struct call {
    struct decode *d;
    const struct wf_vae_state *state;
    struct wf_backend *be;
    const struct wf_svd_stage *s;
    const struct wf_vae_pass *pass;
    struct wf_part x; /* of the pass's what it needs */
};

/* --- norms --- */

static enum wf_status take_stats(struct wf_backend *be, int64_t frames, struct wf_tensor *t)
{
    *t = wf_tensor_of(NULL, WF_F32, WF_DIMS(frames, WF_NORM_GROUPS, 3));
    t->data = be->ops.take(be, WF_MEM_ACTIVATIONS, wf_tensor_bytes(t));
    return t->data ? WF_OK : wf_fail_memory(be->err, "decode", wf_tensor_bytes(t));
}

static void give_stats(struct decode *d)
{
    if (d->sums.data)
        d->be->ops.give(d->be, d->sums.data);
    if (d->all.data)
        d->be->ops.give(d->be, d->all.data);
    d->sums = d->all = (struct wf_tensor){0};
    d->frames = 0;
}

static enum wf_status make_room(struct decode *d, int64_t frames)
{
    if (frames <= d->frames)
        return WF_OK;
    give_stats(d);
    WF_TRY(take_stats(d->be, frames, &d->sums));
    WF_TRY(take_stats(d->be, 1, &d->all));
    d->frames = frames;
    return WF_OK;
}

static enum wf_status survey_frames(struct decode *d, bool together, struct wf_tensor x)
{
    WF_TRY(make_room(d, x.dim[0]));
    const struct wf_tensor sums = wf_tensor_slice(d->sums, 0, 0, x.dim[0]);
    WF_TRY(wf_group_sums(d->be, &(struct wf_group_sums){.x = x, .y = sums}));
    if (!together)
        return WF_OK;
    const struct wf_tensor parts = wf_tensor_reshape(sums, WF_DIMS(x.dim[0], 1, WF_NORM_GROUPS, 3));
    return wf_group_merge(d->be, &(struct wf_group_merge){.x = parts, .y = d->all});
}

static enum wf_status svd_survey(struct wf_vae_state *state, int stage, struct wf_tensor x,
                                 struct wf_error *err)
{
    struct decode *d = (struct decode *)state;
    (void)err; /* the backend's */
    return survey_frames(d, d->v->stages[stage].temporal, x);
}

/* y = act(norm(x)) of the frames from `first` on, by what was surveyed. */
static enum wf_status norm(const struct call *c, int64_t first, struct wf_tensor x,
                           struct wf_tensor y, enum wf_act act)
{
    const struct wf_tensor stats =
        c->s->temporal ? c->d->all : wf_tensor_slice(c->d->sums, 0, first, x.dim[0]);
    return wf_group_norm_apply(c->be, &c->s->norm, stats, x, act, y);
}

/* --- convolutions --- */

/* Of one frame each, from x's window to y's. */
static enum wf_status convolve(const struct call *c, struct wf_tensor x, struct wf_tensor y,
                               bool accumulate)
{
    struct wf_conv conv = {.x = x, .y = y, .stride_t = 1, .stride_hw = 1, .accumulate = accumulate};
    wf_window_pads(c->pass->y.at, 1, c->pass->frame, conv.pad_h, conv.pad_w);
    return wf_layer_conv(c->be, &c->s->conv, conv);
}

/* Of three frames; beyond the chunk there are zeros. */
static enum wf_status convolve_time(const struct call *c, struct wf_tensor x, struct wf_tensor y)
{
    return wf_layer_conv(
        c->be, &c->s->conv,
        (struct wf_conv){
            .x = x, .y = y, .pad_front = 1, .pad_back = 1, .stride_t = 1, .stride_hw = 1});
}

/* y = the block's input, or what the shortcut makes of it. */
static enum wf_status skip(const struct call *c, struct wf_tensor x, struct wf_tensor y)
{
    struct wf_tensor source;
    if (!c->s->project.weight.rank)
        return wf_copy(c->be, &(struct wf_copy){.x = x, .y = y});
    WF_TRY(wf_work_operand(&c->state->work, &c->s->project, x, &source));
    WF_TRY(wf_layer_conv(c->be, &c->s->project,
                         (struct wf_conv){.x = source, .y = y, .stride_t = 1, .stride_hw = 1}));
    wf_work_give_operand(&c->state->work, x, source);
    return WF_OK;
}

/* --- stages --- */

static enum wf_status run_in(const struct call *c)
{
    struct wf_tensor z;
    WF_TRY(wf_work_take(&c->state->work, WF_F32, 4, c->x.t.dim, &z));
    WF_TRY(wf_lincomb(c->be, &(struct wf_lincomb){.x = {c->x.t},
                                                  .c = {(float)(1 / c->d->v->config.scaling)},
                                                  .terms = 1,
                                                  .y = z}));
    WF_TRY(convolve(c, z, c->pass->y.t, false));
    wf_work_give(&c->state->work, z);
    return WF_OK;
}

/* Frames first .. first + normed's: normed, convolved, with SECOND's shortcut. */
static enum wf_status run_piece(const struct call *c, int64_t first, struct wf_tensor normed)
{
    const int64_t count = normed.dim[0];
    const struct wf_tensor y = wf_tensor_slice(c->pass->y.t, 0, first, count);
    const bool second = c->s->kind == STAGE_SECOND;
    WF_TRY(norm(c, first, wf_tensor_slice(c->x.t, 0, first, count), normed, WF_ACT_SILU));
    if (second) {
        const struct wf_tensor held = wf_part_slice(c->pass->held, c->pass->y.at);
        WF_TRY(skip(c, wf_tensor_slice(held, 0, first, count), y));
    }
    return convolve(c, normed, y, second);
}

/* As many frames at a time as make little of what is normed. In place: a frame of y is written when
   that of x was read. */
static enum wf_status run_pieces(const struct call *c, struct wf_tensor normed)
{
    const int64_t frames = c->x.t.dim[0], n = normed.dim[0];
    for (int64_t i = 0; i < frames; i += n)
        WF_TRY(run_piece(c, i, wf_tensor_slice(normed, 0, 0, frames - i < n ? frames - i : n)));
    return WF_OK;
}

/* The layer is held while the frames go through it. */
static enum wf_status run_frames(const struct call *c)
{
    const struct wf_tensor x = c->x.t;
    const enum wf_dtype type = wf_operand_type(c->be, &c->s->conv.weight);
    const int64_t frame = x.dim[1] * x.dim[2] * x.dim[3] * (int64_t)wf_dtype_bytes(type);
    const int64_t n = wf_work_pieces(frame, x.dim[0]);
    struct wf_tensor normed;
    WF_TRY(wf_work_take(&c->state->work, type, WF_DIMS(n, x.dim[1], x.dim[2], x.dim[3]), &normed));
    const struct wf_layer *const layers[] = {&c->s->conv, &c->s->project};
    const int count = c->s->project.weight.rank ? 2 : 1;
    WF_TRY(wf_layers_acquire(layers, count, c->be->err));
    const enum wf_status status = run_pieces(c, normed);
    wf_layers_release(layers, count);
    wf_work_give(&c->state->work, normed);
    return status;
}

static enum wf_status run_over_time(const struct call *c)
{
    const struct wf_tensor y = c->pass->y.t;
    struct wf_tensor normed;
    WF_TRY(wf_work_take(&c->state->work, wf_operand_type(c->be, &c->s->conv.weight), 4, c->x.t.dim,
                        &normed));
    WF_TRY(norm(c, 0, c->x.t, normed, WF_ACT_SILU));
    WF_TRY(convolve_time(c, normed, y));
    wf_work_give(&c->state->work, normed);
    if (c->s->kind == STAGE_FIRST)
        return WF_OK;
    return wf_lincomb(c->be,
                      &(struct wf_lincomb){.x = {wf_part_slice(c->pass->held, c->pass->y.at), y},
                                           .c = {1, c->s->share},
                                           .terms = 2,
                                           .y = y});
}

static enum wf_status run_half(const struct call *c)
{
    return c->s->temporal ? run_over_time(c) : run_frames(c);
}

static enum wf_status attend_frames(const struct call *c, const struct wf_svd_attention_room *room)
{
    const struct wf_svd_attention *a = &c->s->attention;
    const struct wf_layer *const layers[] = {&a->q, &a->k, &a->v, &a->out};
    const struct wf_tensor y = c->pass->y.t;
    WF_TRY(wf_layers_acquire(layers, 4, c->be->err));
    enum wf_status status = WF_OK;
    for (int64_t t = 0; t < y.dim[0] && status == WF_OK; t++)
        status = wf_svd_attention_run(c->be, a, wf_tensor_slice(c->d->sums, 0, t, 1),
                                      wf_tensor_slice(y, 0, t, 1), room);
    wf_layers_release(layers, 4);
    return status;
}

static enum wf_status run_attention(const struct call *c)
{
    const struct wf_tensor x = c->x.t, y = c->pass->y.t;
    struct wf_svd_attention_room room =
        wf_svd_attention_shapes(c->be, &c->s->attention, y.dim[1] * y.dim[2]);
    struct wf_tensor *const all[] = {&room.normed, &room.qkv[0], &room.qkv[1], &room.qkv[2]};
    WF_TRY(survey_frames(c->d, false, x));
    if (x.data != y.data)
        WF_TRY(wf_copy(c->be, &(struct wf_copy){.x = x, .y = y}));
    for (int i = 0; i < 4; i++)
        WF_TRY(wf_work_take(&c->state->work, all[i]->dtype, all[i]->rank, all[i]->dim, all[i]));
    WF_TRY(attend_frames(c, &room));
    for (int i = 3; i >= 0; i--)
        wf_work_give(&c->state->work, *all[i]);
    return WF_OK;
}

static enum wf_status run_upsample(const struct call *c)
{
    struct wf_upconv up = {.y = c->pass->y.t};
    WF_TRY(wf_work_operand(&c->state->work, &c->s->conv, c->x.t, &up.x));
    wf_window_pads(wf_window_coarser(c->pass->y.at, 2), 1, c->pass->frame, up.pad_h, up.pad_w);
    WF_TRY(wf_layer_upconv(c->be, &c->s->conv, up));
    wf_work_give_operand(&c->state->work, c->x.t, up.x);
    return WF_OK;
}

static enum wf_status run_last(const struct call *c)
{
    struct wf_tensor x;
    WF_TRY(wf_work_operand(&c->state->work, &c->s->conv, c->x.t, &x));
    WF_TRY(convolve_time(c, x, c->pass->y.t));
    wf_work_give_operand(&c->state->work, c->x.t, x);
    return WF_OK;
}

static enum wf_status svd_run(struct wf_vae_state *state, int stage, const struct wf_vae_pass *pass,
                              struct wf_error *err)
{
    static enum wf_status (*const run[])(const struct call *) = {
        [STAGE_IN] = run_in,
        [STAGE_FIRST] = run_half,
        [STAGE_SECOND] = run_half,
        [STAGE_ATTEND] = run_attention,
        [STAGE_UPSAMPLE] = run_upsample,
        [STAGE_OUT] = run_frames,
        [STAGE_OVER_TIME] = run_last,
    };
    struct decode *d = (struct decode *)state;
    const struct wf_vae_stage *in_row = &d->v->base.stages[stage];
    struct call c = {.d = d, .state = state, .be = d->be, .s = &d->v->stages[stage], .pass = pass};
    (void)err; /* the backend's */
    c.x.at =
        wf_window_grown(wf_window_coarser(pass->y.at, in_row->scale), in_row->reach, pass->frame);
    c.x.t = wf_part_slice(pass->x, c.x.at);
    return run[c.s->kind](&c);
}

/* --- a decode --- */

static void svd_end(struct wf_vae_state **state)
{
    struct decode *d = (struct decode *)*state;
    give_stats(d);
    wf_free(d);
    *state = NULL;
}

static enum wf_status svd_begin(struct wf_vae *vae, struct wf_pool *pool,
                                struct wf_vae_state **state, struct wf_error *err)
{
    struct decode *d = wf_calloc(vae->mem, WF_MEM_MISC, 1, sizeof *d);
    if (!d)
        return wf_fail_memory(err, "vae", sizeof *d);
    *d = (struct decode){.base = {.vae = vae, .work = {vae->be, pool, "decode"}},
                         .v = (const struct wf_svd_vae *)vae,
                         .be = vae->be};
    *state = &d->base;
    return WF_OK;
}

static void svd_close(struct wf_vae *vae)
{
    struct wf_svd_vae *v = (struct wf_svd_vae *)vae;
    wf_free(v->stages);
    wf_free(v);
}

static enum wf_status svd_open(struct wf_residency *res, struct wf_mem *mem, struct wf_vae **vae,
                               struct wf_error *err)
{
    struct wf_svd_vae *v = wf_calloc(mem, WF_MEM_MISC, 1, sizeof *v);
    if (!v)
        return wf_fail_memory(err, "vae", sizeof *v);
    v->base = (struct wf_vae){
        .driver = &wf_vae_svd, .res = res, .be = wf_residency_backend(res), .mem = mem};
    const enum wf_status status = wf_svd_vae_declare(v, err);
    if (status != WF_OK) {
        svd_close(&v->base);
        return status;
    }
    *vae = &v->base;
    return WF_OK;
}

const struct wf_vae_driver wf_vae_svd = {
    .class_name = "AutoencoderKLTemporalDecoder",
    .open = svd_open,
    .close = svd_close,
    .begin = svd_begin,
    .end = svd_end,
    .survey = svd_survey,
    .run = svd_run,
};
