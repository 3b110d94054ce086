/* Stable Video Diffusion's VAE encoder, as diffusers' AutoencoderKLTemporalDecoder.encode computes
   it: one picture becomes the mean of its latents. */
#ifndef WEFT_VAE_SVD_ENCODER_H
#define WEFT_VAE_SVD_ENCODER_H

#include "io/weights/residency.h"
#include "kernels/base/arena.h"

struct wf_svd_encoder;

/* Reads the VAE folder's config.json and finds and checks the weights of the encoding half; loads
   none. Where config.json says force_upcast (its default), all is computed in f32 on any backend.
   The residency is the caller's, empty so far, and is closed before the encoder; the decoder has
   one of its own. WF_REFUSED names what is not supported or does not fit; *enc is NULL then. */
enum wf_status wf_svd_encoder_open(struct wf_residency *res, struct wf_mem *mem,
                                   struct wf_svd_encoder **enc, struct wf_error *err);
void wf_svd_encoder_close(struct wf_svd_encoder **enc);
int wf_svd_encoder_scale(const struct wf_svd_encoder *enc);    /* pixels a latent row or column */
int wf_svd_encoder_channels(const struct wf_svd_encoder *enc); /* of latents */

/* image [1,H,W,3] f32, dense, within -1..1, on the residency's backend; H and W are multiples of
   the scale. latents [1,H/scale,W/scale,channels] f32 there, to be filled: the mean, not multiplied
   by scaling_factor. What it works in is the arena's, and is released: three times the largest
   activation, which is f32 [H,W,width of the first level] in the published model, and what the
   attention takes. Each group of weights is loaded once. */
enum wf_status wf_svd_encoder_encode(struct wf_svd_encoder *enc, struct wf_tensor image,
                                     struct wf_tensor latents, struct wf_arena *arena,
                                     struct wf_error *err);

#endif
