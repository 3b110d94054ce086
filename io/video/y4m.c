/* y4m: BT.709, limited range; 4:2:0 with chroma sited left (as H.264 has it) or 4:4:4. */
#include <stdio.h>
#include <string.h>

#include "io/video/driver.h"

struct y4m {
    struct wf_output *output;
    size_t width, height, chroma_width, chroma_height;
    bool subsampled, has_header;
    char header[160];
    unsigned char *picture; /* "FRAME\n" and the three planes */
    size_t picture_bytes;
};

static const char frame_tag[] = "FRAME\n";
enum { TAG_BYTES = sizeof frame_tag - 1 };

/* BT.709 as fractions of whole numbers, so that rounding is exact. With Y' = .2126 R + .7152 G +
   .0722 B: Y = 16 + 219 Y' / 255, Cb = 128 + 224 (B - Y') / (255 * 1.8556), Cr = 128 +
   224 (R - Y') / (255 * 1.5748). */
static unsigned char luma(const unsigned char *rgb)
{
    const uint32_t sum = 2126u * rgb[0] + 7152u * rgb[1] + 722u * rgb[2];
    return (unsigned char)(16u + (219u * sum + 1275000u) / 2550000u);
}

/* Of R, G, B that are sums of weight 8. 224 / (255 * 18556) = 56 / 1182945 and 224 / (255 * 15748)
   = 56 / 1003935; everything stays below 2^32. */
static void chroma(unsigned char *cb, unsigned char *cr, const uint32_t rgb[3])
{
    const uint32_t cb_unit = 8u * 1182945u, cr_unit = 8u * 1003935u;
    const uint32_t cb_up = 56u * 9278u * rgb[2], cb_down = 56u * (2126u * rgb[0] + 7152u * rgb[1]);
    const uint32_t cr_up = 56u * 7874u * rgb[0], cr_down = 56u * (7152u * rgb[1] + 722u * rgb[2]);
    *cb = (unsigned char)((128u * cb_unit + cb_unit / 2 + cb_up - cb_down) / cb_unit);
    *cr = (unsigned char)((128u * cr_unit + cr_unit / 2 + cr_up - cr_down) / cr_unit);
}

/* The weights 1 2 1 around column 2x and 1 1 over rows 2y and 2y + 1: where the sample is sited. */
static void sum_left_sited(uint32_t sum[3], const unsigned char *upper, const unsigned char *lower,
                           size_t x, size_t width)
{
    const size_t middle = 2 * x, left = middle ? middle - 1 : 0;
    const size_t right = middle + 1 < width ? middle + 1 : middle;
    for (size_t c = 0; c < 3; c++) {
        sum[c] = (uint32_t)upper[3 * left + c] + 2u * upper[3 * middle + c] + upper[3 * right + c];
        sum[c] += (uint32_t)lower[3 * left + c] + 2u * lower[3 * middle + c] + lower[3 * right + c];
    }
}

static void chroma_line_420(const struct y4m *y4m, unsigned char *cb, unsigned char *cr,
                            const unsigned char *rgb, size_t y)
{
    const size_t stride = 3 * y4m->width, below = 2 * y + 1 < y4m->height ? 2 * y + 1 : 2 * y;
    for (size_t x = 0; x < y4m->chroma_width; x++) {
        uint32_t sum[3];
        sum_left_sited(sum, rgb + 2 * y * stride, rgb + below * stride, x, y4m->width);
        chroma(cb + x, cr + x, sum);
    }
}

static void chroma_line_444(const struct y4m *y4m, unsigned char *cb, unsigned char *cr,
                            const unsigned char *rgb, size_t y)
{
    rgb += 3 * y4m->width * y;
    for (size_t x = 0; x < y4m->width; x++) {
        const uint32_t sum[3] = {8u * rgb[3 * x], 8u * rgb[3 * x + 1], 8u * rgb[3 * x + 2]};
        chroma(cb + x, cr + x, sum);
    }
}

static void convert(struct y4m *y4m, const unsigned char *rgb)
{
    const size_t pixels = y4m->width * y4m->height;
    unsigned char *y_plane = y4m->picture + TAG_BYTES;
    unsigned char *cb = y_plane + pixels, *cr = cb + y4m->chroma_width * y4m->chroma_height;
    for (size_t i = 0; i < pixels; i++)
        y_plane[i] = luma(rgb + 3 * i);
    for (size_t y = 0; y < y4m->chroma_height; y++) {
        const size_t at = y * y4m->chroma_width;
        if (y4m->subsampled)
            chroma_line_420(y4m, cb + at, cr + at, rgb, y);
        else
            chroma_line_444(y4m, cb + at, cr + at, rgb, y);
    }
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
    .close = y4m_close,
};
