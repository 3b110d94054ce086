#include "kernels/cuda/module.h"

#include "kernels/cuda/cuda.h"

__attribute__((visibility("default"))) extern const struct wf_cuda_module weft_cuda_module;

const struct wf_cuda_module weft_cuda_module = {.version = WEFT_VERSION,
                                                .ops_bytes = sizeof(struct wf_ops),
                                                .backend_bytes = sizeof(struct wf_backend),
                                                .param_bytes = sizeof(struct wf_param),
                                                .ops = &wf_cuda_ops};
