/* WF_LOOPS is the table's name; the compiler's flags choose the instruction set. */
#include "kernels/cpu/loops.h"

#include <math.h>
#include <string.h>

#if defined(__AVX512F__)
enum { LANES = 16, ROWS = 14 };
#ifdef __AVX512BF16__
#include <immintrin.h>
#define ISA_NAME "avx512_bf16"
#else
#define ISA_NAME "avx512"
#endif
#elif defined(__AVX2__)
enum { LANES = 8, ROWS = 6 };
#define ISA_NAME "avx2"
#else
enum { LANES = 4, ROWS = 6 };
#define ISA_NAME "baseline"
#endif

#define ALWAYS_INLINE static inline __attribute__((always_inline))
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#pragma clang diagnostic ignored "-Wpass-failed" /* a loop that stays scalar is only slower */
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

/* A register of floats, and the same anywhere in memory. */
typedef float vector __attribute__((vector_size(LANES * sizeof(float))));
typedef float loose_vector
    __attribute__((vector_size(LANES * sizeof(float)), aligned(sizeof(float)), may_alias));

ALWAYS_INLINE vector load(const float *at)
{
    return *(const loose_vector *)at;
}

ALWAYS_INLINE void store(float *at, vector value)
{
    *(loose_vector *)at = value;
}

typedef float vector_4 __attribute__((vector_size(16)));
typedef float vector_8 __attribute__((vector_size(32)));

/* By halves: added one after the other, the lanes would wait for each other. */
ALWAYS_INLINE float sum_of(vector value)
{
#if defined(__AVX512F__)
    const vector_8 eight = __builtin_shufflevector(value, value, 0, 1, 2, 3, 4, 5, 6, 7) +
                           __builtin_shufflevector(value, value, 8, 9, 10, 11, 12, 13, 14, 15);
#elif defined(__AVX2__)
    const vector_8 eight = value;
#endif
#if defined(__AVX2__)
    const vector_4 four = __builtin_shufflevector(eight, eight, 0, 1, 2, 3) +
                          __builtin_shufflevector(eight, eight, 4, 5, 6, 7);
#else
    const vector_4 four = value;
#endif
    return (four[0] + four[2]) + (four[1] + four[3]);
}

/* What a tile is made of: floats, or words of two bf16. */
enum word { FLOATS, PAIRS };

/* sum + left * right, the left word in every lane. */
ALWAYS_INLINE vector multiply_add(const enum word word, vector sum, const float *left, vector right)
{
#ifdef __AVX512BF16__
    if (word == PAIRS) {
        int32_t pair;
        memcpy(&pair, left, sizeof pair);
        return (vector)_mm512_dpbf16_ps((__m512)sum, (__m512bh)_mm512_set1_epi32(pair),
                                        (__m512bh)right);
    }
#else
    (void)word;
#endif
    return sum + *left * right;
}

/* Inlined with constant rows and vectors, so that acc lies in registers. */
ALWAYS_INLINE void tile_of(const enum word word, const int rows, const int vectors, int depth,
                           const float *a, const float *b, float *c, int64_t c_pitch, bool add)
{
    vector acc[ROWS][2];
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int v = 0; v < vectors; v++)
            acc[r][v] = add ? load(c + r * c_pitch + v * LANES) : (vector){0};
    }
    for (int k = 0; k < depth; k++) {
        vector right[2];
        UNROLL
        for (int v = 0; v < vectors; v++)
            right[v] = load(b + (k * vectors + v) * LANES);
        UNROLL
        for (int r = 0; r < rows; r++) {
            UNROLL
            for (int v = 0; v < vectors; v++)
                acc[r][v] = multiply_add(word, acc[r][v], a + r * WF_TILE_PITCH + k, right[v]);
        }
    }
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int v = 0; v < vectors; v++)
            store(c + r * c_pitch + v * LANES, acc[r][v]);
    }
}

ALWAYS_INLINE void tile_rows(const enum word word, int rows, const int vectors, int depth,
                             const float *a, const float *b, float *c, int64_t c_pitch, bool add)
{
#define TILE(n)                                                                                    \
    case n:                                                                                        \
        tile_of(word, n, vectors, depth, a, b, c, c_pitch, add);                                   \
        break
    switch (rows) {
        TILE(1);
        TILE(2);
        TILE(3);
        TILE(4);
        TILE(5);
        TILE(6);
#if defined(__AVX512F__)
        TILE(7);
        TILE(8);
        TILE(9);
        TILE(10);
        TILE(11);
        TILE(12);
        TILE(13);
        TILE(14);
#endif
    default:
        break;
    }
#undef TILE
}

static void tile_wide(int rows, int depth, const float *a, const float *b, float *c,
                      int64_t c_pitch, bool add)
{
    tile_rows(FLOATS, rows, 2, depth, a, b, c, c_pitch, add);
}

static void tile_narrow(int rows, int depth, const float *a, const float *b, float *c,
                        int64_t c_pitch, bool add)
{
    tile_rows(FLOATS, rows, 1, depth, a, b, c, c_pitch, add);
}

static void tile(int rows, int width, int depth, const void *a, const void *b, float *c,
                 int64_t c_pitch, bool add)
{
    if (width == 2 * LANES)
        tile_wide(rows, depth, a, b, c, c_pitch, add);
    else
        tile_narrow(rows, depth, a, b, c, c_pitch, add);
}

#ifdef __AVX512BF16__
static void pairs_wide(int rows, int depth, const float *a, const float *b, float *c,
                       int64_t c_pitch, bool add)
{
    tile_rows(PAIRS, rows, 2, depth, a, b, c, c_pitch, add);
}

static void pairs_narrow(int rows, int depth, const float *a, const float *b, float *c,
                         int64_t c_pitch, bool add)
{
    tile_rows(PAIRS, rows, 1, depth, a, b, c, c_pitch, add);
}

static void tile_pairs(int rows, int width, int depth, const void *a, const void *b, float *c,
                       int64_t c_pitch, bool add)
{
    if (width == 2 * LANES)
        pairs_wide(rows, depth, a, b, c, c_pitch, add);
    else
        pairs_narrow(rows, depth, a, b, c, c_pitch, add);
}

static void pair(uint32_t *dst, const uint16_t *even, const uint16_t *odd, int64_t n)
{
    if (odd) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            dst[i] = even[i] | (uint32_t)odd[i] << 16;
    } else {
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            dst[i] = even[i];
    }
}

static void round_pairs(uint32_t *dst, const float *src, int64_t n)
{
    for (int64_t i = 0; i < n; i += LANES) {
        const int64_t left = n - i;
        const __mmask16 lanes = (__mmask16)(left < LANES ? (1u << left) - 1 : 0xffffu);
        const __m256bh rounded = _mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(lanes, src + i));
        _mm256_mask_storeu_epi16(dst + i / 2, lanes, (__m256i)rounded);
    }
}
#endif

ALWAYS_INLINE uint32_t bits_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

ALWAYS_INLINE float float_of(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* x = n ln 2 + r with |r| <= ln 2 / 2; returns e^r. *n is whole, as a float and as an integer. */
ALWAYS_INLINE float reduced_exponential(float x, int32_t *n)
{
    const float rounder = 0x1.8p23f;
    const float shifted = x * 0x1.715476p+0f + rounder;
    const float whole = shifted - rounder;
    const float r = (x - whole * 0x1.62e4p-1f) - whole * 0x1.7f7d1cp-20f; /* ln 2 in two parts */
    float p = 0x1.6c16c2p-10f;
    p = p * r + 0x1.1240aap-7f;
    p = p * r + 0x1.555556p-5f;
    p = p * r + 0x1.555488p-3f;
    p = p * r + 0.5f;
    *n = (int32_t)(bits_of(shifted) - bits_of(rounder));
    return p * (r * r) + r + 1.0f;
}

/* e^x to 1 ulp or so; infinite and subnormal results included. */
ALWAYS_INLINE float exponential(float x)
{
    x = x < -104.0f ? -104.0f : x;
    x = x > 89.0f ? 89.0f : x; /* a NaN passes both */
    int32_t n;
    const float p = reduced_exponential(x, &n);
    const int32_t half = n >> 1;
    const uint32_t low = (uint32_t)(half + 127) << 23, high = (uint32_t)(n - half + 127) << 23;
    return p * float_of(low) * float_of(high);
}

/* The same for x of at most 0, with 0 in place of subnormal results. */
ALWAYS_INLINE float exponential_of_negative(float x)
{
    const float bounded = x < -87.0f ? -87.0f : x;
    int32_t n;
    const float p = reduced_exponential(bounded, &n);
    const float power = p * float_of((uint32_t)(n + 127) << 23);
    return x < -87.0f ? 0.0f : power;
}

/* 1 + erf(x), to 1e-7 of 1 and 5e-5 of itself. Polynomials fitted to erf(x)/x in x^2 below 1, and
   to -ln(erfc x) from there to 9.3, where erfc ends. */
ALWAYS_INLINE float one_plus_erf(float x)
{
    const float t = fabsf(x), s = x * x, far = t < 9.3f ? t : 9.3f;
    float near = 7.889122935e-05f;
    near = near * s - 8.020842215e-04f;
    near = near * s + 5.189535674e-03f;
    near = near * s - 2.685444430e-02f;
    near = near * s + 1.128360033e-01f;
    near = near * s - 3.761262596e-01f;
    near = near * s + 1.128379107e+00f;
    float power = 3.168554485e-08f;
    power = power * far - 1.613932682e-06f;
    power = power * far + 3.616596950e-05f;
    power = power * far - 4.723131133e-04f;
    power = power * far + 4.029584117e-03f;
    power = power * far - 2.400734089e-02f;
    power = power * far + 1.053718701e-01f;
    power = power * far + 6.371604800e-01f;
    power = power * far + 1.127003193e+00f;
    power = power * far + 4.852718849e-04f;
    const float tail = exponential(-power), outer = x < 0.0f ? tail : 2.0f - tail;
    return t < 1.0f ? 1.0f + near * x : outer;
}

ALWAYS_INLINE float activate(float x, const enum wf_act act)
{
    switch (act) {
    case WF_ACT_NONE:
        break;
    case WF_ACT_GELU_TANH: /* (1 + tanh u) / 2 = 1 / (1 + e^-2u) */
        return x / (1.0f + exponential(-1.5957691216f * (x + 0.044715f * x * x * x)));
    case WF_ACT_GELU_ERF:
        return 0.5f * x * one_plus_erf(0.70710678119f * x);
    case WF_ACT_SILU:
        return x / (1.0f + exponential(-x));
    }
    return x;
}

/* Expands a loop once for each activation, so that the choice is made outside of it. */
#define WITH_ACT(act, loop)                                                                        \
    switch (act) {                                                                                 \
    case WF_ACT_NONE:                                                                              \
        loop(WF_ACT_NONE);                                                                         \
        break;                                                                                     \
    case WF_ACT_GELU_TANH:                                                                         \
        loop(WF_ACT_GELU_TANH);                                                                    \
        break;                                                                                     \
    case WF_ACT_GELU_ERF:                                                                          \
        loop(WF_ACT_GELU_ERF);                                                                     \
        break;                                                                                     \
    case WF_ACT_SILU:                                                                              \
        loop(WF_ACT_SILU);                                                                         \
        break;                                                                                     \
    }

ALWAYS_INLINE void epilogue_of(float *y, const float *c, int64_t n, const float *bias,
                               const float *gate, const bool accumulate, const enum wf_act act)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        const float value = activate(bias ? c[i] + bias[i] : c[i], act);
        y[i] = accumulate ? y[i] + (gate ? gate[i] * value : value) : value;
    }
}

static void epilogue(float *y, const float *c, int64_t n, const struct wf_epilogue *e)
{
#define LOOP(act)                                                                                  \
    if (e->accumulate)                                                                             \
        epilogue_of(y, c, n, e->bias, e->gate, true, act);                                         \
    else                                                                                           \
        epilogue_of(y, c, n, e->bias, NULL, false, act)
    WITH_ACT(e->act, LOOP)
#undef LOOP
}

static float softmax(float *score, int64_t n, float factor, const float *bias,
                     const float *other_bias, float *largest, float *sum)
{
    float top = *largest;
    const int64_t whole = (n + LANES - 1) / LANES * LANES;
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        score[i] *= factor;
    if (bias) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            score[i] += bias[i];
    }
    if (other_bias) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            score[i] += other_bias[i];
    }
    for (int64_t i = n; i < whole; i++)
        score[i] = -INFINITY; /* so that the loops below need no remainder */
#pragma omp simd reduction(max : top)
    for (int64_t i = 0; i < whole; i++)
        top = score[i] > top ? score[i] : top;
    if (top == -INFINITY) { /* nothing but keys out of reach so far; a NaN stays one */
        for (int64_t i = 0; i < whole; i++) {
            score[i] = score[i] == top ? 0.0f : score[i];
            *sum += score[i];
        }
        return 1.0f;
    }
#pragma omp simd
    for (int64_t i = 0; i < whole; i++)
        score[i] = exponential_of_negative(score[i] - top);
    vector total = {0};
    for (int64_t i = 0; i < whole; i += LANES)
        total += load(score + i);
    const float rescale = exponential_of_negative(*largest - top);
    *sum = *sum * rescale + sum_of(total);
    *largest = top;
    return rescale;
}

/* The elements of two registers in turns: of their first halves, and of their second. */
#if defined(__AVX512F__)
#define ZIP_LOW(a, b)                                                                              \
    __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
#define ZIP_HIGH(a, b)                                                                             \
    __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)
#elif defined(__AVX2__)
#define ZIP_LOW(a, b) __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11)
#define ZIP_HIGH(a, b) __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15)
#else
#define ZIP_LOW(a, b) __builtin_shufflevector(a, b, 0, 4, 1, 5)
#define ZIP_HIGH(a, b) __builtin_shufflevector(a, b, 2, 6, 3, 7)
#endif

/* A square of registers: as often as its side can be halved, rows are zipped with those half the
   side below. */
ALWAYS_INLINE void turn_square(float *dst, int64_t dst_pitch, const float *src, int64_t src_pitch)
{
    vector row[LANES], next[LANES];
    UNROLL
    for (int i = 0; i < LANES; i++)
        row[i] = load(src + i * src_pitch);
    UNROLL
    for (int side = LANES; side > 1; side /= 2) {
        UNROLL
        for (int i = 0; i < LANES / 2; i++) {
            next[2 * i] = ZIP_LOW(row[i], row[i + LANES / 2]);
            next[2 * i + 1] = ZIP_HIGH(row[i], row[i + LANES / 2]);
        }
        UNROLL
        for (int i = 0; i < LANES; i++)
            row[i] = next[i];
    }
    UNROLL
    for (int i = 0; i < LANES; i++)
        store(dst + i * dst_pitch, row[i]);
}

static void turn(float *dst, int64_t dst_pitch, const float *src, int64_t src_pitch, int64_t rows,
                 int64_t columns)
{
    const int64_t whole_rows = rows / LANES * LANES, whole_columns = columns / LANES * LANES;
    for (int64_t i = 0; i < whole_rows; i += LANES) {
        for (int64_t j = 0; j < whole_columns; j += LANES)
            turn_square(dst + j * dst_pitch + i, dst_pitch, src + i * src_pitch + j, src_pitch);
    }
    for (int64_t i = 0; i < rows; i++) {
        for (int64_t j = i < whole_rows ? whole_columns : 0; j < columns; j++)
            dst[j * dst_pitch + i] = src[i * src_pitch + j];
    }
}

static void scale(float *y, const float *x, int64_t n, float factor)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        y[i] = x[i] * factor;
}

static float sum_row(const float *x, int64_t n)
{
    const int64_t whole = n / LANES * LANES;
    vector sum = {0};
    if (whole < n)
        memcpy(&sum, x + whole, (size_t)(n - whole) * sizeof *x);
    for (int64_t i = 0; i < whole; i += LANES)
        sum += load(x + i);
    return sum_of(sum);
}

/* Of x - mean; *rest is their plain sum. Lanes without a value do not count. */
static float sum_squares(const float *x, int64_t n, float mean, float *rest)
{
    const int64_t whole = n / LANES * LANES;
    vector squares = {0}, sum = {0};
    for (int64_t i = 0; i < whole; i += LANES) {
        const vector value = load(x + i) - mean;
        sum += value;
        squares += value * value;
    }
    if (whole < n) {
        float last[LANES] = {0};
        for (int64_t i = whole; i < n; i++)
            last[i - whole] = x[i] - mean;
        sum += load(last);
        squares += load(last) * load(last);
    }
    *rest = sum_of(sum);
    return sum_of(squares);
}

static void layer_norm(float *y, const float *x, const float *weight, const float *shift, int64_t n,
                       float eps)
{
    float rest;
    const float mean = sum_row(x, n) / (float)n;
    const float squares = sum_squares(x, n, mean, &rest);
    const float low = rest / (float)n; /* what rounding took from the mean */
    const float variance = squares / (float)n - low * low;
    const float factor = 1.0f / sqrtf((variance > 0 ? variance : 0) + eps);
    if (weight && shift) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            y[i] = (x[i] - mean - low) * factor * weight[i] + shift[i];
        return;
    }
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        y[i] =
            (x[i] - mean - low) * factor * (weight ? weight[i] : 1.0f) + (shift ? shift[i] : 0.0f);
}

ALWAYS_INLINE void rms_apply(float *y, const float *x, const float *weight, int64_t n, float factor,
                             const enum wf_act act)
{
    if (weight) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            y[i] = activate(x[i] * factor * weight[i], act);
        return;
    }
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        y[i] = activate(x[i] * factor, act);
}

static void rms_norm(float *y, const float *x, const float *weight, int64_t n,
                     enum wf_rms_form form, enum wf_act act, float eps)
{
    float rest;
    const float squares = sum_squares(x, n, 0, &rest);
    const float length = sqrtf(squares);
    const float factor = form == WF_RMS_L2
                             ? sqrtf((float)n) / (length < eps ? eps : length) /* NaN stays */
                             : 1.0f / sqrtf(squares / (float)n + eps);
#define LOOP(act) rms_apply(y, x, weight, n, factor, act)
    WITH_ACT(act, LOOP)
#undef LOOP
}

/* In the order of memory: the sums stay in the nearest cache, and several pixels at a time, which
   would read and write them less often, are up to three times slower where x is in none. */
static void group_sums(double *sum, double *squares, const float *x, int64_t pixels,
                       int64_t channels)
{
    for (int64_t p = 0; p < pixels; p++) {
#pragma omp simd
        for (int64_t c = 0; c < channels; c++) {
            const double value = (double)x[p * channels + c];
            sum[c] += value;
            squares[c] += value * value;
        }
    }
}

ALWAYS_INLINE void group_apply_of(float *y, const float *x, const float *mean, const float *factor,
                                  const float *shift, int64_t n, const enum wf_act act)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        y[i] = activate((x[i] - mean[i]) * factor[i] + shift[i], act);
}

static void group_apply(float *y, const float *x, const float *mean, const float *factor,
                        const float *shift, int64_t n, enum wf_act act)
{
#define LOOP(act) group_apply_of(y, x, mean, factor, shift, n, act)
    WITH_ACT(act, LOOP)
#undef LOOP
}

static void rope(float *y, const float *x, const float *cosine, const float *sine, int64_t pairs)
{
#pragma omp simd
    for (int64_t j = 0; j < pairs; j++) {
        const float x0 = x[2 * j], x1 = x[2 * j + 1];
        y[2 * j] = x0 * cosine[j] - x1 * sine[j];
        y[2 * j + 1] = x0 * sine[j] + x1 * cosine[j];
    }
}

static void lincomb(float *y, const float *const *x, const float *c, int terms, int64_t n)
{
    if (terms == 2) {
        const float *a = x[0], *b = x[1], ca = c[0], cb = c[1];
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            y[i] = ca * a[i] + cb * b[i];
        return;
    }
    const float *operand[WF_LINCOMB_TERMS];
    float factor[WF_LINCOMB_TERMS];
    for (int k = 0; k < WF_LINCOMB_TERMS; k++) {
        operand[k] = x[k < terms ? k : 0];
        factor[k] = k < terms ? c[k] : 0;
    }
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        float sum = factor[0] * operand[0][i];
        if (terms > 1)
            sum += factor[1] * operand[1][i];
        if (terms > 2)
            sum += factor[2] * operand[2][i];
        if (terms > 3)
            sum += factor[3] * operand[3][i];
        if (terms > 4)
            sum += factor[4] * operand[4][i];
        y[i] = sum;
    }
}

_Static_assert(WF_LINCOMB_TERMS == 5, "lincomb writes its terms out");

static void affine(float *y, const float *x, const float *weight, const float *shift, int64_t n,
                   float low, float high)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        float value = x[i];
        value = weight ? value * weight[i] : value;
        value = shift ? value + shift[i] : value;
        const float broken = value - value; /* 0, or NaN where value is not finite */
        value = value < low ? low : value;
        y[i] = (value > high ? high : value) + broken;
    }
}

ALWAYS_INLINE void act_of(float *y, const float *x, int64_t n, const enum wf_act act)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        y[i] = activate(x[i], act);
}

static void act(float *y, const float *x, int64_t n, enum wf_act act){
#define LOOP(act) act_of(y, x, n, act)
    WITH_ACT(act, LOOP)
#undef LOOP
}

ALWAYS_INLINE
    void gated_act_of(float *y, const float *a, const float *b, int64_t n, const enum wf_act act)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        y[i] = activate(a[i], act) * b[i];
}

static void gated_act(float *y, const float *a, const float *b, int64_t n, enum wf_act act){
#define LOOP(act) gated_act_of(y, a, b, n, act)
    WITH_ACT(act, LOOP)
#undef LOOP
}

/* The conversions compute what base/dtype.c does, without branches. */
ALWAYS_INLINE float half_to_float(uint32_t half)
{
    const uint32_t sign = (half & 0x8000u) << 16, fraction = half & 0x3ffu;
    const uint32_t exponent = half & 0x7c00u;
    const uint32_t normal = ((half & 0x7fffu) << 13) + (112u << 23);
    const uint32_t special = 0x7f800000u | (fraction << 13);
    const uint32_t small = bits_of((float)(int32_t)fraction * 0x1p-24f);
    return float_of(sign | (exponent == 0x7c00u ? special : exponent ? normal : small));
}

ALWAYS_INLINE uint16_t float_to_half(float value)
{
    const uint32_t bits = bits_of(value), magnitude = bits & 0x7fffffffu;
    const uint32_t sign = (bits >> 16) & 0x8000u;
    const uint32_t small = bits_of(float_of(magnitude) + 0.5f) - 0x3f000000u;
    const uint32_t normal = (magnitude + 0xfffu + ((magnitude >> 13) & 1u) - 0x38000000u) >> 13;
    uint32_t half = magnitude < 0x38800000u ? small : normal;
    half = magnitude >= 0x477ff000u ? 0x7c00u : half;
    half = magnitude > 0x7f800000u ? 0x7e00u : half;
    return (uint16_t)(sign | half);
}

ALWAYS_INLINE uint16_t float_to_bfloat(float value)
{
    const uint32_t bits = bits_of(value);
    const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    return (uint16_t)((bits & 0x7fffffffu) > 0x7f800000u ? (bits >> 16) | 0x40u : rounded);
}

/* A 16-bit value at any address. */
typedef uint16_t loose_half __attribute__((aligned(1), may_alias));

static void to_f32(float *dst, const void *src, enum wf_dtype dtype, int64_t n)
{
    const loose_half *half = src;
    if (dtype == WF_F32) {
        memcpy(dst, src, (size_t)n * sizeof *dst);
    } else if (dtype == WF_F16) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            dst[i] = half_to_float(half[i]);
    } else {
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            dst[i] = float_of((uint32_t)half[i] << 16);
    }
}

static void from_f32(void *dst, enum wf_dtype dtype, const float *src, int64_t n)
{
    loose_half *half = dst;
    if (dtype == WF_F32) {
        memcpy(dst, src, (size_t)n * sizeof *src);
    } else if (dtype == WF_F16) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            half[i] = float_to_half(src[i]);
    } else {
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            half[i] = float_to_bfloat(src[i]);
    }
}

/* 255 x is rounded to f32 before it is rounded to an integer, so the two steps must not melt into
   one fused multiply-add: an opaque store stands between them. */
static void pack_u8(uint8_t *y, const float *x, int64_t n)
{
    enum { BLOCK = 64 };
    const float rounder = 0x1.8p23f;
    for (int64_t done = 0; done < n; done += BLOCK) {
        const int64_t count = n - done < BLOCK ? n - done : BLOCK;
        float scaled[BLOCK];
#pragma omp simd
        for (int64_t i = 0; i < count; i++) {
            const float low = x[done + i] > 0.0f ? x[done + i] : 0.0f; /* a NaN becomes 0 */
            scaled[i] = (low < 1.0f ? low : 1.0f) * 255.0f;
        }
        __asm__ volatile("" : "+m"(scaled));
#pragma omp simd
        for (int64_t i = 0; i < count; i++)
            y[done + i] = (uint8_t)bits_of(scaled[i] + rounder);
    }
}

const struct wf_loops WF_LOOPS = {
    .name = ISA_NAME,
    .tile_rows = ROWS,
    .tile_width = 2 * LANES,
    .tile = tile,
#ifdef __AVX512BF16__
    .tile_pairs = tile_pairs,
    .pair = pair,
    .round_pairs = round_pairs,
#endif
    .epilogue = epilogue,
    .softmax = softmax,
    .scale = scale,
    .turn = turn,
    .layer_norm = layer_norm,
    .rms_norm = rms_norm,
    .group_sums = group_sums,
    .group_apply = group_apply,
    .rope = rope,
    .lincomb = lincomb,
    .affine = affine,
    .act = act,
    .gated_act = gated_act,
    .to_f32 = to_f32,
    .from_f32 = from_f32,
    .pack_u8 = pack_u8,
};
