/* safetensors: the tensor `frames`, [T,H,W,3], 0..1, rounded to 8 bits as the sinks do. */
#include <math.h>

#include "io/video/source_driver.h"
#include "io/weights/safetensors.h"

struct tensor {
    const char *path;
    struct wf_st_file *file;
    const struct wf_st_tensor *frames;
    int64_t next; /* frame */
    size_t pixels;
    float *values;         /* of a frame */
    unsigned char *planes; /* likewise */
};

static bool tensor_takes(const char *path, const unsigned char *head, size_t bytes)
{
    (void)head, (void)bytes;
    return wf_video_ends(path, ".safetensors");
}

static void tensor_close(void *state)
{
    struct tensor *t = state;
    wf_free(t->values);
    wf_free(t->planes);
    wf_st_close(&t->file);
    wf_free(t);
}

static enum wf_status check(struct tensor *t, struct wf_error *err)
{
    const struct wf_st_tensor *f = t->frames = wf_st_find(t->file, "frames");
    if (!f)
        return wf_fail(err, WF_REFUSED,
                       "%s: has no tensor frames; give it what weft writes as safetensors",
                       t->path);
    if (f->rank != 4 || f->dim[3] != WF_PLANES || f->dim[1] < 1 || f->dim[2] < 1 ||
        f->dim[1] > WF_PICTURE_SIDE || f->dim[2] > WF_PICTURE_SIDE)
        return wf_fail(err, WF_REFUSED,
                       "%s: tensor frames is not [T,H,W,3] of at most %d pixels a side; give it "
                       "what weft writes",
                       t->path, WF_PICTURE_SIDE);
    return WF_OK;
}

static enum wf_status open_file(struct tensor *t, struct wf_mem *mem, struct wf_video_info *info,
                                struct wf_error *err)
{
    WF_TRY(wf_st_open(t->path, mem, &t->file, err));
    WF_TRY(check(t, err));
    info->frames = t->frames->dim[0];
    info->format = (struct wf_picture_format){.width = (int)t->frames->dim[2],
                                              .height = (int)t->frames->dim[1],
                                              .colours = WF_RGB,
                                              .full = true,
                                              .bits = 8};
    t->pixels = (size_t)t->frames->dim[1] * (size_t)t->frames->dim[2];
    const size_t samples = t->pixels * WF_PLANES;
    t->values = wf_alloc(mem, WF_MEM_FRAMES, samples * sizeof *t->values);
    t->planes = wf_alloc(mem, WF_MEM_FRAMES, samples);
    return t->values && t->planes ? WF_OK
                                  : wf_fail_memory(err, "compare", samples * sizeof *t->values);
}

static enum wf_status tensor_open(const char *path, struct wf_mem *mem, struct wf_video_info *info,
                                  void **state, struct wf_error *err)
{
    *state = NULL;
    struct tensor *t = wf_calloc(mem, WF_MEM_MISC, 1, sizeof *t);
    if (!t)
        return wf_fail_memory(err, "compare", sizeof *t);
    t->path = path;
    const enum wf_status status = open_file(t, mem, info, err);
    if (status == WF_OK)
        *state = t;
    else
        tensor_close(t);
    return status;
}

static enum wf_status tensor_next(void *state, struct wf_picture *picture, struct wf_error *err)
{
    struct tensor *t = state;
    const size_t samples = t->pixels * WF_PLANES;
    WF_TRY(wf_source_f32(&t->frames->source, (uint64_t)t->next * samples, samples, t->values, err));
    for (size_t i = 0; i < samples; i++) {
        const float y = t->values[i];
        if (!isfinite(y))
            return wf_fail(err, WF_FAILED,
                           "%s: frame %lld holds a value that is no number; make the clip again",
                           t->path, (long long)t->next);
        t->planes[i % WF_PLANES * t->pixels + i / WF_PLANES] =
            (unsigned char)lrintf(255.0f * (y > 0.0f ? y < 1.0f ? y : 1.0f : 0.0f));
    }
    for (size_t plane = 0; plane < WF_PLANES; plane++) {
        picture->plane[plane] = t->planes + plane * t->pixels;
        picture->stride[plane] = (ptrdiff_t)t->frames->dim[2];
    }
    t->next++;
    return WF_OK;
}

const struct wf_video_driver wf_video_safetensors = {
    .takes = tensor_takes, .open = tensor_open, .next = tensor_next, .close = tensor_close};
