/* What a denoiser's blocks and a VAE's stages work in: tensors of a pool. */
#ifndef WEFT_TEMPORAL_WORK_H
#define WEFT_TEMPORAL_WORK_H

#include "kernels/base/pool.h"
#include "temporal/layers.h"

struct wf_work {
    struct wf_backend *be;
    struct wf_pool *pool; /* of be's memory */
    const char *what;     /* is being done, for the message when memory is short: "decode" */
};

/* A dense tensor, uninitialised; back to the pool. */
enum wf_status wf_work_take(const struct wf_work *work, enum wf_dtype dtype, int rank,
                            const int64_t *dims, struct wf_tensor *t);
void wf_work_give(const struct wf_work *work, struct wf_tensor t);

/* x dense and in the type that the layer takes: itself, or a copy from the pool; and back. */
enum wf_status wf_work_operand(const struct wf_work *work, const struct wf_layer *layer,
                               struct wf_tensor x, struct wf_tensor *operand);
void wf_work_give_operand(const struct wf_work *work, struct wf_tensor x, struct wf_tensor operand);

/* How many pieces of so many bytes are worked on at a time, of `count`: as many as make little,
   one where that is not little. */
int64_t wf_work_pieces(int64_t bytes, int64_t count);

/* [M,C] of what is dense. */
struct wf_tensor wf_work_lines(struct wf_tensor t);

#endif
