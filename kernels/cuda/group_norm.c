/* The statistics of group norm, by two kernels of ours; its other passes are in passes.c. */
#include "kernels/cuda/library.h"
#include "kernels/cuda/own/own.h"

size_t wf_cuda_group_sums_scratch(const struct wf_group_sums *a)
{
    return (size_t)wf_own_group_sums_bytes(&a->x);
}

enum wf_status wf_cuda_group_sums(struct wf_backend *be, const struct wf_group_sums *a)
{
    const size_t bytes = wf_cuda_group_sums_scratch(a);
    void *parts = wf_cuda_take(be, WF_MEM_ACTIVATIONS, bytes);
    if (!parts)
        return wf_fail_memory(be->err, "group_sums", bytes);
    const struct wf_own_group_sums sums = {a->x, a->y, parts};
    const enum wf_status status =
        wf_cuda_launch(be, "group_sums", &a->y, wf_own_group_sums, &sums, sizeof sums);
    wf_cuda_give(be, parts);
    return status;
}
