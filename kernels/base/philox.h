/* torch's CUDA random generator: Philox4x32-10, a counter that any thread can begin at any place.
 */
#ifndef WEFT_KERNELS_BASE_PHILOX_H
#define WEFT_KERNELS_BASE_PHILOX_H

#include <stddef.h>
#include <stdint.h>

/* Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3" (2011). */
void wf_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

/* n values as torch.randn(n, device="cuda", generator=g) in float32 with a generator of that seed,
   to about 1e-6 (the card takes sine and cosine by its fast units). Which thread draws which value
   depends on how many run: a card's processors (SMs) and the threads that each holds. *turn: what
   the generator has drawn before, 0 of a fresh one; it moves on. */
void wf_philox_normal(uint64_t seed, int processors, int threads, uint64_t *turn, float *out,
                      size_t n);

#endif
