/* What a kind of file gives to source.c. Drivers are const and stand in its table alone. */
#ifndef WEFT_IO_VIDEO_SOURCE_DRIVER_H
#define WEFT_IO_VIDEO_SOURCE_DRIVER_H

#include "io/video/source.h"

struct wf_video_driver {
    /* Whether it is this kind: by the path alone, or the file's first bytes (at most 16, none where
       it cannot be read). The first driver of the table that says so opens it. */
    bool (*takes)(const char *path, const unsigned char *head, size_t bytes);
    /* Fills *info; path lives as long as the state. On failure *state is NULL and nothing is held.
     */
    enum wf_status (*open)(const char *path, struct wf_mem *mem, struct wf_video_info *info,
                           void **state, struct wf_error *err);
    /* As wf_video_next; not called after the last frame. */
    enum wf_status (*next)(void *state, struct wf_picture *picture, struct wf_error *err);
    void (*close)(void *state); /* frees the state */
};

extern const struct wf_video_driver wf_video_y4m, wf_video_png, wf_video_safetensors, wf_video_av;

/* Exactly that many bytes of a file; WF_FAILED, naming path, where it has them no more. */
enum wf_status wf_video_read(int fd, const char *path, int64_t offset, void *to, size_t bytes,
                             struct wf_error *err);
/* Whether a path ends so, be it in capitals. */
bool wf_video_ends(const char *path, const char *ending);

#endif
