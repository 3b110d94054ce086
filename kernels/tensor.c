#include "kernels/tensor.h"

#include <assert.h>

#include "kernels/base/arena.h"

struct wf_tensor wf_tensor_of(void *data, enum wf_dtype dtype, int rank, const int64_t *dims)
{
    assert(rank >= 1 && rank <= WF_MAX_RANK);
    struct wf_tensor t = {.data = data, .dtype = dtype, .rank = rank};
    int64_t stride = 1;
    for (int i = rank - 1; i >= 0; i--) {
        t.dim[i] = dims[i];
        t.stride[i] = stride;
        stride *= dims[i];
    }
    return t;
}

enum wf_status wf_tensor_new(struct wf_arena *arena, enum wf_dtype dtype, struct wf_tensor *out,
                             struct wf_error *err, int rank, const int64_t *dims)
{
    uint64_t bytes = wf_dtype_bytes(dtype);
    for (int i = 0; i < rank; i++) {
        if (dims[i] <= 0 || __builtin_mul_overflow(bytes, (uint64_t)dims[i], &bytes))
            return wf_fail(err, WF_FAILED, "tensor: size %lld of axis %d is not possible",
                           (long long)dims[i], i);
    }
    void *data = wf_arena_alloc(arena, bytes);
    if (!data)
        return wf_fail_memory(err, "activations", bytes);
    *out = wf_tensor_of(data, dtype, rank, dims);
    return WF_OK;
}

int64_t wf_tensor_count(const struct wf_tensor *t)
{
    int64_t count = 1;
    for (int i = 0; i < t->rank; i++)
        count *= t->dim[i];
    return count;
}

size_t wf_tensor_bytes(const struct wf_tensor *t)
{
    return (size_t)wf_tensor_count(t) * wf_dtype_bytes(t->dtype);
}

bool wf_tensor_is_dense(const struct wf_tensor *t)
{
    int64_t stride = 1;
    for (int i = t->rank - 1; i >= 0; i--) {
        if (t->dim[i] != 1 && t->stride[i] != stride)
            return false;
        stride *= t->dim[i];
    }
    return true;
}

bool wf_tensor_same_dims(const struct wf_tensor *a, const struct wf_tensor *b)
{
    if (a->rank != b->rank)
        return false;
    for (int i = 0; i < a->rank; i++) {
        if (a->dim[i] != b->dim[i])
            return false;
    }
    return true;
}

int64_t wf_tensor_rows(const struct wf_tensor *t)
{
    int64_t rows = 1;
    for (int i = 0; i < t->rank - 1; i++)
        rows *= t->dim[i];
    return rows;
}

int64_t wf_tensor_row(const struct wf_tensor *t, int64_t row)
{
    int64_t offset = 0;
    for (int i = t->rank - 2; i >= 0; i--) {
        offset += row % t->dim[i] * t->stride[i];
        row /= t->dim[i];
    }
    return offset;
}

struct wf_tensor wf_tensor_slice(struct wf_tensor t, int axis, int64_t start, int64_t count)
{
    assert(axis >= 0 && axis < t.rank && start >= 0 && count > 0 && start + count <= t.dim[axis]);
    t.data = (unsigned char *)t.data + (size_t)(start * t.stride[axis]) * wf_dtype_bytes(t.dtype);
    t.dim[axis] = count;
    return t;
}

struct wf_tensor wf_tensor_reshape(struct wf_tensor t, int rank, const int64_t *dims)
{
    assert(wf_tensor_is_dense(&t));
    const struct wf_tensor shaped = wf_tensor_of(t.data, t.dtype, rank, dims);
    assert(wf_tensor_count(&shaped) == wf_tensor_count(&t));
    return shaped;
}

struct wf_tensor wf_tensor_permute(struct wf_tensor t, const int *order)
{
    struct wf_tensor p = t;
    for (int i = 0; i < t.rank; i++) {
        p.dim[i] = t.dim[order[i]];
        p.stride[i] = t.stride[order[i]];
    }
    return p;
}

struct wf_tensor wf_tensor_split(struct wf_tensor t, int axis, int64_t inner)
{
    assert(t.rank < WF_MAX_RANK && inner > 0 && t.dim[axis] % inner == 0);
    for (int i = t.rank; i > axis + 1; i--) {
        t.dim[i] = t.dim[i - 1];
        t.stride[i] = t.stride[i - 1];
    }
    t.rank++;
    t.dim[axis + 1] = inner;
    t.stride[axis + 1] = t.stride[axis];
    t.dim[axis] /= inner;
    t.stride[axis] *= inner;
    return t;
}
