/* The safetensors format: an 8-byte length, a JSON header, then the tensors' bytes, which are read
   when they are asked for: nothing is mapped, so a file that shrinks is an error, not a signal. */
#ifndef WEFT_IO_WEIGHTS_SAFETENSORS_H
#define WEFT_IO_WEIGHTS_SAFETENSORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/base/dtype.h"
#include "kernels/base/mem.h"
#include "kernels/base/status.h"
#include "kernels/source.h"

enum { WF_ST_MAX_RANK = 8 };

struct wf_st_tensor {
    const char *name;
    const char *path;    /* of the file that holds it, for messages */
    const char *type;    /* as the file says it: "BF16" */
    enum wf_dtype dtype; /* of the values that source gives: F64 comes as F32 */
    int rank;
    int64_t dim[WF_ST_MAX_RANK];
    size_t bytes;            /* of these values */
    struct wf_source source; /* reads the file; as long as it is open */
    const struct wf_st_file *file;
    uint64_t begin, end; /* in the file */
};

/* An open file; it stays the file that it was when it was opened, whatever gets its name. */
struct wf_st_file;

/* WF_REFUSED, naming the file and the tensor, unless everything holds: the header's length within
   the file (and at most 100 MB), an object, each entry of a known type with dims whose product is
   the byte range, ranges inside the file, without overlap. `__metadata__` is skipped. Tensors of
   types that the engine does not use (I64, BOOL, F8_E4M3, ...) are checked in size and left out of
   the index. */
enum wf_status wf_st_open(const char *path, struct wf_mem *mem, struct wf_st_file **file,
                          struct wf_error *err);
void wf_st_close(struct wf_st_file **file);

int wf_st_count(const struct wf_st_file *file);
const struct wf_st_tensor *wf_st_at(const struct wf_st_file *file, int index); /* sorted by name */
const struct wf_st_tensor *wf_st_find(const struct wf_st_file *file,
                                      const char *name); /* or NULL */
/* The tensor of that name that the index leaves out for its type, or NULL; it has no source. */
const struct wf_st_tensor *wf_st_left_out(const struct wf_st_file *file, const char *name);

/* All values of a tensor as f32, to be freed with wf_free. */
enum wf_status wf_st_read_f32(const struct wf_st_tensor *t, struct wf_mem *mem, float **values,
                              struct wf_error *err);
/* Asks the system to read the tensor's bytes ahead: a hint. */
void wf_st_prefetch(const struct wf_st_tensor *t);

/* Writes one F32 tensor as a file of its own, under a temporary name until it is whole. */
enum wf_status wf_st_write_f32(const char *path, const char *name, const float *data, int rank,
                               const int64_t *dims, struct wf_mem *mem, struct wf_error *err);

#endif
