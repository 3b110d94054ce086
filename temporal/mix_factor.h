/* How the parts within frames and along time are mixed: diffusers' AlphaBlender. */
#ifndef WEFT_TEMPORAL_MIX_FACTOR_H
#define WEFT_TEMPORAL_MIX_FACTOR_H

#include "io/weights/residency.h"

/* The sigmoid of "PREFIX.time_mixer.mix_factor" [1], which is found, checked and read at once. */
enum wf_status wf_mix_factor_read(const struct wf_residency *res, const char *prefix,
                                  float *sigmoid, struct wf_error *err);

#endif
