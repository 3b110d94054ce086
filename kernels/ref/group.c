#include <math.h>

#include "kernels/ref/ref.h"

/* Where pixel i of frame t starts. */
static int64_t pixel(const struct wf_tensor *x, int64_t t, int64_t i)
{
    const int64_t line = i / x->dim[2], column = i % x->dim[2];
    return t * x->stride[0] + line * x->stride[1] + column * x->stride[2];
}

/* Of one frame's group, two times over its values: the mean first, so that nothing cancels. */
static void group_sums(const struct wf_tensor *x, int64_t t, int64_t g, int64_t each, float *y)
{
    const int64_t pixels = x->dim[1] * x->dim[2];
    const double n = (double)(pixels * each);
    double mean = 0, m2 = 0;
    for (int64_t i = 0; i < pixels * each; i++)
        mean += (double)wf_get(x, pixel(x, t, i / each) + g * each + i % each) / n;
    for (int64_t i = 0; i < pixels * each; i++) {
        const double value = (double)wf_get(x, pixel(x, t, i / each) + g * each + i % each);
        m2 += (value - mean) * (value - mean);
    }
    y[0] = (float)n;
    y[1] = (float)mean;
    y[2] = (float)m2;
}

enum wf_status wf_ref_group_sums(struct wf_backend *be, const struct wf_group_sums *a)
{
    (void)be;
    const int64_t groups = a->y.dim[1], each = a->x.dim[3] / groups;
    for (int64_t row = 0; row < a->y.dim[0] * groups; row++)
        group_sums(&a->x, row / groups, row % groups, each, wf_row(&a->y, row));
    return WF_OK;
}

static void merge(const struct wf_tensor *x, int64_t at, float *y)
{
    const float *part = (const float *)x->data + at;
    double n = 0, sum = 0, m2 = 0;
    for (int64_t k = 0; k < x->dim[0]; k++) {
        n += (double)part[k * x->stride[0]];
        sum += (double)part[k * x->stride[0]] * (double)part[k * x->stride[0] + 1];
    }
    const double mean = n != 0 ? sum / n : 0; /* a NaN stays */
    for (int64_t k = 0; k < x->dim[0]; k++) {
        const float *p = part + k * x->stride[0];
        m2 += (double)p[2] + (double)p[0] * ((double)p[1] - mean) * ((double)p[1] - mean);
    }
    y[0] = (float)n;
    y[1] = (float)mean;
    y[2] = (float)m2;
}

enum wf_status wf_ref_group_merge(struct wf_backend *be, const struct wf_group_merge *a)
{
    (void)be;
    const int64_t groups = a->y.dim[1];
    for (int64_t row = 0; row < a->y.dim[0] * groups; row++)
        merge(&a->x, row / groups * a->x.stride[1] + row % groups * a->x.stride[2],
              wf_row(&a->y, row));
    return WF_OK;
}

enum wf_status wf_ref_group_apply(struct wf_backend *be, const struct wf_group_apply *a)
{
    (void)be;
    const int64_t channels = a->x.dim[3], each = channels / a->stats.dim[1];
    const int64_t pixels = a->x.dim[1] * a->x.dim[2];
    const float *weight = a->weight.data, *shift = a->shift.data;
    for (int64_t i = 0; i < a->x.dim[0] * pixels; i++) {
        const int64_t t = i / pixels, x = pixel(&a->x, t, i % pixels);
        const int64_t y = pixel(&a->y, t, i % pixels);
        for (int64_t c = 0; c < channels; c++) {
            const float *s = wf_row(&a->stats, t * a->stats.dim[1] + c / each);
            const double factor = 1 / sqrt((double)s[2] / (double)s[0] + (double)a->eps);
            const double value = ((double)wf_get(&a->x, x + c) - (double)s[1]) * factor;
            wf_set(&a->y, y + c, wf_ref_act(value * (double)weight[c] + (double)shift[c], a->act));
        }
    }
    return WF_OK;
}
