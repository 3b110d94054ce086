/* Group norm: statistics and their use, in runs of a frame's pixels. */
#include <math.h>
#include <string.h>

#include "kernels/cpu/cpu.h"

enum {
    SMALL_WORK = 16384, /* elements that are not worth waking other threads for */
    SHORT_RUN = 16384,  /* elements: a frame is not cut into shorter runs */
    MOST_RUNS = 256,    /* of a frame */
};

/* How a frame is cut: by its dims alone, so that sums do not depend on the threads. */
struct runs {
    int64_t length, count; /* pixels of a run, runs of a frame */
};

static struct runs cut(const struct wf_tensor *x)
{
    const int64_t pixels = x->dim[1] * x->dim[2], channels = x->dim[3];
    const int64_t least = (SHORT_RUN + channels - 1) / channels;
    const int64_t part = (pixels + MOST_RUNS - 1) / MOST_RUNS;
    const int64_t length = part > least ? part : least;
    return (struct runs){length, (pixels + length - 1) / length};
}

/* Pixels first .. end - 1 of a frame. */
struct run {
    int64_t frame, first, end;
};

static struct run run_of(const struct wf_tensor *x, const struct runs *runs, int64_t i)
{
    const int64_t pixels = x->dim[1] * x->dim[2], first = i % runs->count * runs->length;
    const int64_t left = pixels - first;
    return (struct run){i / runs->count, first,
                        first + (left < runs->length ? left : runs->length)};
}

/* --- statistics --- */

/* Of a group's values: sums of them and of their squares. In double their difference is as good as
   f32 values are, to a mean of ten thousand times the deviation. */
struct part {
    double sum, squares;
};

struct wf_cpu_need wf_cpu_need_group_sums(const struct wf_group_sums *a)
{
    const size_t parts = (size_t)(cut(&a->x).count * a->y.dim[1]);
    return (struct wf_cpu_need){.thread = 2 * (size_t)a->x.dim[3] * sizeof(double),
                                .passing = parts * sizeof(struct part)};
}

/* parts [G] of a run; sums: room for two doubles a channel. */
static void add_run(const struct wf_loops *loops, const struct wf_tensor *x, const struct run *run,
                    int64_t groups, double *sums, struct part *parts)
{
    const int64_t columns = x->dim[2], channels = x->dim[3], width = channels / groups;
    double *squares = sums + channels;
    memset(sums, 0, 2 * (size_t)channels * sizeof *sums);
    for (int64_t p = run->first, count; p < run->end; p += count) {
        const int64_t left = run->end - p, line = p / columns, column = p % columns;
        count = columns - column < left ? columns - column : left;
        const int64_t at = run->frame * x->stride[0] + line * x->stride[1] + column * channels;
        loops->group_sums(sums, squares, (const float *)x->data + at, count, channels);
    }
    for (int64_t g = 0; g < groups; g++) {
        parts[g] = (struct part){0};
        for (int64_t i = g * width; i < (g + 1) * width; i++) {
            parts[g].sum += sums[i];
            parts[g].squares += squares[i];
        }
    }
}

/* y [G,3] of a frame, from the parts [runs,G] of its runs. */
static void join_runs(const struct part *parts, int64_t runs, int64_t groups, double n, float *y)
{
    for (int64_t g = 0; g < groups; g++) {
        double sum = 0, squares = 0;
        for (int64_t i = 0; i < runs; i++) {
            sum += parts[i * groups + g].sum;
            squares += parts[i * groups + g].squares;
        }
        const double mean = sum / n, m2 = squares - sum * mean;
        y[3 * g] = (float)n;
        y[3 * g + 1] = (float)mean;
        y[3 * g + 2] = (float)(m2 < 0 ? 0 : m2); /* a NaN stays one */
    }
}

enum wf_status wf_cpu_group_sums(struct wf_backend *be, const struct wf_group_sums *a)
{
    const struct wf_loops *loops = wf_cpu_of(be)->loops;
    const struct wf_cpu_need need = wf_cpu_need_group_sums(a);
    const struct runs runs = cut(&a->x);
    const int64_t elements = a->x.dim[1] * a->x.dim[2] * a->x.dim[3], groups = a->y.dim[1];
    WF_TRY(wf_cpu_scratch(be, "group_sums", need.thread));
    struct part *parts = be->ops.take(be, WF_MEM_ACTIVATIONS, need.passing);
    if (!parts)
        return wf_fail_memory(be->err, "group_sums", need.passing);
    for (int64_t t = 0; t < a->x.dim[0]; t++) {
#pragma omp parallel for num_threads(wf_cpu_team(be, elements, SMALL_WORK)) schedule(static)
        for (int64_t i = 0; i < runs.count; i++) {
            const struct run run = run_of(&a->x, &runs, t * runs.count + i);
            add_run(loops, &a->x, &run, groups, wf_cpu_own_scratch(be), parts + i * groups);
        }
        join_runs(parts, runs.count, groups, (double)(elements / groups),
                  (float *)a->y.data + 3 * t * groups);
    }
    be->ops.give(be, parts);
    return WF_OK;
}

/* --- their use --- */

/* A thread's: mean and factor of each channel, and a pixel on its way from f32 to another type. */
struct wf_cpu_need wf_cpu_need_group_apply(const struct wf_group_apply *a)
{
    const size_t rows = a->y.dtype == WF_F32 ? 2 : 3;
    return (struct wf_cpu_need){.thread = rows * (size_t)a->x.dim[3] * sizeof(float)};
}

static void fill_table(const struct wf_group_apply *a, int64_t frame, float *mean, float *factor)
{
    const int64_t groups = a->stats.dim[1], width = a->x.dim[3] / groups;
    const float *weight = a->weight.data;
    for (int64_t g = 0; g < groups; g++) {
        const float *s =
            (const float *)a->stats.data + frame * a->stats.stride[0] + g * a->stats.stride[1];
        const double scale = 1 / sqrt((double)s[2] / (double)s[0] + (double)a->eps);
        for (int64_t i = g * width; i < (g + 1) * width; i++) {
            mean[i] = s[1];
            factor[i] = (float)(scale * (double)weight[i]);
        }
    }
}

static void apply_to_run(const struct wf_loops *loops, const struct wf_group_apply *a,
                         const struct run *run, float *scratch)
{
    const int64_t columns = a->x.dim[2], channels = a->x.dim[3];
    float *mean = scratch, *factor = mean + channels, *apart = factor + channels;
    fill_table(a, run->frame, mean, factor);
    for (int64_t p = run->first; p < run->end; p++) {
        const int64_t line = p / columns, in_line = p % columns * channels;
        const float *x = (const float *)a->x.data + run->frame * a->x.stride[0] +
                         line * a->x.stride[1] + in_line;
        void *y = wf_at(&a->y, run->frame * a->y.stride[0] + line * a->y.stride[1] + in_line);
        float *to = a->y.dtype == WF_F32 ? y : apart;
        loops->group_apply(to, x, mean, factor, a->shift.data, channels, a->act);
        if (a->y.dtype != WF_F32)
            loops->from_f32(y, a->y.dtype, to, channels);
    }
}

enum wf_status wf_cpu_group_apply(struct wf_backend *be, const struct wf_group_apply *a)
{
    const struct wf_loops *loops = wf_cpu_of(be)->loops;
    const struct runs runs = cut(&a->x);
    const int64_t count = a->x.dim[0] * runs.count, elements = wf_tensor_count(&a->x);
    WF_TRY(wf_cpu_scratch(be, "group_apply", wf_cpu_need_group_apply(a).thread));
#pragma omp parallel for num_threads(wf_cpu_team(be, elements, SMALL_WORK)) schedule(static)
    for (int64_t i = 0; i < count; i++) {
        const struct run run = run_of(&a->x, &runs, i);
        apply_to_run(loops, a, &run, wf_cpu_own_scratch(be));
    }
    return WF_OK;
}
