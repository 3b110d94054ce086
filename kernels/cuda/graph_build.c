#include "kernels/cuda/graph_build.h"

/* What an engine cannot do is an answer; what this machine lacks (a library, memory) is not one:
   the choice would differ from that of another machine with the same device. */
static bool is_answer(cudnnStatus_t status)
{
    return CUDNN_STATUS_CATEGORY(status) == CUDNN_STATUS_NOT_SUPPORTED &&
           status != CUDNN_STATUS_NOT_SUPPORTED_RUNTIME_PREREQUISITE_MISSING &&
           status != CUDNN_STATUS_NOT_SUPPORTED_SUBLIBRARY_UNAVAILABLE &&
           status != CUDNN_STATUS_NOT_SUPPORTED_INCOMPATIBLE_CUDA_DRIVER &&
           status != CUDNN_STATUS_NOT_SUPPORTED_INCOMPATIBLE_CUDART;
}

bool wf_build_good(struct wf_build *b, cudnnStatus_t status, const char *call)
{
    char last[320] = "";
    if (status == CUDNN_STATUS_SUCCESS)
        return true;
    cudnnGetLastErrorString(last, sizeof last); /* clears it, too */
    b->no_memory = status == CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED ||
                   status == CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED;
    if (is_answer(status))
        b->not_taken = true;
    else
        b->status = wf_fail(b->err, WF_FAILED, "cuDNN: %s: %s: %s; %s", b->what, call,
                            cudnnGetErrorString(status), last);
    return false;
}

/* One more of an array of the build; false when it is full, which a builder's size settles. */
static bool has_room(struct wf_build *b, int count, int most)
{
    if (count < most)
        return true;
    b->status =
        wf_fail(b->err, WF_FAILED, "cuDNN: %s: a graph of more than %d parts", b->what, most);
    return false;
}

cudnnBackendDescriptor_t wf_build_make(struct wf_build *b, cudnnBackendDescriptorType_t type)
{
    cudnnBackendDescriptor_t d = NULL;
    if (!wf_build_goes_on(b) || !has_room(b, b->made_count, WF_GRAPH_MADE) ||
        !wf_build_good(b, cudnnBackendCreateDescriptor(type, &d), "create"))
        return NULL;
    b->made[b->made_count++] = d;
    return d;
}

void wf_build_set(struct wf_build *b, cudnnBackendDescriptor_t d, cudnnBackendAttributeName_t name,
                  cudnnBackendAttributeType_t type, int64_t count, const void *value)
{
    if (wf_build_goes_on(b))
        wf_build_good(b, cudnnBackendSetAttribute(d, name, type, count, value), "set attribute");
}

void wf_build_link(struct wf_build *b, cudnnBackendDescriptor_t d, cudnnBackendAttributeName_t name,
                   cudnnBackendDescriptor_t to)
{
    wf_build_set(b, d, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &to);
}

void wf_build_type(struct wf_build *b, cudnnBackendDescriptor_t d, cudnnBackendAttributeName_t name,
                   cudnnDataType_t type)
{
    wf_build_set(b, d, name, CUDNN_TYPE_DATA_TYPE, 1, &type);
}

int64_t wf_build_get(struct wf_build *b, cudnnBackendDescriptor_t d,
                     cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
                     int64_t count, void *values)
{
    int64_t got = 0;
    if (!wf_build_goes_on(b) ||
        !wf_build_good(b, cudnnBackendGetAttribute(d, name, type, count, &got, values),
                       "get attribute"))
        return 0;
    return got < count ? got : count;
}

void wf_build_done(struct wf_build *b, cudnnBackendDescriptor_t d)
{
    if (wf_build_goes_on(b))
        wf_build_good(b, cudnnBackendFinalize(d), "finalize");
}

/* The tensor's own number; what is in memory is noted as bound. */
static int64_t number(struct wf_build *b, const struct wf_graph_tensor *t)
{
    if (t->uid == WF_UID_VIRTUAL)
        return WF_UID_VIRTUAL + b->virtual_count++;
    if (has_room(b, b->bound_count, WF_GRAPH_BOUND))
        b->bound[b->bound_count++] = t->uid;
    return t->uid;
}

cudnnBackendDescriptor_t wf_build_tensor(struct wf_build *b, const struct wf_graph_tensor *tensor)
{
    const int64_t uid = number(b, tensor), alignment = 16;
    const bool is_virtual = tensor->uid == WF_UID_VIRTUAL, by_value = tensor->uid == WF_UID_SCALE;
    cudnnBackendDescriptor_t t = wf_build_make(b, CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    wf_build_set(b, t, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, &uid);
    wf_build_type(b, t, CUDNN_ATTR_TENSOR_DATA_TYPE, tensor->type);
    wf_build_set(b, t, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, tensor->rank, tensor->dim);
    wf_build_set(b, t, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, tensor->rank, tensor->stride);
    wf_build_set(b, t, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, 1, &alignment);
    wf_build_set(b, t, CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, 1, &is_virtual);
    wf_build_set(b, t, CUDNN_ATTR_TENSOR_IS_BY_VALUE, CUDNN_TYPE_BOOLEAN, 1, &by_value);
    wf_build_done(b, t);
    return t;
}

void wf_build_op(struct wf_build *b, cudnnBackendDescriptor_t op)
{
    wf_build_done(b, op);
    if (wf_build_goes_on(b) && has_room(b, b->op_count, WF_GRAPH_OPS))
        b->op[b->op_count++] = op;
}

void wf_build_pointwise(struct wf_build *b, cudnnPointwiseMode_t mode, cudnnBackendDescriptor_t x,
                        cudnnBackendDescriptor_t other, cudnnBackendDescriptor_t y)
{
    cudnnBackendDescriptor_t pointwise = wf_build_make(b, CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
    wf_build_set(b, pointwise, CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1, &mode);
    wf_build_type(b, pointwise, CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_DATA_FLOAT);
    wf_build_done(b, pointwise);
    cudnnBackendDescriptor_t op = wf_build_make(b, CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
    wf_build_link(b, op, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, pointwise);
    wf_build_link(b, op, CUDNN_ATTR_OPERATION_POINTWISE_XDESC, x);
    if (other)
        wf_build_link(b, op, CUDNN_ATTR_OPERATION_POINTWISE_BDESC, other);
    wf_build_link(b, op, CUDNN_ATTR_OPERATION_POINTWISE_YDESC, y);
    wf_build_op(b, op);
}

cudnnBackendDescriptor_t wf_build_keep(struct wf_build *b)
{
    return b->made[--b->made_count];
}

void wf_build_end(struct wf_build *b)
{
    while (b->made_count > 0)
        cudnnBackendDestroyDescriptor(b->made[--b->made_count]);
}

cudnnDataType_t wf_graph_type(enum wf_dtype dtype)
{
    return dtype == WF_BF16 ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_FLOAT;
}

bool wf_graph_is_small(int rank, const int64_t *dim, const int64_t *stride)
{
    const int64_t most = ((int64_t)1 << 31) - 1;
    int64_t last = 0;
    for (int i = 0; i < rank; i++) {
        if (dim[i] < 1 || dim[i] > most || stride[i] < 0 || stride[i] > most)
            return false;
        last += (dim[i] - 1) * stride[i]; /* below 2^62, and last below 2^31 before */
        if (last >= most)
            return false;
    }
    return true;
}
