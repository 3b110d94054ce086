/* Where finished frames go: a file, a pipe, a series of pictures, or nowhere. One interface, one
   const driver a format, in the table of sink.c. Frames are taken by a bounded queue and written by
   a thread of the sink's own, so that encoding and computing overlap. */
#ifndef WEFT_IO_VIDEO_SINK_H
#define WEFT_IO_VIDEO_SINK_H

#include <stdbool.h>
#include <stdint.h>

#include "io/file.h"

struct wf_sink_config {
    const char
        *path; /* "-" is standard output; png: a pattern with one %d (or %05d); null: unused */
    const char *format;               /* a driver's name; NULL: from the path's extension */
    int width, height;                /* pixels */
    int64_t frames;                   /* that will be written, 0 if unknown */
    int fps_num, fps_den;             /* exact rate */
    bool overwrite;                   /* false: an existing file is refused */
    const struct wf_file_set *inputs; /* that must not be written over; NULL: none */
    const char *codec;                /* ffmpeg's encoder name; NULL: libx264 (webm: libvpx-vp9) */
    double crf;                       /* below 0: 18 (vp9, av1: 31) */
    const char *preset;               /* NULL: medium */
    const char *pix_fmt;              /* NULL: yuv420p */
    const char *metadata;             /* a text that goes into the file, where its format has room
                                         for one: see tag.h; NULL: none */
    size_t queue_bytes; /* frames waiting, 0: 24 MiB; at least one frame always fits */
    /* Asked some ten times a second while a call waits for the writing thread (a pipe whose reader
       pauses); true ends the wait with WF_CANCELLED. On the caller's thread. NULL: never. */
    bool (*cancelled)(void *context);
    void *cancel_context;
};

void wf_sink_defaults(struct wf_sink_config *config);

struct wf_sink;

/* Checks everything that can be known before computing: format, codec and its options, size (odd
   ones with 4:2:0 are refused in words where the encoder does not take them), existing file,
   writable folder, a valid pattern. WF_REFUSED on any of those. Writes go to a temporary name
   beside the output until wf_sink_close; a pipe or a device is written as it stands. Opening a
   named pipe waits for its reader. The strings of config need to live during this call only. */
enum wf_status wf_sink_open(const struct wf_sink_config *config, struct wf_mem *mem,
                            struct wf_sink **sink, struct wf_error *err);

/* The next frame: dense f32 [H,W,3], 0..1, copied before it returns; blocks while the queue is
   full. A failure of the writing thread (full disk, broken pipe) comes back from the next call.
   uint8 samples are 255 y rounded half to even. */
enum wf_status wf_sink_write(struct wf_sink *sink, const float *frame, struct wf_error *err);

/* What became of the frames. */
struct wf_sink_stats {
    const char *format;       /* the driver's name */
    char codec[32];           /* ffmpeg's name of the encoder; "": none */
    char pix_fmt[32];         /* of what was written; "": not made of pixels */
    int64_t frames;           /* written */
    int64_t bytes;            /* written, headers and index too; 0 for null */
    int64_t packets;          /* of the encoder, 0 without one */
    int64_t key_frames;       /* of the packets */
    double quality;           /* mean quantizer over the packets, ffmpeg's q; below 0: not told */
    double seconds;           /* of the writing thread: converting, encoding, writing */
    double encode_seconds;    /* of these, in the encoder */
    size_t queue_peak_bytes;  /* of frames that waited to be written, at most */
    size_t queue_limit_bytes; /* that may wait */
};

/* Waits for the queue, finishes the file and gives it its name; *sink becomes NULL whatever
   happens. An error (full disk, broken pipe, no frame or another count than was announced) comes
   back here at the latest, and then no file is left: of a series no picture either. Only a clip
   that is whole and cannot be given its name is kept under another one, which the error says.
   *stats (NULL is allowed) is filled after success. */
enum wf_status wf_sink_close(struct wf_sink **sink, struct wf_sink_stats *stats,
                             struct wf_error *err);
/* Drops what waits, removes the temporary file, leaves nothing under the output's name. Does not
   wait for the reader of a pipe. */
void wf_sink_abort(struct wf_sink **sink);

/* What whoever reads the output should know, or NULL. */
const char *wf_sink_hint(const struct wf_sink *sink);
/* Whether the sink writes the file of that path, or will. */
bool wf_sink_writes(const struct wf_sink *sink, const char *path);

/* Names of the formats that this build has, in a row: "mp4, mkv, ...". */
const char *wf_sink_formats(void);

#endif
