#include "kernels/ref/ref.h"

enum { PADDING = -1 };

/* Where one pixel of one frame starts, or PADDING. */
static int64_t pixel(const struct wf_tensor *x, int64_t t, int64_t h, int64_t w)
{
    if (t < 0 || t >= x->dim[0] || h < 0 || h >= x->dim[1] || w < 0 || w >= x->dim[2])
        return PADDING;
    return t * x->stride[0] + h * x->stride[1] + w * x->stride[2];
}

/* The sum over one tap of output o: a pixel's channels with weight `k` of each channel's. */
static double tap(const struct wf_tensor *x, int64_t at, const struct wf_tensor *w, int64_t o,
                  int64_t k)
{
    const int64_t channels = w->dim[1], taps = w->dim[2] * w->dim[3] * w->dim[4];
    double sum = 0;
    for (int64_t c = 0; at != PADDING && c < channels; c++)
        sum += (double)wf_get(x, at + c) * (double)wf_get(w, (o * channels + c) * taps + k);
    return sum;
}

static double conv_sum(const struct wf_conv *a, int64_t t, int64_t h, int64_t w, int64_t o)
{
    const int64_t *dim = a->w->dim, taps = dim[2] * dim[3] * dim[4];
    double sum = 0;
    for (int64_t k = 0; k < taps; k++) {
        const int64_t kt = k / (dim[3] * dim[4]), kh = k / dim[4] % dim[3], kw = k % dim[4];
        const int64_t x =
            pixel(&a->x, t * a->stride_t + kt - a->pad_front, h * a->stride_hw + kh - a->pad_h[0],
                  w * a->stride_hw + kw - a->pad_w[0]);
        sum += tap(&a->x, x, &a->w->tensor, o, k);
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
    /* y's first line and column in the doubled picture */
    const int64_t top = 2 * (1 - a->pad_h[0]), left = 2 * (1 - a->pad_w[0]);
    double sum = 0;
    for (int64_t k = 0; k < 9; k++) {
        const int64_t up_h = top + h + k / 3 - 1, up_w = left + w + k % 3 - 1;
        const int64_t x = up_h < 0 || up_w < 0 ? PADDING : pixel(&a->x, t, up_h / 2, up_w / 2);
        sum += tap(&a->x, x, &a->w->tensor, o, k);
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
