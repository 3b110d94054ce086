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
void *wf_ref_take_host(struct wf_backend *be, enum wf_mem_tag tag, size_t bytes);
void wf_ref_give_host(struct wf_backend *be, void *ptr);
enum wf_status wf_ref_sync(struct wf_backend *be);
enum wf_status wf_ref_upload(struct wf_backend *be, const struct wf_tensor *dst, const void *src);
enum wf_status wf_ref_download(struct wf_backend *be, void *dst, const struct wf_tensor *src);
enum wf_status wf_ref_download_begin(struct wf_backend *be, void *dst, const struct wf_tensor *src,
                                     uint64_t *ticket);
enum wf_status wf_ref_wait(struct wf_backend *be, uint64_t ticket);

void wf_ref_scratch(struct wf_backend *be, enum wf_op op, const void *args,
                    struct wf_scratch *scratch);
size_t wf_ref_param_bytes(const struct wf_backend *be, const struct wf_param *p);
enum wf_status wf_ref_load_begin(struct wf_backend *be, struct wf_param *p);
enum wf_status wf_ref_load_end(struct wf_backend *be, struct wf_param *p);
void wf_ref_unload(struct wf_backend *be, struct wf_param *p);
#define WF_REF_OP(name)                                                                            \
    enum wf_status wf_ref_##name(struct wf_backend *be, const struct wf_##name *a);
WF_OPS(WF_REF_OP)

double wf_ref_act(double x, enum wf_act act);

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
