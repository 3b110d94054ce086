/* Convolutions: cuDNN in bf16, in pieces of frames, into bf16, and a pass of ours that adds the
   bias and puts the result where it belongs; f32 and what cuDNN does not take by a kernel of ours
   that does all of it. */
#include "kernels/cuda/library.h"
#include "kernels/cuda/own/own.h"

/* Of a piece's result, and elements of any tensor that cuDNN's precompiled engines take. */
enum { PIECE_BYTES = 128 << 20 };
static const int64_t piece_elements = INT64_C(1) << 31;

/* A convolution as both ways need it; an upconv is one of 2x2 kernels to four times the channels,
   over an image that is one larger than what is doubled. */
struct shape {
    const struct wf_tensor *x;
    int64_t rows;   /* channels of the result: as the weight has them, padding included */
    int64_t dim[3]; /* T', H', W' */
    int64_t kernel[3];
    int pad_front, pad_back, pad_h[2], pad_w[2], stride_t, stride_hw;
};

static struct shape conv_shape(const struct wf_backend *be, const struct wf_conv *a)
{
    return (struct shape){.x = &a->x,
                          .rows = wf_cuda_conv_rows(be, a->w),
                          .dim = {a->y.dim[0], a->y.dim[1], a->y.dim[2]},
                          .kernel = {a->w->dim[2], a->w->dim[3], a->w->dim[4]},
                          .pad_front = a->pad_front,
                          .pad_back = a->pad_back,
                          .pad_h = {a->pad_h[0], a->pad_h[1]},
                          .pad_w = {a->pad_w[0], a->pad_w[1]},
                          .stride_t = a->stride_t,
                          .stride_hw = a->stride_hw};
}

static struct shape upconv_shape(const struct wf_upconv *a)
{
    return (struct shape){.x = &a->x,
                          .rows = 4 * a->w->dim[0],
                          .dim = {a->x.dim[0], a->y.dim[1] / 2 + 1, a->y.dim[2] / 2 + 1},
                          .kernel = {1, 2, 2},
                          .pad_h = {a->pad_h[0], a->pad_h[1]},
                          .pad_w = {a->pad_w[0], a->pad_w[1]},
                          .stride_t = 1,
                          .stride_hw = 1};
}

/* --- pieces --- */

static int64_t frame_elements(const struct shape *s)
{
    return s->dim[1] * s->dim[2] * s->rows;
}

/* Frames of the result that are computed at a time, each of so many bytes an element. */
static int64_t piece_frames(const struct shape *s, size_t each)
{
    const int64_t x_frame = s->x->stride[0] > 0 ? s->x->stride[0] : 1;
    const int64_t by_memory = PIECE_BYTES / (int64_t)each / frame_elements(s);
    const int64_t by_input = ((piece_elements - 1) / x_frame - s->kernel[0]) / s->stride_t;
    int64_t frames = by_memory < by_input ? by_memory : by_input;
    frames = frames < s->dim[0] ? frames : s->dim[0];
    return frames > 1 ? frames : 1;
}

/* The frames of x that some frames of the result see, and the zeros before and behind them. */
struct input {
    int64_t first, count; /* 0 or less: they see zeros alone */
    int64_t pad_front, pad_back;
};

static struct input input_of(const struct shape *s, int64_t first, int64_t count)
{
    const int64_t begin = first * s->stride_t - s->pad_front, frames = s->x->dim[0];
    const int64_t end = begin + (count - 1) * s->stride_t + s->kernel[0];
    const int64_t front = begin < 0 ? -begin : 0, back = end > frames ? end - frames : 0;
    return (struct input){begin + front, end - back - begin - front, front, back};
}

/* As cuDNN wants x: of tensor cores' type, aligned, frames that follow each other, not too long. */
static bool x_is_taken(const struct wf_tensor *x)
{
    const int64_t line = x->dim[1] > 1 ? x->stride[1] : 0, frame = x->dim[0] > 1 ? x->stride[0] : 0;
    const int64_t span = (x->dim[1] - 1) * line + x->dim[2] * x->dim[3];
    return x->dtype == WF_BF16 && x->dim[3] % 8 == 0 && (uintptr_t)x->data % 16 == 0 &&
           line % 8 == 0 && frame % 8 == 0 && (x->dim[0] == 1 || frame >= span) &&
           (x->dim[0] - 1) * frame + span < piece_elements;
}

/* *plan NULL: cuDNN does not take the piece. */
static enum wf_status find_plan(const struct wf_backend *be, const struct shape *s, int64_t first,
                                int64_t count, struct wf_graph_plan **plan)
{
    struct wf_graph_conv g = {.y = {count, s->dim[1], s->dim[2], s->rows},
                              .kernel = {s->kernel[0], s->kernel[1], s->kernel[2]},
                              .pad_h = {s->pad_h[0], s->pad_h[1]},
                              .pad_w = {s->pad_w[0], s->pad_w[1]},
                              .stride_t = s->stride_t,
                              .stride_hw = s->stride_hw,
                              .y_type = WF_BF16};
    const struct input in = input_of(s, first, count);
    *plan = NULL;
    if (in.count < 1)
        return WF_OK;
    const struct wf_tensor x = wf_tensor_slice(*s->x, 0, in.first, in.count);
    if (!x_is_taken(&x) || s->rows % 8 || count * frame_elements(s) >= piece_elements)
        return WF_OK;
    for (int i = 0; i < 4; i++)
        g.x[i] = x.dim[i];
    g.x_line = x.dim[1] > 1 ? x.stride[1] : 0;
    g.x_frame = x.dim[0] > 1 ? x.stride[0] : 0;
    g.pad_front = in.pad_front;
    g.pad_back = in.pad_back;
    return wf_cuda_said(be, wf_graph_conv(wf_cuda_of(be)->graphs, &g, plan));
}

/* Whether cuDNN takes every piece: they differ in their padding in time and in their length. */
static enum wf_status library_takes(const struct wf_backend *be, const struct shape *s, bool *takes)
{
    const int64_t most = piece_frames(s, 2);
    *takes = true;
    for (int64_t i = 0; i < s->dim[0] && *takes; i += most) {
        struct wf_graph_plan *plan;
        const int64_t count = s->dim[0] - i < most ? s->dim[0] - i : most;
        WF_TRY(find_plan(be, s, i, count, &plan));
        *takes = plan != NULL;
    }
    return WF_OK;
}

/* --- by our own kernel --- */

static enum wf_status convolve_own(struct wf_backend *be, const char *what, const struct shape *s,
                                   const struct wf_param *w, const struct wf_param *bias,
                                   struct wf_tensor y, bool accumulate)
{
    struct wf_own_conv args = {.x = *s->x,
                               .y = y,
                               .weight = w->tensor.data,
                               .bias = bias ? bias->tensor.data : NULL,
                               .o = y.dim[3],
                               .kt = s->kernel[0],
                               .kh = s->kernel[1],
                               .kw = s->kernel[2],
                               .pad_front = s->pad_front,
                               .pad_h = {s->pad_h[0], s->pad_h[1]},
                               .pad_w = {s->pad_w[0], s->pad_w[1]},
                               .stride_t = s->stride_t,
                               .stride_hw = s->stride_hw,
                               .accumulate = accumulate};
    return wf_cuda_launch(be, what, &y, wf_own_conv, &args, sizeof args);
}

/* --- conv --- */

size_t wf_cuda_conv_scratch(const struct wf_backend *be, const struct wf_conv *a)
{
    const struct shape s = conv_shape(be, a);
    bool takes;
    if (library_takes(be, &s, &takes) != WF_OK || !takes)
        return 0;
    return (size_t)(piece_frames(&s, 2) * frame_elements(&s)) * 2;
}

/* y (+)= z + bias, without z's channels of padding. */
static enum wf_status place(struct wf_backend *be, const struct wf_conv *a,
                            const struct wf_tensor *z, int64_t first)
{
    struct wf_own_gate args = {.x = wf_tensor_slice(*z, 3, 0, a->y.dim[3]),
                               .y = wf_tensor_slice(a->y, 0, first, z->dim[0]),
                               .accumulate = a->accumulate};
    if (a->bias)
        args.bias = a->bias->tensor;
    return wf_cuda_launch(be, "conv", &args.y, wf_own_gate, &args, sizeof args);
}

static enum wf_status convolve_piece(struct wf_backend *be, const struct wf_conv *a,
                                     const struct shape *s, int64_t first, int64_t count, void *z)
{
    struct wf_graph_plan *plan;
    const struct input in = input_of(s, first, count);
    const struct wf_tensor result =
        wf_tensor_of(z, WF_BF16, WF_DIMS(count, s->dim[1], s->dim[2], s->rows));
    const struct wf_graph_pointers pointers = {
        .x = wf_tensor_slice(*s->x, 0, in.first, in.count).data, .w = a->w->tensor.data, .y = z};
    WF_TRY(find_plan(be, s, first, count, &plan));
    WF_TRY(wf_cuda_run_graph(be, "conv", NULL, plan, &pointers));
    return place(be, a, &result, first);
}

enum wf_status wf_cuda_conv(struct wf_backend *be, const struct wf_conv *a)
{
    const struct shape s = conv_shape(be, a);
    const int64_t most = piece_frames(&s, 2);
    const size_t bytes = (size_t)(most * frame_elements(&s)) * 2;
    bool takes;
    WF_TRY(library_takes(be, &s, &takes));
    if (!takes)
        return convolve_own(be, "conv", &s, a->w, a->bias, a->y, a->accumulate);
    void *z = wf_cuda_take(be, WF_MEM_ACTIVATIONS, bytes);
    if (!z)
        return wf_fail_memory(be->err, "conv", bytes);
    enum wf_status status = WF_OK;
    for (int64_t i = 0; i < s.dim[0] && status == WF_OK; i += most)
        status = convolve_piece(be, a, &s, i, s.dim[0] - i < most ? s.dim[0] - i : most, z);
    wf_cuda_give(be, z);
    return status;
}

/* --- upconv --- */

static size_t upconv_piece(const struct shape *s)
{
    const size_t each = wf_dtype_bytes(s->x->dtype);
    return (size_t)(piece_frames(s, each) * frame_elements(s)) * each;
}

size_t wf_cuda_upconv_scratch(const struct wf_backend *be, const struct wf_upconv *a)
{
    const struct shape s = upconv_shape(a);
    (void)be;
    return upconv_piece(&s);
}

static enum wf_status upconvolve_piece(struct wf_backend *be, const struct wf_upconv *a,
                                       const struct shape *s, int64_t first, int64_t count,
                                       bool takes, void *z)
{
    const struct wf_own_interleave interleave = {
        .z = wf_tensor_of(z, a->x.dtype, WF_DIMS(count, s->dim[1], s->dim[2], s->rows)),
        .y = wf_tensor_slice(a->y, 0, first, count),
        .bias = a->bias ? a->bias->tensor.data : NULL};
    struct wf_tensor x = wf_tensor_slice(a->x, 0, first, count);
    if (takes) {
        struct wf_graph_plan *plan;
        const struct wf_graph_pointers pointers = {.x = x.data, .w = a->w->tensor.data, .y = z};
        WF_TRY(find_plan(be, s, first, count, &plan));
        WF_TRY(wf_cuda_run_graph(be, "upconv", NULL, plan, &pointers));
    } else {
        struct shape part = *s;
        part.x = &x;
        WF_TRY(convolve_own(be, "upconv", &part, a->w, NULL, interleave.z, false));
    }
    return wf_cuda_launch(be, "upconv", &interleave.y, wf_own_interleave, &interleave,
                          sizeof interleave);
}

enum wf_status wf_cuda_upconv(struct wf_backend *be, const struct wf_upconv *a)
{
    const struct shape s = upconv_shape(a);
    const int64_t most = piece_frames(&s, wf_dtype_bytes(a->x.dtype)), all = a->x.dim[0];
    bool takes;
    WF_TRY(library_takes(be, &s, &takes));
    void *z = wf_cuda_take(be, WF_MEM_ACTIVATIONS, upconv_piece(&s));
    if (!z)
        return wf_fail_memory(be->err, "upconv", upconv_piece(&s));
    enum wf_status status = WF_OK;
    for (int64_t i = 0; i < all && status == WF_OK; i += most)
        status = upconvolve_piece(be, a, &s, i, all - i < most ? all - i : most, takes, z);
    wf_cuda_give(be, z);
    return status;
}
