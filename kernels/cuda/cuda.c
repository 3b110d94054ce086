#include "kernels/cuda/library.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- open and close --- */

static enum wf_status open_ring(struct wf_backend *be)
{
    struct wf_cuda *c = wf_cuda_of(be);
    for (int i = 0; i < WF_CUDA_PIECES; i++) {
        c->ring.piece[i] = wf_cuda_take_host(be, WF_MEM_ACTIVATIONS, WF_CUDA_PIECE);
        if (!c->ring.piece[i])
            return wf_fail_memory(be->err, "cuda: staging", WF_CUDA_PIECE);
    }
    c->workspace = wf_cuda_take(be, WF_MEM_ACTIVATIONS, WF_CUDA_WORKSPACE);
    return c->workspace ? WF_OK : wf_fail_memory(be->err, "cuda: workspace", WF_CUDA_WORKSPACE);
}

static enum wf_status open_graphs(struct wf_backend *be)
{
    struct wf_cuda *c = wf_cuda_of(be);
    return wf_cuda_said(be, wf_graphs_open(c->cudnn, NULL, &c->graphs, &c->graphs_err));
}

/* Without it cuDNN would offer no engine for attention, and say nothing. */
static enum wf_status check_compiler(struct wf_backend *be)
{
    bool can;
    WF_TRY(wf_cuda_said(be, wf_graphs_can_compile(wf_cuda_of(be)->graphs, &can)));
    return can ? WF_OK
               : wf_fail(
                     be->err, WF_REFUSED,
                     "device: cuDNN cannot compile kernels here: libnvrtc of the CUDA toolkit is "
                     "missing or does not fit; install it, or use --device cpu");
}

static enum wf_status open_parts(struct wf_backend *be)
{
    struct wf_cuda *c = wf_cuda_of(be);
    WF_TRY(wf_driver_open(be->ordinal, &c->driver, be->err));
    const struct wf_driver_facts *facts = wf_driver_facts(c->driver);
    snprintf(be->about, sizeof be->about, "%.40s, %.1f GB", facts->name,
             (double)facts->memory * 1e-9);
    be->device = (struct wf_device){.queued = true,
                                    .own_memory = true,
                                    .memory = facts->free,
                                    .processors = facts->processors,
                                    .threads = facts->threads};
    WF_TRY(wf_cublas_open(&c->cublas, be->err));
    WF_TRY(wf_cudnn_open(&c->cudnn, be->err));
    WF_TRY(open_graphs(be));
    WF_TRY(check_compiler(be));
    WF_TRY(open_ring(be));
    return wf_loader_open(be, &c->loader);
}

static enum wf_status cuda_open(struct wf_backend *be)
{
    struct wf_cuda *c = calloc(1, sizeof *c);
    if (!c)
        return wf_fail_memory(be->err, "cuda", sizeof *c);
    be->state = c;
    c->pace.budget = 1e12;
    if (pthread_mutex_init(&c->lock, NULL) != 0) {
        free(c);
        return wf_fail_memory(be->err, "cuda", 0);
    }
    const enum wf_status status = open_parts(be);
    if (status != WF_OK)
        be->ops.close(be);
    return status;
}

static void cuda_close(struct wf_backend *be)
{
    struct wf_cuda *c = wf_cuda_of(be);
    wf_loader_close(&c->loader);
    if (c->driver)
        (void)wf_cuda_sync(be);
    wf_graphs_close(&c->graphs);
    wf_cudnn_close(&c->cudnn);
    wf_cublas_close(&c->cublas);
    while (c->blocks)
        wf_cuda_give(be, c->blocks->data);
    wf_driver_close(&c->driver);
    (void)pthread_mutex_destroy(&c->lock);
    free(c);
    be->state = NULL;
}

static bool cuda_is_fast(const struct wf_backend *be, enum wf_dtype dtype)
{
    (void)be;
    return dtype == WF_F32 || dtype == WF_BF16;
}

/* --- the table --- */

const struct wf_ops wf_cuda_ops = {.name = "cuda",
                                   .open = cuda_open,
                                   .is_fast = cuda_is_fast,
                                   .close = cuda_close,
                                   .take = wf_cuda_take,
                                   .give = wf_cuda_give,
                                   .take_host = wf_cuda_take_host,
                                   .give_host = wf_cuda_give,
                                   .sync = wf_cuda_sync,
                                   .upload = wf_cuda_upload,
                                   .download = wf_cuda_download,
                                   .download_begin = wf_cuda_download_begin,
                                   .wait = wf_cuda_wait,
                                   .scratch = wf_cuda_scratch,
                                   .param_bytes = wf_cuda_param_bytes,
                                   .load_begin = wf_cuda_load_begin,
                                   .load_end = wf_cuda_load_end,
                                   .unload = wf_cuda_unload,
#define CUDA_SLOT(name) .name = wf_cuda_##name,
                                   WF_OPS(CUDA_SLOT)};
