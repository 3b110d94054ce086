#include "kernels/cuda/driver.h"

#include <cuda_runtime_api.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

/* Events that can be told apart at a time: an older one has passed. */
enum { EVENTS = 8192 };

struct wf_driver {
    int ordinal;
    struct wf_driver_facts facts;
    cudaStream_t streams[WF_STREAMS];
    cudaEvent_t marks[WF_DRIVER_MARKS];
    pthread_mutex_t lock; /* of what follows */
    cudaEvent_t events[EVENTS];
    uint64_t recorded; /* event i is events[i % EVENTS] */
};

/* Every thread has a device of its own that it calls. */
static int enter(const struct wf_driver *d)
{
    return (int)cudaSetDevice(d->ordinal);
}

static enum wf_status refuse(int code, struct wf_error *err)
{
    if (code == cudaErrorInsufficientDriver)
        return wf_fail(
            err, WF_REFUSED,
            "device: cuda needs an NVIDIA driver for CUDA %d or later, and there is none "
            "or an older one; install it, or use --device cpu",
            CUDART_VERSION / 1000);
    if (code == cudaErrorNoDevice)
        return wf_fail(err, WF_REFUSED, "device: the NVIDIA driver finds no GPU; use --device cpu");
    return wf_fail(err, WF_REFUSED, "device: cuda: %s; use --device cpu",
                   cudaGetErrorString((cudaError_t)code));
}

static enum wf_status look_for(int ordinal, struct wf_error *err)
{
    int count = 0;
    const int code = (int)cudaGetDeviceCount(&count);
    if (code != 0)
        return refuse(code, err);
    if (ordinal >= count)
        return wf_fail(err, WF_REFUSED, "device: there is no cuda:%d; cuda:0 to cuda:%d are there",
                       ordinal, count - 1);
    return WF_OK;
}

static int read_facts(struct wf_driver *d)
{
    struct cudaDeviceProp p;
    struct wf_driver_facts *f = &d->facts;
    int code = (int)cudaGetDeviceProperties(&p, d->ordinal);
    if (code == 0)
        code = (int)cudaMemGetInfo(&f->free, &f->memory);
    if (code == 0)
        code = (int)cudaDriverGetVersion(&f->driver_version);
    if (code == 0)
        code = (int)cudaRuntimeGetVersion(&f->cuda_version);
    if (code != 0)
        return code;
    snprintf(f->name, sizeof f->name, "%.*s", (int)sizeof f->name - 1, p.name);
    f->major = p.major;
    f->minor = p.minor;
    f->processors = p.multiProcessorCount;
    f->threads = p.maxThreadsPerMultiProcessor;
    return 0;
}

/* Memory that was given back is kept for the next take: the operating system's is slow. */
static int keep_memory(const struct wf_driver *d)
{
    cudaMemPool_t pool;
    uint64_t all = UINT64_MAX;
    const int code = (int)cudaDeviceGetDefaultMemPool(&pool, d->ordinal);
    return code ? code : (int)cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &all);
}

static void give_back_memory(const struct wf_driver *d)
{
    cudaMemPool_t pool;
    if (cudaDeviceGetDefaultMemPool(&pool, d->ordinal) == cudaSuccess)
        (void)cudaMemPoolTrimTo(pool, 0);
}

static int make_streams(struct wf_driver *d)
{
    int code = 0;
    for (int i = 0; i < WF_STREAMS && code == 0; i++)
        code = (int)cudaStreamCreateWithFlags(&d->streams[i], cudaStreamNonBlocking);
    for (int i = 0; i < EVENTS && code == 0; i++)
        code = (int)cudaEventCreateWithFlags(&d->events[i],
                                             cudaEventDisableTiming | cudaEventBlockingSync);
    for (int i = 0; i < WF_DRIVER_MARKS && code == 0; i++)
        code = (int)cudaEventCreateWithFlags(&d->marks[i], cudaEventDefault);
    return code;
}

enum wf_status wf_driver_open(int ordinal, struct wf_driver **driver, struct wf_error *err)
{
    *driver = NULL;
    WF_TRY(look_for(ordinal, err));
    struct wf_driver *d = calloc(1, sizeof *d);
    if (!d)
        return wf_fail_memory(err, "cuda", sizeof *d);
    d->ordinal = ordinal;
    if (pthread_mutex_init(&d->lock, NULL) != 0) {
        free(d);
        return wf_fail_memory(err, "cuda", 0);
    }
    int code = enter(d);
    if (code == 0)
        code = read_facts(d);
    if (code == 0)
        code = keep_memory(d);
    if (code == 0)
        code = make_streams(d);
    if (code != 0) {
        wf_driver_close(&d);
        return refuse(code, err);
    }
    *driver = d;
    return WF_OK;
}

void wf_driver_close(struct wf_driver **driver)
{
    struct wf_driver *d = *driver;
    if (!d)
        return;
    (void)enter(d);
    for (int i = 0; i < WF_STREAMS; i++) {
        if (!d->streams[i])
            continue;
        (void)cudaStreamSynchronize(d->streams[i]);
        (void)cudaStreamDestroy(d->streams[i]);
    }
    give_back_memory(d);
    for (int i = 0; i < EVENTS; i++) {
        if (d->events[i])
            (void)cudaEventDestroy(d->events[i]);
    }
    for (int i = 0; i < WF_DRIVER_MARKS; i++) {
        if (d->marks[i])
            (void)cudaEventDestroy(d->marks[i]);
    }
    (void)pthread_mutex_destroy(&d->lock);
    free(d);
    *driver = NULL;
}

const struct wf_driver_facts *wf_driver_facts(const struct wf_driver *d)
{
    return &d->facts;
}

const char *wf_driver_text(int code)
{
    return cudaGetErrorString((cudaError_t)code);
}

/* --- memory --- */

void *wf_driver_take(struct wf_driver *d, size_t bytes)
{
    void *ptr = NULL;
    if (enter(d) != 0 ||
        cudaMallocAsync(&ptr, bytes ? bytes : 1, d->streams[WF_STREAM_COMPUTE]) != cudaSuccess) {
        (void)cudaGetLastError(); /* it is told here, and not by a later call */
        return NULL;
    }
    return ptr;
}

void wf_driver_give(struct wf_driver *d, void *ptr)
{
    if (ptr && enter(d) == 0)
        (void)cudaFreeAsync(ptr, d->streams[WF_STREAM_COMPUTE]);
}

void *wf_driver_take_host(struct wf_driver *d, size_t bytes)
{
    void *ptr = NULL;
    if (enter(d) != 0 ||
        cudaHostAlloc(&ptr, bytes ? bytes : 1, cudaHostAllocPortable) != cudaSuccess) {
        (void)cudaGetLastError();
        return NULL;
    }
    return ptr;
}

void wf_driver_give_host(struct wf_driver *d, void *ptr)
{
    if (ptr && enter(d) == 0)
        (void)cudaFreeHost(ptr);
}

/* --- streams --- */

int wf_driver_copy(struct wf_driver *d, enum wf_stream stream, void *dst, const void *src,
                   size_t bytes)
{
    const int code = enter(d);
    return code ? code
                : (int)cudaMemcpyAsync(dst, src, bytes, cudaMemcpyDefault, d->streams[stream]);
}

int wf_driver_record(struct wf_driver *d, enum wf_stream stream, uint64_t *event)
{
    int code = enter(d);
    pthread_mutex_lock(&d->lock);
    cudaEvent_t *place = &d->events[(d->recorded + 1) % EVENTS];
    if (code == 0 && d->recorded + 1 > EVENTS)
        code = (int)cudaEventSynchronize(*place); /* so that an event of a former turn has passed */
    if (code == 0)
        code = (int)cudaEventRecord(*place, d->streams[stream]);
    *event = ++d->recorded;
    pthread_mutex_unlock(&d->lock);
    return code;
}

/* NULL: it has passed, because its place was taken by another. */
static cudaEvent_t find(struct wf_driver *d, uint64_t event)
{
    pthread_mutex_lock(&d->lock);
    const bool current = event && event + EVENTS > d->recorded;
    pthread_mutex_unlock(&d->lock);
    return current ? d->events[event % EVENTS] : NULL;
}

int wf_driver_wait(struct wf_driver *d, enum wf_stream stream, uint64_t event)
{
    const cudaEvent_t e = find(d, event);
    const int code = enter(d);
    return code || !e ? code : (int)cudaStreamWaitEvent(d->streams[stream], e, 0);
}

int wf_driver_join(struct wf_driver *d, uint64_t event)
{
    const cudaEvent_t e = find(d, event);
    const int code = enter(d);
    return code || !e ? code : (int)cudaEventSynchronize(e);
}

bool wf_driver_passed(struct wf_driver *d, uint64_t event)
{
    const cudaEvent_t e = find(d, event);
    return !e || enter(d) != 0 || cudaEventQuery(e) != cudaErrorNotReady;
}

int wf_driver_mark(struct wf_driver *d, int place)
{
    const int code = enter(d);
    return code ? code : (int)cudaEventRecord(d->marks[place], d->streams[WF_STREAM_COMPUTE]);
}

int wf_driver_between(struct wf_driver *d, int from, int to, double *seconds)
{
    float milliseconds = 0;
    int code = enter(d);
    if (code == 0)
        code = (int)cudaEventSynchronize(d->marks[to]);
    if (code == 0)
        code = (int)cudaEventElapsedTime(&milliseconds, d->marks[from], d->marks[to]);
    *seconds = (double)milliseconds * 1e-3;
    return code;
}

int wf_driver_launch(struct wf_driver *d, enum wf_stream stream, wf_launcher *launcher,
                     const void *args, size_t bytes)
{
    const int code = enter(d);
    (void)bytes;
    return code ? code : launcher(args, d->streams[stream]);
}
