#include "kernels/base/arena.h"

#include <stdint.h>
#include <stdlib.h>

enum { ALIGN = 64, CHUNK_BYTES = 1 << 20 };

/* Kept on the host, apart from the memory it describes, which may be a device's. */
struct wf_arena_chunk {
    struct wf_arena_chunk *next;
    unsigned char *data;
    size_t bytes, used;
};

void wf_arena_init(struct wf_arena *arena, struct wf_arena_source source)
{
    *arena = (struct wf_arena){.source = source};
}

static void drop_chunks(struct wf_arena *arena)
{
    for (struct wf_arena_chunk *chunk = arena->first, *next; chunk; chunk = next) {
        next = chunk->next;
        arena->source.give(arena->source.context, chunk->data);
        free(chunk);
    }
    arena->first = arena->current = NULL;
}

void wf_arena_close(struct wf_arena *arena)
{
    drop_chunks(arena);
    arena->live = 0;
}

static struct wf_arena_chunk *new_chunk(struct wf_arena *arena, size_t bytes)
{
    struct wf_arena_chunk *chunk = calloc(1, sizeof *chunk);
    if (!chunk)
        return NULL;
    chunk->data = arena->source.take(arena->source.context, bytes);
    chunk->bytes = bytes;
    if (!chunk->data) {
        free(chunk);
        return NULL;
    }
    return chunk;
}

bool wf_arena_reserve(struct wf_arena *arena, size_t bytes)
{
    drop_chunks(arena);
    arena->first = arena->current = bytes ? new_chunk(arena, bytes) : NULL;
    return !bytes || arena->first;
}

/* An empty arena of several chunks becomes one of a single chunk, so that later use is compact. */
static size_t join_when_empty(struct wf_arena *arena, size_t bytes)
{
    if (arena->live || !arena->first || !arena->first->next)
        return bytes;
    size_t whole = 0;
    for (const struct wf_arena_chunk *chunk = arena->first; chunk; chunk = chunk->next)
        whole += chunk->bytes;
    drop_chunks(arena);
    return whole > bytes ? whole : bytes;
}

void *wf_arena_alloc(struct wf_arena *arena, size_t bytes)
{
    if (bytes > SIZE_MAX / 4)
        return NULL;
    const size_t need = (bytes ? bytes + ALIGN - 1 : ALIGN) / ALIGN * ALIGN;
    const size_t room = join_when_empty(arena, need);
    struct wf_arena_chunk *chunk = arena->current;
    while (chunk && chunk->bytes - chunk->used < need) {
        chunk = chunk->next;
        if (chunk)
            chunk->used = 0;
    }
    if (!chunk) {
        chunk = new_chunk(arena, room > CHUNK_BYTES ? room : CHUNK_BYTES);
        if (!chunk && room > need)
            chunk = new_chunk(arena, need);
        if (!chunk)
            return NULL;
        struct wf_arena_chunk **link = &arena->first;
        while (*link)
            link = &(*link)->next;
        *link = chunk;
    }
    arena->current = chunk;
    void *ptr = chunk->data + chunk->used;
    chunk->used += need;
    arena->live += need;
    if (arena->live > arena->peak)
        arena->peak = arena->live;
    return ptr;
}

struct wf_arena_mark wf_arena_mark(const struct wf_arena *arena)
{
    if (!arena->live) /* names no chunk: the chunks of an empty arena may be joined into another */
        return (struct wf_arena_mark){0};
    return (struct wf_arena_mark){arena->current, arena->current->used, arena->live};
}

void wf_arena_release(struct wf_arena *arena, struct wf_arena_mark mark)
{
    arena->current = mark.chunk ? mark.chunk : arena->first;
    if (arena->current)
        arena->current->used = mark.used;
    arena->live = mark.live;
}

void wf_arena_reset(struct wf_arena *arena)
{
    wf_arena_release(arena, (struct wf_arena_mark){0});
}
