#include "kernels/ref/ref.h"

static double dot(const float *a, const float *b, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += (double)a[i] * (double)b[i];
    return sum;
}

enum wf_status wf_ref_gemm(struct wf_backend *be, const struct wf_gemm *a)
{
    (void)be;
    const int64_t rows = a->x.dim[0], depth = a->x.dim[1], columns = a->y.dim[1];
    const float *w = a->w->tensor.data, *gate = a->gate.data;
    const float *bias = a->bias ? a->bias->tensor.data : NULL;
    for (int64_t m = 0; m < rows; m++) {
        float *y = wf_row(&a->y, m);
        for (int64_t n = 0; n < columns; n++) {
            const double sum = dot(wf_row(&a->x, m), w + n * depth, depth);
            const double value = wf_ref_activate(sum + (bias ? (double)bias[n] : 0), a->act);
            if (a->accumulate)
                y[n] = (float)((double)y[n] + (gate ? (double)gate[n] : 1) * value);
            else
                y[n] = (float)value;
        }
    }
    return WF_OK;
}
