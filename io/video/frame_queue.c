#include "io/video/frame_queue.h"

#include <pthread.h>
#include <stdint.h>
#include <time.h>

enum {
    HEAD = 64,  /* before a frame: the link, and the alignment of wf_alloc kept */
    SLACK = 64, /* after a frame: vector code of converters reads past the end of a line */
    WAIT_NS = 100000000,
};

struct link {
    struct link *next;
};

struct wf_frame_queue {
    struct wf_mem *mem;
    size_t frame_bytes, limit; /* limit: frames */
    struct wf_frame_stop stop;
    pthread_mutex_t lock; /* of all below */
    pthread_cond_t changed;
    struct link *first, *last, *free;
    size_t waiting, peak; /* frames */
    bool ended, dropped, done;
    enum wf_status status; /* the consumer's, once done */
    struct wf_error error;
};

static void *frame_of(struct link *link)
{
    return (unsigned char *)link + HEAD;
}

static struct link *link_of(void *frame)
{
    return (struct link *)(void *)((unsigned char *)frame - HEAD);
}

static int init_sync(struct wf_frame_queue *queue)
{
    pthread_condattr_t attr;
    if (pthread_condattr_init(&attr) != 0)
        return -1;
    int result = pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    if (result == 0)
        result = pthread_cond_init(&queue->changed, &attr);
    pthread_condattr_destroy(&attr);
    if (result != 0)
        return -1;
    if (pthread_mutex_init(&queue->lock, NULL) == 0)
        return 0;
    pthread_cond_destroy(&queue->changed);
    return -1;
}

enum wf_status wf_frame_queue_open(size_t frame_bytes, size_t limit_bytes,
                                   struct wf_frame_stop stop, struct wf_mem *mem,
                                   struct wf_frame_queue **result, struct wf_error *err)
{
    *result = NULL;
    if (frame_bytes == 0 || frame_bytes > SIZE_MAX / 4)
        return wf_fail(err, WF_REFUSED, "output: a frame of %zu bytes; choose another size",
                       frame_bytes);
    struct wf_frame_queue *queue = wf_calloc(mem, WF_MEM_MISC, 1, sizeof *queue);
    if (!queue)
        return wf_fail_memory(err, "output", sizeof *queue);
    queue->mem = mem;
    queue->frame_bytes = frame_bytes;
    queue->limit = limit_bytes < frame_bytes ? 1 : limit_bytes / frame_bytes;
    queue->stop = stop;
    if (init_sync(queue) != 0) {
        wf_free(queue);
        return wf_fail_memory(err, "output", sizeof *queue);
    }
    *result = queue;
    return WF_OK;
}

static void free_links(struct link *link)
{
    while (link) {
        struct link *next = link->next;
        wf_free(link);
        link = next;
    }
}

void wf_frame_queue_close(struct wf_frame_queue **queue)
{
    struct wf_frame_queue *q = *queue;
    if (!q)
        return;
    free_links(q->first);
    free_links(q->free);
    pthread_cond_destroy(&q->changed);
    pthread_mutex_destroy(&q->lock);
    wf_free(q);
    *queue = NULL;
}

/* With the lock held; false when the caller asked to stop. */
static bool wait_for_consumer(struct wf_frame_queue *queue)
{
    if (!queue->stop.asked) {
        pthread_cond_wait(&queue->changed, &queue->lock);
        return true;
    }
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += WAIT_NS;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_cond_timedwait(&queue->changed, &queue->lock, &until);
    pthread_mutex_unlock(&queue->lock);
    const bool stop = queue->stop.asked(queue->stop.context);
    pthread_mutex_lock(&queue->lock);
    return !stop;
}

static enum wf_status cancelled(struct wf_error *err)
{
    return wf_fail(err, WF_CANCELLED, "output: stopped while frames waited; start again");
}

static enum wf_status consumer_status(const struct wf_frame_queue *queue, struct wf_error *err)
{
    if (queue->status != WF_OK && err)
        *err = queue->error;
    return queue->status;
}

enum wf_status wf_frame_queue_room(struct wf_frame_queue *queue, void **buffer,
                                   struct wf_error *err)
{
    *buffer = NULL;
    bool go_on = true;
    pthread_mutex_lock(&queue->lock);
    while (go_on && !queue->done && queue->waiting >= queue->limit)
        go_on = wait_for_consumer(queue);
    const enum wf_status status = queue->done ? consumer_status(queue, err) : WF_OK;
    struct link *link = queue->free;
    if (link && go_on && status == WF_OK)
        queue->free = link->next;
    pthread_mutex_unlock(&queue->lock);
    if (status != WF_OK)
        return status;
    if (!go_on)
        return cancelled(err);
    if (!link)
        link = wf_alloc(queue->mem, WF_MEM_FRAMES, HEAD + queue->frame_bytes + SLACK);
    if (!link)
        return wf_fail_memory(err, "output", queue->frame_bytes);
    *buffer = frame_of(link);
    return WF_OK;
}

void wf_frame_queue_put(struct wf_frame_queue *queue, void *buffer)
{
    struct link *link = link_of(buffer);
    link->next = NULL;
    pthread_mutex_lock(&queue->lock);
    if (queue->first)
        queue->last->next = link;
    else
        queue->first = link;
    queue->last = link;
    queue->waiting++;
    queue->peak = queue->waiting > queue->peak ? queue->waiting : queue->peak;
    pthread_cond_broadcast(&queue->changed);
    pthread_mutex_unlock(&queue->lock);
}

void wf_frame_queue_end(struct wf_frame_queue *queue, bool drop)
{
    pthread_mutex_lock(&queue->lock);
    queue->ended = true;
    queue->dropped = queue->dropped || drop;
    pthread_cond_broadcast(&queue->changed);
    pthread_mutex_unlock(&queue->lock);
}

enum wf_status wf_frame_queue_wait(struct wf_frame_queue *queue, struct wf_error *err)
{
    bool go_on = true;
    pthread_mutex_lock(&queue->lock);
    while (go_on && !queue->done)
        go_on = wait_for_consumer(queue);
    const enum wf_status status = queue->done ? consumer_status(queue, err) : cancelled(err);
    pthread_mutex_unlock(&queue->lock);
    return status;
}

void wf_frame_queue_peak(struct wf_frame_queue *queue, size_t *peak_bytes, size_t *limit_bytes)
{
    pthread_mutex_lock(&queue->lock);
    *peak_bytes = queue->peak * queue->frame_bytes;
    *limit_bytes = queue->limit * queue->frame_bytes;
    pthread_mutex_unlock(&queue->lock);
}

void *wf_frame_queue_take(struct wf_frame_queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    while (!queue->first && !queue->ended)
        pthread_cond_wait(&queue->changed, &queue->lock);
    struct link *link = queue->dropped ? NULL : queue->first;
    if (link) {
        queue->first = link->next;
        queue->waiting--;
        pthread_cond_broadcast(&queue->changed);
    }
    pthread_mutex_unlock(&queue->lock);
    return link ? frame_of(link) : NULL;
}

void wf_frame_queue_give_back(struct wf_frame_queue *queue, void *buffer)
{
    struct link *link = link_of(buffer);
    pthread_mutex_lock(&queue->lock);
    link->next = queue->free;
    queue->free = link;
    pthread_mutex_unlock(&queue->lock);
}

bool wf_frame_queue_dropped(struct wf_frame_queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    const bool dropped = queue->dropped;
    pthread_mutex_unlock(&queue->lock);
    return dropped;
}

void wf_frame_queue_done(struct wf_frame_queue *queue, enum wf_status status,
                         const struct wf_error *err)
{
    pthread_mutex_lock(&queue->lock);
    queue->done = true;
    queue->status = status;
    if (status != WF_OK)
        queue->error = *err;
    pthread_cond_broadcast(&queue->changed);
    pthread_mutex_unlock(&queue->lock);
}
