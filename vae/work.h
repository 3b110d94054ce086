/* What stages work in: tensors of the pool. */
#ifndef WEFT_VAE_WORK_H
#define WEFT_VAE_WORK_H

#include "temporal/layers.h"
#include "vae/vae.h"

/* A dense tensor, uninitialised; back to the pool. */
enum wf_status wf_work_take(const struct wf_vae_state *state, enum wf_dtype dtype, int rank,
                            const int64_t *dims, struct wf_tensor *t);
void wf_work_give(const struct wf_vae_state *state, struct wf_tensor t);

/* x dense and in the type that the layer takes: itself, or a copy from the pool; and back. */
enum wf_status wf_work_operand(const struct wf_vae_state *state, const struct wf_layer *layer,
                               struct wf_tensor x, struct wf_tensor *operand);
void wf_work_give_operand(const struct wf_vae_state *state, struct wf_tensor x,
                          struct wf_tensor operand);

/* How many frames of so many bytes a stage works on at a time, of `frames`: as many as make little,
   where frames are not larger. */
int64_t wf_work_frames(int64_t bytes, int64_t frames);

/* [M,C] of what is dense. */
struct wf_tensor wf_work_lines(struct wf_tensor t);

#endif
