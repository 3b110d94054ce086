#include <string.h>

#include "kernels/ref/ref.h"

static float load_value(const unsigned char *at, enum wf_dtype dtype)
{
    float value;
    wf_to_f32(&value, at, dtype, 1);
    return value;
}

enum wf_status wf_ref_copy(struct wf_backend *be, const struct wf_copy *a)
{
    (void)be;
    const struct wf_tensor *dst = &a->y, *src = &a->x;
    const int last = dst->rank - 1;
    const size_t to = wf_dtype_bytes(dst->dtype), from = wf_dtype_bytes(src->dtype);
    for (int64_t row = 0; row < wf_tensor_rows(dst); row++) {
        const int64_t dst_row = wf_tensor_row(dst, row), src_row = wf_tensor_row(src, row);
        for (int64_t i = 0; i < dst->dim[last]; i++) {
            unsigned char *d =
                (unsigned char *)dst->data + (size_t)(dst_row + i * dst->stride[last]) * to;
            const unsigned char *s =
                (const unsigned char *)src->data + (size_t)(src_row + i * src->stride[last]) * from;
            if (dst->dtype == src->dtype) {
                memcpy(d, s, to);
            } else {
                const float value = load_value(s, src->dtype);
                wf_from_f32(d, dst->dtype, &value, 1);
            }
        }
    }
    return WF_OK;
}
