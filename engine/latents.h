/* Latents: diffusers' layout on the host, [C,T,h,w], and ours on the backend, [T,h,w,C]. */
#ifndef WEFT_ENGINE_LATENTS_H
#define WEFT_ENGINE_LATENTS_H

#include "kernels/backend.h"

struct wf_arena;

/* Tensor `latents` [1,C,T,h,w] of a safetensors file, F32, F16 or BF16, all finite, as f32 that the
   caller frees. want: what the dims must be, 0 for any; found: what they are. */
enum wf_status wf_latents_read(const char *path, struct wf_mem *mem, const int64_t want[5],
                               int64_t found[5], float **values, struct wf_error *err);
/* The noise of torch's generator for that seed, of the CPU's, or of that of the GPU that `be` is;
   the caller frees it. */
enum wf_status wf_latents_noise(struct wf_backend *be, bool of_gpu, uint64_t seed, size_t count,
                                float **values, struct wf_error *err);

/* Between the host's values and latents [T,h,w,C] dense f32; done when it returns. */
enum wf_status wf_latents_upload(struct wf_backend *be, struct wf_tensor latents,
                                 const float *values, struct wf_arena *arena);
enum wf_status wf_latents_download(struct wf_backend *be, float *values, struct wf_tensor latents,
                                   struct wf_arena *arena);

#endif
