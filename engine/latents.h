/* Latents: on the host and in files as diffusers has them, [C,T,h,w] or, of a family that has its
   frames first, [T,C,h,w]; on the backend [T,h,w,C]. All dims here are the backend's: nobody else
   knows the files' order. */
#ifndef WEFT_ENGINE_LATENTS_H
#define WEFT_ENGINE_LATENTS_H

#include "kernels/backend.h"

struct wf_arena;

/* The dims of latents in a file: [1,C,T,h,w] or [1,T,C,h,w]. */
void wf_latents_file_dims(bool frames_first, const int64_t dims[4], int64_t file[5]);
/* Tensor `latents` of a safetensors file, F32, F16, BF16 or F64, all finite, as f32 that the caller
   frees. dims: what they must be, 0 for any; they become what they are. */
enum wf_status wf_latents_read(const char *path, bool frames_first, struct wf_mem *mem,
                               int64_t dims[4], float **values, struct wf_error *err);

/* Between the host's values and latents [T,h,w,C] dense f32; done when it returns. */
enum wf_status wf_latents_upload(struct wf_backend *be, struct wf_tensor latents, bool frames_first,
                                 const float *values, struct wf_arena *arena);
enum wf_status wf_latents_download(struct wf_backend *be, float *values, struct wf_tensor latents,
                                   bool frames_first, struct wf_arena *arena);

#endif
