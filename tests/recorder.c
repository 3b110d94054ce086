#include "tests/recorder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "temporal/wan_transformer.h"
#include "tests/published.h"
#include "vae/decode.h"

static struct recorded *record_of; /* what the slots add to */

/* --- the slots --- */

static void note_conv(const struct wf_graph_conv *conv)
{
    struct recorded *r = record_of;
    int i = 0;
    while (i < r->convs && memcmp(&r->conv[i], conv, sizeof *conv) != 0)
        i++;
    assert_true(i < RECORDED_CONVS);
    memcpy(&r->conv[i], conv, sizeof *conv);
    r->convs += i == r->convs;
}

static int64_t padded(int64_t channels)
{
    return (channels + 7) / 8 * 8;
}

static enum wf_status note_wf_conv(struct wf_backend *be, const struct wf_conv *a)
{
    struct wf_graph_conv c;
    if (wf_operand_type(be, a->w) != WF_BF16)
        return WF_OK;
    memset(&c, 0, sizeof c); /* compared byte by byte */
    for (int i = 0; i < 4; i++) {
        c.x[i] = a->x.dim[i];
        c.y[i] = i < 3 ? a->y.dim[i] : padded(a->y.dim[i]);
    }
    for (int i = 0; i < 3; i++)
        c.kernel[i] = a->w->dim[2 + i];
    for (int i = 0; i < 2; i++) {
        c.pad_h[i] = a->pad_h[i];
        c.pad_w[i] = a->pad_w[i];
    }
    c.x_line = a->x.stride[1];
    c.x_frame = a->x.stride[0];
    c.pad_front = a->pad_front;
    c.pad_back = a->pad_back;
    c.stride_t = a->stride_t;
    c.stride_hw = a->stride_hw;
    c.y_type = WF_BF16;
    c.has_bias = a->bias != NULL;
    note_conv(&c);
    return WF_OK;
}

static enum wf_status note_wf_upconv(struct wf_backend *be, const struct wf_upconv *a)
{
    struct wf_graph_conv c;
    if (wf_operand_type(be, a->w) != WF_BF16)
        return WF_OK;
    memset(&c, 0, sizeof c);
    for (int i = 0; i < 4; i++) {
        c.x[i] = a->x.dim[i];
        c.y[i] = i == 0 ? a->y.dim[0] : i < 3 ? a->y.dim[i] / 2 + 1 : 4 * a->y.dim[3];
    }
    c.x_line = a->x.stride[1];
    c.x_frame = a->x.stride[0];
    c.kernel[0] = c.stride_t = c.stride_hw = 1;
    c.kernel[1] = c.kernel[2] = 2;
    for (int i = 0; i < 2; i++) {
        c.pad_h[i] = a->pad_h[i];
        c.pad_w[i] = a->pad_w[i];
    }
    c.y_type = WF_BF16;
    note_conv(&c);
    return WF_OK;
}

static enum wf_status note_wf_attention(struct wf_backend *be, const struct wf_attention *a)
{
    struct recorded *r = record_of;
    struct wf_graph_attention s;
    (void)be;
    if (a->q.dtype != WF_BF16)
        return WF_OK;
    memset(&s, 0, sizeof s);
    s.batches = a->q.dim[0];
    s.queries = a->q.dim[1];
    s.heads = a->q.dim[2];
    s.width = a->q.dim[3];
    s.keys = a->k.dim[1];
    s.value_width = a->v.dim[3];
    memcpy(s.q_stride, a->q.stride, sizeof s.q_stride);
    memcpy(s.k_stride, a->k.stride, sizeof s.k_stride);
    memcpy(s.v_stride, a->v.stride, sizeof s.v_stride);
    memcpy(s.y_stride, a->y.stride, sizeof s.y_stride);
    assert_int_equal(a->y.dtype, WF_BF16);
    s.has_key_bias = a->key_bias.data != NULL;
    s.scale = a->scale;
    int i = 0;
    while (i < r->attentions && memcmp(&r->attention[i], &s, sizeof s) != 0)
        i++;
    assert_true(i < RECORDED_ATTENTIONS);
    memcpy(&r->attention[i], &s, sizeof s);
    r->attentions += i == r->attentions;
    return WF_OK;
}

/* --- the jobs --- */

struct stage {
    struct wf_mem *mem;
    struct wf_backend *like, *be; /* be plans in the place of like */
    struct wf_checkpoint *ckpt;
    struct wf_residency *weights;
    struct wf_arena arena;
    struct wf_error err;
};

static void good(const struct stage *s, enum wf_status status)
{
    if (status != WF_OK)
        fail_msg("%s", s->err.text);
}

static void open_stage(struct stage *s, const char *model, const char *component)
{
    char path[512];
    *s = (struct stage){.mem = wf_mem_open()};
    assert_non_null(s->mem);
    published_path(model, component, path);
    good(s, wf_backend_open("ref", "bf16", 0, s->mem, NULL, &s->err, &s->like));
    good(s, wf_backend_open_plan(s->like, s->mem, NULL, &s->err, &s->be));
    good(s, wf_checkpoint_open(path, "diffusion_pytorch_model", NULL, s->mem, &s->ckpt, &s->err));
    good(s, wf_residency_open((struct wf_policy){WF_OFFLOAD_NONE, 0}, s->ckpt, s->be, s->mem,
                              &s->weights, &s->err));
    wf_arena_init(&s->arena, wf_backend_source(s->be));
    s->be->ops.conv = note_wf_conv;
    s->be->ops.upconv = note_wf_upconv;
    s->be->ops.attention = note_wf_attention;
}

static void close_stage(struct stage *s)
{
    wf_arena_close(&s->arena);
    wf_checkpoint_close(&s->ckpt);
    wf_backend_close(&s->be);
    wf_backend_close(&s->like);
    assert_int_equal(wf_mem_live_all(s->mem), 0);
    wf_mem_close(&s->mem);
}

static struct wf_tensor fresh(struct stage *s, int rank, const int64_t *dims)
{
    struct wf_tensor t;
    good(s, wf_tensor_new(&s->arena, WF_F32, &t, &s->err, rank, dims));
    return t;
}

static void record_denoiser(const char *model, const struct recorder_clip *clip)
{
    struct stage s;
    struct wf_wan *wan = NULL;
    struct wf_wan_run *run = NULL;
    const int64_t rows[WF_WAN_HALVES] = {31, 512}, all = 512;
    struct wf_tensor velocity[WF_WAN_HALVES];
    open_stage(&s, model, "transformer");
    good(&s, wf_wan_open(s.weights, s.mem, &wan, &s.err));
    good(&s, wf_wan_run_open(wan, &run, &s.err));
    const struct wf_wan_config *config = wf_wan_get_config(wan);
    const struct wf_tensor latents =
        fresh(&s, WF_DIMS(clip->frames, clip->height, clip->width, config->in_channels));
    for (int half = 0; half < WF_WAN_HALVES; half++) {
        const struct wf_tensor text = fresh(&s, WF_DIMS(rows[half], config->text_dim));
        velocity[half] = fresh(&s, 4, latents.dim);
        good(&s, wf_wan_set_text(run, half, text, all, &s.arena, &s.err));
    }
    good(&s, wf_wan_forward(run, latents, 500, WF_WAN_HALVES, velocity, &s.arena, &s.err));
    wf_wan_run_close(&run);
    wf_residency_close(&s.weights);
    wf_wan_close(&wan);
    close_stage(&s);
}

static void record_decoder(const char *model, const struct recorder_clip *clip)
{
    struct stage s;
    struct wf_vae *vae = NULL;
    struct wf_decoder *dec = NULL;
    const struct wf_decode_settings settings = {.chunk_size = clip->chunk_size};
    const float *frame;
    open_stage(&s, model, "vae");
    good(&s, wf_vae_open(s.weights, s.mem, &vae, &s.err));
    const struct wf_tensor latents =
        fresh(&s, WF_DIMS(clip->frames, clip->height, clip->width, vae->geometry.channels));
    good(&s, wf_decoder_open(vae, latents, &settings, 0, &dec, &s.err));
    do
        good(&s, wf_decoder_next(dec, &frame, &s.err));
    while (frame);
    wf_decoder_close(&dec);
    wf_residency_close(&s.weights);
    wf_vae_close(&vae);
    close_stage(&s);
}

void record(struct recorded *recorded, const char *model, const struct recorder_clip *clip)
{
    record_of = recorded;
    record_denoiser(model, clip);
    record_decoder(model, clip);
    record_of = NULL;
}
