/* CLIP's vision tower (Stable Video Diffusion's image_encoder), as transformers'
   CLIPVisionModelWithProjection computes it. */
#ifndef WEFT_ENGINE_ENCODERS_CLIP_VISION_H
#define WEFT_ENGINE_ENCODERS_CLIP_VISION_H

#include "io/weights/residency.h"
#include "kernels/base/arena.h"

struct wf_clip_vision;

/* Reads the folder's config.json and finds and checks every weight; loads none. The residency is
   the caller's, empty so far, and is closed before the encoder. WF_REFUSED names what of the file
   is not supported or does not fit; *enc is NULL then. */
enum wf_status wf_clip_vision_open(struct wf_residency *res, struct wf_mem *mem,
                                   struct wf_clip_vision **enc, struct wf_error *err);
void wf_clip_vision_close(struct wf_clip_vision **enc);
int wf_clip_vision_size(const struct wf_clip_vision *enc);  /* pixels a side */
int wf_clip_vision_width(const struct wf_clip_vision *enc); /* projection_dim: of an embedding */

/* out = image_embeds of one picture: the projection of the class token.
   pixels [size,size,3] f32, dense, on the residency's backend: R, G, B, normalised (see
   clip_normalisation.h); out [1,projection_dim] f32 there, to be filled. What it works in is the
   arena's, and is released. Each layer is loaded once; where weights are given back at all, a layer
   is given back before the next is loaded. */
enum wf_status wf_clip_vision_encode(struct wf_clip_vision *enc, struct wf_tensor pixels,
                                     struct wf_tensor out, struct wf_arena *arena,
                                     struct wf_error *err);

#endif
