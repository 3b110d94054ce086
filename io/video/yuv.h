/* rgb24 to YCbCr of limited range, rounded exactly: the one conversion of y4m and of the encoders.
 */
#ifndef WEFT_IO_VIDEO_YUV_H
#define WEFT_IO_VIDEO_YUV_H

#include <stddef.h>
#include <stdint.h>

/* Where the samples of one component go. */
struct wf_yuv_component {
    unsigned char *data;    /* the first sample; NULL: the picture has no such component */
    ptrdiff_t stride, step; /* bytes from line to line and from sample to sample */
};

/* Shares of red, green and blue in the luma, of 10000. */
struct wf_yuv_matrix {
    uint32_t red, green, blue;
};
extern const struct wf_yuv_matrix wf_yuv_bt709, wf_yuv_bt601;

struct wf_yuv_picture {
    const struct wf_yuv_matrix *matrix;
    size_t width, height; /* pixels, any number */
    size_t columns, rows; /* 1 or 2: that share a sample of colour, which is sited left */
    int bits;             /* 8 to 16; above 8 a sample is two bytes, the lower one first */
    int shift;            /* left, of samples of two bytes */
    struct wf_yuv_component component[3]; /* Y, Cb, Cr */
};

/* rgb: dense [height,width,3]. */
void wf_yuv_from_rgb(const struct wf_yuv_picture *picture, const unsigned char *rgb);

#endif
