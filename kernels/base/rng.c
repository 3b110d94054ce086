#include "kernels/base/rng.h"

#include <math.h>

enum { N = 624, M = 397 };

static const double two_pi = 6.283185307179586476925286766559;

/* Matsumoto and Nishimura's MT19937, init_genrand. */
void wf_rng_seed(struct wf_rng *rng, uint64_t seed)
{
    rng->state[0] = (uint32_t)seed;
    for (uint32_t i = 1; i < N; i++)
        rng->state[i] = 1812433253u * (rng->state[i - 1] ^ (rng->state[i - 1] >> 30)) + i;
    rng->next = N;
    rng->has_normal = false;
    rng->normal = 0;
}

static void refill(struct wf_rng *rng)
{
    uint32_t *s = rng->state;
    for (int i = 0; i < N; i++) {
        const uint32_t y = (s[i] & 0x80000000u) | (s[(i + 1) % N] & 0x7fffffffu);
        s[i] = s[(i + M) % N] ^ (y >> 1) ^ ((y & 1u) ? 0x9908b0dfu : 0u);
    }
    rng->next = 0;
}

uint32_t wf_rng_u32(struct wf_rng *rng)
{
    if (rng->next == N)
        refill(rng);
    uint32_t y = rng->state[rng->next++];
    y ^= y >> 11;
    y ^= (y << 7) & 0x9d2c5680u;
    y ^= (y << 15) & 0xefc60000u;
    return y ^ (y >> 18);
}

/* 24 random bits in [0, 1), as torch draws a float. */
static float uniform_float(struct wf_rng *rng)
{
    return (float)(wf_rng_u32(rng) & 0xffffffu) * 0x1p-24f;
}

/* 53 random bits in [0, 1), as torch draws a double: the first word is the high one. */
static double uniform_double(struct wf_rng *rng)
{
    const uint64_t high = wf_rng_u32(rng), low = wf_rng_u32(rng);
    return (double)(((high << 32) | low) & ((UINT64_C(1) << 53) - 1)) * 0x1p-53;
}

/* Box and Muller on one value at a time, in double. */
static double next_normal(struct wf_rng *rng)
{
    if (rng->has_normal) {
        rng->has_normal = false;
        return rng->normal;
    }
    const double u1 = uniform_double(rng), u2 = uniform_double(rng);
    const double radius = sqrt(-2.0 * log1p(-u2)), theta = two_pi * u1;
    rng->normal = radius * sin(theta);
    rng->has_normal = true;
    return radius * cos(theta);
}

/* Sixteen uniform values in place become normal ones: j and j + 8 are a pair. */
static void normal_block(float *block)
{
    for (int j = 0; j < 8; j++) {
        const float u1 = 1.0f - block[j], u2 = block[j + 8];
        const float radius = sqrtf(-2.0f * logf(u1)), theta = (float)two_pi * u2;
        block[j] = radius * cosf(theta);
        block[j + 8] = radius * sinf(theta);
    }
}

void wf_rng_normal(struct wf_rng *rng, float *out, size_t n)
{
    if (n < 16) {
        for (size_t i = 0; i < n; i++)
            out[i] = (float)next_normal(rng);
        return;
    }
    for (size_t i = 0; i < n; i++)
        out[i] = uniform_float(rng);
    for (size_t i = 0; i + 16 <= n; i += 16)
        normal_block(out + i);
    if (n % 16) { /* the last sixteen are drawn anew */
        float *tail = out + n - 16;
        for (int i = 0; i < 16; i++)
            tail[i] = uniform_float(rng);
        normal_block(tail);
    }
}
