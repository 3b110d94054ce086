/* torch's CPU random generator: the same Mersenne Twister stream and the same normal values. */
#ifndef WEFT_KERNELS_BASE_RNG_H
#define WEFT_KERNELS_BASE_RNG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct wf_rng {
    uint32_t state[624];
    int next;        /* index of the next word of state; 624 asks for new ones */
    bool has_normal; /* a second value of the last pair is waiting */
    double normal;
};

/* As torch.Generator("cpu").manual_seed(seed); the twister itself takes the low 32 bits. */
void wf_rng_seed(struct wf_rng *rng, uint64_t seed);
uint32_t wf_rng_u32(struct wf_rng *rng);

/* n values as torch.randn(n, generator=g) in float32: fewer than 16 values come one at a time in
   double precision (and leave the second of a pair for the next call), 16 or more in blocks. */
void wf_rng_normal(struct wf_rng *rng, float *out, size_t n);

#endif
