/* What weft-cuda.so hands to the program that opens it: the one symbol that it shows. */
#ifndef WEFT_KERNELS_CUDA_MODULE_H
#define WEFT_KERNELS_CUDA_MODULE_H

#include "kernels/backend.h"

#define WF_CUDA_MODULE "weft_cuda_module"

/* Both are built of the same headers, or the program refuses: a struct of another size would be
   read wrongly. */
struct wf_cuda_module {
    const char *version; /* WEFT_VERSION */
    size_t ops_bytes, backend_bytes, param_bytes;
    const struct wf_ops *ops;
};

#endif
