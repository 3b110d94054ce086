#include "kernels/ref/ref.h"

/* One pixel of one frame, or NULL in the padding. */
static const float *pixel(const struct wf_tensor *x, int64_t t, int64_t h, int64_t w)
{
    if (t < 0 || h < 0 || h >= x->dim[1] || w < 0 || w >= x->dim[2])
        return NULL;
    return (const float *)x->data + t * x->stride[0] + h * x->stride[1] + w * x->stride[2];
}

/* The sum over one tap of the kernel; weights of neighbouring channels are `step` apart. */
static double tap(const float *x, const float *w, int64_t channels, int64_t step)
{
    double sum = 0;
    for (int64_t c = 0; x && c < channels; c++)
        sum += (double)x[c] * (double)w[c * step];
    return sum;
}

static double conv_sum(const struct wf_conv *a, int64_t t, int64_t h, int64_t w, int64_t o)
{
    const int64_t *dim = a->w->dim, channels = dim[1], taps = dim[2] * dim[3] * dim[4];
    const float *weight = (const float *)a->w->tensor.data + o * channels * taps;
    double sum = 0;
    for (int64_t k = 0; k < taps; k++) {
        const int64_t kt = k / (dim[3] * dim[4]), kh = k / dim[4] % dim[3], kw = k % dim[4];
        const float *x =
            pixel(&a->x, t * a->stride_t + kt - a->pad_front, h * a->stride_hw + kh - a->pad_h[0],
                  w * a->stride_hw + kw - a->pad_w[0]);
        sum += tap(x, weight + k, channels, taps);
    }
    return sum;
}

enum wf_status wf_ref_conv(struct wf_backend *be, const struct wf_conv *a)
{
    (void)be;
    const int64_t outputs = a->y.dim[3];
    const float *bias = a->bias ? a->bias->tensor.data : NULL;
    for (int64_t row = 0; row < wf_tensor_rows(&a->y); row++) {
        float *y = wf_row(&a->y, row);
        const int64_t w = row % a->y.dim[2], h = row / a->y.dim[2] % a->y.dim[1];
        const int64_t t = row / (a->y.dim[1] * a->y.dim[2]);
        for (int64_t o = 0; o < outputs; o++) {
            const double sum = conv_sum(a, t, h, w, o) + (bias ? (double)bias[o] : 0);
            y[o] = (float)(a->accumulate ? (double)y[o] + sum : sum);
        }
    }
    return WF_OK;
}

static double upconv_sum(const struct wf_upconv *a, int64_t t, int64_t h, int64_t w, int64_t o)
{
    const int64_t channels = a->w->dim[1];
    const float *weight = (const float *)a->w->tensor.data + o * channels * 9;
    double sum = 0;
    for (int64_t k = 0; k < 9; k++) {
        const int64_t up_h = h + k / 3 - 1, up_w = w + k % 3 - 1; /* in the doubled picture */
        const float *x = up_h < 0 || up_w < 0 ? NULL : pixel(&a->x, t, up_h / 2, up_w / 2);
        sum += tap(x, weight + k, channels, 9);
    }
    return sum;
}

enum wf_status wf_ref_upconv(struct wf_backend *be, const struct wf_upconv *a)
{
    (void)be;
    const float *bias = a->bias ? a->bias->tensor.data : NULL;
    for (int64_t row = 0; row < wf_tensor_rows(&a->y); row++) {
        float *y = wf_row(&a->y, row);
        const int64_t w = row % a->y.dim[2], h = row / a->y.dim[2] % a->y.dim[1];
        const int64_t t = row / (a->y.dim[1] * a->y.dim[2]);
        for (int64_t o = 0; o < a->y.dim[3]; o++)
            y[o] = (float)(upconv_sum(a, t, h, w, o) + (bias ? (double)bias[o] : 0));
    }
    return WF_OK;
}
