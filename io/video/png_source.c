/* Pictures of a series, frame-%05d.png, numbered from 0 or 1; or one alone, which is one frame. */
#include <string.h>
#include <unistd.h>

#include "io/file.h"
#include "io/image.h"
#include "io/pattern.h"
#include "io/video/source_driver.h"

struct series {
    struct wf_mem *mem;
    const char *path;
    struct wf_pattern pattern; /* without text: one picture */
    char *name;                /* room for the pattern with a number in it */
    int64_t next;              /* number of the next picture */
    int width, height;
    struct wf_image image;
    unsigned char *planes; /* of it */
};

static bool png_takes(const char *path, const unsigned char *head, size_t bytes)
{
    (void)head, (void)bytes;
    return wf_video_ends(path, ".png");
}

static const char *name_of(struct series *s, int64_t number)
{
    if (!s->pattern.text)
        return s->path;
    wf_pattern_name(&s->pattern, number, s->name);
    return s->name;
}

static enum wf_status find_pictures(struct series *s, int64_t *frames, struct wf_error *err)
{
    *frames = 1;
    if (!strchr(s->path + wf_path_folder(s->path), '%'))
        return WF_OK;
    WF_TRY(wf_pattern_parse(s->path, WF_PATTERN_FRAMES, s->mem, &s->pattern, err));
    const size_t room = wf_pattern_room(&s->pattern);
    s->name = wf_alloc(s->mem, WF_MEM_MISC, room);
    if (!s->name)
        return wf_fail_memory(err, "compare", room);
    s->next = access(name_of(s, 0), F_OK) == 0 ? 0 : 1;
    while (access(name_of(s, s->next + *frames), F_OK) == 0)
        ++*frames;
    return WF_OK;
}

static void png_close(void *state)
{
    struct series *s = state;
    wf_image_close(&s->image);
    wf_free(s->planes);
    wf_free(s->pattern.text);
    wf_free(s->name);
    wf_free(s);
}

static enum wf_status open_series(struct series *s, struct wf_video_info *info,
                                  struct wf_error *err)
{
    WF_TRY(find_pictures(s, &info->frames, err));
    WF_TRY(wf_image_read(name_of(s, s->next), s->mem, &s->image, err));
    s->width = info->format.width = s->image.width;
    s->height = info->format.height = s->image.height;
    info->format.colours = WF_RGB;
    info->format.full = true;
    info->format.bits = 8;
    const size_t bytes = (size_t)s->width * (size_t)s->height * WF_PLANES;
    s->planes = wf_alloc(s->mem, WF_MEM_FRAMES, bytes);
    return s->planes ? WF_OK : wf_fail_memory(err, "compare", bytes);
}

static enum wf_status png_open(const char *path, struct wf_mem *mem, struct wf_video_info *info,
                               void **state, struct wf_error *err)
{
    *state = NULL;
    struct series *s = wf_calloc(mem, WF_MEM_MISC, 1, sizeof *s);
    if (!s)
        return wf_fail_memory(err, "compare", sizeof *s);
    s->mem = mem;
    s->path = path;
    const enum wf_status status = open_series(s, info, err);
    if (status == WF_OK)
        *state = s;
    else
        png_close(s);
    return status;
}

static void split(const struct series *s, struct wf_picture *picture)
{
    const size_t pixels = (size_t)s->width * (size_t)s->height;
    for (int plane = 0; plane < WF_PLANES; plane++) {
        unsigned char *to = s->planes + (size_t)plane * pixels;
        for (size_t i = 0; i < pixels; i++)
            to[i] = s->image.rgb[WF_PLANES * i + (size_t)plane];
        picture->plane[plane] = to;
        picture->stride[plane] = s->width;
    }
}

static enum wf_status png_next(void *state, struct wf_picture *picture, struct wf_error *err)
{
    struct series *s = state;
    const char *name = name_of(s, s->next);
    if (!s->image.rgb) /* else the first, that opening has read */
        WF_TRY(wf_image_read(name, s->mem, &s->image, err));
    if (s->image.width != s->width || s->image.height != s->height)
        return wf_fail(err, WF_FAILED,
                       "%s: is %dx%d, the first picture %dx%d; give pictures of one size", name,
                       s->image.width, s->image.height, s->width, s->height);
    split(s, picture);
    wf_image_close(&s->image);
    s->next++;
    return WF_OK;
}

const struct wf_video_driver wf_video_png = {
    .takes = png_takes, .open = png_open, .next = png_next, .close = png_close};
