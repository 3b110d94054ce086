/* Calls of the libraries, queued as launchers. */
#ifndef WEFT_KERNELS_CUDA_LIBRARY_H
#define WEFT_KERNELS_CUDA_LIBRARY_H

#include "kernels/cuda/cuda.h"

/* Of the device that is current. */
enum wf_status wf_cudnn_open(struct cudnnContext **handle, struct wf_error *err);
void wf_cudnn_close(struct cudnnContext **handle);

/* What a call of the graphs returned, with its message in be->err where it failed. */
enum wf_status wf_cuda_said(const struct wf_backend *be, enum wf_status status);

/* A plan of cuDNN. */
struct wf_cuda_graph {
    struct wf_graphs *graphs;
    const struct wf_graph_plan *plan;
    struct wf_graph_pointers pointers;
    void *workspace;
};

int wf_cuda_graph_launch(const void *args, void *stream); /* a launcher */
enum wf_status wf_cuda_run_graph(struct wf_backend *be, const char *what, const struct wf_tensor *y,
                                 const struct wf_graph_plan *plan,
                                 const struct wf_graph_pointers *pointers);

/* Bytes that an operation takes while it runs. */
size_t wf_cuda_gemm_scratch(const struct wf_backend *be, const struct wf_gemm *a);
size_t wf_cuda_conv_scratch(const struct wf_backend *be, const struct wf_conv *a);
size_t wf_cuda_upconv_scratch(const struct wf_backend *be, const struct wf_upconv *a);
size_t wf_cuda_group_sums_scratch(const struct wf_group_sums *a);
size_t wf_cuda_attention_scratch(const struct wf_backend *be, const struct wf_attention *a);

#endif
