/* y4m as it is read: its frames have a line of their own each, of any length, so they are looked
   for once at the start. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/file.h"
#include "io/video/source_driver.h"

enum { HEADER_BYTES = 4096, LINE_BYTES = 256 };

static const char magic[] = "YUV4MPEG2", frame_magic[] = "FRAME";

struct y4m {
    const char *path;
    int fd;
    struct wf_picture_format format;
    int64_t size, at; /* of the file; of the next frame */
    size_t frame_bytes;
    unsigned char *planes;
};

static bool y4m_takes(const char *path, const unsigned char *head, size_t bytes)
{
    return (bytes >= sizeof magic - 1 && memcmp(head, magic, sizeof magic - 1) == 0) ||
           wf_video_ends(path, ".y4m");
}

static enum wf_status refuse(const struct y4m *y, const char *what, struct wf_error *err)
{
    return wf_fail(err, WF_REFUSED, "%s: %s; give it a whole y4m file", y->path, what);
}

/* --- the header --- */

/* C420mpeg2, C422p10, Cmono12 and their kind. */
static bool read_layout(const char *word, struct wf_picture_format *f)
{
    static const struct {
        const char *name;
        enum wf_colours colours;
        int columns, rows;
        bool centred;
    } layouts[] = {{"420jpeg", WF_YUV, 1, 1, true},   {"420mpeg2", WF_YUV, 1, 1, false},
                   {"420paldv", WF_YUV, 1, 1, false}, {"420", WF_YUV, 1, 1, true},
                   {"422", WF_YUV, 1, 0, false},      {"444", WF_YUV, 0, 0, false},
                   {"411", WF_YUV, 2, 0, false},      {"mono", WF_GRAY, 0, 0, false}};
    for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++) {
        const size_t length = strlen(layouts[i].name);
        if (strncmp(word, layouts[i].name, length) != 0)
            continue;
        const char *rest = word + length;
        f->colours = layouts[i].colours;
        f->columns = layouts[i].columns;
        f->rows = layouts[i].rows;
        f->bits = 8;
        f->centred = layouts[i].centred && !*rest;
        if (!*rest)
            return true;
        char *end;
        const long bits = strtol(rest + (*rest == 'p'), &end, 10);
        f->bits = (int)bits;
        return !*end && bits > 8 && bits <= 16;
    }
    return false;
}

static bool read_number(const char *word, int *value)
{
    char *end;
    const long number = strtol(word, &end, 10);
    *value = (int)number;
    return end != word && !*end && number > 0 && number <= WF_PICTURE_SIDE;
}

static bool read_word(const char *word, struct wf_video_info *info)
{
    struct wf_picture_format *f = &info->format;
    switch (*word) {
    case 'W':
        return read_number(word + 1, &f->width);
    case 'H':
        return read_number(word + 1, &f->height);
    case 'F':
        if (sscanf(word + 1, "%9d:%9d", &info->fps_num, &info->fps_den) != 2)
            return false;
        if (info->fps_num < 1 || info->fps_den < 1)
            info->fps_num = info->fps_den = 0;
        return true;
    case 'C':
        return read_layout(word + 1, f);
    case 'X':
        if (strcmp(word, "XCOLORRANGE=FULL") == 0)
            f->full = true;
        return true;
    default: /* interlacing, the shape of a pixel, comments */
        return true;
    }
}

static enum wf_status read_header(struct y4m *y, struct wf_video_info *info, struct wf_error *err)
{
    char header[HEADER_BYTES + 1], *rest = header;
    const size_t bytes = y->size < HEADER_BYTES ? (size_t)y->size : HEADER_BYTES;
    WF_TRY(wf_video_read(y->fd, y->path, 0, header, bytes, err));
    header[bytes] = '\0';
    char *end = strchr(header, '\n');
    if (!end || strncmp(header, magic, sizeof magic - 1) != 0)
        return refuse(y, "does not begin as y4m does", err);
    *end = '\0';
    y->at = end + 1 - header;
    read_layout("420jpeg", &info->format); /* where nothing is said */
    for (char *word = strtok_r(header, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        if (!read_word(word, info))
            return wf_fail(err, WF_REFUSED,
                           "%s: '%.40s' in its header is not known; write it in another form",
                           y->path, word);
    }
    if (!info->format.width || !info->format.height)
        return refuse(y, "the header has no size", err);
    info->format.matrix = wf_picture_guess_matrix(info->format.width, info->format.height);
    y->format = info->format;
    return WF_OK;
}

/* --- the frames --- */

static size_t plane_bytes(const struct wf_picture_format *f, int plane)
{
    return (size_t)wf_picture_width(f, plane) * (size_t)wf_picture_height(f, plane) *
           (f->bits > 8 ? 2 : 1);
}

/* Where the samples of the frame at y->at begin. */
static enum wf_status find_samples(const struct y4m *y, int64_t *samples, struct wf_error *err)
{
    char line[LINE_BYTES];
    const int64_t left = y->size - y->at;
    const size_t bytes = left < LINE_BYTES ? (size_t)left : LINE_BYTES;
    WF_TRY(wf_video_read(y->fd, y->path, y->at, line, bytes, err));
    const char *end = memchr(line, '\n', bytes);
    const size_t length = sizeof frame_magic - 1;
    if (!end || (size_t)(end - line) < length || memcmp(line, frame_magic, length) != 0)
        return refuse(y, "something stands where a frame should begin", err);
    *samples = y->at + (end + 1 - line);
    if (y->size - *samples < (int64_t)y->frame_bytes)
        return refuse(y, "is cut short in its last frame", err);
    return WF_OK;
}

static enum wf_status count_frames(struct y4m *y, int64_t *frames, struct wf_error *err)
{
    const int64_t first = y->at;
    int64_t samples;
    for (*frames = 0; y->at < y->size; ++*frames) {
        WF_TRY(find_samples(y, &samples, err));
        y->at = samples + (int64_t)y->frame_bytes;
    }
    y->at = first;
    return WF_OK;
}

static void y4m_close(void *state)
{
    struct y4m *y = state;
    if (y->fd >= 0)
        close(y->fd);
    wf_free(y->planes);
    wf_free(y);
}

static enum wf_status open_file(struct y4m *y, struct wf_mem *mem, struct wf_video_info *info,
                                struct wf_error *err)
{
    uint64_t size;
    WF_TRY(wf_file_open(y->path, &y->fd, &size, err));
    y->size = (int64_t)size;
    WF_TRY(read_header(y, info, err));
    for (int plane = 0; plane < wf_picture_planes(&y->format); plane++)
        y->frame_bytes += plane_bytes(&y->format, plane);
    WF_TRY(count_frames(y, &info->frames, err));
    y->planes = wf_alloc(mem, WF_MEM_FRAMES, y->frame_bytes);
    return y->planes ? WF_OK : wf_fail_memory(err, "compare", y->frame_bytes);
}

static enum wf_status y4m_open(const char *path, struct wf_mem *mem, struct wf_video_info *info,
                               void **state, struct wf_error *err)
{
    *state = NULL;
    struct y4m *y = wf_calloc(mem, WF_MEM_MISC, 1, sizeof *y);
    if (!y)
        return wf_fail_memory(err, "compare", sizeof *y);
    y->path = path;
    y->fd = -1;
    const enum wf_status status = open_file(y, mem, info, err);
    if (status == WF_OK)
        *state = y;
    else
        y4m_close(y);
    return status;
}

static enum wf_status y4m_next(void *state, struct wf_picture *picture, struct wf_error *err)
{
    struct y4m *y = state;
    int64_t samples;
    WF_TRY(find_samples(y, &samples, err));
    WF_TRY(wf_video_read(y->fd, y->path, samples, y->planes, y->frame_bytes, err));
    y->at = samples + (int64_t)y->frame_bytes;
    const unsigned char *at = y->planes;
    for (int plane = 0; plane < wf_picture_planes(&y->format); plane++) {
        picture->plane[plane] = at;
        picture->stride[plane] =
            (ptrdiff_t)wf_picture_width(&y->format, plane) * (y->format.bits > 8 ? 2 : 1);
        at += plane_bytes(&y->format, plane);
    }
    return WF_OK;
}

const struct wf_video_driver wf_video_y4m = {
    .takes = y4m_takes, .open = y4m_open, .next = y4m_next, .close = y4m_close};
