#include <cudnn.h>

#include "kernels/cuda/library.h"

enum wf_status wf_cudnn_open(struct cudnnContext **handle, struct wf_error *err)
{
    *handle = NULL;
    WF_TRY(wf_graphs_check_version(cudnnGetVersion(), err));
    const cudnnStatus_t code = cudnnCreate(handle);
    return code == CUDNN_STATUS_SUCCESS
               ? WF_OK
               : wf_fail(err, WF_REFUSED, "device: cuDNN does not start: %s; use --device cpu",
                         cudnnGetErrorString(code));
}

void wf_cudnn_close(struct cudnnContext **handle)
{
    if (*handle)
        (void)cudnnDestroy(*handle);
    *handle = NULL;
}
