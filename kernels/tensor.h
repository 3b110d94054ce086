/* A tensor is a view: where the first element lies, its type, and for each axis a length and a
   stride. It owns nothing. Axis 0 is the slowest; videos are channels-last, [T, H, W, C]. */
#ifndef WEFT_KERNELS_TENSOR_H
#define WEFT_KERNELS_TENSOR_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels/base/dtype.h"
#include "kernels/base/status.h"

enum { WF_MAX_RANK = 8 };

struct wf_arena;

struct wf_tensor {
    void *data; /* host or device address, by the backend that it is given to; NULL: no tensor */
    enum wf_dtype dtype;
    int rank;
    int64_t dim[WF_MAX_RANK];
    int64_t stride[WF_MAX_RANK]; /* in elements; never negative, 0 repeats */
};

/* Row-major over data. dims holds rank lengths, each above 0. */
struct wf_tensor wf_tensor_of(void *data, enum wf_dtype dtype, int rank, const int64_t *dims);
#define WF_DIMS(...)                                                                               \
    (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (const int64_t[])                   \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }

/* A row-major tensor in an arena, uninitialised; WF_FAILED with a message when memory is short. */
enum wf_status wf_tensor_new(struct wf_arena *arena, enum wf_dtype dtype, struct wf_tensor *out,
                             struct wf_error *err, int rank, const int64_t *dims);

int64_t wf_tensor_count(const struct wf_tensor *t); /* elements */
size_t wf_tensor_bytes(const struct wf_tensor *t);  /* of the elements, without gaps */
bool wf_tensor_is_dense(const struct wf_tensor *t); /* row-major without gaps */
bool wf_tensor_same_dims(const struct wf_tensor *a, const struct wf_tensor *b);
/* Rows are the lines along the last axis, counted over all other axes in row-major order. */
int64_t wf_tensor_rows(const struct wf_tensor *t);
int64_t wf_tensor_row(const struct wf_tensor *t, int64_t row); /* where it starts, in elements */

/* Elements start .. start + count - 1 of an axis. */
struct wf_tensor wf_tensor_slice(struct wf_tensor t, int axis, int64_t start, int64_t count);
/* Other dims over the same elements; t is dense and the counts agree. */
struct wf_tensor wf_tensor_reshape(struct wf_tensor t, int rank, const int64_t *dims);
/* Axis i of the result is axis order[i] of t. */
struct wf_tensor wf_tensor_permute(struct wf_tensor t, const int *order);
#define WF_ORDER(...)                                                                              \
    (const int[])                                                                                  \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }
/* Splits an axis of length a * b into [a, b]; works on any strides. */
struct wf_tensor wf_tensor_split(struct wf_tensor t, int axis, int64_t inner);

#endif
