#include <stdlib.h>

#include "kernels/cuda/cuda.h"

/* Device memory counts on the device's account, pinned memory on the host's. */
static struct wf_mem *account(const struct wf_backend *be, bool pinned)
{
    return pinned ? be->mem : be->device_mem;
}

static void *take(struct wf_backend *be, enum wf_mem_tag tag, size_t bytes, bool pinned)
{
    struct wf_cuda *c = wf_cuda_of(be);
    struct wf_cuda_block *block = malloc(sizeof *block);
    if (!block)
        return NULL;
    void *data = pinned ? wf_driver_take_host(c->driver, bytes) : wf_driver_take(c->driver, bytes);
    if (!data) {
        free(block);
        return NULL;
    }
    pthread_mutex_lock(&c->lock);
    *block = (struct wf_cuda_block){c->blocks, data, bytes, tag, pinned};
    c->blocks = block;
    pthread_mutex_unlock(&c->lock);
    wf_mem_hold(account(be, pinned), tag, bytes);
    return data;
}

void *wf_cuda_take(struct wf_backend *be, enum wf_mem_tag tag, size_t bytes)
{
    return take(be, tag, bytes, false);
}

void *wf_cuda_take_host(struct wf_backend *be, enum wf_mem_tag tag, size_t bytes)
{
    return take(be, tag, bytes, true);
}

/* Other streams write rooms and read what is being downloaded, nothing else (the loader waits for
   its staging itself): waiting for them with every piece of scratch would end all loading ahead. */
static void come_after_others(struct wf_backend *be, const struct wf_cuda_block *block)
{
    struct wf_cuda *c = wf_cuda_of(be);
    uint64_t event;
    if (block->tag != WF_MEM_WEIGHTS)
        (void)wf_cuda_come_after_downloads(c, block->data, block->bytes);
    else if (wf_driver_record(c->driver, WF_STREAM_WEIGHTS, &event) == 0)
        (void)wf_driver_wait(c->driver, WF_STREAM_COMPUTE, event);
}

void wf_cuda_give(struct wf_backend *be, void *ptr)
{
    struct wf_cuda *c = wf_cuda_of(be);
    pthread_mutex_lock(&c->lock);
    struct wf_cuda_block **link = &c->blocks;
    while (*link && (*link)->data != ptr)
        link = &(*link)->next;
    struct wf_cuda_block *block = *link;
    if (block)
        *link = block->next;
    pthread_mutex_unlock(&c->lock);
    if (!block)
        return;
    if (block->pinned) {
        wf_driver_give_host(c->driver, ptr);
    } else {
        come_after_others(be, block);
        wf_driver_give(c->driver, ptr);
    }
    wf_mem_drop(account(be, block->pinned), block->tag, block->bytes);
    free(block);
}
