/* A file that is kept for a later run: what kind it is, its content, and a checksum over both. It
   has its name only once it is whole, and is read only when it still is. */
#ifndef WEFT_ENGINE_KEPT_H
#define WEFT_ENGINE_KEPT_H

#include <stdint.h>

#include "io/file.h"
#include "kernels/backend.h"

/* What a file is of, and of whose; any bytes. */
struct wf_kept_kind {
    char name[16];
    unsigned char owner[16];
};

/* --- writing; used by one thread --- */

struct wf_kept_out;

/* inputs: files that must not be written over; NULL: none. */
enum wf_status wf_kept_create(const char *path, const struct wf_kept_kind *kind,
                              const struct wf_file_set *inputs, struct wf_mem *mem,
                              struct wf_kept_out **out, struct wf_error *err);
enum wf_status wf_kept_write(struct wf_kept_out *out, const void *data, size_t bytes,
                             struct wf_error *err);
/* A dense tensor's elements, in bounded pieces. */
enum wf_status wf_kept_write_tensor(struct wf_kept_out *out, struct wf_backend *be,
                                    struct wf_tensor t, struct wf_error *err);
/* Gives it its name; *out becomes NULL, and after a failure there is no such file. */
enum wf_status wf_kept_commit(struct wf_kept_out **out, struct wf_error *err);
void wf_kept_discard(struct wf_kept_out **out); /* NULL is allowed */

/* --- reading --- */

struct wf_kept_in;

/* WF_REFUSED when there is no such file, or it is not whole, of that kind, with at most so many
   bytes of content. */
enum wf_status wf_kept_open(const char *path, const struct wf_kept_kind *kind, uint64_t most,
                            struct wf_mem *mem, struct wf_kept_in **in, struct wf_error *err);
uint64_t wf_kept_left(const struct wf_kept_in *in); /* bytes of content not read yet */
/* The next bytes; WF_FAILED when there are fewer. */
enum wf_status wf_kept_read(struct wf_kept_in *in, void *data, size_t bytes, struct wf_error *err);
/* Fills a dense tensor. */
enum wf_status wf_kept_read_tensor(struct wf_kept_in *in, struct wf_backend *be, struct wf_tensor t,
                                   struct wf_error *err);
void wf_kept_close(struct wf_kept_in **in); /* NULL is allowed */

#endif
