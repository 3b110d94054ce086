/* Group norm: statistics in double, block by block of lines, which are put together in the order of
   the blocks; so bits do not depend on the threads. */
#include <math.h>
#include <string.h>

#include "kernels/cpu/cpu.h"

enum {
    SMALL_WORK = 16384,    /* elements that are not worth waking other threads for */
    BLOCK_VALUES = 1 << 16 /* of a block of lines, where a line is not longer */
};

static const float *line_of(const struct wf_tensor *x, int64_t t, int64_t line)
{
    return (const float *)x->data + t * x->stride[0] + line * x->stride[1];
}

/* --- sums --- */

/* How a frame's lines are cut. */
struct blocks {
    int64_t lines, count; /* of a block; of a frame */
};

static struct blocks cut(const struct wf_tensor *x)
{
    const int64_t most = BLOCK_VALUES / (x->dim[2] * x->dim[3]), lines = most > 0 ? most : 1;
    return (struct blocks){lines, (x->dim[1] + lines - 1) / lines};
}

/* Of a group in a block: how much its values are above `about`, and the squares of that. */
struct sums {
    double sum, squares;
};

/* sum[c] += x - about[c], squares[c] += its square, of a line of pixels. */
static void add_line(const float *x, int64_t pixels, int64_t channels, const float *about,
                     double *sum, double *squares)
{
    for (int64_t i = 0; i < pixels; i++, x += channels)
        for (int64_t c = 0; c < channels; c++) {
            const double value = (double)x[c] - (double)about[c];
            sum[c] += value;
            squares[c] += value * value;
        }
}

/* A block of lines by channels, and then the channels of each group. The frame's first pixel is
   near the mean, if anything is. */
static void add_block(const struct wf_tensor *x, int64_t t, int64_t first, int64_t end,
                      double *by_channel, struct sums *by_group, int64_t groups)
{
    const int64_t channels = x->dim[3], each = channels / groups;
    const float *about = line_of(x, t, 0);
    double *sum = by_channel, *squares = by_channel + channels;
    memset(by_channel, 0, (size_t)(2 * channels) * sizeof *by_channel);
    for (int64_t line = first; line < end; line++)
        add_line(line_of(x, t, line), x->dim[2], channels, about, sum, squares);
    const double n = (double)((end - first) * x->dim[2]);
    for (int64_t c = 0; c < channels; c++) {
        /* from the channel's first value to that of its group */
        const double apart = (double)about[c] - (double)about[c / each * each];
        struct sums *g = &by_group[c / each];
        *g = c % each ? *g : (struct sums){0, 0};
        g->squares += squares[c] + 2 * apart * sum[c] + n * apart * apart;
        g->sum += sum[c] + n * apart;
    }
}

static void finish_group(const struct wf_tensor *x, int64_t t, int64_t g, int64_t groups,
                         const struct sums *blocks, int64_t count, float *y)
{
    const int64_t each = x->dim[3] / groups;
    const double n = (double)(x->dim[1] * x->dim[2] * each);
    struct sums all = {0, 0};
    for (int64_t b = 0; b < count; b++) {
        all.sum += blocks[b * groups + g].sum;
        all.squares += blocks[b * groups + g].squares;
    }
    const double m2 = all.squares - all.sum * all.sum / n;
    y[0] = (float)n;
    y[1] = (float)((double)line_of(x, t, 0)[g * each] + all.sum / n);
    y[2] = (float)(m2 < 0 ? 0 : m2); /* a NaN stays */
}

struct wf_cpu_need wf_cpu_need_group_sums(const struct wf_group_sums *a)
{
    return (struct wf_cpu_need){.thread = (size_t)(2 * a->x.dim[3]) * sizeof(double),
                                .passing = (size_t)(a->x.dim[0] * cut(&a->x).count * a->y.dim[1]) *
                                           sizeof(struct sums)};
}

enum wf_status wf_cpu_group_sums(struct wf_backend *be, const struct wf_group_sums *a)
{
    const struct wf_tensor *x = &a->x;
    const struct blocks blocks = cut(x);
    const struct wf_cpu_need need = wf_cpu_need_group_sums(a);
    const int64_t groups = a->y.dim[1], frames = x->dim[0], all = frames * blocks.count;
    WF_TRY(wf_cpu_scratch(be, "group_sums", need.thread));
    struct sums *sums = be->ops.take(be, WF_MEM_ACTIVATIONS, need.passing);
    if (!sums)
        return wf_fail_memory(be->err, "group_sums", need.passing);
    const int team = wf_cpu_team(be, wf_tensor_count(x), SMALL_WORK);
#pragma omp parallel for num_threads(team) schedule(static)
    for (int64_t i = 0; i < all; i++) {
        const int64_t first = i % blocks.count * blocks.lines, end = first + blocks.lines;
        add_block(x, i / blocks.count, first, end < x->dim[1] ? end : x->dim[1],
                  wf_cpu_own_scratch(be), sums + i * groups, groups);
    }
    for (int64_t row = 0; row < frames * groups; row++)
        finish_group(x, row / groups, row % groups, groups,
                     sums + row / groups * blocks.count * groups, blocks.count,
                     (float *)a->y.data + row * 3);
    be->ops.give(be, sums);
    return WF_OK;
}

/* --- apply --- */

/* (x - mean) / sqrt(variance + eps) * weight + shift, as x factor[c] + offset[c]. */
static void fold(const struct wf_group_apply *a, int64_t t, float *factor, float *offset)
{
    const int64_t channels = a->x.dim[3], groups = a->stats.dim[1];
    const float *weight = a->weight.data, *shift = a->shift.data;
    for (int64_t c = 0; c < channels; c++) {
        const float *s = (const float *)a->stats.data + t * a->stats.stride[0] +
                         c / (channels / groups) * a->stats.stride[1];
        const double by = (double)weight[c] / sqrt((double)s[2] / (double)s[0] + (double)a->eps);
        factor[c] = (float)by;
        offset[c] = (float)((double)shift[c] - (double)s[1] * by);
    }
}

static void apply_line(const struct wf_group_apply *a, const struct wf_loops *loops, int64_t t,
                       int64_t line, const float *factor, float *values)
{
    const int64_t channels = a->x.dim[3], at = t * a->y.stride[0] + line * a->y.stride[1];
    const float *x = line_of(&a->x, t, line), *offset = factor + channels;
    for (int64_t i = 0; i < a->x.dim[2]; i++) {
        void *y = wf_at(&a->y, at + i * channels);
        float *to = a->y.dtype == WF_F32 ? y : values;
        loops->affine(to, x + i * channels, factor, offset, channels, -INFINITY, INFINITY);
        if (a->act != WF_ACT_NONE)
            loops->act(to, to, channels, a->act);
        if (to != y)
            loops->from_f32(y, a->y.dtype, values, channels);
    }
}

/* A factor and an offset a channel and frame, and a pixel a thread where y is converted. */
struct wf_cpu_need wf_cpu_need_group_apply(const struct wf_group_apply *a)
{
    const size_t pixel = (size_t)a->x.dim[3] * sizeof(float);
    return (struct wf_cpu_need){.thread = a->y.dtype == WF_F32 ? 0 : pixel,
                                .passing = 2 * (size_t)a->x.dim[0] * pixel};
}

enum wf_status wf_cpu_group_apply(struct wf_backend *be, const struct wf_group_apply *a)
{
    const struct wf_loops *loops = wf_cpu_of(be)->loops;
    const struct wf_cpu_need need = wf_cpu_need_group_apply(a);
    const int64_t channels = a->x.dim[3], lines = a->x.dim[1], all = a->x.dim[0] * lines;
    if (need.thread)
        WF_TRY(wf_cpu_scratch(be, "group_apply", need.thread));
    float *folded = be->ops.take(be, WF_MEM_ACTIVATIONS, need.passing);
    if (!folded)
        return wf_fail_memory(be->err, "group_apply", need.passing);
    for (int64_t t = 0; t < a->x.dim[0]; t++)
        fold(a, t, folded + 2 * t * channels, folded + (2 * t + 1) * channels);
    const int team = wf_cpu_team(be, wf_tensor_count(&a->x), SMALL_WORK);
#pragma omp parallel for num_threads(team) schedule(static)
    for (int64_t i = 0; i < all; i++)
        apply_line(a, loops, i / lines, i % lines, folded + 2 * (i / lines) * channels,
                   need.thread ? wf_cpu_own_scratch(be) : NULL);
    be->ops.give(be, folded);
    return WF_OK;
}
