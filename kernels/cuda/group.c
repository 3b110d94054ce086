/* Group norm's statistics: of parts of each frame, which are put together. */
#include "kernels/cuda/library.h"
#include "kernels/cuda/own/own.h"

static struct wf_tensor parts_of(const struct wf_group_sums *a)
{
    return wf_tensor_of(NULL, WF_F32,
                        WF_DIMS(wf_own_group_parts_count(&a->x), a->x.dim[0], a->y.dim[1], 3));
}

size_t wf_cuda_group_sums_scratch(const struct wf_group_sums *a)
{
    const struct wf_tensor parts = parts_of(a);
    return wf_tensor_bytes(&parts);
}

enum wf_status wf_cuda_group_sums(struct wf_backend *be, const struct wf_group_sums *a)
{
    struct wf_group_sums sums = {.x = a->x, .y = parts_of(a)};
    const size_t bytes = wf_tensor_bytes(&sums.y);
    sums.y.data = wf_cuda_take(be, WF_MEM_ACTIVATIONS, bytes);
    if (!sums.y.data)
        return wf_fail_memory(be->err, "group_sums", bytes);
    const struct wf_group_merge merge = {.x = sums.y, .y = a->y};
    enum wf_status status =
        wf_cuda_launch(be, "group_sums", &sums.y, wf_own_group_parts, &sums, sizeof sums);
    if (status == WF_OK)
        status = wf_cuda_launch(be, "group_sums", &a->y, wf_own_group_merge, &merge, sizeof merge);
    wf_cuda_give(be, sums.y.data);
    return status;
}
