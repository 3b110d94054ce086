/* Operations that are one kernel of ours each, over memory once. */
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/own/own.h"

#define PASS(name)                                                                                 \
    enum wf_status wf_cuda_##name(struct wf_backend *be, const struct wf_##name *a)                \
    {                                                                                              \
        return wf_cuda_launch(be, #name, &a->y, wf_own_##name, a, sizeof *a);                      \
    }
PASS(copy)
PASS(layer_norm)
PASS(rms_norm)
PASS(group_merge)
PASS(group_apply)
PASS(rope)
PASS(lincomb)
PASS(affine)
PASS(activate)
PASS(gated_act)
PASS(pack_u8)
