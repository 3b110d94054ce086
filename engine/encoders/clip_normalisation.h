/* How pictures are normalised for CLIP, as feature_extractor/preprocessor_config.json says. */
#ifndef WEFT_ENGINE_ENCODERS_CLIP_NORMALISATION_H
#define WEFT_ENGINE_ENCODERS_CLIP_NORMALISATION_H

#include "kernels/base/status.h"

/* Of R, G, B: a value v within 0..1 becomes (v - mean) / std. */
struct wf_clip_normalisation {
    float mean[3], std[3];
};

/* Reads image_mean and image_std; CLIP's own, where the file does not say. WF_REFUSED, naming file
   and key: no such file, other than three numbers, not finite in f32, a std not above 0. */
enum wf_status wf_clip_normalisation_read(const char *path, struct wf_clip_normalisation *out,
                                          struct wf_error *err);

#endif
