/* Weights from files to rooms, by a thread of its own: pieces are read into pinned memory, copied
   to the device on a stream of their own, and there converted and laid out by a kernel. So the
   reading, the link and the products go on beside each other. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kernels/cuda/cuda.h"
#include "kernels/cuda/own/own.h"

enum { SLOTS = 4, SLOT_BYTES = 16 << 20, READERS = 4, READ_APART = 1 << 20 };

/* A parameter on its way. */
struct wf_load {
    struct wf_load *next;
    struct wf_own_load layout; /* of all its values; dst: its room */
    void *bf16;                /* a second copy, rounded; NULL: none */
    size_t padding;            /* bytes of zeros behind its values */
    const struct wf_source *source;
    uint64_t free_event;  /* the last reader of its room */
    uint64_t ready_event; /* the last piece */
    bool done, dropped;
    enum wf_status status;
    struct wf_error err;
};

struct wf_loader {
    struct wf_backend *be;
    struct wf_driver *driver;
    pthread_t thread;
    pthread_mutex_t lock; /* of what follows, and of the members of loads that change */
    pthread_cond_t changed;
    struct wf_load *first, **end; /* in the order of load_begin; the first is being loaded */
    bool closing, started;

    struct {
        unsigned char *host, *device;
        uint64_t event; /* both may be written again behind it */
    } slots[SLOTS];
    int next;
};

/* --- a piece --- */

/* Large pieces by several threads: a file in the page cache is copied by the processor. */
static enum wf_status read_piece(const struct wf_source *src, uint64_t offset, unsigned char *dst,
                                 size_t bytes, struct wf_error *err)
{
    const size_t parts = bytes / READ_APART;
    const int readers = parts < 1 ? 1 : parts < READERS ? (int)parts : READERS;
    const size_t part = bytes / (size_t)readers / 64 * 64;
    enum wf_status status[READERS];
    struct wf_error each[READERS];
#pragma omp parallel for num_threads(readers)
    for (int i = 0; i < readers; i++) {
        const size_t at = (size_t)i * part, n = i + 1 < readers ? part : bytes - at;
        status[i] = wf_source_read(src, offset + at, dst + at, n, &each[i]);
    }
    for (int i = 0; i < readers; i++) {
        if (status[i] != WF_OK) {
            *err = each[i];
            return status[i];
        }
    }
    return WF_OK;
}

static enum wf_status device_failed(struct wf_load *load, int code)
{
    return code ? wf_fail(&load->err, WF_FAILED, "cuda: loading weights: %s", wf_driver_text(code))
                : WF_OK;
}

/* Both copies of a VECTOR come of the same values. */
static int lay_out(struct wf_driver *driver, const struct wf_load *load, int64_t first,
                   int64_t count, const void *device)
{
    struct wf_own_load args = load->layout;
    args.src = device;
    args.first = first;
    args.count = count;
    int code = wf_driver_launch(driver, WF_STREAM_WEIGHTS, wf_own_load, &args, sizeof args);
    if (code == 0 && load->bf16) {
        args.dst = load->bf16;
        args.to = WF_BF16;
        code = wf_driver_launch(driver, WF_STREAM_WEIGHTS, wf_own_load, &args, sizeof args);
    }
    return code;
}

static enum wf_status move_piece(struct wf_loader *l, struct wf_load *load, int64_t first,
                                 int64_t count)
{
    const size_t each = wf_dtype_bytes(load->source->dtype);
    const int slot = l->next;
    l->next = (slot + 1) % SLOTS;
    WF_TRY(device_failed(load, wf_driver_join(l->driver, l->slots[slot].event)));
    WF_TRY(read_piece(load->source, (uint64_t)first * each, l->slots[slot].host,
                      (size_t)count * each, &load->err));
    int code = wf_driver_copy(l->driver, WF_STREAM_WEIGHTS, l->slots[slot].device,
                              l->slots[slot].host, (size_t)count * each);
    if (code == 0)
        code = lay_out(l->driver, load, first, count, l->slots[slot].device);
    if (code == 0)
        code = wf_driver_record(l->driver, WF_STREAM_WEIGHTS, &l->slots[slot].event);
    return device_failed(load, code);
}

static bool is_dropped(struct wf_loader *l, const struct wf_load *load)
{
    pthread_mutex_lock(&l->lock);
    const bool dropped = load->dropped;
    pthread_mutex_unlock(&l->lock);
    return dropped;
}

static enum wf_status move_all(struct wf_loader *l, struct wf_load *load)
{
    const size_t each = wf_dtype_bytes(load->source->dtype);
    const int64_t values = (int64_t)(load->source->bytes / each);
    /* Whole kernels of an UPCONV, and whole quads. */
    const int64_t most = SLOT_BYTES / (int64_t)each / 72 * 72;
    int code = wf_driver_wait(l->driver, WF_STREAM_WEIGHTS, load->free_event);
    if (code == 0 && load->padding) {
        const struct wf_own_fill zeros = {(unsigned char *)load->layout.dst +
                                              (size_t)values * wf_dtype_bytes(load->layout.to),
                                          (int64_t)load->padding, 0};
        code = wf_driver_launch(l->driver, WF_STREAM_WEIGHTS, wf_own_fill, &zeros, sizeof zeros);
    }
    WF_TRY(device_failed(load, code));
    for (int64_t done = 0; done < values && !is_dropped(l, load); done += most)
        WF_TRY(move_piece(l, load, done, values - done < most ? values - done : most));
    return device_failed(load, wf_driver_record(l->driver, WF_STREAM_WEIGHTS, &load->ready_event));
}

/* --- the thread --- */

static void *run(void *context)
{
    struct wf_loader *l = context;
    pthread_mutex_lock(&l->lock);
    for (;;) {
        while (!l->first && !l->closing)
            pthread_cond_wait(&l->changed, &l->lock);
        struct wf_load *load = l->first;
        if (!load)
            break;
        pthread_mutex_unlock(&l->lock);
        const enum wf_status status = move_all(l, load);
        pthread_mutex_lock(&l->lock);
        load->status = status;
        load->done = true;
        l->first = load->next;
        if (!l->first)
            l->end = &l->first;
        pthread_cond_broadcast(&l->changed);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

static enum wf_status take_slots(struct wf_loader *l)
{
    for (int i = 0; i < SLOTS; i++) {
        l->slots[i].host = wf_cuda_take_host(l->be, WF_MEM_ACTIVATIONS, SLOT_BYTES);
        l->slots[i].device = wf_cuda_take(l->be, WF_MEM_ACTIVATIONS, SLOT_BYTES);
        if (!l->slots[i].host || !l->slots[i].device)
            return wf_fail_memory(l->be->err, "cuda: staging of weights", SLOT_BYTES);
    }
    return WF_OK;
}

/* The staging was taken in the compute stream's order. */
static enum wf_status start(struct wf_loader *l)
{
    uint64_t taken;
    int code = wf_driver_record(l->driver, WF_STREAM_COMPUTE, &taken);
    if (code == 0)
        code = wf_driver_wait(l->driver, WF_STREAM_WEIGHTS, taken);
    WF_TRY(wf_cuda_check(l->be, "the start", code));
    l->started = pthread_create(&l->thread, NULL, run, l) == 0;
    return l->started ? WF_OK
                      : wf_fail(l->be->err, WF_FAILED,
                                "cuda: the thread that loads weights cannot "
                                "be started; allow more threads");
}

enum wf_status wf_loader_open(struct wf_backend *be, struct wf_loader **loader)
{
    struct wf_loader *l = calloc(1, sizeof *l);
    *loader = NULL;
    if (!l)
        return wf_fail_memory(be->err, "cuda", sizeof *l);
    l->be = be;
    l->driver = wf_cuda_of(be)->driver;
    l->end = &l->first;
    if (pthread_mutex_init(&l->lock, NULL) != 0 || pthread_cond_init(&l->changed, NULL) != 0) {
        free(l);
        return wf_fail_memory(be->err, "cuda", 0);
    }
    enum wf_status status = take_slots(l);
    if (status == WF_OK)
        status = start(l);
    if (status != WF_OK)
        wf_loader_close(&l);
    *loader = l;
    return status;
}

void wf_loader_close(struct wf_loader **loader)
{
    struct wf_loader *l = *loader;
    uint64_t last;
    if (!l)
        return;
    pthread_mutex_lock(&l->lock);
    l->closing = true;
    pthread_cond_broadcast(&l->changed);
    pthread_mutex_unlock(&l->lock);
    if (l->started)
        pthread_join(l->thread, NULL);
    /* Of a piece that failed midway the copy may be queued, without an event of its slot. */
    if (wf_driver_record(l->driver, WF_STREAM_WEIGHTS, &last) == 0)
        (void)wf_driver_join(l->driver, last);
    for (int i = 0; i < SLOTS; i++) {
        wf_cuda_give(l->be, l->slots[i].host);
        wf_cuda_give(l->be, l->slots[i].device);
    }
    (void)pthread_cond_destroy(&l->changed);
    (void)pthread_mutex_destroy(&l->lock);
    free(l);
    *loader = NULL;
}

/* --- the caller's side --- */

static void describe(const struct wf_backend *be, const struct wf_param *p, struct wf_load *load)
{
    const enum wf_dtype type = p->kind == WF_PARAM_VECTOR ? WF_F32 : wf_operand_type(be, p);
    load->source = p->source;
    load->layout = (struct wf_own_load){.from = p->source->dtype, .to = type, .dst = p->room};
    memcpy(load->layout.dim, p->dim, sizeof p->dim);
    load->layout.layout = p->kind == WF_PARAM_CONV     ? WF_OWN_CONV
                          : p->kind == WF_PARAM_UPCONV ? WF_OWN_UPCONV
                                                       : WF_OWN_DENSE;
    struct wf_param there = *p; /* as it will be */
    there.tensor.data = p->room;
    if (p->kind == WF_PARAM_VECTOR && be->compute == WF_BF16)
        load->bf16 = (void *)(uintptr_t)wf_cuda_vector_bf16(&there);
    if (p->kind == WF_PARAM_CONV)
        load->padding = (size_t)(wf_cuda_conv_rows(be, p) - p->dim[0]) *
                        (size_t)(p->dim[1] * p->dim[2] * p->dim[3] * p->dim[4]) *
                        wf_dtype_bytes(type);
}

enum wf_status wf_loader_begin(struct wf_loader *l, struct wf_backend *be, const struct wf_param *p,
                               struct wf_load **out)
{
    struct wf_load *load = calloc(1, sizeof *load);
    *out = NULL;
    if (!load)
        return wf_fail_memory(be->err, "cuda", sizeof *load);
    describe(be, p, load);
    const enum wf_status status = wf_cuda_check(
        be, "load", wf_driver_record(l->driver, WF_STREAM_COMPUTE, &load->free_event));
    if (status != WF_OK) {
        free(load);
        return status;
    }
    pthread_mutex_lock(&l->lock);
    *l->end = load;
    l->end = &load->next;
    pthread_cond_broadcast(&l->changed);
    pthread_mutex_unlock(&l->lock);
    *out = load;
    return WF_OK;
}

/* cancel NULL: to the end. A load that is cancelled ends with its piece. */
static void wait_for(struct wf_loader *l, struct wf_load *load, const atomic_bool *cancel)
{
    enum { LOOK = 20000000 }; /* nanoseconds from a look at cancel to the next */
    struct timespec until;
    pthread_mutex_lock(&l->lock);
    while (!load->done) {
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += LOOK;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        (void)pthread_cond_timedwait(&l->changed, &l->lock, &until);
        load->dropped |= cancel && atomic_load(cancel);
    }
    pthread_mutex_unlock(&l->lock);
}

/* The compute stream's waiting counts as loading. */
static int come_after(struct wf_loader *l, struct wf_backend *be, const struct wf_load *load)
{
    const int code = wf_cuda_begin_kind(be, WF_KIND_LOAD);
    return code ? code : wf_driver_wait(l->driver, WF_STREAM_COMPUTE, load->ready_event);
}

enum wf_status wf_loader_end(struct wf_loader *l, struct wf_backend *be, struct wf_load *load)
{
    wait_for(l, load, be->cancel);
    enum wf_status status = load->status;
    if (status != WF_OK)
        *be->err = load->err;
    else if (load->dropped)
        status = wf_fail_cancelled(be->err);
    else
        status = wf_cuda_check(be, "load", come_after(l, be, load));
    free(load);
    return status;
}

/* What is being read goes on to the end of its piece. */
void wf_loader_drop(struct wf_loader *l, struct wf_load *load)
{
    pthread_mutex_lock(&l->lock);
    load->dropped = true;
    pthread_mutex_unlock(&l->lock);
    wait_for(l, load, NULL);
    free(load);
}
