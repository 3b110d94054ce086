#include <stdio.h>
#include <string.h>

#include "kernels/cuda/graph_build.h"

static cudnnBackendDescriptor_t tensor(struct wf_build *b, int64_t uid, cudnnDataType_t type,
                                       const int64_t *dim, const int64_t *stride)
{
    struct wf_graph_tensor t = {.uid = uid, .type = type, .rank = 4};
    memcpy(t.dim, dim, 4 * sizeof *dim);
    memcpy(t.stride, stride, 4 * sizeof *stride);
    return wf_build_tensor(b, &t);
}

/* cuDNN's [N,h,S,d] of our [N,S,h,d]: strides go with their axes. */
static cudnnBackendDescriptor_t operand(struct wf_build *b, const struct wf_graph_attention *s,
                                        int64_t uid, int64_t rows, int64_t width,
                                        const int64_t *stride)
{
    return tensor(b, uid, CUDNN_DATA_BFLOAT16, (const int64_t[]){s->batches, s->heads, rows, width},
                  (const int64_t[]){stride[0], stride[2], stride[1], 1});
}

static cudnnBackendDescriptor_t scale_of(struct wf_build *b, const struct wf_graph_attention *s)
{
    const int64_t one[] = {1, 1, 1, 1};
    b->scale = s->scale;
    return tensor(b, WF_UID_SCALE, CUDNN_DATA_FLOAT, one, one);
}

/* The unified node. */
static void describe_plain(struct wf_build *b, const void *shape)
{
    const struct wf_graph_attention *s = shape;
    cudnnBackendDescriptor_t q = operand(b, s, WF_UID_Q, s->queries, s->width, s->q_stride);
    cudnnBackendDescriptor_t k = operand(b, s, WF_UID_K, s->keys, s->width, s->k_stride);
    cudnnBackendDescriptor_t v = operand(b, s, WF_UID_V, s->keys, s->value_width, s->v_stride);
    cudnnBackendDescriptor_t y = operand(b, s, WF_UID_Y, s->queries, s->value_width, s->y_stride);
    cudnnBackendDescriptor_t scale = scale_of(b, s);
    cudnnBackendDescriptor_t op = wf_build_make(b, CUDNN_BACKEND_OPERATION_SDPA_FWD_DESCRIPTOR);
    wf_build_link(b, op, CUDNN_ATTR_OPERATION_SDPA_FWD_QDESC, q);
    wf_build_link(b, op, CUDNN_ATTR_OPERATION_SDPA_FWD_KDESC, k);
    wf_build_link(b, op, CUDNN_ATTR_OPERATION_SDPA_FWD_VDESC, v);
    wf_build_link(b, op, CUDNN_ATTR_OPERATION_SDPA_FWD_ODESC, y);
    wf_build_link(b, op, CUDNN_ATTR_OPERATION_SDPA_FWD_SCALEDESC, scale);
    wf_build_op(b, op);
}

static void multiply(struct wf_build *b, cudnnBackendDescriptor_t left,
                     cudnnBackendDescriptor_t right, cudnnBackendDescriptor_t y)
{
    cudnnBackendDescriptor_t how = wf_build_make(b, CUDNN_BACKEND_MATMUL_DESCRIPTOR);
    wf_build_type(b, how, CUDNN_ATTR_MATMUL_COMP_TYPE, CUDNN_DATA_FLOAT);
    wf_build_done(b, how);
    cudnnBackendDescriptor_t op = wf_build_make(b, CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR);
    wf_build_link(b, op, CUDNN_ATTR_OPERATION_MATMUL_ADESC, left);
    wf_build_link(b, op, CUDNN_ATTR_OPERATION_MATMUL_BDESC, right);
    wf_build_link(b, op, CUDNN_ATTR_OPERATION_MATMUL_CDESC, y);
    wf_build_link(b, op, CUDNN_ATTR_OPERATION_MATMUL_DESC, how);
    wf_build_op(b, op);
}

static void reduce(struct wf_build *b, cudnnReduceTensorOp_t operator, cudnnBackendDescriptor_t x,
                   cudnnBackendDescriptor_t y)
{
    cudnnBackendDescriptor_t how = wf_build_make(b, CUDNN_BACKEND_REDUCTION_DESCRIPTOR);
    wf_build_set(b, how, CUDNN_ATTR_REDUCTION_OPERATOR, CUDNN_TYPE_REDUCTION_OPERATOR_TYPE, 1,
                 &operator);
    wf_build_type(b, how, CUDNN_ATTR_REDUCTION_COMP_TYPE, CUDNN_DATA_FLOAT);
    wf_build_done(b, how);
    cudnnBackendDescriptor_t op = wf_build_make(b, CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR);
    wf_build_link(b, op, CUDNN_ATTR_OPERATION_REDUCTION_DESC, how);
    wf_build_link(b, op, CUDNN_ATTR_OPERATION_REDUCTION_XDESC, x);
    wf_build_link(b, op, CUDNN_ATTR_OPERATION_REDUCTION_YDESC, y);
    wf_build_op(b, op);
}

/* Scores, or a number a row, that the kernel never writes to memory. */
static cudnnBackendDescriptor_t inner(struct wf_build *b, const struct wf_graph_attention *s,
                                      cudnnDataType_t type, int64_t columns)
{
    const int64_t dim[] = {s->batches, s->heads, s->queries, columns};
    return tensor(b, WF_UID_VIRTUAL, type, dim,
                  (const int64_t[]){dim[1] * dim[2] * dim[3], dim[2] * dim[3], dim[3], 1});
}

static cudnnBackendDescriptor_t scores(struct wf_build *b, const struct wf_graph_attention *s)
{
    return inner(b, s, CUDNN_DATA_FLOAT, s->keys);
}

static cudnnBackendDescriptor_t softmax(struct wf_build *b, const struct wf_graph_attention *s,
                                        cudnnBackendDescriptor_t score)
{
    cudnnBackendDescriptor_t most = inner(b, s, CUDNN_DATA_FLOAT, 1);
    cudnnBackendDescriptor_t below = scores(b, s), power = scores(b, s);
    cudnnBackendDescriptor_t sum = inner(b, s, CUDNN_DATA_FLOAT, 1);
    cudnnBackendDescriptor_t log = inner(b, s, CUDNN_DATA_FLOAT, 1);
    cudnnBackendDescriptor_t stats = inner(b, s, CUDNN_DATA_FLOAT, 1);
    cudnnBackendDescriptor_t share = inner(b, s, CUDNN_DATA_BFLOAT16, s->keys);
    reduce(b, CUDNN_REDUCE_TENSOR_MAX, score, most);
    wf_build_pointwise(b, CUDNN_POINTWISE_SUB, score, most, below);
    wf_build_pointwise(b, CUDNN_POINTWISE_EXP, below, NULL, power);
    reduce(b, CUDNN_REDUCE_TENSOR_ADD, power, sum);
    /* Nobody reads these two, but without them the engine does not know the pattern. */
    wf_build_pointwise(b, CUDNN_POINTWISE_LOG, sum, NULL, log);
    wf_build_pointwise(b, CUDNN_POINTWISE_ADD, most, log, stats);
    wf_build_pointwise(b, CUDNN_POINTWISE_DIV, power, sum, share);
    return share;
}

/* Node by node, as the unified node takes no bias: the engine knows the pattern. */
static void describe_biased(struct wf_build *b, const void *shape)
{
    const struct wf_graph_attention *s = shape;
    const int64_t l = s->keys;
    cudnnBackendDescriptor_t q = operand(b, s, WF_UID_Q, s->queries, s->width, s->q_stride);
    cudnnBackendDescriptor_t k_turned = tensor(
        b, WF_UID_K, CUDNN_DATA_BFLOAT16, (const int64_t[]){s->batches, s->heads, s->width, l},
        (const int64_t[]){s->k_stride[0], s->k_stride[2], 1, s->k_stride[1]});
    cudnnBackendDescriptor_t v = operand(b, s, WF_UID_V, l, s->value_width, s->v_stride);
    cudnnBackendDescriptor_t y = operand(b, s, WF_UID_Y, s->queries, s->value_width, s->y_stride);
    cudnnBackendDescriptor_t scale = scale_of(b, s);
    cudnnBackendDescriptor_t key_bias =
        tensor(b, WF_UID_KEY_BIAS, CUDNN_DATA_FLOAT, (const int64_t[]){1, 1, 1, l},
               (const int64_t[]){l, l, l, 1});
    cudnnBackendDescriptor_t product = scores(b, s), scaled = scores(b, s), biased = scores(b, s);
    multiply(b, q, k_turned, product);
    wf_build_pointwise(b, CUDNN_POINTWISE_MUL, product, scale, scaled);
    wf_build_pointwise(b, CUDNN_POINTWISE_ADD, scaled, key_bias, biased);
    multiply(b, softmax(b, s, biased), v, y);
}

static bool is_small(const struct wf_graph_attention *s, int64_t rows, int64_t width,
                     const int64_t *stride)
{
    return wf_graph_is_small(4, (const int64_t[]){s->batches, rows, s->heads, width},
                             (const int64_t[]){stride[0], stride[1], stride[2], 1});
}

static enum wf_status check(const struct wf_graph_attention *s, const char *what,
                            struct wf_error *err)
{
    if (s->batches < 1 || s->queries < 1 || s->keys < 1 || s->heads < 1 || s->width < 1 ||
        s->value_width < 1)
        return wf_fail(err, WF_FAILED, "cuDNN: %s: not as the contract of an attention says", what);
    if (!is_small(s, s->queries, s->width, s->q_stride) ||
        !is_small(s, s->keys, s->width, s->k_stride) ||
        !is_small(s, s->keys, s->value_width, s->v_stride) ||
        !is_small(s, s->queries, s->value_width, s->y_stride))
        return wf_fail(err, WF_FAILED,
                       "cuDNN: %s: a tensor of 2^31 elements or more; cut it by batches or heads",
                       what);
    return WF_OK;
}

enum wf_status wf_graph_attention(struct wf_graphs *graphs, const struct wf_graph_attention *shape,
                                  struct wf_graph_plan **plan)
{
    const struct wf_graph_attention *s = shape;
    char what[160];
    int32_t scale;
    *plan = NULL;
    memcpy(&scale, &s->scale, sizeof scale);
    snprintf(what, sizeof what, "attention [%lld,%lld,%lld,%lld] over %lld keys, values of %lld%s",
             (long long)s->batches, (long long)s->queries, (long long)s->heads, (long long)s->width,
             (long long)s->keys, (long long)s->value_width, s->has_key_bias ? ", with a bias" : "");
    WF_TRY(check(s, what, wf_graphs_error(graphs)));
    if (s->width > WF_GRAPH_HEAD || s->value_width > WF_GRAPH_HEAD)
        return WF_OK;
    const struct wf_graph_key key = {
        {WF_UID_Q,       s->batches,     s->queries,     s->keys,        s->heads,
         s->width,       s->value_width, s->q_stride[0], s->q_stride[1], s->q_stride[2],
         s->k_stride[0], s->k_stride[1], s->k_stride[2], s->v_stride[0], s->v_stride[1],
         s->v_stride[2], s->y_stride[0], s->y_stride[1], s->y_stride[2], s->has_key_bias,
         scale}};
    return wf_graph_find(graphs, &key, what, s, s->has_key_bias ? describe_biased : describe_plain,
                         plan);
}

enum wf_status wf_graphs_can_compile(struct wf_graphs *graphs, bool *can)
{
    const int64_t width = 64, stride[] = {128 * width, width, width};
    struct wf_graph_attention s = {.batches = 1,
                                   .queries = 128,
                                   .keys = 128,
                                   .heads = 1,
                                   .width = width,
                                   .value_width = width,
                                   .scale = 1};
    memcpy(s.q_stride, stride, sizeof stride);
    memcpy(s.k_stride, stride, sizeof stride);
    memcpy(s.v_stride, stride, sizeof stride);
    memcpy(s.y_stride, stride, sizeof stride);
    return wf_graph_is_offered(graphs, "a first attention", &s, describe_plain, can);
}
