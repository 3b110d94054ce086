/* Buffers that are taken and given back in any order, out of one piece of memory that was taken
   beforehand: its size is known from the same calls made before (the plan's). */
#ifndef WEFT_KERNELS_BASE_POOL_H
#define WEFT_KERNELS_BASE_POOL_H

#include "kernels/base/arena.h"

struct wf_pool_block;

/* One thread at a time. Not moved after wf_pool_init. Which place a buffer gets depends on the
   calls before it alone, so that the same calls have the same peak. */
struct wf_pool {
    struct wf_arena_source source;
    struct wf_pool_block *blocks; /* in use, by their place */
    unsigned char *room;
    size_t capacity; /* of room */
    size_t peak;     /* bytes from the first place to the end of the last, at most so far */
};

void wf_pool_init(struct wf_pool *pool, struct wf_arena_source source);
void wf_pool_close(struct wf_pool *pool); /* gives everything back; may be called twice */
/* Takes room for a known peak; nothing is in use. False when memory is short. */
bool wf_pool_reserve(struct wf_pool *pool, size_t bytes);
/* 64-byte aligned, uninitialised; NULL when memory is short. What does not fit the room gets memory
   of its own. */
void *wf_pool_take(struct wf_pool *pool, size_t bytes);
void wf_pool_give(struct wf_pool *pool, void *ptr); /* NULL is allowed */

#endif
