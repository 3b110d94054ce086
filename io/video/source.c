#include "io/video/source.h"

#include <errno.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "io/file.h"
#include "io/video/source_driver.h"

enum { HEAD_BYTES = 16 };

static const struct wf_video_driver *const drivers[] = {
    &wf_video_y4m,
    &wf_video_safetensors,
    &wf_video_png,
#ifdef WEFT_HAVE_FFMPEG
    &wf_video_av,
#endif
};

struct wf_video {
    const struct wf_video_driver *driver;
    void *state; /* the driver's */
    char *path;
    struct wf_video_info info;
    int64_t given; /* frames */
};

bool wf_video_ends(const char *path, const char *ending)
{
    const size_t length = strlen(path), tail = strlen(ending);
    return length > tail && strcasecmp(path + length - tail, ending) == 0;
}

enum wf_status wf_video_read(int fd, const char *path, int64_t offset, void *to, size_t bytes,
                             struct wf_error *err)
{
    for (size_t done = 0; done < bytes;) {
        const ssize_t n =
            pread(fd, (char *)to + done, bytes - done, (off_t)(offset + (int64_t)done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return wf_fail(err, WF_FAILED, "%s: %s; compare again when nothing writes to it", path,
                           n < 0 ? strerror(errno) : "became shorter while it was read");
        done += (size_t)n;
    }
    return WF_OK;
}

/* What cannot be read has no head: its driver says so. */
static size_t read_head(const char *path, unsigned char head[HEAD_BYTES])
{
    int fd;
    uint64_t size;
    if (wf_file_open(path, &fd, &size, NULL) != WF_OK)
        return 0;
    const ssize_t n = pread(fd, head, HEAD_BYTES, 0);
    close(fd);
    return n > 0 ? (size_t)n : 0;
}

static enum wf_status find_driver(struct wf_video *v, struct wf_error *err)
{
    unsigned char head[HEAD_BYTES];
    const size_t bytes = read_head(v->path, head);
    for (size_t i = 0; i < sizeof drivers / sizeof *drivers; i++) {
        if (drivers[i]->takes(v->path, head, bytes)) {
            v->driver = drivers[i];
            return WF_OK;
        }
    }
    int fd;
    uint64_t size;
    WF_TRY(wf_file_open(v->path, &fd, &size, err));
    close(fd);
    return wf_fail(err, WF_REFUSED,
                   "%s: is no y4m, png or safetensors, and this build has no FFmpeg to read "
                   "anything else; build it with FFmpeg",
                   v->path);
}

static enum wf_status open_video(struct wf_video *v, struct wf_mem *mem, struct wf_error *err)
{
    WF_TRY(find_driver(v, err));
    WF_TRY(v->driver->open(v->path, mem, &v->info, &v->state, err));
    const struct wf_picture_format *f = &v->info.format;
    if (f->width > WF_PICTURE_SIDE || f->height > WF_PICTURE_SIDE)
        return wf_fail(err, WF_REFUSED, "%s: %dx%d pixels are too many; compare smaller clips",
                       v->path, f->width, f->height);
    if (v->info.frames < 1)
        return wf_fail(err, WF_REFUSED, "%s: holds no frame; give it a clip", v->path);
    return WF_OK;
}

enum wf_status wf_video_open(const char *path, struct wf_mem *mem, struct wf_video **video,
                             struct wf_error *err)
{
    *video = NULL;
    struct wf_video *v = wf_calloc(mem, WF_MEM_MISC, 1, sizeof *v);
    if (!v)
        return wf_fail_memory(err, "compare", sizeof *v);
    v->path = wf_strdup(mem, path);
    const enum wf_status status =
        v->path ? open_video(v, mem, err) : wf_fail_memory(err, "compare", strlen(path) + 1);
    if (status == WF_OK)
        *video = v;
    else
        wf_video_close(&v);
    return status;
}

void wf_video_close(struct wf_video **video)
{
    struct wf_video *v = *video;
    if (!v)
        return;
    if (v->state)
        v->driver->close(v->state);
    wf_free(v->path);
    wf_free(v);
    *video = NULL;
}

const struct wf_video_info *wf_video_info(const struct wf_video *video)
{
    return &video->info;
}

enum wf_status wf_video_next(struct wf_video *v, struct wf_picture *picture, struct wf_error *err)
{
    *picture = (struct wf_picture){0};
    if (v->given == v->info.frames)
        return WF_OK;
    WF_TRY(wf_fail_late(v->driver->next(v->state, picture, err), err));
    if (!picture->plane[0])
        return wf_fail(err, WF_FAILED, "%s: ends after %lld of %lld frames; it is damaged", v->path,
                       (long long)v->given, (long long)v->info.frames);
    v->given++;
    return WF_OK;
}
