/* Where the frames of a finished clip come from: a file, or a series of pictures. One interface,
   one const driver a kind of file, in the table of source.c. One frame is held at a time, and what
   a decoder needs. */
#ifndef WEFT_IO_VIDEO_SOURCE_H
#define WEFT_IO_VIDEO_SOURCE_H

#include "io/video/picture.h"
#include "kernels/base/mem.h"
#include "kernels/base/status.h"

struct wf_video_info {
    struct wf_picture_format format;
    int64_t frames;
    int fps_num, fps_den; /* 0: the file does not say it */
};

struct wf_video;

/* y4m, safetensors (tensor `frames`), a pattern of png (frame-%05d.png, numbered from 0 or 1), one
   png; anything else by libavformat, if this build has it. Reads through the file once to count the
   frames. WF_REFUSED where it is not there, no video, or seen to be damaged or cut. On failure
   *video is NULL. */
enum wf_status wf_video_open(const char *path, struct wf_mem *mem, struct wf_video **video,
                             struct wf_error *err);
void wf_video_close(struct wf_video **video); /* may be called twice */

const struct wf_video_info *wf_video_info(const struct wf_video *video);

/* The next frame, valid until the next call; without planes after the last. WF_FAILED where it is
   damaged, of another form than the first, or missing. */
enum wf_status wf_video_next(struct wf_video *video, struct wf_picture *picture,
                             struct wf_error *err);

#endif
