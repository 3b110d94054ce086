/* Resizing as Pillow does it for 8 bits a channel: Lanczos along one axis, rounded to 8 bits, then
   along the other, with weights of whole numbers. */
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "io/image_format.h"

enum {
    LOBES = 3,          /* of the filter, on each side */
    FRACTION_BITS = 22, /* of a weight: 32 less 8 of the value less 2 for sums beyond it */
    HALF = 1 << (FRACTION_BITS - 1),
};

/* --- an axis --- */

/* Where an axis of the picture comes to lie: of its scaled pixels, count from skip on are seen, the
   first of them at a place of the result. Each is a sum over count pixels of the source from its
   first on; all lie within first..end-1. */
struct axis {
    int source, scaled, skip, count, at;
    struct tap {
        int first, count;
    } * taps;
    int32_t *weights; /* room of them for each pixel */
    int room, first, end;
};

static void close_axis(struct axis *axis)
{
    wf_free(axis->taps);
    wf_free(axis->weights);
}

static const int32_t *weights_at(const struct axis *axis, int pixel)
{
    return axis->weights + (size_t)pixel * (size_t)axis->room;
}

static double sinc(double x)
{
    x *= M_PI;
    return x == 0 ? 1 : sin(x) / x;
}

static double lanczos(double x)
{
    return x >= -LOBES && x < LOBES ? sinc(x) * sinc(x / LOBES) : 0;
}

/* The weights of one pixel; wide: how many pixels of the source one of the result stands for. */
static struct tap set_weights(int source, double center, double wide, int32_t *weight)
{
    const double reach = LOBES * wide, narrow = 1 / wide;
    const int low = (int)(center - reach + 0.5), high = (int)(center + reach + 0.5);
    const int first = low < 0 ? 0 : low, end = high > source ? source : high;
    double sum = 0;
    for (int i = first; i < end; i++)
        sum += lanczos((i - center + 0.5) * narrow);
    for (int i = first; i < end; i++) {
        const double share = lanczos((i - center + 0.5) * narrow) / sum;
        weight[i - first] = (int32_t)(share * (1 << FRACTION_BITS) + (share < 0 ? -0.5 : 0.5));
    }
    return (struct tap){first, end - first};
}

static enum wf_status open_axis(struct axis *axis, struct wf_mem *mem, struct wf_error *err)
{
    const double scale = (double)axis->source / axis->scaled, wide = scale < 1 ? 1 : scale;
    axis->room = 2 * (int)ceil(LOBES * wide) + 1;
    const size_t count = (size_t)axis->count, bytes = count * (size_t)axis->room * sizeof(int32_t);
    axis->taps = wf_alloc(mem, WF_MEM_MISC, count * sizeof *axis->taps);
    axis->weights = wf_alloc(mem, WF_MEM_MISC, bytes);
    if (!axis->taps || !axis->weights)
        return wf_fail_memory(err, "image", bytes);
    for (int i = 0; i < axis->count; i++)
        axis->taps[i] = set_weights(axis->source, (axis->skip + i + 0.5) * scale, wide,
                                    axis->weights + (size_t)i * (size_t)axis->room);
    const struct tap last = axis->taps[count - 1];
    axis->first = axis->taps[0].first;
    axis->end = last.first + last.count;
    return WF_OK;
}

/* --- the two passes --- */

static uint8_t round_sum(int32_t sum)
{
    sum >>= FRACTION_BITS;
    return (uint8_t)(sum < 0 ? 0 : sum > 255 ? 255 : sum);
}

/* row: from the axis' first pixel on. */
static void scale_row(const struct axis *axis, const uint8_t *row, uint8_t *out)
{
    for (int x = 0; x < axis->count; x++, out += 3) {
        const int32_t *weight = weights_at(axis, x);
        const uint8_t *pixel = row + 3 * (size_t)(axis->taps[x].first - axis->first);
        int32_t sum[3] = {HALF, HALF, HALF};
        for (int i = 0; i < axis->taps[x].count; i++, pixel += 3)
            for (int c = 0; c < 3; c++)
                sum[c] += pixel[c] * weight[i];
        for (int c = 0; c < 3; c++)
            out[c] = round_sum(sum[c]);
    }
}

/* Row y of the result. rows: from the axis' first one on, stride bytes apart, of which so many are
   looked at; sums: as many. */
static void mix_rows(const struct axis *axis, int y, const uint8_t *rows, size_t stride,
                     size_t bytes, int32_t *sums, uint8_t *out)
{
    const int32_t *weight = weights_at(axis, y);
    rows += stride * (size_t)(axis->taps[y].first - axis->first);
    for (size_t i = 0; i < bytes; i++)
        sums[i] = HALF;
    for (int n = 0; n < axis->taps[y].count; n++, rows += stride)
        for (size_t i = 0; i < bytes; i++)
            sums[i] += rows[i] * weight[n];
    for (size_t i = 0; i < bytes; i++)
        out[i] = round_sum(sums[i]);
}

/* A picture on its way: its stored one's upper left corner, what lies between the passes and the
   result's upper left corner, each with the bytes of a row. */
struct passes {
    const struct axis *across, *down;
    const uint8_t *from;
    uint8_t *between, *to;
    size_t from_row, between_row, to_row;
    int32_t *sums; /* for a row of what comes out of the pass down */
};

static void scale_across_first(const struct passes *p)
{
    for (int y = 0; y < p->down->end - p->down->first; y++)
        scale_row(p->across, p->from + p->from_row * (size_t)y,
                  p->between + p->between_row * (size_t)y);
    for (int y = 0; y < p->down->count; y++)
        mix_rows(p->down, y, p->between, p->between_row, p->between_row, p->sums,
                 p->to + p->to_row * (size_t)y);
}

static void scale_down_first(const struct passes *p)
{
    for (int y = 0; y < p->down->count; y++)
        mix_rows(p->down, y, p->from, p->from_row, p->between_row, p->sums,
                 p->between + p->between_row * (size_t)y);
    for (int y = 0; y < p->down->count; y++)
        scale_row(p->across, p->between + p->between_row * (size_t)y,
                  p->to + p->to_row * (size_t)y);
}

/* Rows first, but where there is much less work the other way: Pillow's rule, since 13. */
static bool is_down_first(const struct axis *across, const struct axis *down)
{
    const int64_t less = (int64_t)down->source - down->scaled;
    return less > 0 && less > 2 * ((int64_t)across->source - across->scaled);
}

static enum wf_status scale(const struct wf_image *from, const struct axis *across,
                            const struct axis *down, struct wf_mem *mem, struct wf_image *to,
                            struct wf_error *err)
{
    const bool down_first = is_down_first(across, down);
    struct passes p = {.across = across, .down = down};
    p.from_row = 3 * (size_t)from->width;
    p.from = from->rgb + p.from_row * (size_t)down->first + 3 * (size_t)across->first;
    p.to_row = 3 * (size_t)to->width;
    p.to = to->rgb + p.to_row * (size_t)down->at + 3 * (size_t)across->at;
    p.between_row = 3 * (size_t)(down_first ? across->end - across->first : across->count);
    const int rows = down_first ? down->count : down->end - down->first;
    p.between = wf_alloc(mem, WF_MEM_MISC, p.between_row * (size_t)rows);
    p.sums = wf_alloc(mem, WF_MEM_MISC, p.between_row * sizeof *p.sums);
    enum wf_status status = WF_OK;
    if (!p.between || !p.sums)
        status = wf_fail_memory(err, "image", p.between_row * (size_t)rows);
    else if (!from->blank && down_first)
        scale_down_first(&p);
    else if (!from->blank)
        scale_across_first(&p);
    wf_free(p.between);
    wf_free(p.sums);
    return status;
}

/* --- where the picture comes to lie --- */

/* Its middle on the middle of so many pixels; at least one of it is seen. */
static struct axis center(int source, int64_t scaled, int pixels)
{
    struct axis axis = {.source = source, .scaled = scaled < 1 ? 1 : (int)scaled};
    const int shift = pixels / 2 - axis.scaled / 2;
    axis.skip = shift < 0 ? -shift : 0;
    axis.at = shift < 0 ? 0 : shift;
    axis.count = axis.scaled < pixels ? axis.scaled : pixels;
    return axis;
}

static void place(const struct wf_image *from, int width, int height, enum wf_image_fit fit,
                  struct axis *across, struct axis *down)
{
    /* Their order is that of width / height and the picture's. */
    const int64_t ours = (int64_t)width * from->height, its = (int64_t)from->width * height;
    const bool stretch = fit == WF_FIT_STRETCH;
    const bool by_width = fit == WF_FIT_CROP ? ours > its : ours < its;
    *across = center(from->width, stretch || by_width ? width : its / from->height, width);
    *down = center(from->height, stretch || !by_width ? height : ours / from->width, height);
}

enum wf_status wf_image_resize(const struct wf_image *from, int width, int height,
                               enum wf_image_fit fit, struct wf_mem *mem, struct wf_image *to,
                               struct wf_error *err)
{
    *to = (struct wf_image){.rgb = NULL};
    WF_TRY(wf_image_alloc(to, "image", width, height, mem, err));
    to->blank = from->blank;
    if (fit == WF_FIT_PAD)
        memset(to->rgb, 0, 3 * (size_t)width * (size_t)height);
    struct axis across, down;
    place(from, width, height, fit, &across, &down);
    enum wf_status status = open_axis(&across, mem, err);
    if (status == WF_OK)
        status = open_axis(&down, mem, err);
    if (status == WF_OK)
        status = scale(from, &across, &down, mem, to, err);
    close_axis(&across);
    close_axis(&down);
    if (status != WF_OK)
        wf_image_close(to);
    return status;
}
