#include "io/video/yuv.h"

#include <stdint.h>

/* BT.709 as fractions of whole numbers, so that rounding is exact. With Y' = .2126 R + .7152 G +
   .0722 B: Y = 16 + 219 Y' / 255, Cb = 128 + 224 (B - Y') / (255 * 1.8556), Cr = 128 +
   224 (R - Y') / (255 * 1.5748), times a power of two where a sample has more than 8 bits. */
enum { LUMA_UNIT = 2550000, CB_UNIT = 8 * 1182945, CR_UNIT = 8 * 1003935 };

static unsigned luma(const unsigned char *rgb, int more_bits)
{
    const uint32_t sum = 2126u * rgb[0] + 7152u * rgb[1] + 722u * rgb[2];
    const uint64_t scaled = (uint64_t)(219u * sum) << more_bits;
    return (16u << more_bits) + (unsigned)((scaled + LUMA_UNIT / 2) / LUMA_UNIT);
}

/* Of R, G, B that are sums of weight 8. 224 / (255 * 18556) = 56 / 1182945 and 224 / (255 * 15748)
   = 56 / 1003935. */
static unsigned blue(const uint32_t rgb[3], int more_bits)
{
    const uint64_t up = 56u * 9278u * rgb[2], down = 56u * (2126u * rgb[0] + 7152u * rgb[1]);
    const uint64_t scaled = (128ull * CB_UNIT + up - down) << more_bits;
    return (unsigned)((scaled + CB_UNIT / 2) / CB_UNIT);
}

static unsigned red(const uint32_t rgb[3], int more_bits)
{
    const uint64_t up = 56u * 7874u * rgb[0], down = 56u * (7152u * rgb[1] + 722u * rgb[2]);
    const uint64_t scaled = (128ull * CR_UNIT + up - down) << more_bits;
    return (unsigned)((scaled + CR_UNIT / 2) / CR_UNIT);
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
        store(p, cb, blue(sum, p->bits - 8));
        store(p, cr, red(sum, p->bits - 8));
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
            store(p, at, luma(from + 3 * x, p->bits - 8));
    }
    if (!p->component[1].data)
        return;
    for (size_t y = 0; y < (p->height + p->rows - 1) / p->rows; y++)
        colour_line(p, rgb, y);
}
