/* The reference backend: plain C, one thread, sums in double. What it computes is what is meant. */
#ifndef WEFT_KERNELS_REF_REF_H
#define WEFT_KERNELS_REF_REF_H

#include "kernels/backend.h"

extern const struct wf_ops wf_ref_ops;

enum wf_status wf_ref_open(struct wf_backend *be);
void wf_ref_close(struct wf_backend *be);
bool wf_ref_is_fast(const struct wf_backend *be, enum wf_dtype dtype);
void *wf_ref_take(struct wf_backend *be, enum wf_mem_tag tag, size_t bytes);
void wf_ref_give(struct wf_backend *be, void *ptr);
enum wf_status wf_ref_sync(struct wf_backend *be);
enum wf_status wf_ref_upload(struct wf_backend *be, const struct wf_tensor *dst, const void *src);
enum wf_status wf_ref_download(struct wf_backend *be, void *dst, const struct wf_tensor *src);

enum wf_status wf_ref_copy(struct wf_backend *be, const struct wf_tensor *dst,
                           const struct wf_tensor *src);
enum wf_status wf_ref_load(struct wf_backend *be, struct wf_param *p, const struct wf_source *src);
void wf_ref_unload(struct wf_backend *be, struct wf_param *p);
enum wf_status wf_ref_gather(struct wf_backend *be, const struct wf_tensor *y,
                             const struct wf_param *table, const int32_t *ids);
enum wf_status wf_ref_gemm(struct wf_backend *be, const struct wf_gemm *a);
enum wf_status wf_ref_conv(struct wf_backend *be, const struct wf_conv *a);
enum wf_status wf_ref_upconv(struct wf_backend *be, const struct wf_upconv *a);
enum wf_status wf_ref_attention(struct wf_backend *be, const struct wf_attention *a);
enum wf_status wf_ref_layer_norm(struct wf_backend *be, const struct wf_layer_norm *a);
enum wf_status wf_ref_rms_norm(struct wf_backend *be, const struct wf_rms_norm *a);
enum wf_status wf_ref_rope(struct wf_backend *be, const struct wf_rope *a);
enum wf_status wf_ref_lincomb(struct wf_backend *be, const struct wf_lincomb *a);
enum wf_status wf_ref_affine(struct wf_backend *be, const struct wf_affine *a);
enum wf_status wf_ref_act(struct wf_backend *be, const struct wf_tensor *y,
                          const struct wf_tensor *x, enum wf_act act);
enum wf_status wf_ref_gated_act(struct wf_backend *be, const struct wf_tensor *y,
                                const struct wf_tensor *a, const struct wf_tensor *b,
                                enum wf_act act);
enum wf_status wf_ref_pack_u8(struct wf_backend *be, const struct wf_tensor *y,
                              const struct wf_tensor *x);

double wf_ref_activate(double x, enum wf_act act);

/* Element `at` of t, F32 or BF16; to BF16 rounds to nearest even. */
static inline float wf_get(const struct wf_tensor *t, int64_t at)
{
    return t->dtype == WF_F32 ? ((const float *)t->data)[at]
                              : wf_bf16_to_f32(((const uint16_t *)t->data)[at]);
}

static inline void wf_set(const struct wf_tensor *t, int64_t at, double value)
{
    if (t->dtype == WF_F32)
        ((float *)t->data)[at] = (float)value;
    else
        ((uint16_t *)t->data)[at] = wf_f32_to_bf16((float)value);
}

/* Row `row` of t, counted over all axes but the last; t is f32. */
static inline float *wf_row(const struct wf_tensor *t, int64_t row)
{
    return (float *)t->data + wf_tensor_row(t, row);
}

#endif
