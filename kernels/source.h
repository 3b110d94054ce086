/* Where values come from: a range of a file, or host memory, read in pieces. */
#ifndef WEFT_KERNELS_SOURCE_H
#define WEFT_KERNELS_SOURCE_H

#include <stddef.h>

#include "kernels/base/dtype.h"
#include "kernels/base/status.h"

/* Dense values of one floating type. */
struct wf_source {
    enum wf_dtype dtype;
    uint64_t bytes;
    /* Bytes from offset on, which lie within the source. May be called from several threads at
       once, each with an err of its own. A failure names the file. */
    enum wf_status (*read)(void *context, uint64_t offset, void *dst, size_t bytes,
                           struct wf_error *err);
    void *context;
};

/* data outlives the source. */
struct wf_source wf_source_memory(const void *data, enum wf_dtype dtype, uint64_t bytes);

/* The same as the read above, with the range checked. */
enum wf_status wf_source_read(const struct wf_source *src, uint64_t offset, void *dst, size_t bytes,
                              struct wf_error *err);
/* count values from the one numbered first on, as f32. */
enum wf_status wf_source_f32(const struct wf_source *src, uint64_t first, size_t count, float *dst,
                             struct wf_error *err);

#endif
