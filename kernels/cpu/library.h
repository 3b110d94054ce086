/* A library's products of matrices and convolutions, where it has faster ones than ours. */
#ifndef WEFT_KERNELS_CPU_LIBRARY_H
#define WEFT_KERNELS_CPU_LIBRARY_H

#include "kernels/backend.h"

struct wf_library {
    enum wf_status (*open)(struct wf_backend *be, void **state);
    void (*close)(struct wf_backend *be, void *state);
    /* Whether its products of that type are faster than those of f32. */
    bool (*is_fast)(void *state, enum wf_dtype dtype);

    /* LINEAR and CONV, in the library's own layout; *weights stays NULL where our loops are as
       good. */
    enum wf_status (*load)(struct wf_backend *be, void *state, const struct wf_param *p,
                           const struct wf_source *src, void **weights);
    void (*unload)(struct wf_backend *be, void *weights);
    /* Back to the dense f32 values of the file. */
    enum wf_status (*unpack)(struct wf_backend *be, void *state, const void *weights, float *dense);

    /* *done stays false where the library has no fast way for this shape. */
    enum wf_status (*gemm)(struct wf_backend *be, void *state, const struct wf_gemm *a,
                           const void *weights, bool *done);
    /* One output frame: x holds the input frames that its kernel sees, pad_front counts the others
       up to the kernel's depth. */
    enum wf_status (*conv)(struct wf_backend *be, void *state, const struct wf_conv *a,
                           const void *weights, bool *done);
};

extern const struct wf_library wf_onednn;

#endif
