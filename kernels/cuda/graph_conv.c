#include <stdio.h>

#include "kernels/cuda/graph_build.h"

/* cuDNN names the axes [1,C,T,H,W] whatever their order in memory. */
static struct wf_graph_tensor frames_of(int64_t uid, cudnnDataType_t type, const int64_t *dim,
                                        int64_t frame, int64_t line)
{
    return (struct wf_graph_tensor){.uid = uid,
                                    .type = type,
                                    .rank = 5,
                                    .dim = {1, dim[3], dim[0], dim[1], dim[2]},
                                    .stride = {dim[0] * frame, 1, frame, line, dim[3]}};
}

static struct wf_graph_tensor weights_of(const struct wf_graph_conv *s)
{
    const int64_t c = s->x[3], *k = s->kernel;
    return (struct wf_graph_tensor){
        .uid = WF_UID_W,
        .type = CUDNN_DATA_BFLOAT16,
        .rank = 5,
        .dim = {s->y[3], c, k[0], k[1], k[2]},
        .stride = {k[0] * k[1] * k[2] * c, 1, k[1] * k[2] * c, k[2] * c, c}};
}

static cudnnBackendDescriptor_t geometry(struct wf_build *b, const struct wf_graph_conv *s)
{
    const int64_t axes = 3, dilation[] = {1, 1, 1};
    const int64_t stride[] = {s->stride_t, s->stride_hw, s->stride_hw};
    const int64_t before[] = {s->pad_front, s->pad_h[0], s->pad_w[0]};
    const int64_t after[] = {s->pad_back, s->pad_h[1], s->pad_w[1]};
    const cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;
    cudnnBackendDescriptor_t d = wf_build_make(b, CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
    wf_build_set(b, d, CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, 1, &axes);
    wf_build_type(b, d, CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_DATA_FLOAT);
    wf_build_set(b, d, CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1, &mode);
    wf_build_set(b, d, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, axes, before);
    wf_build_set(b, d, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, axes, after);
    wf_build_set(b, d, CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, axes, dilation);
    wf_build_set(b, d, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, axes, stride);
    wf_build_done(b, d);
    return d;
}

static void convolve(struct wf_build *b, const struct wf_graph_conv *s, cudnnBackendDescriptor_t y)
{
    const float one = 1, zero = 0;
    const struct wf_graph_tensor input =
        frames_of(WF_UID_X, CUDNN_DATA_BFLOAT16, s->x, s->x_frame, s->x_line);
    const struct wf_graph_tensor filter = weights_of(s);
    cudnnBackendDescriptor_t x = wf_build_tensor(b, &input), w = wf_build_tensor(b, &filter);
    cudnnBackendDescriptor_t how = geometry(b, s);
    cudnnBackendDescriptor_t op =
        wf_build_make(b, CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR);
    wf_build_link(b, op, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, x);
    wf_build_link(b, op, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W, w);
    wf_build_link(b, op, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, y);
    wf_build_link(b, op, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC, how);
    wf_build_set(b, op, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA, CUDNN_TYPE_FLOAT, 1, &one);
    wf_build_set(b, op, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA, CUDNN_TYPE_FLOAT, 1, &zero);
    wf_build_op(b, op);
}

/* conv(x), + bias, + what was in y: each but the last result stays in registers, in f32. */
static void describe(struct wf_build *b, const void *shape)
{
    const struct wf_graph_conv *s = shape;
    const cudnnDataType_t type = wf_graph_type(s->y_type);
    const int64_t o = s->y[3], line = s->y[2] * o;
    const struct wf_graph_tensor result = frames_of(WF_UID_Y, type, s->y, s->y_frame, line);
    const struct wf_graph_tensor inner =
        frames_of(WF_UID_VIRTUAL, CUDNN_DATA_FLOAT, s->y, s->y_frame, line);
    const struct wf_graph_tensor bias = {.uid = WF_UID_BIAS,
                                         .type = type,
                                         .rank = 5,
                                         .dim = {1, o, 1, 1, 1},
                                         .stride = {o, 1, o, o, o}};
    const struct wf_graph_tensor sum = frames_of(WF_UID_SUM, type, s->y, s->y_frame, line);
    cudnnBackendDescriptor_t y = wf_build_tensor(b, &result);
    cudnnBackendDescriptor_t now = s->has_bias || s->accumulate ? wf_build_tensor(b, &inner) : y;
    convolve(b, s, now);
    if (s->has_bias) {
        cudnnBackendDescriptor_t next = s->accumulate ? wf_build_tensor(b, &inner) : y;
        wf_build_pointwise(b, CUDNN_POINTWISE_ADD, now, wf_build_tensor(b, &bias), next);
        now = next;
    }
    if (s->accumulate)
        wf_build_pointwise(b, CUDNN_POINTWISE_ADD, now, wf_build_tensor(b, &sum), y);
}

static bool frames_are_small(const int64_t *dim, int64_t frame, int64_t line)
{
    const int64_t stride[] = {frame, line, dim[3], 1};
    return wf_graph_is_small(4, dim, stride);
}

/* Of an axis: where the output's length is not what the contract says, or anything is out of range.
 */
static bool axis_is_wrong(int64_t in, int64_t out, int64_t kernel, int64_t pads, int64_t stride)
{
    return in < 1 || kernel < 1 || pads < 0 || stride < 1 || in + pads < kernel ||
           out != (in + pads - kernel) / stride + 1;
}

static bool is_wrong(const struct wf_graph_conv *s)
{
    const int64_t *k = s->kernel, *x = s->x, *y = s->y;
    return s->pad_front < 0 || s->pad_back < 0 || s->pad_h[0] < 0 || s->pad_h[1] < 0 ||
           s->pad_w[0] < 0 || s->pad_w[1] < 0 || x[3] < 1 || y[3] < 1 ||
           axis_is_wrong(x[0], y[0], k[0], s->pad_front + s->pad_back, s->stride_t) ||
           axis_is_wrong(x[1], y[1], k[1], s->pad_h[0] + s->pad_h[1], s->stride_hw) ||
           axis_is_wrong(x[2], y[2], k[2], s->pad_w[0] + s->pad_w[1], s->stride_hw) ||
           s->x_line < x[2] * x[3] || s->x_frame < (x[1] - 1) * s->x_line + x[2] * x[3] ||
           s->y_frame < y[1] * y[2] * y[3] || (s->y_type != WF_BF16 && s->y_type != WF_F32) ||
           (s->accumulate && s->y_type != WF_F32);
}

static enum wf_status check(const struct wf_graph_conv *s, const char *what, struct wf_error *err)
{
    const struct wf_graph_tensor w = weights_of(s);
    if (is_wrong(s))
        return wf_fail(err, WF_FAILED, "cuDNN: %s: not as the contract of a convolution says",
                       what);
    if (!frames_are_small(s->x, s->x_frame, s->x_line) ||
        !frames_are_small(s->y, s->y_frame, s->y[2] * s->y[3]) ||
        !wf_graph_is_small(5, w.dim, w.stride))
        return wf_fail(err, WF_FAILED,
                       "cuDNN: %s: a tensor of 2^31 elements or more; cut it by frames", what);
    return WF_OK;
}

enum wf_status wf_graph_conv(struct wf_graphs *graphs, const struct wf_graph_conv *shape,
                             struct wf_graph_plan **plan)
{
    struct wf_graph_conv s = *shape;
    char what[160];
    s.x_line = s.x_line ? s.x_line : s.x[2] * s.x[3];
    s.x_frame = s.x_frame ? s.x_frame : s.x[1] * s.x_line;
    s.y_frame = s.y_frame ? s.y_frame : s.y[1] * s.y[2] * s.y[3];
    *plan = NULL;
    snprintf(what, sizeof what,
             "convolution [%lld,%lld,%lld,%lld] by %lldx%lldx%lld to [%lld,%lld,%lld,%lld] %s",
             (long long)s.x[0], (long long)s.x[1], (long long)s.x[2], (long long)s.x[3],
             (long long)s.kernel[0], (long long)s.kernel[1], (long long)s.kernel[2],
             (long long)s.y[0], (long long)s.y[1], (long long)s.y[2], (long long)s.y[3],
             wf_dtype_name(s.y_type));
    WF_TRY(check(&s, what, wf_graphs_error(graphs)));
    const struct wf_graph_key key = {
        {WF_UID_X,    s.x[0],      s.x[1],     s.x[2],     s.x[3],      s.x_line,    s.x_frame,
         s.y[0],      s.y[1],      s.y[2],     s.y[3],     s.y_frame,   s.kernel[0], s.kernel[1],
         s.kernel[2], s.pad_front, s.pad_back, s.pad_h[0], s.pad_h[1],  s.pad_w[0],  s.pad_w[1],
         s.stride_t,  s.stride_hw, s.y_type,   s.has_bias, s.accumulate}};
    return wf_graph_find(graphs, &key, what, &s, describe, plan);
}
