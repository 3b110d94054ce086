/* Products by cuBLASLt: the least that the backend needs of it, so that a double is small. */
#ifndef WEFT_KERNELS_CUDA_CUBLAS_H
#define WEFT_KERNELS_CUDA_CUBLAS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/base/dtype.h"
#include "kernels/base/status.h"

struct wf_cublas;

/* For each of so many batches: y [M,N] = alpha x w + bias, or y += alpha x w + bias. x [M,K],
   w [N,K] (turned) or [K,N] (in rows), both of one type, sums in f32 (of f32: without TF32).
   Rows are dense; bias [N] of y's type, NULL: none. */
struct wf_cublas_gemm {
    struct wf_cublas *cublas;
    int64_t m, n, k, batches;
    const void *x, *w, *bias;
    void *y;
    int64_t x_row, w_row, y_row; /* elements from a row to the next */
    int64_t x_batch, w_batch, y_batch;
    enum wf_dtype type, y_type;
    float alpha;
    bool in_rows, accumulate, gelu_tanh;
    void *workspace; /* of device memory, at a multiple of 256 */
    size_t workspace_bytes;
};

enum wf_status wf_cublas_open(struct wf_cublas **cublas, struct wf_error *err);
void wf_cublas_close(struct wf_cublas **cublas);
/* Whether it has an algorithm for the shape, which is looked for once, by shape, types and the
   alignment of rows. */
bool wf_cublas_takes(const struct wf_cublas_gemm *args);
/* A launcher; args: struct wf_cublas_gemm. WF_CUBLAS_SAID: what failed is in the text. */
enum { WF_CUBLAS_SAID = -2 };
int wf_cublas_launch(const void *args, void *stream);
const char *wf_cublas_text(const struct wf_cublas *cublas);

#endif
