/* A picture for an image encoder: blurred by a Gaussian, then bicubic. Both are sums along an axis,
   so that they are one: each pixel of the result has one row of weights an axis. */
#include <math.h>
#include <string.h>

#include "io/image_format.h"

/* Each pixel of the result is a sum over count pixels of the source from the first on. */
struct taps {
    struct tap {
        int first, count;
    } * at;
    double *weight; /* room of them for each pixel */
    double *kernel; /* the Gaussian, 2 reach + 1 long */
    int room, reach;
};

static void close_taps(struct taps *taps)
{
    wf_free(taps->at);
    wf_free(taps->weight);
    wf_free(taps->kernel);
}

static enum wf_status alloc_taps(struct taps *taps, int pixels, struct wf_mem *mem,
                                 struct wf_error *err)
{
    const size_t count = (size_t)pixels, weights = count * (size_t)taps->room;
    taps->at = wf_alloc(mem, WF_MEM_MISC, count * sizeof *taps->at);
    taps->weight = wf_calloc(mem, WF_MEM_MISC, weights, sizeof *taps->weight);
    taps->kernel = wf_alloc(mem, WF_MEM_MISC, ((size_t)taps->reach * 2 + 1) * sizeof(double));
    if (!taps->at || !taps->weight || !taps->kernel)
        return wf_fail_memory(err, "image", weights * sizeof *taps->weight);
    return WF_OK;
}

static void set_kernel(const struct taps *taps, double sigma)
{
    double sum = 0;
    for (int i = -taps->reach; i <= taps->reach; i++)
        sum += taps->kernel[i + taps->reach] = exp(-(double)i * i / (2 * sigma * sigma));
    for (int i = 0; i <= 2 * taps->reach; i++)
        taps->kernel[i] /= sum;
}

/* The place within 0..pixels-1 that one outside is the mirror image of, an edge's pixel being the
   mirror and not repeated. */
static int mirror(int place, int pixels)
{
    if (pixels == 1)
        return 0;
    while (place < 0 || place >= pixels)
        place = place < 0 ? -place : 2 * (pixels - 1) - place;
    return place;
}

/* The four weights of the bicubic with a = -0.75, for a place t beyond the second. */
static void set_cubic(double t, double *weight)
{
    const double a = -0.75, s = 1 - t, t1 = t + 1, s1 = s + 1;
    weight[0] = ((a * t1 - 5 * a) * t1 + 8 * a) * t1 - 4 * a;
    weight[1] = ((a + 2) * t - (a + 3)) * t * t + 1;
    weight[2] = ((a + 2) * s - (a + 3)) * s * s + 1;
    weight[3] = ((a * s1 - 5 * a) * s1 + 8 * a) * s1 - 4 * a;
}

static int within(int place, int pixels)
{
    return place < 0 ? 0 : place < pixels ? place : pixels - 1;
}

/* The bicubic's pixels beyond an edge are the edge's, the Gaussian's are mirrored. */
static struct tap set_weights(const struct taps *taps, int source, int base, double t,
                              double *weight)
{
    const int reach = taps->reach;
    const int first = within(base - 1 - reach, source), last = within(base + 2 + reach, source);
    double cubic[4];
    set_cubic(t, cubic);
    for (int j = 0; j < 4; j++) {
        const int middle = within(base - 1 + j, source);
        for (int i = -reach; i <= reach; i++)
            weight[mirror(middle + i, source) - first] += cubic[j] * taps->kernel[i + reach];
    }
    return (struct tap){first, last - first + 1};
}

static enum wf_status open_taps(struct taps *taps, int source, int pixels, struct wf_mem *mem,
                                struct wf_error *err)
{
    const double sigma = fmax(((double)source / pixels - 1) / 2, 0.001);
    taps->reach = (int)fmax(4 * sigma, 3) / 2; /* an even length is made one longer */
    taps->room = 2 * taps->reach + 4;
    WF_TRY(alloc_taps(taps, pixels, mem, err));
    set_kernel(taps, (float)sigma);
    /* In f32, as torch has it: far to the right a place is known to 1/4096 of a pixel only. */
    const float step = pixels > 1 ? (float)(source - 1) / (float)(pixels - 1) : 0;
    for (int i = 0; i < pixels; i++) {
        const float place = step * (float)i;
        const int base = within((int)place, source);
        taps->at[i] = set_weights(taps, source, base, fmin(place - (float)base, 1),
                                  taps->weight + (size_t)i * (size_t)taps->room);
    }
    return WF_OK;
}

/* --- the two passes --- */

static void blur_row(const uint8_t *row, const struct taps *taps, int count, float *out)
{
    for (int x = 0; x < count; x++, out += 3) {
        const double *weight = taps->weight + (size_t)x * (size_t)taps->room;
        const uint8_t *pixel = row + 3 * (size_t)taps->at[x].first;
        double sum[3] = {0, 0, 0};
        for (int i = 0; i < taps->at[x].count; i++, pixel += 3)
            for (int c = 0; c < 3; c++)
                sum[c] += pixel[c] * weight[i];
        for (int c = 0; c < 3; c++)
            out[c] = (float)(sum[c] / 255);
    }
}

/* One row of the result from rows of so many values; sums: as many. */
static void mix_rows(const float *rows, size_t values, const double *weight, int count,
                     double *sums, float *out)
{
    memset(sums, 0, values * sizeof *sums);
    for (int y = 0; y < count; y++, rows += values)
        for (size_t i = 0; i < values; i++)
            sums[i] += (double)rows[i] * weight[y];
    for (size_t i = 0; i < values; i++)
        out[i] = (float)sums[i];
}

static enum wf_status blur(const struct wf_image *from, const struct taps *columns, int width,
                           const struct taps *rows, int height, float *out, struct wf_mem *mem,
                           struct wf_error *err)
{
    const size_t values = 3 * (size_t)width;
    const size_t bytes = values * (size_t)from->height * sizeof(float);
    float *between = wf_alloc(mem, WF_MEM_MISC, bytes);
    double *sums = wf_alloc(mem, WF_MEM_MISC, values * sizeof *sums);
    enum wf_status status = WF_OK;
    if (!between || !sums)
        status = wf_fail_memory(err, "image", bytes);
    const bool fills = status == WF_OK && !from->blank;
    for (int y = 0; fills && y < from->height; y++)
        blur_row(from->rgb + 3 * (size_t)from->width * (size_t)y, columns, width,
                 between + values * (size_t)y);
    for (int y = 0; fills && y < height; y++)
        mix_rows(between + values * (size_t)rows->at[y].first, values,
                 rows->weight + (size_t)y * (size_t)rows->room, rows->at[y].count, sums,
                 out + values * (size_t)y);
    wf_free(between);
    wf_free(sums);
    return status;
}

enum wf_status wf_image_antialias(const struct wf_image *from, int width, int height, float *out,
                                  struct wf_mem *mem, struct wf_error *err)
{
    WF_TRY(wf_image_check("image", width, height, err));
    struct taps columns = {.at = NULL}, rows = {.at = NULL};
    enum wf_status status = open_taps(&columns, from->width, width, mem, err);
    if (status == WF_OK)
        status = open_taps(&rows, from->height, height, mem, err);
    if (status == WF_OK)
        status = blur(from, &columns, width, &rows, height, out, mem, err);
    close_taps(&columns);
    close_taps(&rows);
    return status;
}
