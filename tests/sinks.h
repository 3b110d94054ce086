/* What the tests of the sinks share: moving pictures and what they must become, a folder to write
   in, readers of files and pipes, the ffmpeg program. */
#ifndef WEFT_TESTS_SINKS_H
#define WEFT_TESTS_SINKS_H

#include <ftw.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "io/video/sink.h"

enum { PATH_ROOM = 512 };

struct fixture {
    char folder[64];
    struct wf_mem *mem;
    struct wf_error err;
};

int sinks_setup(void **state);
int sinks_teardown(void **state);

/* --- material; arrays are the caller's to free --- */

/* Frame t: smooth, moving, coloured, and beyond 0..1 in places. */
float *make_frame(int64_t t, int width, int height);
unsigned char u8(float y);
unsigned char *make_rgb(int64_t t, int width, int height);

/* Planes of a pixel format: how many columns and rows share colour, bits of a sample. */
struct planes {
    int columns, rows, bits;
};

enum matrix { BT709, BT601 };

/* The planes of one frame, limited range, in double precision; colour that columns share is sited
   left. */
double *make_yuv(const unsigned char *rgb, int width, int height, struct planes planes,
                 enum matrix matrix, size_t *count);

/* --- writing --- */

/* 30000/1001 frames a second. */
struct wf_sink_config make_config(const char *path, int width, int height, int64_t frames);
enum wf_status write_frames(struct wf_sink *sink, const struct wf_sink_config *config,
                            int64_t frames, struct wf_error *err);
/* Opens, writes, closes; the first failure. */
enum wf_status write_clip(struct fixture *f, const struct wf_sink_config *config, int64_t frames);
void must_write(struct fixture *f, const struct wf_sink_config *config, int64_t frames);
/* One frame is refused, with a message that has the words. */
void refuse(struct fixture *f, const struct wf_sink_config *config, const char *words);
bool has_format(const char *name);

/* --- reading --- */

/* With a zero after the last byte. */
unsigned char *read_stream(FILE *file, size_t *bytes);
unsigned char *read_file(const char *path, size_t *bytes);
/* What a shell command prints; it must succeed. */
__attribute__((format(printf, 2, 3))) unsigned char *run(size_t *bytes, const char *format, ...);
/* Skips the test where the format or the ffmpeg program is missing. */
void need(const char *format);

/* The path of a name in the fixture's folder, in path. */
const char *in(const struct fixture *f, char path[PATH_ROOM], const char *name);
int remove_one(const char *path, const struct stat *info, int type, struct FTW *walk);
int entries_seen(const char *path, int *entries);
void folder_is_empty(const struct fixture *f);
double seconds_now(void);

struct reader {
    const char *path;
    size_t limit; /* bytes to take before leaving; 0: all */
    bool holds;   /* and then stays without reading any more, until released */
    atomic_bool released;
    unsigned char *data;
    size_t bytes;
};

void *read_pipe(void *reader);
/* Writes the clip that config tells (but for its path) to a named pipe, and what came out of it to
   the file `copy`. */
void through_pipe(struct fixture *f, struct wf_sink_config config, const char *copy);

#endif
