#include "kernels/cuda/library.h"

enum wf_status wf_cuda_said(const struct wf_backend *be, enum wf_status status)
{
    if (status != WF_OK)
        *be->err = wf_cuda_of(be)->graphs_err;
    return status;
}

/* The message of a failure is in the graphs' wf_error already. */
int wf_cuda_graph_launch(const void *args, void *stream)
{
    const struct wf_cuda_graph *a = args;
    const enum wf_status status =
        wf_graph_run(a->graphs, a->plan, &a->pointers, a->workspace, stream);
    return status == WF_OK ? 0 : WF_CUDA_SAID;
}

enum wf_status wf_cuda_run_graph(struct wf_backend *be, const char *what, const struct wf_tensor *y,
                                 const struct wf_graph_plan *plan,
                                 const struct wf_graph_pointers *pointers)
{
    struct wf_cuda *c = wf_cuda_of(be);
    const struct wf_cuda_graph args = {c->graphs, plan, *pointers, c->workspace};
    return wf_cuda_launch(be, what, y, wf_cuda_graph_launch, &args, sizeof args);
}

void wf_cuda_scratch(struct wf_backend *be, enum wf_op op, const void *args,
                     struct wf_scratch *scratch)
{
    *scratch = (struct wf_scratch){.kept = be->kept};
    switch (op) {
    case WF_OP_gemm:
        scratch->passing = wf_cuda_gemm_scratch(be, args);
        break;
    case WF_OP_conv:
        scratch->passing = wf_cuda_conv_scratch(be, args);
        break;
    case WF_OP_upconv:
        scratch->passing = wf_cuda_upconv_scratch(be, args);
        break;
    case WF_OP_attention:
        scratch->passing = wf_cuda_attention_scratch(be, args);
        break;
    case WF_OP_group_sums:
        scratch->passing = wf_cuda_group_sums_scratch(args);
        break;
    default:
        break;
    }
}
