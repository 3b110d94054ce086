/* What operations take beside their operands: asked by the plan, and by the same functions that the
   operations size their working memory with. */
#include "kernels/cpu/cpu.h"

/* A row on its way from f32 to another type. */
static struct wf_cpu_need need_row(const struct wf_tensor *y)
{
    const size_t width = (size_t)y->dim[y->rank - 1];
    return (struct wf_cpu_need){.thread = y->dtype == WF_F32 ? 0 : width * sizeof(float)};
}

static struct wf_cpu_need need_of(struct wf_backend *be, enum wf_op op, const void *args)
{
    switch (op) {
    case WF_OP_gemm:
        return wf_cpu_need_gemm(be, args);
    case WF_OP_conv:
        return wf_cpu_need_conv(be, args);
    case WF_OP_upconv:
        return wf_cpu_need_upconv(be, args);
    case WF_OP_attention:
        return wf_cpu_need_attention(be, args);
    case WF_OP_layer_norm:
        return need_row(&((const struct wf_layer_norm *)args)->y);
    case WF_OP_rms_norm:
        return need_row(&((const struct wf_rms_norm *)args)->y);
    case WF_OP_group_sums:
        return wf_cpu_need_group_sums(args);
    case WF_OP_group_apply:
        return wf_cpu_need_group_apply(args);
    case WF_OP_rope:
        return need_row(&((const struct wf_rope *)args)->y);
    case WF_OP_gated_act:
        return need_row(&((const struct wf_gated_act *)args)->y);
    case WF_OP_LOAD:
        return wf_cpu_need_load(be, args);
    case WF_OP_copy:
    case WF_OP_group_merge:
    case WF_OP_lincomb:
    case WF_OP_affine:
    case WF_OP_activate:
    case WF_OP_gather:
    case WF_OP_pack_u8:
    case WF_OP_COUNT:
        break;
    }
    return (struct wf_cpu_need){0};
}

void wf_cpu_scratch_needed(struct wf_backend *be, enum wf_op op, const void *args,
                           struct wf_scratch *scratch)
{
    const struct wf_cpu_need need = need_of(be, op, args);
    *scratch =
        (struct wf_scratch){.kept = (size_t)wf_cpu_threads(be) *
                                    ((need.thread + WF_CPU_LINE - 1) / WF_CPU_LINE * WF_CPU_LINE),
                            .passing = need.passing};
}
