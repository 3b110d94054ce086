/* The safetensors format: an 8-byte length, a JSON header, then the tensors' bytes. Read by
 * mapping. */
#ifndef WEFT_IO_WEIGHTS_SAFETENSORS_H
#define WEFT_IO_WEIGHTS_SAFETENSORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/base/dtype.h"
#include "kernels/base/mem.h"
#include "kernels/base/status.h"

enum { WF_ST_MAX_RANK = 8 };

struct wf_st_tensor {
    const char *name;
    const char *path; /* of the file that holds it, for messages */
    enum wf_dtype dtype;
    int rank;
    int64_t dim[WF_ST_MAX_RANK];
    const void *data; /* in the mapped file; of any alignment */
    size_t bytes;
};

/* An open file. Its pages belong to the page cache: nothing is copied. */
struct wf_st_file;

/* WF_REFUSED, naming the file and the tensor, unless everything holds: the header's length within
   the file (and at most 100 MB), an object, each entry of a known type with dims whose product is
   the byte range, ranges inside the file, without overlap. `__metadata__` is skipped. Tensors of
   types that the engine does not use (I64, BOOL, F64, ...) are checked in size and left out of the
   index. */
enum wf_status wf_st_open(const char *path, struct wf_mem *mem, struct wf_st_file **file,
                          struct wf_error *err);
void wf_st_close(struct wf_st_file **file);

int wf_st_count(const struct wf_st_file *file);
const struct wf_st_tensor *wf_st_at(const struct wf_st_file *file, int index); /* sorted by name */
const struct wf_st_tensor *wf_st_find(const struct wf_st_file *file,
                                      const char *name); /* or NULL */
/* Whether the file has a tensor of that name which the index leaves out for its type. */
bool wf_st_left_out(const struct wf_st_file *file, const char *name);

/* Gives the file's pages back to the system (they are read again when touched). */
void wf_st_drop_pages(const struct wf_st_file *file);

/* Writes one F32 tensor as a file of its own, under a temporary name until it is whole. */
enum wf_status wf_st_write_f32(const char *path, const char *name, const float *data, int rank,
                               const int64_t *dims, struct wf_error *err);

#endif
