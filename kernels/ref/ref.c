#include "kernels/ref/ref.h"

#include <string.h>

enum wf_status wf_ref_open(struct wf_backend *be)
{
    (void)be;
    return WF_OK;
}

bool wf_ref_is_fast(const struct wf_backend *be, enum wf_dtype dtype)
{
    (void)be;
    return dtype == WF_F32;
}

void wf_ref_close(struct wf_backend *be)
{
    (void)be;
}

void *wf_ref_take(struct wf_backend *be, enum wf_mem_tag tag, size_t bytes)
{
    return wf_alloc(be->mem, tag, bytes);
}

void wf_ref_give(struct wf_backend *be, void *ptr)
{
    (void)be;
    wf_free(ptr);
}

enum wf_status wf_ref_sync(struct wf_backend *be)
{
    (void)be;
    return WF_OK;
}

enum wf_status wf_ref_upload(struct wf_backend *be, const struct wf_tensor *dst, const void *src)
{
    (void)be;
    memcpy(dst->data, src, wf_tensor_bytes(dst));
    return WF_OK;
}

enum wf_status wf_ref_download(struct wf_backend *be, void *dst, const struct wf_tensor *src)
{
    (void)be;
    memcpy(dst, src->data, wf_tensor_bytes(src));
    return WF_OK;
}

void *wf_ref_take_host(struct wf_backend *be, enum wf_mem_tag tag, size_t bytes)
{
    return wf_alloc(be->mem, tag, bytes);
}

void wf_ref_give_host(struct wf_backend *be, void *ptr)
{
    (void)be;
    wf_free(ptr);
}

enum wf_status wf_ref_download_begin(struct wf_backend *be, void *dst, const struct wf_tensor *src,
                                     uint64_t *ticket)
{
    *ticket = 0;
    return be->ops.download(be, dst, src);
}

enum wf_status wf_ref_wait(struct wf_backend *be, uint64_t ticket)
{
    (void)be;
    (void)ticket;
    return WF_OK;
}

void wf_ref_scratch(struct wf_backend *be, enum wf_op op, const void *args,
                    struct wf_scratch *scratch)
{
    (void)be;
    (void)op;
    (void)args;
    *scratch = (struct wf_scratch){0};
}

const struct wf_ops wf_ref_ops = {.name = "ref",
                                  .open = wf_ref_open,
                                  .is_fast = wf_ref_is_fast,
                                  .close = wf_ref_close,
                                  .take = wf_ref_take,
                                  .give = wf_ref_give,
                                  .take_host = wf_ref_take_host,
                                  .give_host = wf_ref_give_host,
                                  .sync = wf_ref_sync,
                                  .upload = wf_ref_upload,
                                  .download = wf_ref_download,
                                  .download_begin = wf_ref_download_begin,
                                  .wait = wf_ref_wait,
                                  .scratch = wf_ref_scratch,
                                  .param_bytes = wf_ref_param_bytes,
                                  .load_begin = wf_ref_load_begin,
                                  .load_end = wf_ref_load_end,
                                  .unload = wf_ref_unload,
#define REF_SLOT(name) .name = wf_ref_##name,
                                  WF_OPS(REF_SLOT)};
