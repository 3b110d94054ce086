#include <math.h>

#include "kernels/ref/ref.h"

double wf_ref_act(double x, enum wf_act act)
{
    switch (act) {
    case WF_ACT_NONE:
        break;
    case WF_ACT_GELU_TANH:
        return 0.5 * x * (1 + tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case WF_ACT_GELU_ERF:
        return 0.5 * x * erfc(-x / M_SQRT2); /* 1 + erf(x) is all rounding far below 0 */
    case WF_ACT_SILU:
        return x / (1 + exp(-x));
    }
    return x;
}

enum wf_status wf_ref_rope(struct wf_backend *be, const struct wf_rope *a)
{
    (void)be;
    const int64_t heads = a->x.dim[1], pairs = a->x.dim[2] / 2;
    for (int64_t row = 0; row < wf_tensor_rows(&a->x); row++) {
        const float *x = wf_row(&a->x, row);
        const float *cosine = wf_row(&a->cos, row / heads), *sine = wf_row(&a->sin, row / heads);
        const int64_t y = wf_tensor_row(&a->y, row);
        for (int64_t j = 0; j < pairs; j++) {
            const double x0 = (double)x[2 * j], x1 = (double)x[2 * j + 1];
            wf_set(&a->y, y + 2 * j, x0 * (double)cosine[j] - x1 * (double)sine[j]);
            wf_set(&a->y, y + 2 * j + 1, x0 * (double)sine[j] + x1 * (double)cosine[j]);
        }
    }
    return WF_OK;
}

enum wf_status wf_ref_lincomb(struct wf_backend *be, const struct wf_lincomb *a)
{
    (void)be;
    for (int64_t row = 0; row < wf_tensor_rows(&a->y); row++) {
        float *y = wf_row(&a->y, row);
        for (int64_t i = 0; i < a->y.dim[a->y.rank - 1]; i++) {
            double sum = 0;
            for (int k = 0; k < a->terms; k++)
                sum += (double)a->c[k] * (double)wf_row(&a->x[k], row)[i];
            y[i] = (float)sum;
        }
    }
    return WF_OK;
}

enum wf_status wf_ref_affine(struct wf_backend *be, const struct wf_affine *a)
{
    (void)be;
    const float *weight = a->weight.data, *shift = a->shift.data;
    for (int64_t m = 0; m < a->x.dim[0]; m++) {
        const float *x = wf_row(&a->x, m);
        float *y = wf_row(&a->y, m);
        for (int64_t i = 0; i < a->x.dim[1]; i++) {
            const double value =
                (double)x[i] * (weight ? (double)weight[i] : 1) + (shift ? (double)shift[i] : 0);
            const float bounded = value < (double)a->low ? a->low : (float)value;
            const bool finite = isfinite((float)value);
            y[i] = !finite ? NAN : bounded > a->high ? a->high : bounded;
        }
    }
    return WF_OK;
}

enum wf_status wf_ref_activate(struct wf_backend *be, const struct wf_activate *a)
{
    (void)be;
    const float *from = a->x.data;
    float *to = a->y.data;
    for (int64_t i = 0; i < wf_tensor_count(&a->x); i++)
        to[i] = (float)wf_ref_act((double)from[i], a->act);
    return WF_OK;
}

enum wf_status wf_ref_gated_act(struct wf_backend *be, const struct wf_gated_act *a)
{
    (void)be;
    for (int64_t m = 0; m < a->y.dim[0]; m++) {
        const float *left = wf_row(&a->a, m), *right = wf_row(&a->b, m);
        const int64_t to = wf_tensor_row(&a->y, m);
        for (int64_t i = 0; i < a->y.dim[1]; i++)
            wf_set(&a->y, to + i, wf_ref_act((double)left[i], a->act) * (double)right[i]);
    }
    return WF_OK;
}

enum wf_status wf_ref_pack_u8(struct wf_backend *be, const struct wf_pack_u8 *a)
{
    (void)be;
    const float *from = a->x.data;
    uint8_t *to = a->y.data;
    for (int64_t i = 0; i < wf_tensor_count(&a->x); i++) {
        const float clamped = fminf(fmaxf(from[i], 0.0f), 1.0f); /* a NaN becomes 0 */
        to[i] = (uint8_t)lrintf(255.0f * clamped);
    }
    return WF_OK;
}
