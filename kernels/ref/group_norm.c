#include <math.h>

#include "kernels/ref/ref.h"

/* Of channels first .. first + width - 1 of a frame, y [3]. */
static void add_up(const struct wf_tensor *x, int64_t frame, int64_t first, int64_t width, float *y)
{
    const int64_t pixels = x->dim[1] * x->dim[2], row = frame * pixels;
    const double n = (double)(pixels * width);
    double mean = 0, squares = 0;
    for (int64_t p = 0; p < pixels; p++) {
        for (int64_t i = first; i < first + width; i++)
            mean += (double)wf_row(x, row + p)[i] / n;
    }
    for (int64_t p = 0; p < pixels; p++) {
        for (int64_t i = first; i < first + width; i++) {
            const double apart = (double)wf_row(x, row + p)[i] - mean;
            squares += apart * apart;
        }
    }
    y[0] = (float)n;
    y[1] = (float)mean;
    y[2] = (float)squares;
}

enum wf_status wf_ref_group_sums(struct wf_backend *be, const struct wf_group_sums *a)
{
    (void)be;
    const int64_t groups = a->y.dim[1], width = a->x.dim[3] / groups;
    for (int64_t t = 0; t < a->x.dim[0]; t++) {
        for (int64_t g = 0; g < groups; g++)
            add_up(&a->x, t, g * width, width, wf_row(&a->y, t * groups + g));
    }
    return WF_OK;
}

enum wf_status wf_ref_group_merge(struct wf_backend *be, const struct wf_group_merge *a)
{
    (void)be;
    const int64_t parts = a->x.dim[0], groups = a->x.dim[1] * a->x.dim[2];
    for (int64_t g = 0; g < groups; g++) {
        double n = 0, sum = 0, squares = 0;
        for (int64_t k = 0; k < parts; k++) {
            const float *x = wf_row(&a->x, k * groups + g);
            n += (double)x[0];
            sum += (double)x[0] * (double)x[1];
        }
        const double mean = n == 0 ? sum : sum / n;
        for (int64_t k = 0; k < parts; k++) {
            const float *x = wf_row(&a->x, k * groups + g);
            const double apart = (double)x[1] - mean;
            squares += (double)x[2] + (double)x[0] * apart * apart;
        }
        float *y = wf_row(&a->y, g);
        y[0] = (float)n;
        y[1] = (float)mean;
        y[2] = (float)squares;
    }
    return WF_OK;
}

enum wf_status wf_ref_group_apply(struct wf_backend *be, const struct wf_group_apply *a)
{
    (void)be;
    const int64_t pixels = a->x.dim[1] * a->x.dim[2], channels = a->x.dim[3];
    const int64_t groups = a->stats.dim[1], width = channels / groups;
    const float *weight = a->weight.data, *shift = a->shift.data;
    for (int64_t row = 0; row < a->x.dim[0] * pixels; row++) {
        const float *x = wf_row(&a->x, row);
        const int64_t y = wf_tensor_row(&a->y, row);
        for (int64_t i = 0; i < channels; i++) {
            const float *s = wf_row(&a->stats, row / pixels * groups + i / width);
            const double factor = 1 / sqrt((double)s[2] / (double)s[0] + (double)a->eps);
            const double value = ((double)x[i] - (double)s[1]) * factor;
            wf_set(&a->y, y + i, wf_ref_act(value * (double)weight[i] + (double)shift[i], a->act));
        }
    }
    return WF_OK;
}
