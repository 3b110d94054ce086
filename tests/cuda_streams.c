#include "tests/cuda_streams.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Of memory that is freed: so much is not a number any more, for who still reads it. */
enum { SPOILT = 1 << 20 };

/* After what has this index, and less, on its stream. */
struct event {
    enum wf_stream stream;
    uint64_t index;
};

struct cuda_streams {
    enum cuda_schedule schedule;
    uint64_t random;
    struct {
        struct cuda_item *first, **end;
        uint64_t queued, ran; /* indices are 1 and up */
    } stream[WF_STREAMS];
    struct event *events; /* event i is events[i - 1] */
    size_t event_count, event_room;
    int error;
};

static struct {
    struct cuda_trace *entries;
    size_t count, room;
} trace;

static void *grow(void *array, size_t count, size_t *room, size_t size)
{
    if (count < *room)
        return array;
    *room = *room ? 2 * *room : 1024;
    void *wider = realloc(array, *room * size);
    if (!wider) {
        fputs("cuda double: no memory\n", stderr);
        abort();
    }
    return wider;
}

/* --- the trace --- */

const struct cuda_trace *cuda_double_trace(size_t *count)
{
    *count = trace.count;
    return trace.entries;
}

void cuda_double_forget(void)
{
    free(trace.entries);
    trace.entries = NULL;
    trace.count = trace.room = 0;
}

static void note(struct cuda_trace entry)
{
    trace.entries = grow(trace.entries, trace.count, &trace.room, sizeof entry);
    trace.entries[trace.count++] = entry;
}

static struct event event_of(const struct cuda_streams *s, uint64_t event)
{
    if (event > s->event_count) {
        fprintf(stderr, "cuda double: event %llu was never recorded\n", (unsigned long long)event);
        abort();
    }
    return event ? s->events[event - 1] : (struct event){WF_STREAM_COMPUTE, 0};
}

void cuda_streams_note_join(struct cuda_streams *s, uint64_t event, bool main)
{
    const struct event e = event_of(s, event);
    note((struct cuda_trace){.kind = CUDA_JOIN,
                             .stream = e.stream,
                             .main = main,
                             .event_stream = e.stream,
                             .event_index = e.index});
}

static void note_item(const struct cuda_streams *s, enum wf_stream stream,
                      const struct cuda_item *i)
{
    struct cuda_trace entry = {.stream = stream, .index = i->index};
    if (i->kind == ITEM_POISON || i->kind == ITEM_FREE)
        return;
    entry.kind = i->kind == ITEM_COPY     ? CUDA_COPY
                 : i->kind == ITEM_KERNEL ? CUDA_KERNEL
                                          : CUDA_WAIT;
    if (i->kind == ITEM_WAIT) {
        const struct event e = event_of(s, i->event);
        entry.event_stream = e.stream;
        entry.event_index = e.index;
    }
    note(entry);
}

/* --- open and close --- */

struct cuda_streams *cuda_streams_open(const struct cuda_double *settings)
{
    struct cuda_streams *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->schedule = settings->schedule;
    s->random = settings->seed;
    for (int i = 0; i < WF_STREAMS; i++)
        s->stream[i].end = &s->stream[i].first;
    trace.count = 0;
    return s;
}

void cuda_streams_close(struct cuda_streams **streams)
{
    if (*streams)
        free((*streams)->events);
    free(*streams);
    *streams = NULL;
}

/* --- queueing --- */

void *cuda_item_args(struct cuda_item *item)
{
    return item + 1;
}

struct cuda_item *cuda_streams_queue(struct cuda_streams *s, enum wf_stream stream, int kind,
                                     size_t args)
{
    struct cuda_item *item = calloc(1, sizeof *item + args);
    if (!item)
        return NULL;
    item->kind = kind;
    item->args = args;
    item->index = ++s->stream[stream].queued;
    *s->stream[stream].end = item;
    s->stream[stream].end = &item->next;
    return item;
}

uint64_t cuda_streams_record(struct cuda_streams *s, enum wf_stream stream)
{
    s->events = grow(s->events, s->event_count, &s->event_room, sizeof *s->events);
    s->events[s->event_count++] = (struct event){stream, s->stream[stream].queued};
    return s->event_count;
}

bool cuda_streams_passed(const struct cuda_streams *s, uint64_t event)
{
    const struct event e = event_of(s, event);
    return s->stream[e.stream].ran >= e.index;
}

int cuda_streams_error(const struct cuda_streams *s)
{
    return s->error;
}

static bool overlaps(const void *ptr, size_t bytes, const void *other, size_t other_bytes)
{
    const char *a = ptr, *b = other;
    return a < b + other_bytes && b < a + bytes;
}

/* Addresses among the args are aligned, as any struct's. */
static bool names(struct cuda_item *item, const char *first, const char *end)
{
    const char *const *word = cuda_item_args(item);
    for (size_t i = 0; i < item->args / sizeof *word; i++) {
        if (word[i] >= first && word[i] < end)
            return true;
    }
    return false;
}

bool cuda_streams_uses(const struct cuda_streams *s, const void *ptr, size_t bytes)
{
    for (int i = 0; i < WF_STREAMS && !s->error; i++) {
        for (struct cuda_item *item = s->stream[i].first; item; item = item->next) {
            if (item->kind == ITEM_COPY && (overlaps(ptr, bytes, item->dst, item->bytes) ||
                                            overlaps(ptr, bytes, item->src, item->bytes)))
                return true;
            if (item->kind == ITEM_KERNEL && names(item, ptr, (const char *)ptr + bytes))
                return true;
        }
    }
    return false;
}

/* --- running --- */

/* After an error nothing is computed any more, as on a device; memory is given back all the same.
 */
static void run_item(struct cuda_streams *s, struct cuda_item *i)
{
    if (i->kind == ITEM_FREE) {
        if (cuda_streams_uses(s, i->dst, i->bytes)) {
            fputs("cuda double: memory is given back that is used later\n", stderr);
            abort();
        }
        memset(i->dst, 0xff, i->bytes < SPOILT ? i->bytes : SPOILT);
        free(i->dst);
    }
    if (s->error)
        return;
    if (i->kind == ITEM_POISON)
        memset(i->dst, 0xff, i->bytes);
    else if (i->kind == ITEM_COPY)
        memcpy(i->dst, i->src, i->bytes);
    else if (i->kind == ITEM_KERNEL)
        s->error = i->fails ? 700 : i->launcher(cuda_item_args(i), NULL);
}

static bool may_run(const struct cuda_streams *s, enum wf_stream stream)
{
    const struct cuda_item *i = s->stream[stream].first;
    return i && (i->kind != ITEM_WAIT || cuda_streams_passed(s, i->event));
}

static void run_first(struct cuda_streams *s, enum wf_stream stream)
{
    struct cuda_item *i = s->stream[stream].first;
    s->stream[stream].first = i->next;
    if (!i->next)
        s->stream[stream].end = &s->stream[stream].first;
    run_item(s, i);
    note_item(s, stream, i);
    s->stream[stream].ran = i->index;
    free(i);
}

static void run_early(struct cuda_streams *s)
{
    for (bool ran = true; ran;) {
        ran = false;
        for (int i = 0; i < WF_STREAMS; i++) {
            while (may_run(s, (enum wf_stream)i) &&
                   (i != WF_STREAM_COMPUTE || s->stream[i].first->kind != ITEM_KERNEL)) {
                run_first(s, (enum wf_stream)i);
                ran = true;
            }
        }
    }
}

static void run_randomly(struct cuda_streams *s)
{
    for (;;) {
        s->random = s->random * 6364136223846793005u + 1442695040888963407u;
        const enum wf_stream stream = (enum wf_stream)((s->random >> 33) % WF_STREAMS);
        if ((s->random >> 40) % 5 < 2)
            return;
        if (may_run(s, stream))
            run_first(s, stream);
    }
}

void cuda_streams_turn(struct cuda_streams *s)
{
    if (s->schedule == CUDA_EARLY)
        run_early(s);
    else if (s->schedule == CUDA_RANDOM)
        run_randomly(s);
}

/* An event is older than what waits for it, so this comes to an end. */
void cuda_streams_force(struct cuda_streams *s, uint64_t event)
{
    const struct event e = event_of(s, event);
    while (s->stream[e.stream].ran < e.index) {
        const struct cuda_item *first = s->stream[e.stream].first;
        if (first->kind == ITEM_WAIT && !cuda_streams_passed(s, first->event))
            cuda_streams_force(s, first->event);
        else
            run_first(s, e.stream);
        cuda_streams_turn(s);
    }
}
