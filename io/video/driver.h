/* What a video format gives to sink.c. Drivers are const and stand in its table alone. */
#ifndef WEFT_IO_VIDEO_DRIVER_H
#define WEFT_IO_VIDEO_DRIVER_H

#include "io/output.h"
#include "io/video/sink.h"
#include "kernels/base/clock.h"

/* The form in which a driver takes frames; both dense [H,W,3]. */
enum wf_sink_form {
    WF_SINK_RGB24, /* u8, 255 y rounded half to even */
    WF_SINK_F32,   /* as they came */
};

enum wf_sink_flags {
    WF_SINK_SERIES = 1,  /* the path is a pattern; the driver opens an output a frame itself */
    WF_SINK_NOWHERE = 2, /* nothing is written, the path is not looked at */
    WF_SINK_ENCODER = 4, /* has codecs, their options and pixel formats, and checks them itself */
};

struct wf_sink_driver {
    const char *name;
    const char *extensions; /* lower case, in a row: "mp4 m4v"; "" for none */
    enum wf_sink_form form;
    unsigned flags;          /* of enum wf_sink_flags */
    const char *pix_fmts[3]; /* accepted beside the default, NULL ends; unless WF_SINK_ENCODER */

    /* Caller's thread. Checks and prepares everything, writes no byte (SIGPIPE and full disks
       belong to the writing thread). config is complete and its common fields are checked; it lives
       during the call. output (NULL for a series and for nowhere) outlives the state and stays
       sink.c's. On failure *state is NULL and nothing is held. */
    enum wf_status (*open)(const struct wf_sink_driver *driver, const struct wf_sink_config *config,
                           struct wf_output *output, struct wf_mem *mem, void **state,
                           struct wf_error *err);
    /* Writing thread. The next frame; it stays sink.c's and is valid during the call. */
    enum wf_status (*write)(void *state, const void *frame, struct wf_error *err);
    /* Writing thread, once, after the last frame (there is one at least) if every write succeeded:
       what the encoder holds back, the trailer. Everything has been handed to output afterwards. */
    enum wf_status (*finish)(void *state, struct wf_error *err);
    /* Caller's thread, after the writing thread has ended; NULL: nothing to add. Fills what sink.c
       does not know: codec, pix_fmt, packets, key_frames, quality, encode_seconds, and bytes for a
       series. */
    void (*count)(const void *state, struct wf_sink_stats *stats);
    /* Caller's thread, once it is open: what whoever reads the output should know, or NULL. */
    const char *(*hint)(const void *state);
    /* Caller's thread, before the first frame; a series: whether it will write that file. */
    bool (*writes)(void *state, const char *path);
    /* Caller's thread, after the writing thread has ended, always; frees the state. A series whose
       finish did not succeed removes its pictures. */
    void (*close)(void *state);
};

extern const struct wf_sink_driver wf_sink_mp4, wf_sink_mkv, wf_sink_mov, wf_sink_webm;
extern const struct wf_sink_driver wf_sink_png;
extern const struct wf_sink_driver wf_sink_y4m, wf_sink_rawvideo, wf_sink_safetensors, wf_sink_null;

#endif
