#include "io/video/metric.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 4 };

/* Of a block of 4x4 samples of both pictures: sums, sum of both squares, sum of products. */
struct sums {
    int64_t a, b, squares, product;
};

struct wf_metric {
    struct wf_picture_format format;
    int64_t top;                /* the largest value of a sample */
    double c1, c2;              /* of SSIM */
    uint16_t *line[2];          /* of the two pictures */
    struct sums *above, *below; /* two lines of blocks */
};

enum wf_status wf_metric_open(const struct wf_picture_format *format, struct wf_mem *mem,
                              struct wf_metric **metric, struct wf_error *err)
{
    const size_t width = (size_t)format->width, blocks = width / BLOCK + 1;
    const size_t bytes =
        sizeof **metric + 2 * blocks * sizeof(struct sums) + 2 * width * sizeof(uint16_t);
    struct wf_metric *m = *metric = wf_calloc(mem, WF_MEM_MISC, 1, bytes);
    if (!m)
        return wf_fail_memory(err, "compare", bytes);
    m->format = *format;
    m->top = (1 << format->bits) - 1;
    m->above = (struct sums *)(m + 1);
    m->below = m->above + blocks;
    m->line[0] = (uint16_t *)(m->below + blocks);
    m->line[1] = m->line[0] + width;
    const double top = (double)m->top;
    m->c1 = floor(.01 * .01 * top * top * 64 + .5); /* ffmpeg's are whole, too */
    m->c2 = floor(.03 * .03 * top * top * 64 * 63 + .5);
    return WF_OK;
}

void wf_metric_close(struct wf_metric **metric)
{
    wf_free(*metric);
    *metric = NULL;
}

/* What is found out about a plane. */
struct found {
    int64_t square_error;
    int64_t largest;
    double ssim; /* sum over the windows */
};

static void add_difference(const struct wf_metric *m, int width, struct found *found)
{
    for (int x = 0; x < width; x++) {
        const int64_t difference = llabs((long long)m->line[0][x] - m->line[1][x]);
        found->square_error += difference * difference;
        if (difference > found->largest)
            found->largest = difference;
    }
}

static void add_to_blocks(const struct wf_metric *m, int blocks)
{
    for (int i = 0; i < blocks; i++) {
        struct sums *s = &m->below[i];
        for (int x = BLOCK * i; x < BLOCK * i + BLOCK; x++) {
            const int64_t a = m->line[0][x], b = m->line[1][x];
            s->a += a;
            s->b += b;
            s->squares += a * a + b * b;
            s->product += a * b;
        }
    }
}

/* SSIM of a window of 8x8: four blocks. */
static double window(const struct wf_metric *m, int i)
{
    const struct sums *p = &m->above[i], *q = &m->below[i];
    const double a = (double)(p[0].a + p[1].a + q[0].a + q[1].a);
    const double b = (double)(p[0].b + p[1].b + q[0].b + q[1].b);
    const double squares =
        (double)(p[0].squares + p[1].squares + q[0].squares + q[1].squares) * 64 - a * a - b * b;
    const double product =
        (double)(p[0].product + p[1].product + q[0].product + q[1].product) * 64 - a * b;
    return (2 * a * b + m->c1) * (2 * product + m->c2) /
           ((a * a + b * b + m->c1) * (squares + m->c2));
}

/* A line of blocks is whole. */
static void end_blocks(struct wf_metric *m, bool has_above, int blocks, struct found *found)
{
    for (int i = 0; has_above && i + 1 < blocks; i++)
        found->ssim += window(m, i);
    struct sums *done = m->above;
    m->above = m->below;
    m->below = done;
    memset(m->below, 0, (size_t)blocks * sizeof *m->below);
}

static struct found measure_plane(struct wf_metric *m, const struct wf_picture *a,
                                  const struct wf_picture *b, int plane)
{
    struct found found = {0};
    const int width = wf_picture_width(&m->format, plane), blocks = width / BLOCK;
    const int height = wf_picture_height(&m->format, plane);
    memset(m->below, 0, (size_t)blocks * sizeof *m->below);
    for (int y = 0; y < height; y++) {
        wf_picture_line(&m->format, a, plane, y, m->line[0]);
        wf_picture_line(&m->format, b, plane, y, m->line[1]);
        add_difference(m, width, &found);
        add_to_blocks(m, blocks);
        if (y % BLOCK == BLOCK - 1)
            end_blocks(m, y >= BLOCK, blocks, &found);
    }
    const double windows = (double)(blocks - 1) * (height / BLOCK - 1);
    found.ssim = blocks > 1 && height >= 2 * BLOCK ? found.ssim / windows : NAN;
    return found;
}

struct wf_metric_frame wf_metric_measure(struct wf_metric *m, const struct wf_picture *a,
                                         const struct wf_picture *b)
{
    double error = 0, samples = 0, ssim = 0, weights = 0;
    int64_t largest = 0;
    for (int plane = 0; plane < wf_picture_planes(&m->format); plane++) {
        const struct found found = measure_plane(m, a, b, plane);
        const double count =
            (double)wf_picture_width(&m->format, plane) * wf_picture_height(&m->format, plane);
        error += (double)found.square_error;
        samples += count;
        if (found.largest > largest)
            largest = found.largest;
        if (!isnan(found.ssim)) {
            ssim += found.ssim * count;
            weights += count;
        }
    }
    const int64_t shown = (largest * 255 + m->top / 2) / m->top;
    return (struct wf_metric_frame){.mse = error / samples / (double)(m->top * m->top),
                                    .ssim = weights > 0 ? ssim / weights : NAN,
                                    .max_abs = (int)(largest && !shown ? 1 : shown)};
}

double wf_metric_psnr(double mse)
{
    return mse > 0 ? -10 * log10(mse) : INFINITY;
}
