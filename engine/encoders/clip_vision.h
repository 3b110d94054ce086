/* CLIP's image encoder, as transformers' CLIPVisionModelWithProjection computes it. */
#ifndef WEFT_ENGINE_ENCODERS_CLIP_VISION_H
#define WEFT_ENGINE_ENCODERS_CLIP_VISION_H

#include "io/json.h"
#include "io/weights/residency.h"
#include "kernels/base/arena.h"

struct wf_clip_vision;

/* Reads the folder's config.json and finds and checks every weight; loads none. The residency is
   the caller's, empty so far, and is closed before the encoder. */
enum wf_status wf_clip_vision_open(struct wf_residency *res, struct wf_mem *mem,
                                   struct wf_clip_vision **enc, struct wf_error *err);
void wf_clip_vision_close(struct wf_clip_vision **enc);
int64_t wf_clip_vision_size(const struct wf_clip_vision *enc);  /* pixels a side */
int64_t wf_clip_vision_width(const struct wf_clip_vision *enc); /* of the embedding */

/* out [1,width] from pixels [size,size,3], normalised, both dense f32 on the residency's backend.
   Working memory is the arena's, of the same backend. */
enum wf_status wf_clip_vision_encode(struct wf_clip_vision *enc, struct wf_tensor pixels,
                                     struct wf_tensor out, struct wf_arena *arena,
                                     struct wf_error *err);

/* What a picture's values in 0..1 become before they are encoded: (value - mean) / std. */
struct wf_clip_normalisation {
    float mean[3], std[3];
};

/* From a preprocessor_config.json, CLIP's own where it says nothing. */
enum wf_status wf_clip_normalisation_read(const char *path, struct wf_clip_normalisation *n,
                                          struct wf_error *err);

#endif
