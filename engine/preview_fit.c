#include "engine/preview_fit.h"

#include <string.h>

enum { FIT_CELLS = 24, FIT_FRAMES = 3 }; /* of the window that is decoded, at most */

/* What of the guess is decoded: a window in the middle of some frames. */
struct sample {
    int64_t dims[4]; /* [F,h,w,C] */
    int64_t top, left;
};

static struct sample choose_sample(const int64_t dims[4])
{
    struct sample s = {.dims = {dims[0] < FIT_FRAMES ? dims[0] : FIT_FRAMES,
                                dims[1] < FIT_CELLS ? dims[1] : FIT_CELLS,
                                dims[2] < FIT_CELLS ? dims[2] : FIT_CELLS, dims[3]}};
    s.top = (dims[1] - s.dims[1]) / 2;
    s.left = (dims[2] - s.dims[2]) / 2;
    return s;
}

static void copy_sample(const int64_t dims[4], const float *guess, const struct sample *s,
                        float *to)
{
    const int64_t line = s->dims[2] * dims[3];
    for (int64_t i = 0; i < s->dims[0]; i++) {
        const int64_t t = wf_preview_nth(i, s->dims[0], dims[0]);
        for (int64_t y = 0; y < s->dims[1]; y++, to += line)
            memcpy(to, guess + ((t * dims[1] + s->top + y) * dims[2] + s->left) * dims[3],
                   (size_t)line * sizeof *to);
    }
}

/* The mean of the pixels of a cell, in a frame that is `columns` cells wide. */
static void cell_colour(const float *frame, int64_t columns, int64_t side, int64_t row,
                        int64_t column, double rgb[3])
{
    rgb[0] = rgb[1] = rgb[2] = 0;
    for (int64_t y = 0; y < side; y++) {
        const float *pixel = frame + ((row * side + y) * columns + column) * side * 3;
        for (int64_t i = 0; i < side * 3; i++)
            rgb[i % 3] += (double)pixel[i] / (double)(side * side);
    }
}

/* A frame, and the frame of latents [h,w,C] that it is of. */
static void learn(struct wf_colours *colours, const struct sample *s, const float *latents,
                  const float *frame, int64_t side)
{
    double rgb[3];
    for (int64_t row = 0; row < s->dims[1]; row++) {
        for (int64_t column = 0; column < s->dims[2]; column++, latents += s->dims[3]) {
            cell_colour(frame, s->dims[2], side, row, column, rgb);
            wf_colours_add(colours, latents, rgb);
        }
    }
}

static enum wf_status learn_all(const struct wf_vae *vae, const struct sample *s,
                                const float *values, struct wf_decoder *decoder,
                                struct wf_colours *colours, struct wf_error *err)
{
    const struct wf_vae_geometry *g = &vae->geometry;
    const float *frame;
    int64_t from = 0;
    for (int64_t i = 0;; i++) {
        WF_TRY(wf_decoder_next(decoder, &frame, err));
        if (!frame)
            return WF_OK;
        from += i == wf_vae_frames(vae, from + 1, true);
        if (!vae->be->is_plan)
            learn(colours, s, values + from * s->dims[1] * s->dims[2] * s->dims[3], frame,
                  g->spatial);
    }
}

/* latents: on the VAE's backend; values: the same on the host. */
static enum wf_status decode_sample(struct weft_job *job, const struct sample *s,
                                    struct wf_tensor latents, const float *values,
                                    struct wf_colours *colours, struct wf_error *err)
{
    struct wf_vae *vae = job->model->vae;
    struct wf_decode_settings settings = {.chunk_overlap = -1};
    struct wf_decoder *decoder;
    WF_TRY(wf_upload(vae->be, latents, values));
    WF_TRY(wf_decode_settle(vae, s->dims, &settings, err));
    WF_TRY(wf_decoder_open(vae, latents, &settings, 0, &decoder, err));
    const enum wf_status status = learn_all(vae, s, values, decoder, colours, err);
    wf_decoder_close(&decoder);
    wf_model_stage_end(job->model, WEFT_STAGE_DECODE);
    return status;
}

static enum wf_status place_sample(struct weft_job *job, const struct sample *s,
                                   const float *values, struct wf_colours *colours,
                                   struct wf_error *err)
{
    struct wf_backend *be = job->model->vae->be;
    struct wf_tensor latents = wf_tensor_of(NULL, WF_F32, 4, s->dims);
    latents.data = be->ops.take(be, WF_MEM_CACHE, wf_tensor_bytes(&latents));
    if (!latents.data)
        return wf_fail_memory(err, "preview", wf_tensor_bytes(&latents));
    const enum wf_status status = decode_sample(job, s, latents, values, colours, err);
    be->ops.give(be, latents.data);
    return status;
}

enum wf_status wf_preview_examples(struct weft_job *job, const float *guess,
                                   struct wf_colours *colours, struct wf_error *err)
{
    const struct sample s = choose_sample(job->dims);
    const struct wf_tensor shape = wf_tensor_of(NULL, WF_F32, 4, s.dims);
    float *values = wf_alloc(job->model->engine->mem, WF_MEM_MISC, wf_tensor_bytes(&shape));
    if (!values)
        return wf_fail_memory(err, "preview", wf_tensor_bytes(&shape));
    if (!job->be->is_plan)
        copy_sample(job->dims, guess, &s, values);
    const enum wf_status status = place_sample(job, &s, values, colours, err);
    wf_free(values);
    return status;
}
