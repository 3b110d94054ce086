/* Wan 2.1's VAE decoder, as diffusers' AutoencoderKLWan computes it. The decoder is a row of
   stages; each passes on all frames of the chunk before the next begins, and each causal
   convolution keeps its last two input frames for the next chunk. */
#include "vae/wan_vae.h"

#include <float.h>
#include <math.h>

#include "temporal/causal_cache.h"

/* One decode: what a job keeps between chunks. */
struct decode {
    struct wf_vae_state base;
    const struct wf_wan_vae *v;
    struct wf_backend *be;
    int64_t position; /* latent frames decoded of this clip */
    int side;         /* of base.hidden: where the hidden frames are */
    struct caches {
        struct wf_causal_cache conv1, conv2; /* where they span frames */
    } * caches;                              /* one a stage */
};

static struct caches *caches_of(const struct decode *d, const struct wf_wan_stage *s)
{
    return &d->caches[s - d->v->stages];
}

/* --- stages --- */

/* Room for a stage's result, beside the hidden frames that it reads. */
static enum wf_status new_hidden(struct decode *d, int rank, const int64_t *dims,
                                 struct wf_tensor *t)
{
    return wf_tensor_new(&d->base.hidden[!d->side], WF_F32, t, d->be->err, rank, dims);
}

/* The result becomes the hidden frames; what they were is given back. */
static void turn_over(struct decode *d)
{
    wf_arena_reset(&d->base.hidden[d->side]);
    d->side = !d->side;
}

static struct wf_tensor rows(struct wf_tensor t)
{
    const int64_t width = t.dim[t.rank - 1];
    return wf_tensor_reshape(t, WF_DIMS(wf_tensor_count(&t) / width, width));
}

static enum wf_status norm_silu(struct decode *d, const struct wf_param *gamma, struct wf_tensor x,
                                struct wf_tensor y, enum wf_act act)
{
    const int64_t width = x.dim[x.rank - 1];
    return wf_rms_norm(d->be,
                       &(struct wf_rms_norm){.x = rows(x),
                                             .y = rows(y),
                                             .weight = wf_tensor_reshape(gamma->tensor, 1, &width),
                                             .form = WF_RMS_L2,
                                             .act = act,
                                             .eps = 1e-12f});
}

/* A 3x3x3 causal convolution whose input body is filled. */
static enum wf_status convolve(struct decode *d, const struct wf_layer *layer,
                               struct wf_causal_cache *cache, const struct wf_causal_input *input,
                               struct wf_tensor y, bool accumulate)
{
    WF_TRY(wf_layer_conv(d->be, layer,
                         (struct wf_conv){.x = input->x,
                                          .y = y,
                                          .pad_front = input->pad_front,
                                          .pad_h = {1, 1},
                                          .pad_w = {1, 1},
                                          .stride_t = 1,
                                          .stride_hw = 1,
                                          .accumulate = accumulate}));
    return wf_causal_keep(cache, d->be, input);
}

static enum wf_status run_in(struct decode *d, const struct wf_wan_stage *s, struct wf_tensor *x)
{
    struct wf_backend *be = d->be;
    struct wf_tensor z, y;
    struct wf_causal_input input;
    WF_TRY(wf_tensor_new(&d->base.scratch, WF_F32, &z, be->err, x->rank, x->dim));
    WF_TRY(wf_affine(be, &(struct wf_affine){.x = rows(*x),
                                             .y = rows(z),
                                             .weight = d->v->std,
                                             .shift = d->v->mean,
                                             .low = -FLT_MAX,
                                             .high = FLT_MAX}));
    WF_TRY(wf_causal_begin(&caches_of(d, s)->conv1, be, &d->base.scratch, &s->conv1.weight, z.dim,
                           &input));
    WF_TRY(wf_linear(be, &s->project, rows(z), rows(input.body), WF_ACT_NONE));
    WF_TRY(new_hidden(d, WF_DIMS(x->dim[0], x->dim[1], x->dim[2], s->out), &y));
    WF_TRY(convolve(d, &s->conv1, &caches_of(d, s)->conv1, &input, y, false));
    turn_over(d);
    *x = y;
    return WF_OK;
}

/* x + conv2(silu(norm2(conv1(silu(norm1 x))))), in place where the width stays. */
static enum wf_status run_res(struct decode *d, const struct wf_wan_stage *s, struct wf_tensor *x)
{
    struct wf_backend *be = d->be;
    const int64_t wide[4] = {x->dim[0], x->dim[1], x->dim[2], s->out};
    struct wf_causal_input first, second;
    struct wf_tensor middle;
    WF_TRY(wf_causal_begin(&caches_of(d, s)->conv1, be, &d->base.scratch, &s->conv1.weight, x->dim,
                           &first));
    WF_TRY(norm_silu(d, &s->norm1, *x, first.body, WF_ACT_SILU));
    WF_TRY(wf_tensor_new(&d->base.scratch, WF_F32, &middle, be->err, 4, wide));
    WF_TRY(convolve(d, &s->conv1, &caches_of(d, s)->conv1, &first, middle, false));
    WF_TRY(wf_causal_begin(&caches_of(d, s)->conv2, be, &d->base.scratch, &s->conv2.weight, wide,
                           &second));
    WF_TRY(norm_silu(d, &s->norm2, middle, second.body, WF_ACT_SILU));
    if (s->in != s->out) {
        struct wf_tensor source, shortcut;
        WF_TRY(wf_operand(be, &d->base.scratch, &s->project, *x, &source));
        WF_TRY(new_hidden(d, 4, wide, &shortcut));
        WF_TRY(wf_linear(be, &s->project, rows(source), rows(shortcut), WF_ACT_NONE));
        turn_over(d);
        *x = shortcut;
    }
    return convolve(d, &s->conv2, &caches_of(d, s)->conv2, &second, *x, true);
}

/* One head as wide as the frame has channels, over the positions of one frame. */
static enum wf_status attend_frame(struct decode *d, const struct wf_wan_stage *s,
                                   struct wf_tensor x)
{
    struct wf_backend *be = d->be;
    const int64_t positions = x.dim[0], c = s->in;
    struct wf_tensor n, qkv;
    WF_TRY(wf_tensor_new(&d->base.scratch, wf_operand_type(be, &s->qkv.weight), &n, be->err, 2,
                         x.dim));
    WF_TRY(wf_tensor_new(&d->base.scratch, wf_attention_type(be, c), &qkv, be->err,
                         WF_DIMS(positions, 3, 1, c)));
    WF_TRY(norm_silu(d, &s->norm1, x, n, WF_ACT_NONE));
    WF_TRY(
        wf_linear(be, &s->qkv, n, wf_tensor_reshape(qkv, WF_DIMS(positions, 3 * c)), WF_ACT_NONE));
    struct wf_tensor part[3];
    for (int i = 0; i < 3; i++) {
        part[i] = wf_tensor_slice(qkv, 1, i, 1);
        part[i] = wf_tensor_split(part[i], 0, positions);
        part[i].rank = 4; /* [1,positions,1,c]: the head axis takes the place of the part's */
        part[i].dim[3] = c;
        part[i].stride[3] = 1;
    }
    WF_TRY(wf_attention(
        be, &(struct wf_attention){.q = part[0],
                                   .k = part[1],
                                   .v = part[2],
                                   .y = wf_tensor_reshape(n, WF_DIMS(1, positions, 1, c)),
                                   .scale = 1.0f / sqrtf((float)c)}));
    return wf_linear_add(be, &s->project, n, x, (struct wf_tensor){0});
}

static enum wf_status attend_frames(struct decode *d, const struct wf_wan_stage *s,
                                    struct wf_tensor *x)
{
    for (int64_t t = 0; t < x->dim[0]; t++) {
        const struct wf_arena_mark mark = wf_arena_mark(&d->base.scratch);
        WF_TRY(attend_frame(d, s, rows(wf_tensor_slice(*x, 0, t, 1))));
        wf_arena_release(&d->base.scratch, mark);
    }
    return WF_OK;
}

/* Both layers are held while the frames go through them. */
static enum wf_status run_attention(struct decode *d, const struct wf_wan_stage *s,
                                    struct wf_tensor *x)
{
    WF_TRY(wf_layer_acquire(&s->qkv, d->be->err));
    enum wf_status status = wf_layer_acquire(&s->project, d->be->err);
    if (status == WF_OK) {
        status = attend_frames(d, s, x);
        wf_layer_release(&s->project);
    }
    wf_layer_release(&s->qkv);
    return status;
}

/* Every frame but the clip's first becomes two: the time convolution's first half of channels, then
   its second. That convolution never sees the clip's first frame. */
static enum wf_status double_frames(struct decode *d, const struct wf_wan_stage *s,
                                    struct wf_tensor *x)
{
    struct wf_backend *be = d->be;
    const int64_t lone = d->position == 0 ? 1 : 0, rest = x->dim[0] - lone, c = s->in;
    if (rest == 0)
        return WF_OK;
    const int64_t h = x->dim[1], w = x->dim[2];
    struct wf_causal_input input;
    struct wf_tensor pairs, y;
    WF_TRY(wf_causal_begin(&caches_of(d, s)->conv2, be, &d->base.scratch, &s->conv2.weight,
                           (int64_t[]){rest, h, w, c}, &input));
    WF_TRY(
        wf_copy(be, &(struct wf_copy){.y = input.body, .x = wf_tensor_slice(*x, 0, lone, rest)}));
    WF_TRY(wf_tensor_new(&d->base.scratch, WF_F32, &pairs, be->err, WF_DIMS(rest, h, w, 2 * c)));
    WF_TRY(wf_layer_conv(be, &s->conv2,
                         (struct wf_conv){.x = input.x,
                                          .y = pairs,
                                          .pad_front = input.pad_front,
                                          .stride_t = 1,
                                          .stride_hw = 1}));
    WF_TRY(wf_causal_keep(&caches_of(d, s)->conv2, be, &input));
    WF_TRY(new_hidden(d, WF_DIMS(lone + 2 * rest, h, w, c), &y));
    if (lone)
        WF_TRY(wf_copy(be, &(struct wf_copy){.y = wf_tensor_slice(y, 0, 0, 1),
                                             .x = wf_tensor_slice(*x, 0, 0, 1)}));
    const struct wf_tensor target = wf_tensor_split(wf_tensor_slice(y, 0, lone, 2 * rest), 0, 2);
    WF_TRY(wf_copy(be, &(struct wf_copy){.y = target,
                                         .x = wf_tensor_permute(wf_tensor_split(pairs, 3, c),
                                                                WF_ORDER(0, 3, 1, 2, 4))}));
    turn_over(d);
    *x = y;
    return WF_OK;
}

static enum wf_status run_upsample(struct decode *d, const struct wf_wan_stage *s,
                                   struct wf_tensor *x)
{
    struct wf_tensor source, y;
    if (s->doubles_time)
        WF_TRY(double_frames(d, s, x));
    WF_TRY(wf_operand(d->be, &d->base.scratch, &s->conv1, *x, &source));
    WF_TRY(new_hidden(d, WF_DIMS(x->dim[0], 2 * x->dim[1], 2 * x->dim[2], s->out), &y));
    WF_TRY(wf_layer_upconv(d->be, &s->conv1, source, y));
    turn_over(d);
    *x = y;
    return WF_OK;
}

static enum wf_status run_out(struct decode *d, const struct wf_wan_stage *s, struct wf_tensor *x)
{
    struct wf_tensor y;
    struct wf_causal_input input;
    WF_TRY(wf_causal_begin(&caches_of(d, s)->conv1, d->be, &d->base.scratch, &s->conv1.weight,
                           x->dim, &input));
    WF_TRY(norm_silu(d, &s->norm1, *x, input.body, WF_ACT_SILU));
    WF_TRY(new_hidden(d, WF_DIMS(x->dim[0], x->dim[1], x->dim[2], 3), &y));
    WF_TRY(convolve(d, &s->conv1, &caches_of(d, s)->conv1, &input, y, false));
    turn_over(d);
    *x = y;
    return WF_OK;
}

static enum wf_status run_stage(struct decode *d, int i, struct wf_tensor *x, struct wf_error *err)
{
    static enum wf_status (*const run[])(struct decode *, const struct wf_wan_stage *,
                                         struct wf_tensor *) = {
        [STAGE_IN] = run_in,
        [STAGE_RES] = run_res,
        [STAGE_ATTENTION] = run_attention,
        [STAGE_UPSAMPLE] = run_upsample,
        [STAGE_OUT] = run_out,
    };
    const struct wf_wan_stage *s = &d->v->stages[i];
    struct wf_residency *res = d->v->res;
    WF_TRY(wf_residency_acquire(res, s->group, err));
    const enum wf_status status = run[s->kind](d, s, x);
    wf_arena_reset(&d->base.scratch);
    wf_residency_release(res, s->group);
    return status;
}

/* --- decoding --- */

static void wan_end(struct wf_vae_state **state)
{
    struct decode *d = (struct decode *)*state;
    for (int i = 0; d->caches && i < d->v->stage_count; i++) {
        wf_causal_clear(&d->caches[i].conv1, d->be);
        wf_causal_clear(&d->caches[i].conv2, d->be);
    }
    wf_vae_state_clear(&d->base);
    wf_free(d->caches);
    wf_free(d);
    *state = NULL;
}

static enum wf_status wan_begin(struct wf_vae *vae, struct wf_vae_state **state,
                                struct wf_error *err)
{
    const struct wf_wan_vae *v = (const struct wf_wan_vae *)vae;
    const size_t stages = (size_t)v->stage_count;
    struct decode *d = wf_calloc(vae->mem, WF_MEM_MISC, 1, sizeof *d);
    if (!d)
        return wf_fail_memory(err, "vae", sizeof *d);
    wf_vae_state_init(&d->base, vae->be);
    d->v = v;
    d->be = vae->be;
    d->caches = wf_calloc(vae->mem, WF_MEM_MISC, stages, sizeof *d->caches);
    *state = &d->base;
    if (d->caches)
        return WF_OK;
    wan_end(state);
    return wf_fail_memory(err, "vae", stages * sizeof *d->caches);
}

static enum wf_status wan_decode(struct wf_vae_state *state, struct wf_tensor z,
                                 struct wf_tensor frames, struct wf_error *err)
{
    struct decode *d = (struct decode *)state;
    struct wf_tensor x = z;
    for (int i = 0; i < d->v->stage_count; i++)
        WF_TRY(run_stage(d, i, &x, err));
    if (!wf_tensor_same_dims(&x, &frames))
        return wf_fail(err, WF_FAILED, "vae: the decoder's frames are not of the expected size");
    d->position += z.dim[0];
    /* clamp to -1..1, then to 0..1 */
    const struct wf_tensor half = d->v->half;
    const struct wf_affine unit = {
        .x = rows(x), .y = rows(frames), .weight = half, .shift = half, .low = 0, .high = 1};
    const enum wf_status status = wf_affine(d->be, &unit);
    turn_over(d);
    return status;
}

static void wan_close(struct wf_vae *vae)
{
    struct wf_wan_vae *v = (struct wf_wan_vae *)vae;
    struct wf_backend *be = vae->be;
    be->ops.give(be, v->mean.data);
    be->ops.give(be, v->std.data);
    be->ops.give(be, v->half.data);
    wf_free(v->stages);
    wf_free(v);
}

static enum wf_status wan_open(struct wf_residency *res, struct wf_mem *mem, struct wf_vae **vae,
                               struct wf_error *err)
{
    struct wf_wan_vae *v = wf_calloc(mem, WF_MEM_MISC, 1, sizeof *v);
    if (!v)
        return wf_fail_memory(err, "vae", sizeof *v);
    v->base = (struct wf_vae){.driver = &wf_vae_wan, .be = wf_residency_backend(res), .mem = mem};
    v->res = res;
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
    .decode = wan_decode,
    .end = wan_end,
};
