#include "temporal/work.h"

enum wf_status wf_work_take(const struct wf_work *work, enum wf_dtype dtype, int rank,
                            const int64_t *dims, struct wf_tensor *t)
{
    *t = wf_tensor_of(NULL, dtype, rank, dims);
    t->data = wf_pool_take(work->pool, wf_tensor_bytes(t));
    return t->data ? WF_OK : wf_fail_memory(work->be->err, work->what, wf_tensor_bytes(t));
}

void wf_work_give(const struct wf_work *work, struct wf_tensor t)
{
    wf_pool_give(work->pool, t.data);
}

enum wf_status wf_work_operand(const struct wf_work *work, const struct wf_layer *layer,
                               struct wf_tensor x, struct wf_tensor *operand)
{
    const enum wf_dtype type = wf_operand_type(work->be, &layer->weight);
    *operand = x;
    if (type == x.dtype && wf_tensor_is_dense(&x))
        return WF_OK;
    WF_TRY(wf_work_take(work, type, x.rank, x.dim, operand));
    return wf_copy(work->be, &(struct wf_copy){.x = x, .y = *operand});
}

void wf_work_give_operand(const struct wf_work *work, struct wf_tensor x, struct wf_tensor operand)
{
    if (operand.data != x.data)
        wf_work_give(work, operand);
}

int64_t wf_work_pieces(int64_t bytes, int64_t count)
{
    const int64_t little = 32 << 20, most = little / bytes;
    return most < 1 ? 1 : most < count ? most : count;
}

struct wf_tensor wf_work_lines(struct wf_tensor t)
{
    const int64_t width = t.dim[t.rank - 1];
    return wf_tensor_reshape(t, WF_DIMS(wf_tensor_count(&t) / width, width));
}
