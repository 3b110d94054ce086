/* Parameters: dense copies, but a TABLE, whose rows are read when they are gathered. */
#include "kernels/ref/ref.h"

/* All values of src, rounded to t's type. */
static enum wf_status fill(struct wf_backend *be, const struct wf_tensor *t,
                           const struct wf_source *src)
{
    enum { PIECE = 4096 };
    float piece[PIECE];
    const int64_t count = wf_tensor_count(t);
    for (int64_t done = 0; done < count; done += PIECE) {
        const int64_t n = count - done < PIECE ? count - done : PIECE;
        WF_TRY(wf_source_f32(src, (uint64_t)done, (size_t)n, piece, be->err));
        wf_from_f32((unsigned char *)t->data + (size_t)done * wf_dtype_bytes(t->dtype), t->dtype,
                    piece, (size_t)n);
    }
    return WF_OK;
}

enum wf_status wf_ref_load(struct wf_backend *be, struct wf_param *p, const struct wf_source *src)
{
    if (p->kind == WF_PARAM_TABLE) {
        p->source = src;
        return WF_OK;
    }
    const enum wf_dtype kept = p->kind == WF_PARAM_VECTOR ? WF_F32 : wf_operand_type(be, p);
    struct wf_tensor t = wf_tensor_of(NULL, kept, p->rank, p->dim);
    t.data = be->ops.take(be, WF_MEM_WEIGHTS, wf_tensor_bytes(&t));
    if (!t.data)
        return wf_fail_memory(be->err, "weights", wf_tensor_bytes(&t));
    const enum wf_status status = fill(be, &t, src);
    if (status != WF_OK) {
        be->ops.give(be, t.data);
        return status;
    }
    p->tensor = t;
    return WF_OK;
}

void wf_ref_unload(struct wf_backend *be, struct wf_param *p)
{
    be->ops.give(be, p->tensor.data);
    p->tensor = (struct wf_tensor){0};
    p->source = NULL;
}

enum wf_status wf_ref_gather(struct wf_backend *be, const struct wf_gather *a)
{
    const uint64_t width = (uint64_t)a->table->dim[1];
    for (int64_t i = 0; i < a->y.dim[0]; i++)
        WF_TRY(wf_source_f32(a->table->source, (uint64_t)a->ids[i] * width, (size_t)width,
                             wf_row(&a->y, i), be->err));
    return WF_OK;
}
