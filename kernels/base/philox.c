#include "kernels/base/philox.h"

#include <math.h>

enum { ROUNDS = 10, BLOCK = 256, VALUES = 4 };

void wf_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4])
{
    uint32_t c[4] = {counter[0], counter[1], counter[2], counter[3]}, k[2] = {key[0], key[1]};
    for (int i = 0; i < ROUNDS; i++) {
        const uint64_t a = (uint64_t)0xd2511f53u * c[0], b = (uint64_t)0xcd9e8d57u * c[2];
        const uint32_t next[4] = {(uint32_t)(b >> 32) ^ c[1] ^ k[0], (uint32_t)b,
                                  (uint32_t)(a >> 32) ^ c[3] ^ k[1], (uint32_t)a};
        for (int j = 0; j < 4; j++)
            c[j] = next[j];
        k[0] += 0x9e3779b9u;
        k[1] += 0xbb67ae85u;
    }
    for (int j = 0; j < 4; j++)
        out[j] = c[j];
}

/* Box and Muller, as cuRAND has it, in f32. */
static void two_normals(uint32_t x, uint32_t y, float out[2])
{
    const float unit = 2.3283064e-10f, turn = unit * 6.2831855f;
    const float u = fmaf((float)x, unit, unit / 2), angle = fmaf((float)y, turn, turn / 2);
    const float length = sqrtf(-2 * logf(u));
    out[0] = sinf(angle) * length;
    out[1] = cosf(angle) * length;
}

/* Thread i of all begins at the counter's i-th sequence and draws four values a turn, which go to
   places as far apart as there are threads. */
void wf_philox_normal(uint64_t seed, int processors, int threads, uint64_t *turn, float *out,
                      size_t n)
{
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    const size_t blocks = (n + BLOCK - 1) / BLOCK;
    const size_t most = (size_t)processors * (size_t)(threads / BLOCK);
    const size_t all = (blocks < most ? blocks : most) * BLOCK;
    for (size_t first = 0; first < n; first += VALUES * all, ++*turn) {
        for (size_t i = 0; i < all && first + i < n; i++) {
            const uint32_t counter[4] = {(uint32_t)*turn, (uint32_t)(*turn >> 32), (uint32_t)i,
                                         (uint32_t)((uint64_t)i >> 32)};
            uint32_t bits[4];
            float values[VALUES];
            wf_philox(counter, key, bits);
            two_normals(bits[0], bits[1], values);
            two_normals(bits[2], bits[3], values + 2);
            for (size_t j = 0; j < VALUES && first + i + j * all < n; j++)
                out[first + i + j * all] = values[j];
        }
    }
}
