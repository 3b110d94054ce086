#include "kernels/cpu/library.h"
#include "kernels/cpu/matrix.h"

static void fill_rows(const void *context, const struct wf_loops *loops, int64_t frame, int64_t row,
                      int count, int64_t from, int depth, float *a)
{
    (void)frame;
    const struct wf_gemm *g = context;
    for (int i = 0; i < count; i++)
        loops->to_f32(a + i * WF_TILE_PITCH, wf_at(&g->x, (row + i) * g->x.stride[0] + from),
                      g->x.dtype, depth);
}

static void finish_row(const void *context, const struct wf_loops *loops, int64_t frame,
                       int64_t row, int64_t column, int n, const float *sums)
{
    (void)frame;
    const struct wf_gemm *g = context;
    const float *bias = g->bias ? g->bias->tensor.data : NULL, *gate = g->gate.data;
    const struct wf_epilogue e = {.bias = bias ? bias + column : NULL,
                                  .gate = gate ? gate + column : NULL,
                                  .act = g->act,
                                  .accumulate = g->accumulate};
    void *y = wf_at(&g->y, row * g->y.stride[0] + column);
    if (g->y.dtype == WF_F32) {
        loops->epilogue(y, sums, n, &e);
        return;
    }
    float values[WF_BLOCK_COLUMNS];
    loops->epilogue(values, sums, n, &e);
    loops->from_f32(y, g->y.dtype, values, n);
}

static struct wf_product product_of(const struct wf_gemm *a)
{
    return (struct wf_product){.right = a->w,
                               .frames = 1,
                               .rows = a->x.dim[0],
                               .context = a,
                               .fill = fill_rows,
                               .finish = finish_row};
}

struct wf_cpu_need wf_cpu_need_gemm(struct wf_backend *be, const struct wf_gemm *a)
{
    const struct wf_cpu *cpu = wf_cpu_of(be);
    const struct wf_layout *layout = wf_cpu_layout(be, a->w);
    const struct wf_product product = product_of(a);
    const size_t thread =
        layout ? cpu->library->gemm_scratch(be, cpu->library_state, a, layout) : 0;
    return thread ? (struct wf_cpu_need){.thread = thread} : wf_product_need(be, &product);
}

enum wf_status wf_cpu_gemm(struct wf_backend *be, const struct wf_gemm *a)
{
    const struct wf_cpu *cpu = wf_cpu_of(be);
    bool done = false;
    if (a->w->layout)
        WF_TRY(cpu->library->gemm(be, cpu->library_state, a, a->w->layout, a->w->room, &done));
    be->path = done ? "library" : "own";
    if (done)
        return WF_OK;
    const struct wf_product product = product_of(a);
    return wf_product_run(be, "gemm", &product);
}
