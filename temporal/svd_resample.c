/* The convolutions between the levels of Stable Video Diffusion's denoiser. */
#include "temporal/svd_weights.h"

/* A convolution of x to y, a few frames at a time. */
typedef enum wf_status sample_frames(const struct wf_svd_pass *p, const struct wf_layer *layer,
                                     struct wf_tensor x, struct wf_tensor y);

static enum wf_status halve(const struct wf_svd_pass *p, const struct wf_layer *layer,
                            struct wf_tensor x, struct wf_tensor y)
{
    struct wf_conv conv = {WF_SVD_PADDED, .stride_hw = 2};
    WF_TRY(wf_work_operand(&p->work, layer, x, &conv.x));
    conv.y = y;
    WF_TRY(wf_layer_conv(p->be, layer, conv));
    wf_work_give_operand(&p->work, x, conv.x);
    return WF_OK;
}

static enum wf_status twice(const struct wf_svd_pass *p, const struct wf_layer *layer,
                            struct wf_tensor x, struct wf_tensor y)
{
    struct wf_upconv up = {.y = y, .pad_h = {1, 1}, .pad_w = {1, 1}};
    WF_TRY(wf_work_operand(&p->work, layer, x, &up.x));
    WF_TRY(wf_layer_upconv(p->be, layer, up));
    wf_work_give_operand(&p->work, x, up.x);
    return WF_OK;
}

/* Nearest to a side of 2n - 1 is the doubled picture without its last line, and the convolution
   sees zeros there. */
static enum wf_status almost_twice(const struct wf_svd_pass *p, const struct wf_layer *layer,
                                   struct wf_tensor x, struct wf_tensor y)
{
    struct wf_conv conv = {WF_SVD_PADDED, .stride_hw = 1};
    struct wf_tensor doubled, fine, coarse = wf_tensor_split(wf_tensor_split(x, 2, 1), 1, 1);
    WF_TRY(wf_work_take(&p->work, wf_operand_type(p->be, &layer->weight),
                        WF_DIMS(x.dim[0], 2 * x.dim[1], 2 * x.dim[2], x.dim[3]), &doubled));
    fine = wf_tensor_split(wf_tensor_split(doubled, 2, 2), 1, 2);
    coarse.dim[2] = coarse.dim[4] = 2;
    coarse.stride[2] = coarse.stride[4] = 0;
    WF_TRY(wf_copy(p->be, &(struct wf_copy){.x = coarse, .y = fine}));
    WF_TRY(wf_work_take(&p->work, doubled.dtype, WF_DIMS(y.dim[0], y.dim[1], y.dim[2], x.dim[3]),
                        &conv.x));
    WF_TRY(wf_copy(p->be,
                   &(struct wf_copy){.x = wf_tensor_slice(wf_tensor_slice(doubled, 1, 0, y.dim[1]),
                                                          2, 0, y.dim[2]),
                                     .y = conv.x}));
    wf_work_give(&p->work, doubled);
    conv.y = y;
    WF_TRY(wf_layer_conv(p->be, layer, conv));
    wf_work_give(&p->work, conv.x);
    return WF_OK;
}

static enum wf_status sample(const struct wf_svd_pass *p, const struct wf_layer *layer,
                             sample_frames *run, struct wf_tensor x, struct wf_tensor y)
{
    const int64_t in = x.dim[1] * x.dim[2] * x.dim[3], out = y.dim[1] * y.dim[2] * y.dim[3];
    const int64_t n = wf_work_pieces((in > out ? in : out) * (int64_t)sizeof(float), x.dim[0]);
    WF_TRY(wf_layer_acquire(layer, p->be->err));
    enum wf_status status = WF_OK;
    for (int64_t i = 0; i < x.dim[0] && status == WF_OK; i += n) {
        const int64_t count = x.dim[0] - i < n ? x.dim[0] - i : n;
        status = run(p, layer, wf_tensor_slice(x, 0, i, count), wf_tensor_slice(y, 0, i, count));
    }
    wf_layer_release(layer);
    return status;
}

enum wf_status wf_svd_halve(const struct wf_svd_pass *p, const struct wf_layer *layer,
                            struct wf_tensor x, struct wf_tensor y)
{
    return sample(p, layer, halve, x, y);
}

bool wf_svd_doubles(struct wf_tensor x, struct wf_tensor y)
{
    return y.dim[1] == 2 * x.dim[1] && y.dim[2] == 2 * x.dim[2];
}

enum wf_status wf_svd_double(const struct wf_svd_pass *p, const struct wf_layer *layer,
                             struct wf_tensor x, struct wf_tensor y)
{
    return sample(p, layer, twice, x, y);
}

enum wf_status wf_svd_enlarge(const struct wf_svd_pass *p, const struct wf_layer *layer,
                              struct wf_tensor x, struct wf_tensor y)
{
    return sample(p, layer, almost_twice, x, y);
}
