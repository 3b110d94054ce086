/* Linear layers: cuBLASLt with what its epilogue can do, and for the rest a pass of ours behind it,
   over slices of rows. */
#include "kernels/cuda/library.h"
#include "kernels/cuda/own/own.h"

enum { SLICE_BYTES = 64 << 20 };

/* GELU in the epilogue is slower than a pass on sm_120. */
static bool epilogue_does(const struct wf_backend *be, const struct wf_gemm *a)
{
    const struct wf_driver_facts *facts = wf_driver_facts(wf_cuda_of(be)->driver);
    if (a->x.dtype == WF_F32 && a->y.dtype == WF_BF16)
        return false;
    if (a->accumulate)
        return !a->gate.data && a->act == WF_ACT_NONE;
    return a->act == WF_ACT_NONE ||
           (a->act == WF_ACT_GELU_TANH && a->x.dtype == WF_BF16 && facts->major != 12);
}

/* Rows of the slice that a product without its act, gate and sum is kept in; 0: it needs none. */
static int64_t slice_rows(const struct wf_backend *be, const struct wf_gemm *a)
{
    const int64_t row = a->y.dim[1] * (int64_t)wf_dtype_bytes(a->x.dtype);
    const int64_t rows = SLICE_BYTES / row ? SLICE_BYTES / row : 1;
    if (epilogue_does(be, a))
        return 0;
    return rows < a->y.dim[0] ? rows : a->y.dim[0];
}

size_t wf_cuda_gemm_scratch(const struct wf_backend *be, const struct wf_gemm *a)
{
    return (size_t)(slice_rows(be, a) * a->y.dim[1]) * wf_dtype_bytes(a->x.dtype);
}

static const void *bias_for(const struct wf_gemm *a, enum wf_dtype y)
{
    return !a->bias ? NULL : y == WF_BF16 ? wf_cuda_vector_bf16(a->bias) : a->bias->tensor.data;
}

/* What cuBLASLt has no algorithm for, by the kernel of convolutions: rows are frames of a pixel. */
static enum wf_status multiply_own(struct wf_backend *be, const struct wf_gemm *a)
{
    const struct wf_tensor *x = &a->x, *y = &a->y;
    struct wf_own_conv conv = {
        .x = wf_tensor_of(x->data, x->dtype, WF_DIMS(x->dim[0], 1, 1, x->dim[1])),
        .y = wf_tensor_of(y->data, y->dtype, WF_DIMS(y->dim[0], 1, 1, y->dim[1])),
        .weight = a->w->tensor.data,
        .bias = a->bias ? a->bias->tensor.data : NULL,
        .o = a->w->dim[0],
        .kt = 1,
        .kh = 1,
        .kw = 1,
        .stride_t = 1,
        .stride_hw = 1,
        .accumulate = a->accumulate};
    conv.x.stride[0] = x->stride[0];
    conv.y.stride[0] = y->stride[0];
    return wf_cuda_launch(be, "gemm", y, wf_own_conv, &conv, sizeof conv);
}

/* y (+)= act(x w^T + bias), as the epilogue can. */
static enum wf_status multiply(struct wf_backend *be, const struct wf_gemm *a)
{
    struct wf_cuda *c = wf_cuda_of(be);
    struct wf_cublas_gemm args = {.cublas = c->cublas,
                                  .m = a->x.dim[0],
                                  .n = a->w->dim[0],
                                  .k = a->x.dim[1],
                                  .batches = 1,
                                  .x = a->x.data,
                                  .w = a->w->tensor.data,
                                  .bias = bias_for(a, a->y.dtype),
                                  .y = a->y.data,
                                  .x_row = a->x.stride[0],
                                  .w_row = a->x.dim[1],
                                  .y_row = a->y.stride[0],
                                  .type = a->x.dtype,
                                  .y_type = a->y.dtype,
                                  .alpha = 1,
                                  .accumulate = a->accumulate,
                                  .gelu_tanh = a->act == WF_ACT_GELU_TANH,
                                  .workspace = c->workspace,
                                  .workspace_bytes = WF_CUDA_WORKSPACE};
    if (wf_cublas_takes(&args))
        return wf_cuda_launch(be, "gemm", &a->y, wf_cublas_launch, &args, sizeof args);
    /* The epilogue may be what it does not take. */
    args.bias = NULL;
    args.gelu_tanh = false;
    const bool takes = wf_cublas_takes(&args);
    struct wf_own_gate rest = {.x = a->y, .y = a->y, .act = a->act};
    if (a->bias && takes)
        rest.bias = a->bias->tensor;
    if (takes)
        WF_TRY(wf_cuda_launch(be, "gemm", &a->y, wf_cublas_launch, &args, sizeof args));
    else
        WF_TRY(multiply_own(be, a));
    if (!rest.bias.data && rest.act == WF_ACT_NONE)
        return WF_OK;
    return wf_cuda_launch(be, "gemm", &a->y, wf_own_gate, &rest, sizeof rest);
}

static enum wf_status multiply_slice(struct wf_backend *be, const struct wf_gemm *a, int64_t first,
                                     int64_t rows, void *scratch)
{
    const struct wf_tensor y = wf_tensor_slice(a->y, 0, first, rows);
    struct wf_gemm product = {
        .x = wf_tensor_slice(a->x, 0, first, rows), .w = a->w, .bias = a->bias};
    product.y = wf_tensor_of(scratch, a->x.dtype, WF_DIMS(rows, a->y.dim[1]));
    WF_TRY(multiply(be, &product));
    const struct wf_own_gate gate = {
        .x = product.y, .y = y, .gate = a->gate, .act = a->act, .accumulate = a->accumulate};
    return wf_cuda_launch(be, "gemm", &y, wf_own_gate, &gate, sizeof gate);
}

enum wf_status wf_cuda_gemm(struct wf_backend *be, const struct wf_gemm *a)
{
    const int64_t slice = slice_rows(be, a), all = a->y.dim[0];
    enum wf_status status = WF_OK;
    if (!slice)
        return multiply(be, a);
    const size_t bytes = wf_cuda_gemm_scratch(be, a);
    void *scratch = wf_cuda_take(be, WF_MEM_ACTIVATIONS, bytes);
    if (!scratch)
        return wf_fail_memory(be->err, "gemm", bytes);
    for (int64_t i = 0; i < all && status == WF_OK; i += slice)
        status = multiply_slice(be, a, i, all - i < slice ? all - i : slice, scratch);
    wf_cuda_give(be, scratch);
    return status;
}
