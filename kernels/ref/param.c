/* Parameters: dense values, but a TABLE, whose rows are read when they are gathered. */
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

size_t wf_ref_param_bytes(const struct wf_backend *be, const struct wf_param *p)
{
    const enum wf_dtype kept = p->kind == WF_PARAM_VECTOR ? WF_F32 : wf_operand_type(be, p);
    const struct wf_tensor t = wf_tensor_of(NULL, kept, p->rank, p->dim);
    return p->kind == WF_PARAM_TABLE ? 0 : wf_tensor_bytes(&t);
}

enum wf_status wf_ref_load_begin(struct wf_backend *be, struct wf_param *p)
{
    (void)be;
    (void)p;
    return WF_OK;
}

enum wf_status wf_ref_load_end(struct wf_backend *be, struct wf_param *p)
{
    if (p->kind == WF_PARAM_TABLE)
        return WF_OK;
    const enum wf_dtype kept = p->kind == WF_PARAM_VECTOR ? WF_F32 : wf_operand_type(be, p);
    p->tensor = wf_tensor_of(p->room, kept, p->rank, p->dim);
    return fill(be, &p->tensor, p->source);
}

void wf_ref_unload(struct wf_backend *be, struct wf_param *p)
{
    (void)be;
    (void)p;
}

enum wf_status wf_ref_gather(struct wf_backend *be, const struct wf_gather *a)
{
    const uint64_t width = (uint64_t)a->table->dim[1];
    for (int64_t i = 0; i < a->y.dim[0]; i++)
        WF_TRY(wf_source_f32(a->table->source, (uint64_t)a->ids[i] * width, (size_t)width,
                             wf_row(&a->y, i), be->err));
    return WF_OK;
}
