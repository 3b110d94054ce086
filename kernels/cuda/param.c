/* How a parameter lies in its room. VECTOR: f32 values, and where products are of bf16 their bf16
   copy behind them, for epilogues. LINEAR: as in the file. CONV: [O,kt,kh,kw,C]. UPCONV: the four
   2x2 kernels of the small image, [4 O,2,2,C], summed once. */
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/own/own.h"

static size_t aligned(size_t bytes)
{
    return (bytes + WF_CUDA_ALIGN - 1) / WF_CUDA_ALIGN * WF_CUDA_ALIGN;
}

static int64_t values_of(const struct wf_param *p)
{
    int64_t count = 1;
    for (int i = 0; i < p->rank; i++)
        count *= p->dim[i];
    return count;
}

/* cuDNN takes channels by eights. */
int64_t wf_cuda_conv_rows(const struct wf_backend *be, const struct wf_param *p)
{
    return wf_operand_type(be, p) == WF_BF16 ? (p->dim[0] + 7) / 8 * 8 : p->dim[0];
}

size_t wf_cuda_param_bytes(const struct wf_backend *be, const struct wf_param *p)
{
    const size_t each = wf_dtype_bytes(wf_operand_type(be, p)), count = (size_t)values_of(p);
    switch (p->kind) {
    case WF_PARAM_TABLE:
        return 0;
    case WF_PARAM_VECTOR:
        return aligned(4 * count) + (be->compute == WF_BF16 ? aligned(2 * count) : 0);
    case WF_PARAM_CONV:
        return aligned(each * count / (size_t)p->dim[0] * (size_t)wf_cuda_conv_rows(be, p));
    case WF_PARAM_UPCONV:
        return aligned(each * (size_t)(p->dim[0] * p->dim[1]) * 16);
    case WF_PARAM_LINEAR:
        break;
    }
    return aligned(each * count);
}

const void *wf_cuda_vector_bf16(const struct wf_param *p)
{
    return (const unsigned char *)p->tensor.data + aligned(4 * (size_t)values_of(p));
}

enum wf_status wf_cuda_load_begin(struct wf_backend *be, struct wf_param *p)
{
    struct wf_load *load;
    if (p->kind == WF_PARAM_TABLE)
        return WF_OK;
    WF_TRY(wf_loader_begin(wf_cuda_of(be)->loader, be, p, &load));
    p->layout = load;
    return WF_OK;
}

enum wf_status wf_cuda_load_end(struct wf_backend *be, struct wf_param *p)
{
    if (p->kind == WF_PARAM_TABLE)
        return WF_OK;
    struct wf_load *load = (struct wf_load *)(uintptr_t)p->layout;
    p->layout = NULL;
    const enum wf_dtype type = p->kind == WF_PARAM_VECTOR ? WF_F32 : wf_operand_type(be, p);
    p->tensor = wf_tensor_of(p->room, type, p->rank, p->dim);
    return wf_loader_end(wf_cuda_of(be)->loader, be, load);
}

void wf_cuda_unload(struct wf_backend *be, struct wf_param *p)
{
    if (p->layout)
        wf_loader_drop(wf_cuda_of(be)->loader, (struct wf_load *)(uintptr_t)p->layout);
    p->layout = NULL;
}

/* Rows of a file, read when they are asked for, through the ring of uploads. */
enum wf_status wf_cuda_gather(struct wf_backend *be, const struct wf_gather *a)
{
    enum { VALUES = WF_CUDA_PIECE / sizeof(float) };
    const int64_t width = a->table->dim[1];
    const size_t rows = (size_t)((a->y.dim[0] - 1) * a->y.stride[0] + width);
    WF_TRY(wf_cuda_check(
        be, "gather",
        wf_cuda_come_after_downloads(wf_cuda_of(be), a->y.data, rows * sizeof(float))));
    for (int64_t i = 0; i < a->y.dim[0]; i++) {
        float *y = (float *)a->y.data + wf_tensor_row(&a->y, i);
        for (int64_t done = 0; done < width; done += VALUES) {
            const int64_t n = width - done < VALUES ? width - done : VALUES;
            void *piece;
            WF_TRY(wf_cuda_piece(be, &piece));
            WF_TRY(wf_source_f32(a->table->source, (uint64_t)(a->ids[i] * width + done), (size_t)n,
                                 piece, be->err));
            WF_TRY(wf_cuda_send_piece(be, y + done, (size_t)n * sizeof(float)));
        }
    }
    return WF_OK;
}
