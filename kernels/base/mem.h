/* Tagged memory: every large allocation of the engine is counted, by purpose, live and at its peak.
 */
#ifndef WEFT_KERNELS_BASE_MEM_H
#define WEFT_KERNELS_BASE_MEM_H

#include <stddef.h>

enum wf_mem_tag {
    WF_MEM_WEIGHTS,     /* parameters in the form that the backend computes with */
    WF_MEM_ACTIVATIONS, /* values that live within a step or a chunk */
    WF_MEM_CACHE,       /* values that live from step to step or from chunk to chunk */
    WF_MEM_FRAMES,      /* finished frames on their way out */
    WF_MEM_MISC,        /* headers, names, tables */
    WF_MEM_TAGS
};

/* An account of allocations. All functions may be called from any thread. */
struct wf_mem;

struct wf_mem *wf_mem_open(void); /* NULL when memory is short */
void wf_mem_close(struct wf_mem **mem);

/* 64-byte aligned, uninitialised; NULL when memory is short. zero bytes give a unique pointer. */
void *wf_alloc(struct wf_mem *mem, enum wf_mem_tag tag, size_t bytes);
/* n * size zeroed bytes; NULL when memory is short or the product overflows. */
void *wf_calloc(struct wf_mem *mem, enum wf_mem_tag tag, size_t n, size_t size);
char *wf_strdup(struct wf_mem *mem, const char *text);
void wf_mem_trim(void);  /* what is free in this process goes back to the system, where it can */
void wf_free(void *ptr); /* of wf_alloc, wf_calloc, wf_strdup; NULL is allowed */

/* Counts bytes that are held but were not allocated here (a mapped file's pages). */
void wf_mem_hold(struct wf_mem *mem, enum wf_mem_tag tag, size_t bytes);
void wf_mem_drop(struct wf_mem *mem, enum wf_mem_tag tag, size_t bytes);

size_t wf_mem_live(const struct wf_mem *mem, enum wf_mem_tag tag);
size_t wf_mem_live_all(const struct wf_mem *mem);
size_t wf_mem_peak(const struct wf_mem *mem); /* of the sum over tags, since the last reset */
void wf_mem_peak_reset(struct wf_mem *mem);

/* For tests: the nth allocation from now on (1 is the next) fails, once; 0 switches it off. */
void wf_mem_fail_at(struct wf_mem *mem, long nth);

#endif
