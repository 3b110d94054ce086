#include "kernels/base/pool.h"

#include <stdint.h>
#include <stdlib.h>

enum { ALIGN = 64 };

/* A buffer in use: bytes of the room from `at` on. */
struct wf_pool_block {
    struct wf_pool_block *next;
    size_t at, bytes;
    void *data;
    bool is_own; /* data is not of the room */
};

void wf_pool_init(struct wf_pool *pool, struct wf_arena_source source)
{
    *pool = (struct wf_pool){.source = source};
}

static void drop(struct wf_pool *pool, struct wf_pool_block **link)
{
    struct wf_pool_block *block = *link;
    *link = block->next;
    if (block->is_own)
        pool->source.give(pool->source.context, block->data);
    free(block);
}

void wf_pool_close(struct wf_pool *pool)
{
    while (pool->blocks)
        drop(pool, &pool->blocks);
    if (pool->room)
        pool->source.give(pool->source.context, pool->room);
    pool->room = NULL;
    pool->capacity = 0;
}

bool wf_pool_reserve(struct wf_pool *pool, size_t bytes)
{
    wf_pool_close(pool);
    if (!bytes)
        return true;
    pool->room = pool->source.take(pool->source.context, bytes);
    pool->capacity = pool->room ? bytes : 0;
    return pool->room;
}

/* The smallest gap between blocks that is large enough, else behind the last one: where the next
   block of the returned link begins is where the gap ends. */
static struct wf_pool_block **find_gap(struct wf_pool *pool, size_t bytes, size_t *at)
{
    struct wf_pool_block **best = NULL, **link = &pool->blocks;
    size_t end = 0, least = SIZE_MAX;
    for (; *link; end = (*link)->at + (*link)->bytes, link = &(*link)->next) {
        const size_t gap = (*link)->at - end;
        if (gap >= bytes && gap < least) {
            best = link;
            least = gap;
            *at = end;
        }
    }
    if (best)
        return best;
    *at = end;
    return link;
}

void *wf_pool_take(struct wf_pool *pool, size_t bytes)
{
    size_t at;
    if (bytes > SIZE_MAX / 4)
        return NULL;
    const size_t need = (bytes ? bytes + ALIGN - 1 : ALIGN) / ALIGN * ALIGN;
    struct wf_pool_block **link = find_gap(pool, need, &at), *block = calloc(1, sizeof *block);
    if (!block)
        return NULL;
    *block = (struct wf_pool_block){.next = *link, .at = at, .bytes = need};
    block->is_own = at + need > pool->capacity;
    block->data = block->is_own ? pool->source.take(pool->source.context, need) : pool->room + at;
    if (!block->data) {
        free(block);
        return NULL;
    }
    *link = block;
    if (at + need > pool->peak)
        pool->peak = at + need;
    return block->data;
}

void wf_pool_give(struct wf_pool *pool, void *ptr)
{
    struct wf_pool_block **link = &pool->blocks;
    while (*link && (*link)->data != ptr)
        link = &(*link)->next;
    if (ptr && *link)
        drop(pool, link);
}
