/* The hot inner loops. loops.c is compiled once for each instruction set, each time into one table;
   cpu.c picks the table at run time. All of them run on one thread. */
#ifndef WEFT_KERNELS_CPU_LOOPS_H
#define WEFT_KERNELS_CPU_LOOPS_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels/backend.h"

enum {
    WF_TILE_DEPTH = 128,                /* the longest sum that a tile adds up in one call */
    WF_TILE_PITCH = WF_TILE_DEPTH + 16, /* words from one row of the left operand to the next: not
                                           a power of two, whose rows would share cache sets */
};

/* What is done to a row of sums on its way to memory. */
struct wf_epilogue {
    const float *bias, *gate; /* NULL: 0 and 1 */
    enum wf_act act;
    bool accumulate;
};

struct wf_loops {
    const char *name;
    int tile_rows;  /* rows of the tile below; any lower number may be asked for as well */
    int tile_width; /* columns of a panel; a last panel of at most half of them has half of them */

    /* c [rows,width] = (add ? c : 0) + a b, with a [rows,depth] of pitch WF_TILE_PITCH and
       b [depth,width] dense; width is tile_width or half of it, depth at most WF_TILE_DEPTH. A
       row's result does not depend on the number of rows. */
    void (*tile)(int rows, int width, int depth, const void *a, const void *b, float *c,
                 int64_t c_pitch, bool add);
    /* The same with words of two bf16 in place of floats: an element of a holds columns 2k and
       2k + 1 of a row, one of b rows 2k and 2k + 1 of a column, the first in the low half. NULL
       where the processor cannot multiply such words. */
    void (*tile_pairs)(int rows, int width, int depth, const void *a, const void *b, float *c,
                       int64_t c_pitch, bool add);
    /* Words of even[i], odd[i]; odd NULL: zeros. */
    void (*pair)(uint32_t *dst, const uint16_t *even, const uint16_t *odd, int64_t n);
    /* n floats, n even, to n / 2 words of two bf16; dst may be src. Subnormal numbers may become
       0. pair and round_pairs are NULL where tile_pairs is. */
    void (*round_pairs)(uint32_t *dst, const float *src, int64_t n);
    /* y[n] from the sums c[n]; the pointers of e are those of the row's first column. */
    void (*epilogue)(float *y, const float *c, int64_t n, const struct wf_epilogue *e);

    /* One step of an online softmax over n scores: scales them, adds the biases (NULL: none),
       replaces the scores by exp(score - *largest) with *largest brought up to date, adds them to
       *sum, and returns the factor for what was summed before. score has room for n rounded up to
       16; what is there beyond n becomes 0. */
    float (*softmax)(float *score, int64_t n, float factor, const float *bias,
                     const float *other_bias, float *largest, float *sum);
    void (*scale)(float *y, const float *x, int64_t n, float factor);

    /* dst[j,i] = src[i,j] for i below rows and j below columns. */
    void (*turn)(float *dst, int64_t dst_pitch, const float *src, int64_t src_pitch, int64_t rows,
                 int64_t columns);

    void (*layer_norm)(float *y, const float *x, const float *weight, const float *shift, int64_t n,
                       float eps);
    void (*rms_norm)(float *y, const float *x, const float *weight, int64_t n,
                     enum wf_rms_form form, enum wf_act act, float eps);
    /* Adds up each channel's values and their squares, over pixels that lie together. */
    void (*group_sums)(double *sum, double *squares, const float *x, int64_t pixels,
                       int64_t channels);
    /* y = act((x - mean) * factor + shift), all of them [n]. */
    void (*group_apply)(float *y, const float *x, const float *mean, const float *factor,
                        const float *shift, int64_t n, enum wf_act act);
    void (*rope)(float *y, const float *x, const float *cosine, const float *sine, int64_t pairs);
    void (*lincomb)(float *y, const float *const *x, const float *c, int terms, int64_t n);
    void (*affine)(float *y, const float *x, const float *weight, const float *shift, int64_t n,
                   float low, float high);
    void (*act)(float *y, const float *x, int64_t n, enum wf_act act);
    void (*gated_act)(float *y, const float *a, const float *b, int64_t n, enum wf_act act);
    /* n contiguous values between f32 and a 16-bit type, as wf_to_f32 and wf_from_f32. */
    void (*to_f32)(float *dst, const void *src, enum wf_dtype dtype, int64_t n);
    void (*from_f32)(void *dst, enum wf_dtype dtype, const float *src, int64_t n);
    void (*pack_u8)(uint8_t *y, const float *x, int64_t n);
};

extern const struct wf_loops wf_loops_baseline;
#if defined(__x86_64__)
extern const struct wf_loops wf_loops_avx2;
extern const struct wf_loops wf_loops_avx512;
extern const struct wf_loops wf_loops_avx512_bf16;
#endif

#endif
