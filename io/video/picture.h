/* What a decoded picture is made of: planes of whole numbers, and what they mean. */
#ifndef WEFT_IO_VIDEO_PICTURE_H
#define WEFT_IO_VIDEO_PICTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum wf_colours { WF_GRAY, WF_YUV, WF_RGB };

/* How luma and colour differences are made of red, green and blue. */
enum {
    WF_MATRIX_BT601,
    WF_MATRIX_BT709,
    WF_MATRIX_BT2020,
    WF_MATRIX_SMPTE240M,
    WF_MATRIX_FCC,
    WF_MATRIX_OTHER, /* and all above it: told apart, but not converted */
};

struct wf_picture_format {
    int width, height; /* pixels */
    enum wf_colours colours;
    int matrix;        /* WF_MATRIX_*; of RGB: none, 0 */
    bool full;         /* samples take the whole range; RGB: always */
    int bits;          /* 8..16; above 8 a sample is a uint16_t */
    int columns, rows; /* 1 << of them share a sample of colour */
    bool centred;      /* which stands in the middle of its columns, not on the first */
};

enum { WF_PLANES = 3, WF_PICTURE_SIDE = 65535 };

/* Y, Cb, Cr or R, G, B; of grey the first alone. */
struct wf_picture {
    const unsigned char *plane[WF_PLANES]; /* the first NULL: no picture */
    ptrdiff_t stride[WF_PLANES];           /* bytes from line to line */
};

static inline int wf_picture_planes(const struct wf_picture_format *f)
{
    return f->colours == WF_GRAY ? 1 : WF_PLANES;
}

static inline int wf_picture_width(const struct wf_picture_format *f, int plane)
{
    return plane && f->colours == WF_YUV ? (f->width + (1 << f->columns) - 1) >> f->columns
                                         : f->width;
}

static inline int wf_picture_height(const struct wf_picture_format *f, int plane)
{
    return plane && f->colours == WF_YUV ? (f->height + (1 << f->rows) - 1) >> f->rows : f->height;
}

/* Whether samples of the two mean the same, so that they can be compared as they are. Where colour
   is sited does not count: ffmpeg's filters do not look at it either. */
static inline bool wf_picture_same(const struct wf_picture_format *a,
                                   const struct wf_picture_format *b)
{
    return a->colours == b->colours && a->matrix == b->matrix && a->full == b->full &&
           a->bits == b->bits && a->columns == b->columns && a->rows == b->rows;
}

/* What players assume of a file that does not say it: mpv's rule. */
static inline int wf_picture_guess_matrix(int width, int height)
{
    return width >= 1280 || height > 576 ? WF_MATRIX_BT709 : WF_MATRIX_BT601;
}

/* A line's samples, whatever their size. */
static inline void wf_picture_line(const struct wf_picture_format *f, const struct wf_picture *p,
                                   int plane, int y, uint16_t *samples)
{
    const unsigned char *line = p->plane[plane] + y * p->stride[plane];
    const int width = wf_picture_width(f, plane);
    if (f->bits > 8) {
        __builtin_memcpy(samples, line, (size_t)width * sizeof *samples);
        return;
    }
    for (int x = 0; x < width; x++)
        samples[x] = line[x];
}

#endif
