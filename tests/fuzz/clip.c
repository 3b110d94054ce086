#include "tests/fuzz/clip.h"

#include "io/video/source.h"

enum { MOST_FRAMES = 4, MOST_PIXELS = 1 << 18 };

/* Every sample, so that a plane that is not all there is noticed. */
static unsigned long sum_of(const struct wf_picture_format *f, const struct wf_picture *picture)
{
    static uint16_t line[WF_PICTURE_SIDE];
    unsigned long sum = 0;
    for (int plane = 0; plane < wf_picture_planes(f); plane++) {
        for (int y = 0; y < wf_picture_height(f, plane); y++) {
            wf_picture_line(f, picture, plane, y, line);
            for (int x = 0; x < wf_picture_width(f, plane); x++)
                sum += line[x];
        }
    }
    return sum;
}

static void read_frames(struct fuzz *f, struct wf_video *video,
                        const struct wf_picture_format *format)
{
    static volatile unsigned long sum;
    struct wf_picture picture;
    for (int i = 0; i < MOST_FRAMES; i++) {
        const enum wf_status status = wf_video_next(video, &picture, &f->err);
        FUZZ_CHECK(status == WF_OK || (status == WF_FAILED && f->err.text[0]));
        if (status != WF_OK || !picture.plane[0])
            return;
        sum += sum_of(format, &picture);
    }
}

enum wf_status fuzz_clip(struct fuzz *f, const char *path)
{
    struct wf_video *video;
    WF_TRY(wf_video_open(path, f->mem, &video, &f->err));
    const struct wf_video_info *info = wf_video_info(video);
    const struct wf_picture_format *format = &info->format;
    FUZZ_CHECK(format->width > 0 && format->width <= WF_PICTURE_SIDE && format->height > 0 &&
               format->height <= WF_PICTURE_SIDE);
    FUZZ_CHECK(format->bits >= 8 && format->bits <= 16 && info->frames > 0);
    FUZZ_CHECK(!info->fps_num == !info->fps_den && info->fps_num >= 0 && info->fps_den >= 0);
    if ((int64_t)format->width * format->height <= MOST_PIXELS)
        read_frames(f, video, format);
    wf_video_close(&video);
    return WF_OK;
}
