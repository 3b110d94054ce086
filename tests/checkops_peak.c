/* What this machine can do at best, measured: multiplications and additions from registers, and
   passes over memory. --bench gives its rates as shares of these. */
#include <time.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "tests/checkops.h"

enum {
    CHAINS = 12,    /* of operations that do not wait for each other: latency times ports */
    ROUNDS = 50000, /* of each: part of a millisecond, so that some tries go undisturbed */
    TRIES = 20,     /* at least */
};

/* Seconds that are spent on tries. */
static const double patience = 0.4;

/* What one thread does; arithmetic gives its result, so that it is not left out. */
struct level {
    float (*arithmetic)(void);
    double flops; /* of one call */
    void (*pass)(float *y, const float *x, int64_t count);
};

/* y = 0.5 y + 1 in registers and y = 2 x in memory, for vectors of some bytes. */
#define LEVEL(name, attribute, bytes)                                                              \
    typedef float name##_vector __attribute__((vector_size(bytes)));                               \
    attribute static float name##_arithmetic(void)                                                 \
    {                                                                                              \
        name##_vector y[CHAINS];                                                                   \
        for (int j = 0; j < CHAINS; j++)                                                           \
            y[j] = (name##_vector){0} + (float)j;                                                  \
        for (int i = 0; i < ROUNDS; i++) {                                                         \
            _Pragma("GCC unroll 12") for (int j = 0; j < CHAINS; j++) y[j] = y[j] * 0.5f + 1.0f;   \
        }                                                                                          \
        for (int j = 1; j < CHAINS; j++)                                                           \
            y[0] += y[j];                                                                          \
        return y[0][0];                                                                            \
    }                                                                                              \
    attribute static void name##_pass(float *y, const float *x, int64_t count)                     \
    {                                                                                              \
        for (int64_t i = 0; i < count; i++)                                                        \
            y[i] = 2 * x[i];                                                                       \
    }                                                                                              \
    static const struct level name = {name##_arithmetic, 2.0 * CHAINS * ROUNDS * (bytes / 4),      \
                                      name##_pass};

LEVEL(baseline, , 16)
#if defined(__x86_64__)
LEVEL(avx2, __attribute__((target("avx2,fma"))), 32)
LEVEL(avx512, __attribute__((target("avx512f,prefer-vector-width=512"))), 64)

/* y += a b, pairs of bf16 in each element. */
__attribute__((target("avx512f,avx512bf16"))) static float bf16_arithmetic(void)
{
    const __m512bh one = (__m512bh)_mm512_set1_epi16(0x3f80);
    __m512 y[CHAINS];
    for (int j = 0; j < CHAINS; j++)
        y[j] = _mm512_setzero_ps();
    for (int i = 0; i < ROUNDS; i++) {
#pragma GCC unroll 12
        for (int j = 0; j < CHAINS; j++)
            y[j] = _mm512_dpbf16_ps(y[j], one, one);
    }
    for (int j = 1; j < CHAINS; j++)
        y[0] = _mm512_add_ps(y[0], y[j]);
    return _mm512_cvtss_f32(y[0]);
}

static const struct level bf16 = {bf16_arithmetic, 4.0 * CHAINS *ROUNDS * 16, NULL};
#endif

static const struct level *best_level(enum wf_dtype type)
{
#if defined(__x86_64__)
    if (type == WF_BF16 && __builtin_cpu_supports("avx512bf16"))
        return &bf16;
    if (__builtin_cpu_supports("avx512f"))
        return &avx512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return &avx2;
#endif
    (void)type;
    return &baseline;
}

double clock_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

double peak_flops(enum wf_dtype type, int threads)
{
    const struct level *level = best_level(type);
    double best = 0, spent = 0;
    for (int i = 0; i < TRIES || spent < patience; i++) {
        const double began = clock_seconds();
        float sum = 0;
        double start = 1e300, end = 0; /* of the first thread, of the last */
#pragma omp parallel num_threads(threads) reduction(+ : sum) reduction(min : start) reduction(max : end)
        {
#pragma omp barrier
            start = clock_seconds();
            sum += level->arithmetic();
            end = clock_seconds();
        }
        const double rate = level->flops * threads / (end - start);
        spent += clock_seconds() - began;
        if (sum > 0 && rate > best)
            best = rate;
    }
    return best;
}

double peak_bytes(float *y, const float *x, int64_t count, int threads)
{
    const struct level *level = best_level(WF_F32);
    double best = 0, spent = 0;
    for (int i = 0; i < TRIES || spent < patience / 4; i++) {
        const int parts = i % 2 ? threads : 1; /* few bytes are not worth waking the others */
        const int64_t part = (count + parts - 1) / parts;
        const double start = clock_seconds();
#pragma omp parallel for num_threads(parts) schedule(static) if (parts > 1)
        for (int p = 0; p < parts; p++) {
            const int64_t first = p * part, left = count - first;
            level->pass(y + first, x + first, left < part ? left : part);
        }
        const double time = clock_seconds() - start;
        const double rate = 2.0 * sizeof(float) * (double)count / time;
        spent += time;
        best = rate > best ? rate : best;
    }
    return best;
}
