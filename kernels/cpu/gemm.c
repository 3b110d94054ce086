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

enum wf_status wf_cpu_gemm(struct wf_backend *be, const struct wf_gemm *a)
{
    const struct wf_cpu *cpu = wf_cpu_of(be);
    bool done = false;
    if (a->w->layout)
        WF_TRY(cpu->library->gemm(be, cpu->library_state, a, a->w->layout, a->w->room, &done));
    be->path = done ? "library" : "own";
    if (done)
        return WF_OK;
    return wf_product_run(be, "gemm",
                          &(const struct wf_product){.right = a->w,
                                                     .frames = 1,
                                                     .rows = a->x.dim[0],
                                                     .context = a,
                                                     .fill = fill_rows,
                                                     .finish = finish_row});
}
