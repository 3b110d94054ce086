/* A library's products of matrices and convolutions, where it has faster ones than ours. */
#ifndef WEFT_KERNELS_CPU_LIBRARY_H
#define WEFT_KERNELS_CPU_LIBRARY_H

#include "kernels/cpu/cpu.h"

/* How a parameter lies in its room: the first member of a library's own struct. */
struct wf_layout {
    size_t bytes;
};

struct wf_library {
    enum wf_status (*open)(struct wf_backend *be, void **state);
    void (*close)(struct wf_backend *be, void *state);
    /* Whether its products of that type are faster than those of f32. */
    bool (*is_fast)(void *state, enum wf_dtype dtype);

    /* The library's layout of a LINEAR or CONV, which lives as long as the state and is always the
       same one for a description; NULL where our loops are as good. */
    const struct wf_layout *(*layout)(const struct wf_backend *be, void *state,
                                      const struct wf_param *p);
    /* The values of a source, dense, into a room of layout->bytes; and back, as f32. */
    enum wf_status (*pack)(struct wf_backend *be, void *state, const struct wf_layout *layout,
                           const struct wf_source *src, void *room);
    struct wf_cpu_need (*need_pack)(struct wf_backend *be, const struct wf_layout *layout,
                                    enum wf_dtype source);
    enum wf_status (*unpack)(struct wf_backend *be, void *state, const struct wf_layout *layout,
                             const void *room, float *dense);

    /* layout, room: of a->w. *done stays false where the library has no fast way for this shape. */
    enum wf_status (*gemm)(struct wf_backend *be, void *state, const struct wf_gemm *a,
                           const struct wf_layout *layout, void *room, bool *done);
    /* One output frame, x and y dense: x holds the input frames that its kernel sees, pad_front and
       pad_back count the others up to the kernel's depth. */
    enum wf_status (*conv)(struct wf_backend *be, void *state, const struct wf_conv *a,
                           const struct wf_layout *layout, void *room, bool *done);
    /* A thread's bytes for these; 0: there is no fast way. */
    size_t (*gemm_scratch)(struct wf_backend *be, void *state, const struct wf_gemm *a,
                           const struct wf_layout *layout);
    size_t (*conv_scratch)(struct wf_backend *be, void *state, const struct wf_conv *a,
                           const struct wf_layout *layout);
};

extern const struct wf_library wf_onednn;

#endif
