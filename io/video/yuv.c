#include "io/video/yuv.h"

#include <stdint.h>

/* Of 10000 parts: fractions of whole numbers, so that rounding is exact. */
const struct wf_yuv_matrix wf_yuv_bt709 = {2126, 7152, 722}, wf_yuv_bt601 = {2990, 5870, 1140};
enum { PARTS = 10000 };

/* With Y' = r R + g G + b B: Y = 16 + 219 Y' / 255, Cb = 128 + 224 (B - Y') / (255 * 2 (1 - b)),
   Cr = 128 + 224 (R - Y') / (255 * 2 (1 - r)), times a power of two where a sample has more than 8
   bits. */
static unsigned luma(const struct wf_yuv_matrix *m, const unsigned char *rgb, int more_bits)
{
    enum { UNIT = 255 * PARTS };
    const uint32_t sum = m->red * rgb[0] + m->green * rgb[1] + m->blue * rgb[2];
    const uint64_t scaled = (uint64_t)(219u * sum) << more_bits;
    return (16u << more_bits) + (unsigned)((scaled + UNIT / 2) / UNIT);
}

/* rgb: sums of weight 8. which: 2 for Cb, 0 for Cr. */
static unsigned chroma(const struct wf_yuv_matrix *m, const uint32_t rgb[3], int which,
                       int more_bits)
{
    const uint32_t weight[3] = {m->red, m->green, m->blue};
    const uint64_t rest = PARTS - weight[which], unit = 8 * 255 * rest;
    uint64_t down = 0;
    for (int c = 0; c < 3; c++)
        down += c == which ? 0 : (uint64_t)weight[c] * rgb[c];
    const uint64_t scaled = (128 * unit + 112 * (rest * rgb[which] - down)) << more_bits;
    return (unsigned)((scaled + unit / 2) / unit);
}

static void store(const struct wf_yuv_picture *p, unsigned char *at, unsigned value)
{
    if (p->bits > 8) {
        value <<= p->shift;
        at[1] = (unsigned char)(value >> 8);
    }
    at[0] = (unsigned char)value;
}

/* The weights 1 2 1 around column 2x and 1 1 over rows 2y and 2y + 1: where the sample is sited.
   What is not shared takes the whole weight; past an edge its last pixel counts again. */
static void sum_shared(uint32_t sum[3], const struct wf_yuv_picture *p, const unsigned char *upper,
                       const unsigned char *lower, size_t x)
{
    const size_t middle = p->columns * x;
    const size_t left = p->columns == 2 && middle ? middle - 1 : middle;
    const size_t right = p->columns == 2 && middle + 1 < p->width ? middle + 1 : middle;
    for (size_t c = 0; c < 3; c++) {
        sum[c] = (uint32_t)upper[3 * left + c] + 2u * upper[3 * middle + c] + upper[3 * right + c];
        sum[c] += (uint32_t)lower[3 * left + c] + 2u * lower[3 * middle + c] + lower[3 * right + c];
    }
}

static void colour_line(const struct wf_yuv_picture *p, const unsigned char *rgb, size_t y)
{
    const size_t line = 3 * p->width, row = p->rows * y;
    const unsigned char *upper = rgb + row * line;
    const unsigned char *lower = p->rows == 2 && row + 1 < p->height ? upper + line : upper;
    unsigned char *cb = p->component[1].data + (ptrdiff_t)y * p->component[1].stride;
    unsigned char *cr = p->component[2].data + (ptrdiff_t)y * p->component[2].stride;
    for (size_t x = 0; x < (p->width + p->columns - 1) / p->columns; x++) {
        uint32_t sum[3];
        sum_shared(sum, p, upper, lower, x);
        store(p, cb, chroma(p->matrix, sum, 2, p->bits - 8));
        store(p, cr, chroma(p->matrix, sum, 0, p->bits - 8));
        cb += p->component[1].step;
        cr += p->component[2].step;
    }
}

void wf_yuv_from_rgb(const struct wf_yuv_picture *p, const unsigned char *rgb)
{
    for (size_t y = 0; y < p->height; y++) {
        unsigned char *at = p->component[0].data + (ptrdiff_t)y * p->component[0].stride;
        const unsigned char *from = rgb + 3 * p->width * y;
        for (size_t x = 0; x < p->width; x++, at += p->component[0].step)
            store(p, at, luma(p->matrix, from + 3 * x, p->bits - 8));
    }
    if (!p->component[1].data)
        return;
    for (size_t y = 0; y < (p->height + p->rows - 1) / p->rows; y++)
        colour_line(p, rgb, y);
}
