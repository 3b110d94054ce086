#include "kernels/ref/ref.h"

/* Of n elements of a and b, from a place in each. */
static double dot(const struct wf_tensor *a, int64_t a_at, const struct wf_tensor *b, int64_t b_at,
                  int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += (double)wf_get(a, a_at + i) * (double)wf_get(b, b_at + i);
    return sum;
}

enum wf_status wf_ref_gemm(struct wf_backend *be, const struct wf_gemm *a)
{
    (void)be;
    const int64_t rows = a->x.dim[0], depth = a->x.dim[1], columns = a->y.dim[1];
    const float *gate = a->gate.data;
    const float *bias = a->bias ? a->bias->tensor.data : NULL;
    for (int64_t m = 0; m < rows; m++) {
        const int64_t x = wf_tensor_row(&a->x, m), y = wf_tensor_row(&a->y, m);
        for (int64_t n = 0; n < columns; n++) {
            const double sum = dot(&a->x, x, &a->w->tensor, n * depth, depth);
            const double value = wf_ref_act(sum + (bias ? (double)bias[n] : 0), a->act);
            const double before = a->accumulate ? (double)wf_get(&a->y, y + n) : 0;
            wf_set(&a->y, y + n, before + (gate ? (double)gate[n] : 1) * value);
        }
    }
    return WF_OK;
}
