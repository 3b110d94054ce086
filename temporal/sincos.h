/* The embedding of a number by sines and cosines. */
#ifndef WEFT_TEMPORAL_SINCOS_H
#define WEFT_TEMPORAL_SINCOS_H

#include <stdint.h>

/* out[width] = [cos(t f), sin(t f)], f_i = 10000^(-i / half), in the order of operations of
   diffusers' float32 (Timesteps with flip_sin_to_cos and downscale_freq_shift 0); an odd width ends
   with 0. */
void wf_sincos(float *out, int64_t width, double t);

#endif
