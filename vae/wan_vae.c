/* Wan's VAE decoder, as diffusers' AutoencoderKLWan computes it. Each causal convolution keeps its
   last two input frames for the frames to come. */
#include "vae/wan_vae.h"

#include <float.h>
#include <math.h>

#include "temporal/work.h"

/* One decode: what a job keeps between chunks. */
struct decode {
    struct wf_vae_state base;
    const struct wf_wan_vae *v;
    struct wf_backend *be;
    struct caches {
        struct wf_causal_cache conv1, conv2; /* where they span frames */
    } * caches;                              /* one a stage */
};

/* One call of a stage. */
struct call {
    const struct decode *d;
    const struct wf_vae_state *state;
    struct wf_backend *be;
    const struct wf_wan_stage *s;
    struct caches *caches;
    const struct wf_vae_pass *pass;
    struct wf_part x; /* of the pass's what it needs, dense */
};

static enum wf_status norm_silu(struct wf_backend *be, const struct wf_param *gamma,
                                struct wf_tensor x, struct wf_tensor y, enum wf_act act)
{
    const int64_t width = x.dim[x.rank - 1];
    return wf_rms_norm(be,
                       &(struct wf_rms_norm){.x = wf_work_lines(x),
                                             .y = wf_work_lines(y),
                                             .weight = wf_tensor_reshape(gamma->tensor, 1, &width),
                                             .form = WF_RMS_L2,
                                             .act = act,
                                             .eps = 1e-12f});
}

/* --- causal convolutions --- */

static enum wf_status begin_conv(const struct call *c, const struct wf_causal_cache *cache,
                                 const struct wf_layer *layer, int64_t count, int64_t reach,
                                 struct wf_causal_input *input)
{
    const struct wf_window at = wf_window_grown(c->pass->y.at, reach, c->pass->frame);
    return wf_causal_begin(cache, c->be, c->state->work.pool, &layer->weight, count, c->pass->frame,
                           at, input);
}

/* A 3x3x3 convolution of a filled input: frames first .. first + y's of the window that is `reach`
   pixels larger than the pass's. */
static enum wf_status convolve(const struct call *c, const struct wf_layer *layer,
                               const struct wf_causal_input *input, int64_t first, int64_t reach,
                               struct wf_tensor y, bool accumulate)
{
    const struct wf_window at = wf_window_grown(c->pass->y.at, reach, c->pass->frame);
    struct wf_conv conv = {.y = y, .stride_t = 1, .stride_hw = 1, .accumulate = accumulate};
    conv.x = wf_causal_seen(input, first, y.dim[0], &conv.pad_front);
    wf_window_pads(at, 1, c->pass->frame, conv.pad_h, conv.pad_w);
    return wf_layer_conv(c->be, layer, conv);
}

static enum wf_status end_conv(const struct call *c, struct wf_causal_cache *cache,
                               struct wf_causal_input *input)
{
    const enum wf_status status = wf_causal_keep(cache, c->be, input, c->pass->frame);
    wf_causal_end(input, c->state->work.pool);
    return status;
}

/* --- stages --- */

static enum wf_status run_in(const struct call *c)
{
    const struct wf_tensor x = c->x.t;
    struct wf_causal_input input;
    struct wf_tensor z;
    WF_TRY(wf_work_take(&c->state->work, WF_F32, x.rank, x.dim, &z));
    WF_TRY(wf_affine(c->be, &(struct wf_affine){.x = wf_work_lines(x),
                                                .y = wf_work_lines(z),
                                                .weight = c->d->v->std,
                                                .shift = c->d->v->mean,
                                                .low = -FLT_MAX,
                                                .high = FLT_MAX}));
    WF_TRY(begin_conv(c, &c->caches->conv1, &c->s->conv1, x.dim[0], 1, &input));
    WF_TRY(
        wf_linear(c->be, &c->s->project, wf_work_lines(z), wf_work_lines(input.body), WF_ACT_NONE));
    wf_work_give(&c->state->work, z);
    WF_TRY(convolve(c, &c->s->conv1, &input, 0, 0, c->pass->y.t, false));
    return end_conv(c, &c->caches->conv1, &input);
}

/* From the first convolution's input to the second's, as many frames at a time as `middle` has. */
static enum wf_status between(const struct call *c, const struct wf_causal_input *first,
                              struct wf_tensor middle, struct wf_tensor to)
{
    const int64_t frames = to.dim[0], n = middle.dim[0];
    for (int64_t i = 0; i < frames; i += n) {
        const int64_t count = frames - i < n ? frames - i : n;
        const struct wf_tensor y = wf_tensor_slice(middle, 0, 0, count);
        WF_TRY(convolve(c, &c->s->conv1, first, i, 1, y, false));
        WF_TRY(norm_silu(c->be, &c->s->norm2, y, wf_tensor_slice(to, 0, i, count), WF_ACT_SILU));
    }
    return WF_OK;
}

/* The layer is held while the frames go through it. */
static enum wf_status first_half(const struct call *c, const struct wf_causal_input *first,
                                 struct wf_tensor to)
{
    const int64_t frame = to.dim[1] * to.dim[2] * to.dim[3];
    const int64_t n = wf_work_pieces(frame * (int64_t)sizeof(float), to.dim[0]);
    struct wf_tensor middle;
    WF_TRY(wf_work_take(&c->state->work, WF_F32, WF_DIMS(n, to.dim[1], to.dim[2], to.dim[3]),
                        &middle));
    WF_TRY(wf_layer_acquire(&c->s->conv1, c->be->err));
    const enum wf_status status = between(c, first, middle, to);
    wf_layer_release(&c->s->conv1);
    wf_work_give(&c->state->work, middle);
    return status;
}

/* y = x, or what the shortcut makes of it. */
static enum wf_status skip(const struct call *c)
{
    const struct wf_tensor x = wf_part_slice(c->x, c->pass->y.at), y = c->pass->y.t;
    struct wf_tensor source;
    if (c->s->in == y.dim[3])
        return x.data == y.data ? WF_OK : wf_copy(c->be, &(struct wf_copy){.x = x, .y = y});
    WF_TRY(wf_work_operand(&c->state->work, &c->s->project, x, &source));
    WF_TRY(wf_linear(c->be, &c->s->project, wf_work_lines(source), wf_work_lines(y), WF_ACT_NONE));
    wf_work_give_operand(&c->state->work, x, source);
    return WF_OK;
}

/* skip(x) + conv2(silu(norm2(conv1(silu(norm1 x))))). */
static enum wf_status run_res(const struct call *c)
{
    const int64_t frames = c->x.t.dim[0];
    struct wf_causal_input first, second;
    WF_TRY(begin_conv(c, &c->caches->conv1, &c->s->conv1, frames, 2, &first));
    WF_TRY(norm_silu(c->be, &c->s->norm1, c->x.t, first.body, WF_ACT_SILU));
    WF_TRY(begin_conv(c, &c->caches->conv2, &c->s->conv2, frames, 1, &second));
    WF_TRY(first_half(c, &first, second.body));
    WF_TRY(end_conv(c, &c->caches->conv1, &first));
    WF_TRY(skip(c));
    WF_TRY(convolve(c, &c->s->conv2, &second, 0, 0, c->pass->y.t, true));
    return end_conv(c, &c->caches->conv2, &second);
}

/* One head as wide as the frame has channels, over the positions of one frame. */
static enum wf_status attend(const struct call *c, struct wf_tensor x, struct wf_tensor n,
                             struct wf_tensor qkv)
{
    const int64_t positions = x.dim[0], width = x.dim[1];
    struct wf_tensor part[3];
    WF_TRY(norm_silu(c->be, &c->s->norm1, x, n, WF_ACT_NONE));
    WF_TRY(wf_linear(c->be, &c->s->qkv, n, wf_tensor_reshape(qkv, WF_DIMS(positions, 3 * width)),
                     WF_ACT_NONE));
    for (int i = 0; i < 3; i++) {
        part[i] = wf_tensor_slice(qkv, 1, i, 1);
        part[i] = wf_tensor_split(part[i], 0, positions);
        part[i].rank = 4; /* [1,positions,1,c]: the head axis takes the place of the part's */
        part[i].dim[3] = width;
        part[i].stride[3] = 1;
    }
    WF_TRY(wf_attention(
        c->be, &(struct wf_attention){.q = part[0],
                                      .k = part[1],
                                      .v = part[2],
                                      .y = wf_tensor_reshape(n, WF_DIMS(1, positions, 1, width)),
                                      .scale = 1.0f / sqrtf((float)width)}));
    return wf_linear_add(c->be, &c->s->project, n, x, (struct wf_tensor){0});
}

static enum wf_status attend_frames(const struct call *c)
{
    const struct wf_tensor y = c->pass->y.t;
    const int64_t positions = y.dim[1] * y.dim[2], width = y.dim[3];
    struct wf_tensor n, qkv;
    WF_TRY(wf_work_take(&c->state->work, wf_operand_type(c->be, &c->s->qkv.weight),
                        WF_DIMS(positions, width), &n));
    WF_TRY(wf_work_take(&c->state->work, wf_attention_type(c->be, width),
                        WF_DIMS(positions, 3, 1, width), &qkv));
    for (int64_t t = 0; t < y.dim[0]; t++)
        WF_TRY(attend(c, wf_work_lines(wf_tensor_slice(y, 0, t, 1)), n, qkv));
    wf_work_give(&c->state->work, qkv);
    wf_work_give(&c->state->work, n);
    return WF_OK;
}

/* Both layers are held while the frames go through them. */
static enum wf_status run_attention(const struct call *c)
{
    WF_TRY(skip(c));
    WF_TRY(wf_layer_acquire(&c->s->qkv, c->be->err));
    enum wf_status status = wf_layer_acquire(&c->s->project, c->be->err);
    if (status == WF_OK) {
        status = attend_frames(c);
        wf_layer_release(&c->s->project);
    }
    wf_layer_release(&c->s->qkv);
    return status;
}

/* Frames into pairs of them: the time convolution's first half of channels, then its second. */
static enum wf_status pair_frames(const struct call *c, struct wf_tensor x, struct wf_tensor y)
{
    const int64_t count = x.dim[0], width = x.dim[3];
    struct wf_causal_input input;
    struct wf_tensor pairs;
    WF_TRY(wf_causal_begin(&c->caches->conv2, c->be, c->state->work.pool, &c->s->conv2.weight,
                           count, c->pass->frame, c->x.at, &input));
    WF_TRY(wf_copy(c->be, &(struct wf_copy){.x = x, .y = input.body}));
    WF_TRY(wf_work_take(&c->state->work, WF_F32, WF_DIMS(count, x.dim[1], x.dim[2], 2 * width),
                        &pairs));
    WF_TRY(wf_layer_conv(c->be, &c->s->conv2,
                         (struct wf_conv){.x = input.x,
                                          .y = pairs,
                                          .pad_front = input.pad_front,
                                          .stride_t = 1,
                                          .stride_hw = 1}));
    WF_TRY(end_conv(c, &c->caches->conv2, &input));
    WF_TRY(wf_copy(c->be, &(struct wf_copy){.x = wf_tensor_permute(wf_tensor_split(pairs, 3, width),
                                                                   WF_ORDER(0, 3, 1, 2, 4)),
                                            .y = wf_tensor_split(y, 0, 2)}));
    wf_work_give(&c->state->work, pairs);
    return WF_OK;
}

/* Every frame but the clip's first becomes two; the convolution over time never sees that one. */
static enum wf_status double_frames(const struct call *c, struct wf_tensor y)
{
    const int64_t lone = c->pass->first, rest = c->x.t.dim[0] - lone;
    if (lone)
        WF_TRY(wf_copy(c->be, &(struct wf_copy){.x = wf_tensor_slice(c->x.t, 0, 0, 1),
                                                .y = wf_tensor_slice(y, 0, 0, 1)}));
    return rest ? pair_frames(c, wf_tensor_slice(c->x.t, 0, lone, rest),
                              wf_tensor_slice(y, 0, lone, 2 * rest))
                : WF_OK;
}

/* The frames that are made larger, twice as many or as they are. */
static enum wf_status upsample_source(const struct call *c, struct wf_tensor *source)
{
    const struct wf_tensor x = c->x.t;
    if (!c->s->conv2.weight.rank)
        return wf_work_operand(&c->state->work, &c->s->conv1, x, source);
    WF_TRY(wf_work_take(&c->state->work, wf_operand_type(c->be, &c->s->conv1.weight),
                        WF_DIMS(c->pass->y.t.dim[0], x.dim[1], x.dim[2], x.dim[3]), source));
    return double_frames(c, *source);
}

static enum wf_status run_upsample(const struct call *c)
{
    const struct wf_window small = wf_window_coarser(c->pass->y.at, 2);
    struct wf_upconv up = {.y = c->pass->y.t};
    WF_TRY(upsample_source(c, &up.x));
    wf_window_pads(small, 1, c->pass->frame, up.pad_h, up.pad_w);
    WF_TRY(wf_layer_upconv(c->be, &c->s->conv1, up));
    wf_work_give_operand(&c->state->work, c->x.t, up.x);
    if (!c->s->has_shortcut)
        return WF_OK;
    return wf_wan_shortcut(c->state, wf_part_slice(c->pass->held, small), c->pass->y.t,
                           c->s->conv2.weight.rank ? 2 : 1, c->pass->first);
}

static enum wf_status run_out(const struct call *c)
{
    struct wf_causal_input input;
    WF_TRY(begin_conv(c, &c->caches->conv1, &c->s->conv1, c->x.t.dim[0], 1, &input));
    WF_TRY(norm_silu(c->be, &c->s->norm1, c->x.t, input.body, WF_ACT_SILU));
    WF_TRY(convolve(c, &c->s->conv1, &input, 0, 0, c->pass->y.t, false));
    return end_conv(c, &c->caches->conv1, &input);
}

static enum wf_status wan_run(struct wf_vae_state *state, int stage, const struct wf_vae_pass *pass,
                              struct wf_error *err)
{
    static enum wf_status (*const run[])(const struct call *) = {
        [STAGE_IN] = run_in,
        [STAGE_RES] = run_res,
        [STAGE_ATTENTION] = run_attention,
        [STAGE_UPSAMPLE] = run_upsample,
        [STAGE_OUT] = run_out,
    };
    struct decode *d = (struct decode *)state;
    struct call c = {.d = d,
                     .state = state,
                     .be = d->be,
                     .s = &d->v->stages[stage],
                     .caches = &d->caches[stage],
                     .pass = pass};
    const struct wf_vae_stage *in_row = &d->v->base.stages[stage];
    const struct wf_window small = wf_window_coarser(pass->y.at, in_row->scale);
    (void)err; /* the backend's */
    c.x.at = wf_window_grown(small, in_row->reach, pass->frame);
    const struct wf_tensor x = c.x.t = wf_part_slice(pass->x, c.x.at);
    const bool gaps = !wf_tensor_is_dense(&x);
    if (gaps) {
        WF_TRY(wf_work_take(&c.state->work, WF_F32, x.rank, x.dim, &c.x.t));
        WF_TRY(wf_copy(d->be, &(struct wf_copy){.x = x, .y = c.x.t}));
    }
    WF_TRY(run[c.s->kind](&c));
    if (gaps)
        wf_work_give(&c.state->work, c.x.t);
    return WF_OK;
}

/* --- a decode --- */

static void wan_end(struct wf_vae_state **state)
{
    struct decode *d = (struct decode *)*state;
    for (int i = 0; d->caches && i < d->v->base.stage_count; i++) {
        wf_causal_clear(&d->caches[i].conv1, d->be);
        wf_causal_clear(&d->caches[i].conv2, d->be);
    }
    wf_free(d->caches);
    wf_free(d);
    *state = NULL;
}

static enum wf_status wan_begin(struct wf_vae *vae, struct wf_pool *pool,
                                struct wf_vae_state **state, struct wf_error *err)
{
    const size_t stages = (size_t)vae->stage_count;
    struct decode *d = wf_calloc(vae->mem, WF_MEM_MISC, 1, sizeof *d);
    if (!d)
        return wf_fail_memory(err, "vae", sizeof *d);
    *d = (struct decode){.base = {.vae = vae, .work = {vae->be, pool, "decode"}},
                         .v = (const struct wf_wan_vae *)vae,
                         .be = vae->be};
    d->caches = wf_calloc(vae->mem, WF_MEM_MISC, stages, sizeof *d->caches);
    *state = &d->base;
    if (d->caches)
        return WF_OK;
    wan_end(state);
    return wf_fail_memory(err, "vae", stages * sizeof *d->caches);
}

static struct wf_causal_cache *wan_cache(struct wf_vae_state *state, int i)
{
    struct decode *d = (struct decode *)state;
    if (i / 2 >= d->v->base.stage_count)
        return NULL;
    return i % 2 ? &d->caches[i / 2].conv2 : &d->caches[i / 2].conv1;
}

static void wan_close(struct wf_vae *vae)
{
    struct wf_wan_vae *v = (struct wf_wan_vae *)vae;
    struct wf_backend *be = vae->be;
    be->ops.give(be, v->mean.data);
    be->ops.give(be, v->std.data);
    wf_free(v->stages);
    wf_free(v);
}

static enum wf_status wan_open(struct wf_residency *res, struct wf_mem *mem, struct wf_vae **vae,
                               struct wf_error *err)
{
    struct wf_wan_vae *v = wf_calloc(mem, WF_MEM_MISC, 1, sizeof *v);
    if (!v)
        return wf_fail_memory(err, "vae", sizeof *v);
    v->base = (struct wf_vae){
        .driver = &wf_vae_wan, .res = res, .be = wf_residency_backend(res), .mem = mem};
    const enum wf_status status = wf_wan_vae_declare(v, err);
    if (status != WF_OK) {
        wan_close(&v->base);
        return status;
    }
    *vae = &v->base;
    return WF_OK;
}

const struct wf_vae_driver wf_vae_wan = {
    .class_name = "AutoencoderKLWan",
    .open = wan_open,
    .close = wan_close,
    .begin = wan_begin,
    .end = wan_end,
    .cache = wan_cache,
    .run = wan_run,
};
