/* The encoding half of Stable Video Diffusion's VAE, for the picture that a clip begins with: the
   two-dimensional encoder of diffusers' AutoencoderKLTemporalDecoder. */
#ifndef WEFT_VAE_SVD_ENCODER_H
#define WEFT_VAE_SVD_ENCODER_H

#include "io/weights/residency.h"
#include "kernels/base/pool.h"

struct wf_svd_encoder;

/* Reads the folder's config.json and finds and checks every weight; loads none. Where the
   configuration says force_upcast, all of it computes in f32. The residency is the caller's, empty
   so far, and is closed before the encoder. */
enum wf_status wf_svd_encoder_open(struct wf_residency *res, struct wf_mem *mem,
                                   struct wf_svd_encoder **enc, struct wf_error *err);
void wf_svd_encoder_close(struct wf_svd_encoder **enc);

/* latents [1,h,w,C], the mean of what the picture may be, not scaled, from image [1,H,W,3] in
   -1..1; both dense f32 on the residency's backend, H and W multiples of 2^(levels - 1). Working
   memory is the pool's, of the same backend, and is given back. */
enum wf_status wf_svd_encoder_encode(struct wf_svd_encoder *enc, struct wf_tensor image,
                                     struct wf_tensor latents, struct wf_pool *pool,
                                     struct wf_error *err);

#endif
