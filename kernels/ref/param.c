/* Parameters: dense copies, but a TABLE, which stays where it is. */
#include "kernels/ref/ref.h"

enum wf_status wf_ref_load(struct wf_backend *be, struct wf_param *p, const void *src,
                           enum wf_dtype dtype)
{
    if (p->kind == WF_PARAM_TABLE) {
        p->tensor = wf_tensor_of((void *)src, dtype, p->rank, p->dim);
        return WF_OK;
    }
    const enum wf_dtype kept = p->kind == WF_PARAM_VECTOR ? WF_F32 : wf_operand_type(be, p);
    struct wf_tensor t = wf_tensor_of(NULL, kept, p->rank, p->dim);
    t.data = be->ops.take(be, WF_MEM_WEIGHTS, wf_tensor_bytes(&t));
    if (!t.data)
        return wf_fail_memory(be->err, "weights", wf_tensor_bytes(&t));
    for (int64_t i = 0; i < wf_tensor_count(&t); i++) {
        float value;
        wf_to_f32(&value, (const unsigned char *)src + (size_t)i * wf_dtype_bytes(dtype), dtype, 1);
        wf_set(&t, i, (double)value);
    }
    p->tensor = t;
    return WF_OK;
}

void wf_ref_unload(struct wf_backend *be, struct wf_param *p)
{
    if (p->kind != WF_PARAM_TABLE)
        be->ops.give(be, p->tensor.data);
    p->tensor = (struct wf_tensor){0};
}

enum wf_status wf_ref_gather(struct wf_backend *be, const struct wf_tensor *y,
                             const struct wf_param *table, const int32_t *ids)
{
    (void)be;
    const enum wf_dtype dtype = table->tensor.dtype;
    const size_t width = (size_t)table->dim[1], bytes = width * wf_dtype_bytes(dtype);
    for (int64_t i = 0; i < y->dim[0]; i++) {
        const unsigned char *row = (const unsigned char *)table->tensor.data;
        wf_to_f32(wf_row(y, i), row + (size_t)ids[i] * bytes, dtype, width);
    }
    return WF_OK;
}
