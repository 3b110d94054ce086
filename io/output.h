/* One file on its way out: bytes go to a temporary name beside it, which becomes the file when it
   is whole. Pipes, devices and standard output are written as they stand and cannot seek. */
#ifndef WEFT_IO_OUTPUT_H
#define WEFT_IO_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "io/file.h"

/* Used by one thread at a time, wf_output_abandon excepted. */
struct wf_output;

/* WF_REFUSED when path is a folder, exists (a regular file, without overwrite), lies in a folder
   that is missing or unwritable, is one of the inputs (NULL: none), or is "-" while standard output
   is a terminal or closed. */
enum wf_status wf_output_open(const char *path, bool overwrite, const struct wf_file_set *inputs,
                              struct wf_mem *mem, struct wf_output **out, struct wf_error *err);

bool wf_output_seekable(const struct wf_output *out);

/* All bytes, at the position, which moves on. The first failure stays: each later call repeats it.
   A broken pipe and a full disk are WF_FAILED, an abandoned output WF_CANCELLED. */
enum wf_status wf_output_write(struct wf_output *out, const void *data, size_t bytes,
                               struct wf_error *err);
/* The first failure of a write, WF_OK if there was none. */
enum wf_status wf_output_status(const struct wf_output *out, struct wf_error *err);

/* These three only where it is seekable. */
void wf_output_seek(struct wf_output *out, int64_t position);
int64_t wf_output_size(const struct wf_output *out);
/* The number of bytes read from position on, 0 at the end, -1 when that failed: wf_output_status
   then says it. */
int64_t wf_output_read(struct wf_output *out, int64_t position, void *data, size_t bytes);

int64_t wf_output_position(const struct wf_output *out);

/* From any thread: a write that waits for the reader of a pipe, and all after it, give up. */
void wf_output_abandon(struct wf_output *out);

/* Closes it and gives the file its name. *kept tells whether a whole file is there now: it is after
   success, and after a failure when only its name could not be given; then it has another one,
   which the message says. Else no file is left. *out becomes NULL. */
enum wf_status wf_output_commit(struct wf_output **out, bool *kept, struct wf_error *err);
/* Closes and removes it. *out becomes NULL; NULL is allowed. */
void wf_output_discard(struct wf_output **out);

/* A whole file at once, over one that is there. */
enum wf_status wf_output_put(const char *path, const void *data, size_t bytes,
                             const struct wf_file_set *inputs, struct wf_mem *mem,
                             struct wf_error *err);

#endif
