#include <math.h>

#include "kernels/ref/ref.h"

enum wf_status wf_ref_layer_norm(struct wf_backend *be, const struct wf_layer_norm *a)
{
    (void)be;
    const int64_t width = a->x.dim[1];
    const float *weight = a->weight.data, *shift = a->shift.data;
    for (int64_t m = 0; m < a->x.dim[0]; m++) {
        const float *x = wf_row(&a->x, m);
        const int64_t y = wf_tensor_row(&a->y, m);
        double mean = 0, variance = 0;
        for (int64_t i = 0; i < width; i++)
            mean += (double)x[i] / (double)width;
        for (int64_t i = 0; i < width; i++)
            variance += ((double)x[i] - mean) * ((double)x[i] - mean) / (double)width;
        const double factor = 1 / sqrt(variance + (double)a->eps);
        for (int64_t i = 0; i < width; i++) {
            const double value = ((double)x[i] - mean) * factor;
            wf_set(&a->y, y + i,
                   value * (weight ? (double)weight[i] : 1) + (shift ? (double)shift[i] : 0));
        }
    }
    return WF_OK;
}

static double rms_factor(const struct wf_rms_norm *a, const float *x)
{
    const int64_t width = a->x.dim[1];
    double squares = 0;
    for (int64_t i = 0; i < width; i++)
        squares += (double)x[i] * (double)x[i];
    const double length = sqrt(squares), eps = (double)a->eps;
    if (a->form == WF_RMS_L2)
        return sqrt((double)width) / (length < eps ? eps : length); /* a NaN stays one */
    return 1 / sqrt(squares / (double)width + (double)a->eps);
}

enum wf_status wf_ref_rms_norm(struct wf_backend *be, const struct wf_rms_norm *a)
{
    (void)be;
    const float *weight = a->weight.data;
    for (int64_t m = 0; m < a->x.dim[0]; m++) {
        const float *x = wf_row(&a->x, m);
        const int64_t y = wf_tensor_row(&a->y, m);
        const double factor = rms_factor(a, x);
        for (int64_t i = 0; i < a->x.dim[1]; i++) {
            const double value = (double)x[i] * factor * (weight ? (double)weight[i] : 1);
            wf_set(&a->y, y + i, wf_ref_act(value, a->act));
        }
    }
    return WF_OK;
}
