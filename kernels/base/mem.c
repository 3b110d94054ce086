#include "kernels/base/mem.h"

#include <stdatomic.h>
#include <stdint.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <stdlib.h>
#include <string.h>

enum { ALIGN = 64 };

/* No single block is larger: a size that is comes from a damaged file. */
static const size_t most_bytes = SIZE_MAX >> 25;

struct wf_mem {
    atomic_size_t live[WF_MEM_TAGS];
    atomic_size_t total, peak;
    atomic_long fail_at;
};

/* Stands before each block, in the ALIGN bytes below the pointer that was handed out. */
struct block_header {
    struct wf_mem *mem;
    size_t bytes;
    enum wf_mem_tag tag;
};

_Static_assert(sizeof(struct block_header) <= ALIGN, "the header fits below the block");

struct wf_mem *wf_mem_open(void)
{
    return calloc(1, sizeof(struct wf_mem));
}

void wf_mem_close(struct wf_mem **mem)
{
    free(*mem);
    *mem = NULL;
}

void wf_mem_hold(struct wf_mem *mem, enum wf_mem_tag tag, size_t bytes)
{
    atomic_fetch_add(&mem->live[tag], bytes);
    const size_t total = atomic_fetch_add(&mem->total, bytes) + bytes;
    size_t peak = atomic_load(&mem->peak);
    while (total > peak && !atomic_compare_exchange_weak(&mem->peak, &peak, total)) {
    }
}

void wf_mem_drop(struct wf_mem *mem, enum wf_mem_tag tag, size_t bytes)
{
    atomic_fetch_sub(&mem->live[tag], bytes);
    atomic_fetch_sub(&mem->total, bytes);
}

static int must_fail(struct wf_mem *mem)
{
    if (atomic_load(&mem->fail_at) <= 0)
        return 0;
    return atomic_fetch_sub(&mem->fail_at, 1) == 1;
}

void *wf_alloc(struct wf_mem *mem, enum wf_mem_tag tag, size_t bytes)
{
    if (bytes > most_bytes || must_fail(mem))
        return NULL;
    const size_t whole = (bytes + 2 * (size_t)ALIGN - 1) / ALIGN * ALIGN;
    unsigned char *base = aligned_alloc(ALIGN, whole);
    if (!base)
        return NULL;
    *(struct block_header *)(void *)base = (struct block_header){mem, bytes, tag};
    wf_mem_hold(mem, tag, bytes);
    return base + ALIGN;
}

void *wf_calloc(struct wf_mem *mem, enum wf_mem_tag tag, size_t n, size_t size)
{
    if (size && n > SIZE_MAX / size)
        return NULL;
    void *ptr = wf_alloc(mem, tag, n * size);
    if (ptr)
        memset(ptr, 0, n * size);
    return ptr;
}

char *wf_strdup(struct wf_mem *mem, const char *text)
{
    const size_t bytes = strlen(text) + 1;
    char *copy = wf_alloc(mem, WF_MEM_MISC, bytes);
    if (copy)
        memcpy(copy, text, bytes);
    return copy;
}

void wf_free(void *ptr)
{
    if (!ptr)
        return;
    unsigned char *base = (unsigned char *)ptr - ALIGN;
    const struct block_header *header = (const struct block_header *)(const void *)base;
    wf_mem_drop(header->mem, header->tag, header->bytes);
    free(base);
}

size_t wf_mem_live(const struct wf_mem *mem, enum wf_mem_tag tag)
{
    return atomic_load(&mem->live[tag]);
}

size_t wf_mem_live_all(const struct wf_mem *mem)
{
    return atomic_load(&mem->total);
}

size_t wf_mem_peak(const struct wf_mem *mem)
{
    return atomic_load(&mem->peak);
}

void wf_mem_peak_reset(struct wf_mem *mem)
{
    atomic_store(&mem->peak, atomic_load(&mem->total));
}

void wf_mem_fail_at(struct wf_mem *mem, long nth)
{
    atomic_store(&mem->fail_at, nth);
}

void wf_mem_trim(void)
{
#ifdef __GLIBC__
    (void)malloc_trim(0); /* free blocks of up to 32 MB may stay with the process else */
#endif
}
