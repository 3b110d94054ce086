/* A stack of buffers: what a step or a chunk needs is taken in order and given back at once. */
#ifndef WEFT_KERNELS_BASE_ARENA_H
#define WEFT_KERNELS_BASE_ARENA_H

#include <stdbool.h>
#include <stddef.h>

struct wf_arena_chunk;

/* Where an arena takes its memory from (host or device). */
struct wf_arena_source {
    void *(*take)(void *context, size_t bytes); /* at least 64-byte aligned; NULL when short */
    void (*give)(void *context, void *ptr);
    void *context;
};

/* One thread at a time. Not moved after wf_arena_init: buffers stay where they are. */
struct wf_arena {
    struct wf_arena_source source;
    struct wf_arena_chunk *first, *current;
    size_t live, peak; /* bytes handed out */
};

/* The state of an arena, to go back to. */
struct wf_arena_mark {
    struct wf_arena_chunk *chunk;
    size_t used, live;
};

void wf_arena_init(struct wf_arena *arena, struct wf_arena_source source);
void wf_arena_close(struct wf_arena *arena); /* gives everything back; may be called twice */

/* Takes room for a known peak at once, in one piece; the arena is empty. False when memory is
 * short.
 */
bool wf_arena_reserve(struct wf_arena *arena, size_t bytes);
/* 64-byte aligned, uninitialised; NULL when memory is short. Lives until its mark is released. */
void *wf_arena_alloc(struct wf_arena *arena, size_t bytes);
struct wf_arena_mark wf_arena_mark(const struct wf_arena *arena);
/* Gives back all that was taken since the mark. Memory stays with the arena for the next use; one
   that is empty and holds several chunks joins them into one of their whole size at the next take.
 */
void wf_arena_release(struct wf_arena *arena, struct wf_arena_mark mark);
void wf_arena_reset(struct wf_arena *arena); /* releases everything */

#endif
