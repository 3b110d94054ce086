#include "tests/cuda_double.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/cuda_streams.h"

enum { ALIGN = 256, SPOILT = 1 << 20 };

struct cuda_double cuda_double;

struct block {
    struct block *next;
    void *data;
    size_t bytes;
    bool pinned;
};

struct wf_driver {
    struct wf_driver_facts facts;
    struct cuda_double settings;
    pthread_t main;
    pthread_mutex_t lock; /* of what follows */
    struct cuda_streams *streams;
    struct block *blocks;
    size_t taken;
    bool marked[WF_DRIVER_MARKS];
};

static long launches;

/* A fault of the caller's that a device would not tell, or not at once. */
static void stop(const char *what)
{
    fprintf(stderr, "cuda double: %s\n", what);
    abort();
}

static void *must(void *memory)
{
    if (!memory)
        stop("no memory");
    return memory;
}

/* --- open and close --- */

enum wf_status wf_driver_open(int ordinal, struct wf_driver **driver, struct wf_error *err)
{
    const int devices = cuda_double.devices ? cuda_double.devices : 1;
    *driver = NULL;
    if (ordinal >= devices)
        return wf_fail(err, WF_REFUSED, "device: there is no cuda:%d", ordinal);
    struct wf_driver *d = must(calloc(1, sizeof *d));
    d->settings = cuda_double;
    if (!d->settings.memory)
        d->settings.memory = (size_t)64 << 30;
    d->facts = (struct wf_driver_facts){.name = "a double",
                                        .major = 9,
                                        .processors = 132,
                                        .threads = 2048,
                                        .memory = d->settings.memory,
                                        .free = d->settings.memory,
                                        .driver_version = 13000,
                                        .cuda_version = 13000};
    d->main = pthread_self();
    d->streams = must(cuda_streams_open(&d->settings));
    if (pthread_mutex_init(&d->lock, NULL) != 0)
        stop("no mutex");
    launches = 0;
    *driver = d;
    return WF_OK;
}

static int finish(struct wf_driver *d)
{
    for (int i = 0; i < WF_STREAMS; i++)
        cuda_streams_force(d->streams, cuda_streams_record(d->streams, (enum wf_stream)i));
    return cuda_streams_error(d->streams);
}

void wf_driver_close(struct wf_driver **driver)
{
    struct wf_driver *d = *driver;
    if (!d)
        return;
    (void)finish(d);
    if (d->blocks)
        stop("memory was not given back");
    cuda_streams_close(&d->streams);
    (void)pthread_mutex_destroy(&d->lock);
    free(d);
    *driver = NULL;
}

const struct wf_driver_facts *wf_driver_facts(const struct wf_driver *driver)
{
    return &driver->facts;
}

const char *wf_driver_text(int code)
{
    return code == 700 ? "an illegal memory access was encountered" : "an error of the double";
}

long cuda_double_launches(void)
{
    return launches;
}

/* --- memory --- */

/* NULL: it is none that was taken. */
static struct block **find(struct wf_driver *d, const void *ptr)
{
    for (struct block **link = &d->blocks; *link; link = &(*link)->next) {
        const char *first = (*link)->data;
        if ((const char *)ptr >= first && (const char *)ptr < first + (*link)->bytes)
            return link;
    }
    return NULL;
}

static struct block *take(struct wf_driver *d, size_t bytes, bool pinned)
{
    void *data;
    bytes = bytes ? bytes : 1;
    if (!pinned && bytes > d->settings.memory - d->taken)
        return NULL;
    if (posix_memalign(&data, ALIGN, bytes) != 0)
        return NULL;
    struct block *block = must(malloc(sizeof *block));
    *block = (struct block){d->blocks, data, bytes, pinned};
    d->blocks = block;
    d->taken += pinned ? 0 : bytes;
    return block;
}

void *wf_driver_take(struct wf_driver *d, size_t bytes)
{
    pthread_mutex_lock(&d->lock);
    const struct block *block = take(d, bytes, false);
    if (block) {
        struct cuda_item *i =
            must(cuda_streams_queue(d->streams, WF_STREAM_COMPUTE, ITEM_POISON, 0));
        i->dst = block->data;
        i->bytes = block->bytes;
        cuda_streams_turn(d->streams);
    }
    pthread_mutex_unlock(&d->lock);
    return block ? block->data : NULL;
}

void *wf_driver_take_host(struct wf_driver *d, size_t bytes)
{
    pthread_mutex_lock(&d->lock);
    const struct block *block = take(d, bytes, true);
    if (block)
        memset(block->data, 0xff, block->bytes < SPOILT ? block->bytes : SPOILT);
    pthread_mutex_unlock(&d->lock);
    return block ? block->data : NULL;
}

/* Takes a block out of the list, which the caller frees. */
static struct block remove_block(struct wf_driver *d, const void *ptr, bool pinned)
{
    struct block **link = find(d, ptr);
    if (!link || (*link)->data != ptr || (*link)->pinned != pinned)
        stop("memory is given back that was not taken, or as what it is not");
    struct block *block = *link;
    const struct block copy = *block;
    *link = block->next;
    d->taken -= pinned ? 0 : block->bytes;
    free(block);
    return copy;
}

/* Makes a stream come after what the others have queued. */
static void wait_for(struct wf_driver *d, enum wf_stream stream, uint64_t event)
{
    struct cuda_item *i = must(cuda_streams_queue(d->streams, stream, ITEM_WAIT, 0));
    i->event = event;
}

void wf_driver_give(struct wf_driver *d, void *ptr)
{
    if (!ptr)
        return;
    pthread_mutex_lock(&d->lock);
    const struct block block = remove_block(d, ptr, false);
    struct cuda_item *i = must(cuda_streams_queue(d->streams, WF_STREAM_COMPUTE, ITEM_FREE, 0));
    i->dst = block.data;
    i->bytes = block.bytes;
    cuda_streams_turn(d->streams);
    pthread_mutex_unlock(&d->lock);
}

void wf_driver_give_host(struct wf_driver *d, void *ptr)
{
    if (!ptr)
        return;
    pthread_mutex_lock(&d->lock);
    const struct block block = remove_block(d, ptr, true);
    if (cuda_streams_uses(d->streams, block.data, block.bytes))
        stop("pinned memory is given back that a stream still uses");
    memset(block.data, 0xff, block.bytes < SPOILT ? block.bytes : SPOILT);
    free(block.data);
    pthread_mutex_unlock(&d->lock);
}

/* --- streams --- */

static bool is_main(const struct wf_driver *d)
{
    return pthread_equal(d->main, pthread_self());
}

/* A range within a block, or beside all of them: the host's own memory. */
static const struct block *block_of(struct wf_driver *d, const void *ptr, size_t bytes)
{
    struct block **link = find(d, ptr);
    if (link && (const char *)ptr + bytes > (const char *)(*link)->data + (*link)->bytes)
        stop("a copy goes beyond its memory");
    return link ? *link : NULL;
}

static void join(struct wf_driver *d, uint64_t event)
{
    if (cuda_streams_passed(d->streams, event))
        return;
    cuda_streams_note_join(d->streams, event, is_main(d));
    cuda_streams_force(d->streams, event);
}

int wf_driver_copy(struct wf_driver *d, enum wf_stream stream, void *dst, const void *src,
                   size_t bytes)
{
    pthread_mutex_lock(&d->lock);
    int code = cuda_streams_error(d->streams);
    const struct block *to = block_of(d, dst, bytes), *from = block_of(d, src, bytes);
    if ((!to || to->pinned) && (!from || from->pinned))
        stop("a copy from the host to the host");
    if (code == 0) {
        struct cuda_item *i = must(cuda_streams_queue(d->streams, stream, ITEM_COPY, 0));
        i->dst = dst;
        i->src = src;
        i->bytes = bytes;
        if (!to || !from)
            join(d, cuda_streams_record(d->streams, stream));
        cuda_streams_turn(d->streams);
        code = cuda_streams_error(d->streams);
    }
    pthread_mutex_unlock(&d->lock);
    return code;
}

int wf_driver_record(struct wf_driver *d, enum wf_stream stream, uint64_t *event)
{
    pthread_mutex_lock(&d->lock);
    *event = cuda_streams_record(d->streams, stream);
    cuda_streams_turn(d->streams);
    const int code = cuda_streams_error(d->streams);
    pthread_mutex_unlock(&d->lock);
    return code;
}

int wf_driver_wait(struct wf_driver *d, enum wf_stream stream, uint64_t event)
{
    pthread_mutex_lock(&d->lock);
    if (event)
        wait_for(d, stream, event);
    cuda_streams_turn(d->streams);
    const int code = cuda_streams_error(d->streams);
    pthread_mutex_unlock(&d->lock);
    return code;
}

int wf_driver_join(struct wf_driver *d, uint64_t event)
{
    pthread_mutex_lock(&d->lock);
    join(d, event);
    const int code = cuda_streams_error(d->streams);
    pthread_mutex_unlock(&d->lock);
    return code;
}

bool wf_driver_passed(struct wf_driver *d, uint64_t event)
{
    pthread_mutex_lock(&d->lock);
    const bool passed = cuda_streams_error(d->streams) || cuda_streams_passed(d->streams, event);
    pthread_mutex_unlock(&d->lock);
    return passed;
}

/* Each span takes a millisecond. */
int wf_driver_mark(struct wf_driver *d, int place)
{
    d->marked[place] = true;
    return 0;
}

int wf_driver_between(struct wf_driver *d, int from, int to, double *seconds)
{
    if (!d->marked[from] || !d->marked[to])
        stop("a span of time without its marks");
    d->marked[from] = false;
    *seconds = 1e-3;
    return 0;
}

int wf_driver_launch(struct wf_driver *d, enum wf_stream stream, wf_launcher *launcher,
                     const void *args, size_t bytes)
{
    pthread_mutex_lock(&d->lock);
    const bool fails = ++launches == d->settings.fail_launch;
    int code = cuda_streams_error(d->streams);
    if (code == 0 && fails && !d->settings.fails_late)
        code = 700;
    if (code == 0) {
        struct cuda_item *i = must(cuda_streams_queue(d->streams, stream, ITEM_KERNEL, bytes));
        i->launcher = launcher;
        i->fails = fails;
        memcpy(cuda_item_args(i), args, bytes);
        cuda_streams_turn(d->streams);
    }
    pthread_mutex_unlock(&d->lock);
    return code;
}
