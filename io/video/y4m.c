/* y4m: limited range; 4:2:0 with chroma sited left (as H.264 has it) or 4:4:4. The format cannot
   say its matrix, so it is the one that players assume of a picture of that size. */
#include <stdio.h>
#include <string.h>

#include "io/video/driver.h"
#include "io/video/yuv.h"

struct y4m {
    struct wf_output *output;
    size_t width, height, chroma_width, chroma_height;
    bool subsampled, has_header;
    const struct wf_yuv_matrix *matrix;
    char header[160];
    unsigned char *picture; /* "FRAME\n" and the three planes */
    size_t picture_bytes;
};

static const char frame_tag[] = "FRAME\n";
enum { TAG_BYTES = sizeof frame_tag - 1 };

static void convert(struct y4m *y4m, const unsigned char *rgb)
{
    const size_t share = y4m->subsampled ? 2 : 1, width = y4m->chroma_width;
    struct wf_yuv_picture picture = {.matrix = y4m->matrix,
                                     .width = y4m->width,
                                     .height = y4m->height,
                                     .columns = share,
                                     .rows = share,
                                     .bits = 8};
    unsigned char *y_plane = y4m->picture + TAG_BYTES;
    unsigned char *cb = y_plane + y4m->width * y4m->height, *cr = cb + width * y4m->chroma_height;
    picture.component[0] = (struct wf_yuv_component){y_plane, (ptrdiff_t)y4m->width, 1};
    picture.component[1] = (struct wf_yuv_component){cb, (ptrdiff_t)width, 1};
    picture.component[2] = (struct wf_yuv_component){cr, (ptrdiff_t)width, 1};
    wf_yuv_from_rgb(&picture, rgb);
}

/* mpv's rule (mp_csp_guess_colorspace). ffmpeg assumes BT.601 whatever the size. */
static const struct wf_yuv_matrix *matrix_of(int width, int height)
{
    return width >= 1280 || height > 576 ? &wf_yuv_bt709 : &wf_yuv_bt601;
}

static const char *y4m_hint(const void *state)
{
    const struct y4m *y4m = state;
    return y4m->matrix == &wf_yuv_bt709
               ? "y4m of this size is in BT.709, as players assume; ffmpeg does not: give it "
                 "-colorspace bt709 before -i"
               : NULL;
}

static void y4m_close(void *state)
{
    struct y4m *y4m = state;
    wf_free(y4m->picture);
    wf_free(y4m);
}

static enum wf_status y4m_open(const struct wf_sink_driver *driver,
                               const struct wf_sink_config *config, struct wf_output *output,
                               struct wf_mem *mem, void **state, struct wf_error *err)
{
    *state = NULL;
    struct y4m *y4m = wf_calloc(mem, WF_MEM_MISC, 1, sizeof *y4m);
    if (!y4m)
        return wf_fail_memory(err, "output", sizeof *y4m);
    y4m->output = output;
    y4m->subsampled = !config->pix_fmt || strcmp(config->pix_fmt, driver->pix_fmts[0]) == 0;
    y4m->width = (size_t)config->width;
    y4m->height = (size_t)config->height;
    y4m->matrix = matrix_of(config->width, config->height);
    y4m->chroma_width = y4m->subsampled ? (y4m->width + 1) / 2 : y4m->width;
    y4m->chroma_height = y4m->subsampled ? (y4m->height + 1) / 2 : y4m->height;
    y4m->picture_bytes =
        TAG_BYTES + y4m->width * y4m->height + 2 * y4m->chroma_width * y4m->chroma_height;
    snprintf(y4m->header, sizeof y4m->header,
             "YUV4MPEG2 W%d H%d F%d:%d Ip A1:1 %s XCOLORRANGE=LIMITED\n", config->width,
             config->height, config->fps_num, config->fps_den,
             y4m->subsampled ? "C420mpeg2 XYSCSS=420MPEG2" : "C444 XYSCSS=444");
    y4m->picture = wf_alloc(mem, WF_MEM_FRAMES, y4m->picture_bytes);
    if (!y4m->picture) {
        const size_t bytes = y4m->picture_bytes;
        y4m_close(y4m);
        return wf_fail_memory(err, "output", bytes);
    }
    memcpy(y4m->picture, frame_tag, TAG_BYTES);
    *state = y4m;
    return WF_OK;
}

static enum wf_status y4m_write(void *state, const void *frame, struct wf_error *err)
{
    struct y4m *y4m = state;
    if (!y4m->has_header)
        WF_TRY(wf_output_write(y4m->output, y4m->header, strlen(y4m->header), err));
    y4m->has_header = true;
    convert(y4m, frame);
    return wf_output_write(y4m->output, y4m->picture, y4m->picture_bytes, err);
}

static enum wf_status y4m_finish(void *state, struct wf_error *err)
{
    (void)state, (void)err;
    return WF_OK;
}

static void y4m_count(const void *state, struct wf_sink_stats *stats)
{
    const struct y4m *y4m = state;
    strcpy(stats->pix_fmt, y4m->subsampled ? "yuv420p" : "yuv444p");
}

const struct wf_sink_driver wf_sink_y4m = {
    .name = "y4m",
    .extensions = "y4m",
    .form = WF_SINK_RGB24,
    .pix_fmts = {"yuv420p", "yuv444p"},
    .open = y4m_open,
    .write = y4m_write,
    .finish = y4m_finish,
    .count = y4m_count,
    .hint = y4m_hint,
    .close = y4m_close,
};
