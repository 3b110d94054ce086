/* Attention: cuDNN's fused graph where it takes the shape; else scores in blocks of rows, their
   softmax with both biases, and the product with the values. */
#include "kernels/cuda/library.h"
#include "kernels/cuda/own/own.h"

enum { BLOCK_BYTES = 64 << 20 };

/* cuDNN reads and writes 16 bytes at a time, of rows that begin at a multiple of them. Strides of
   an axis of length 1 are not looked at. */
static bool is_aligned(const struct wf_tensor *t)
{
    bool aligned = (uintptr_t)t->data % 16 == 0;
    for (int axis = 0; axis < 3; axis++)
        aligned = aligned && (t->dim[axis] == 1 || t->stride[axis] % 8 == 0);
    return aligned;
}

/* NULL: not by cuDNN. */
static enum wf_status find_plan(const struct wf_backend *be, const struct wf_attention *a,
                                struct wf_graph_plan **plan)
{
    const struct wf_tensor *t[] = {&a->q, &a->k, &a->v, &a->y};
    struct wf_graph_attention shape = {.batches = a->q.dim[0],
                                       .queries = a->q.dim[1],
                                       .keys = a->k.dim[1],
                                       .heads = a->q.dim[2],
                                       .width = a->q.dim[3],
                                       .value_width = a->v.dim[3],
                                       .has_key_bias = a->key_bias.data != NULL,
                                       .scale = a->scale};
    int64_t *const strides[] = {shape.q_stride, shape.k_stride, shape.v_stride, shape.y_stride};
    *plan = NULL;
    if (a->q.dtype != WF_BF16 || a->y.dtype != WF_BF16 || a->rel_bias.data ||
        a->q.dim[3] > WF_GRAPH_HEAD || a->v.dim[3] > WF_GRAPH_HEAD || a->q.dim[3] % 8 ||
        a->v.dim[3] % 8)
        return WF_OK;
    if ((uintptr_t)a->key_bias.data % 16)
        return WF_OK;
    for (int i = 0; i < 4; i++) {
        if (!is_aligned(t[i]))
            return WF_OK;
        for (int axis = 0; axis < 3; axis++)
            strides[i][axis] = t[i]->stride[axis];
    }
    return wf_cuda_said(be, wf_graph_attention(wf_cuda_of(be)->graphs, &shape, plan));
}

/* --- in blocks --- */

/* A block's memory: scores [h,R,L] f32, probabilities in v's type, which take the scores' place
   where that is f32, and where the product cannot write y's type its result [R,h,e] f32. */
struct blocks {
    int64_t rows; /* R */
    size_t scores, probabilities, result;
};

static size_t aligned(int64_t bytes)
{
    return (size_t)(bytes + WF_CUDA_ALIGN - 1) / WF_CUDA_ALIGN * WF_CUDA_ALIGN;
}

static struct blocks divide(const struct wf_attention *a)
{
    const int64_t heads = a->q.dim[2], keys = a->k.dim[1], queries = a->q.dim[1];
    const bool narrow = a->v.dtype == WF_BF16, apart = !narrow && a->y.dtype == WF_BF16;
    const int64_t fit = BLOCK_BYTES / (4 * heads * keys);
    const int64_t rows = fit < 1 ? 1 : fit < queries ? fit : queries;
    return (struct blocks){.rows = rows,
                           .scores = aligned(4 * heads * keys * rows),
                           .probabilities = narrow ? aligned(2 * heads * keys * rows) : 0,
                           .result = apart ? aligned(4 * heads * a->v.dim[3] * rows) : 0};
}

size_t wf_cuda_attention_scratch(const struct wf_backend *be, const struct wf_attention *a)
{
    struct wf_graph_plan *plan;
    const struct blocks b = divide(a);
    if (find_plan(be, a, &plan) == WF_OK && plan)
        return 0;
    return b.scores + b.probabilities + b.result;
}

static enum wf_status multiply(struct wf_backend *be, const struct wf_tensor *y,
                               struct wf_cublas_gemm *args)
{
    struct wf_cuda *c = wf_cuda_of(be);
    args->cublas = c->cublas;
    args->workspace = c->workspace;
    args->workspace_bytes = WF_CUDA_WORKSPACE;
    if (!wf_cublas_takes(args))
        return wf_fail(be->err, WF_FAILED,
                       "cuda: cuBLASLt has no product for attention of %lld queries, %lld keys and "
                       "heads of %lld; use --device cpu",
                       (long long)args->m, (long long)args->n, (long long)args->k);
    return wf_cuda_launch(be, "attention", y, wf_cublas_launch, args, sizeof *args);
}

static void *at(const struct wf_tensor *t, int64_t batch, int64_t row)
{
    return (unsigned char *)t->data +
           (size_t)(batch * t->stride[0] + row * t->stride[1]) * wf_dtype_bytes(t->dtype);
}

/* Rows first .. first + rows of the queries of one batch. */
static enum wf_status attend(struct wf_backend *be, const struct wf_attention *a, int64_t batch,
                             int64_t first, int64_t rows, const struct blocks *b,
                             unsigned char *memory)
{
    const int64_t heads = a->q.dim[2], keys = a->k.dim[1], width = a->v.dim[3];
    void *probabilities = b->probabilities ? memory + b->scores : memory;
    float *result = (float *)(void *)(memory + b->scores + b->probabilities);
    struct wf_cublas_gemm scores = {.m = rows,
                                    .n = keys,
                                    .k = a->q.dim[3],
                                    .batches = heads,
                                    .x = at(&a->q, batch, first),
                                    .w = at(&a->k, batch, 0),
                                    .y = memory,
                                    .x_row = a->q.stride[1],
                                    .x_batch = a->q.stride[2],
                                    .w_row = a->k.stride[1],
                                    .w_batch = a->k.stride[2],
                                    .y_row = keys,
                                    .y_batch = rows * keys,
                                    .type = a->q.dtype,
                                    .y_type = WF_F32,
                                    .alpha = a->scale};
    const struct wf_own_softmax softmax = {
        .scores = wf_tensor_of(memory, WF_F32, WF_DIMS(heads, rows, keys)),
        .y = wf_tensor_of(probabilities, a->v.dtype, WF_DIMS(heads, rows, keys)),
        .scale = 1,
        .first = first,
        .queries = a->q.dim[1],
        .rel_bias = a->rel_bias,
        .key_bias = a->key_bias};
    struct wf_cublas_gemm values = {.m = rows,
                                    .n = width,
                                    .k = keys,
                                    .batches = heads,
                                    .x = probabilities,
                                    .w = at(&a->v, batch, 0),
                                    .y = b->result ? result : at(&a->y, batch, first),
                                    .x_row = keys,
                                    .x_batch = rows * keys,
                                    .w_row = a->v.stride[1],
                                    .w_batch = a->v.stride[2],
                                    .y_row = b->result ? heads * width : a->y.stride[1],
                                    .y_batch = b->result ? width : a->y.stride[2],
                                    .type = a->v.dtype,
                                    .y_type = b->result ? WF_F32 : a->y.dtype,
                                    .in_rows = true,
                                    .alpha = 1};
    WF_TRY(multiply(be, NULL, &scores));
    WF_TRY(wf_cuda_launch(be, "attention", NULL, wf_own_softmax, &softmax, sizeof softmax));
    WF_TRY(multiply(be, &a->y, &values));
    if (!b->result)
        return WF_OK;
    struct wf_copy copy = {.x = wf_tensor_of(result, WF_F32, WF_DIMS(rows, heads, width)),
                           .y = a->y};
    copy.y.data = at(&a->y, batch, first);
    copy.y.rank = 3;
    for (int i = 0; i < 3; i++) {
        copy.y.dim[i] = copy.x.dim[i];
        copy.y.stride[i] = a->y.stride[i + 1];
    }
    return wf_cuda_launch(be, "attention", &a->y, wf_own_copy, &copy, sizeof copy);
}

static enum wf_status attend_in_blocks(struct wf_backend *be, const struct wf_attention *a)
{
    const struct blocks b = divide(a);
    const size_t bytes = b.scores + b.probabilities + b.result;
    const int64_t queries = a->q.dim[1];
    enum wf_status status = WF_OK;
    void *memory = wf_cuda_take(be, WF_MEM_ACTIVATIONS, bytes);
    if (!memory)
        return wf_fail_memory(be->err, "attention", bytes);
    for (int64_t batch = 0; batch < a->q.dim[0]; batch++) {
        for (int64_t i = 0; i < queries && status == WF_OK; i += b.rows)
            status =
                attend(be, a, batch, i, queries - i < b.rows ? queries - i : b.rows, &b, memory);
    }
    wf_cuda_give(be, memory);
    return status;
}

enum wf_status wf_cuda_attention(struct wf_backend *be, const struct wf_attention *a)
{
    struct wf_graph_plan *plan;
    WF_TRY(find_plan(be, a, &plan));
    if (!plan)
        return attend_in_blocks(be, a);
    const struct wf_graph_pointers pointers = {.q = a->q.data,
                                               .k = a->k.data,
                                               .v = a->v.data,
                                               .key_bias = a->key_bias.data,
                                               .y = a->y.data};
    return wf_cuda_run_graph(be, "attention", &a->y, plan, &pointers);
}
