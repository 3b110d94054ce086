/* The one door to the CUDA runtime. Nothing else of the backend includes its headers but the two
   files that call cuBLASLt and cuDNN, and their calls are queued through here too. So a test can
   put a double of these functions in the place of driver.c, with host memory and closures for
   streams.

   Calls of one stream run in their order; streams run beside each other, and only events order
   them. Every call may be made by any thread. Codes are the runtime's: 0 is success. */
#ifndef WEFT_KERNELS_CUDA_DRIVER_H
#define WEFT_KERNELS_CUDA_DRIVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/base/status.h"

enum wf_stream {
    WF_STREAM_COMPUTE,
    WF_STREAM_WEIGHTS, /* files to rooms */
    WF_STREAM_FRAMES,  /* frames to the host */
    WF_STREAMS
};

struct wf_driver_facts {
    char name[128];
    int major, minor;                 /* 9.0 of an H100 */
    int processors, threads;          /* 132 SMs of 2048 threads each */
    size_t memory, free;              /* bytes; free when it was opened */
    int driver_version, cuda_version; /* 13000 is 13.0 */
};

/* Queues work on a stream: an own kernel's launcher, or a call of a library. args are a copy. */
typedef int wf_launcher(const void *args, void *stream);

struct wf_driver;

/* WF_REFUSED names what is missing: the driver, a device of that number, a newer driver. */
enum wf_status wf_driver_open(int ordinal, struct wf_driver **driver, struct wf_error *err);
void wf_driver_close(struct wf_driver **driver); /* waits for all streams */
const struct wf_driver_facts *wf_driver_facts(const struct wf_driver *driver);
const char *wf_driver_text(int code);

/* Device memory at a multiple of 256, uninitialised; NULL when short. It may be used by the compute
   stream from here on, by other streams behind an event of it. */
void *wf_driver_take(struct wf_driver *driver, size_t bytes);
/* What was queued before on the compute stream still uses it; that comes after what other streams
   do with it. */
void wf_driver_give(struct wf_driver *driver, void *ptr);
/* Pinned host memory; NULL when short. Given back only when no stream uses it any more. */
void *wf_driver_take_host(struct wf_driver *driver, size_t bytes);
void wf_driver_give_host(struct wf_driver *driver, void *ptr);

/* Queues a copy, to or from the device or within it. Host memory that is not pinned is free again
   when the call returns. */
int wf_driver_copy(struct wf_driver *driver, enum wf_stream stream, void *dst, const void *src,
                   size_t bytes);
/* An event: what was queued on the stream so far is done. Numbers are never 0. */
int wf_driver_record(struct wf_driver *driver, enum wf_stream stream, uint64_t *event);
/* What is queued on the stream from here on comes after the event. Event 0: nothing to wait for. */
int wf_driver_wait(struct wf_driver *driver, enum wf_stream stream, uint64_t event);
int wf_driver_join(struct wf_driver *driver, uint64_t event); /* the caller waits */
bool wf_driver_passed(struct wf_driver *driver, uint64_t event);
/* Marks of the compute stream's time, in so many places; a place is marked anew when it was read.
 */
enum { WF_DRIVER_MARKS = 256 };
int wf_driver_mark(struct wf_driver *driver, int place);
/* Seconds of the device from one mark to a later one, which is waited for. */
int wf_driver_between(struct wf_driver *driver, int from, int to, double *seconds);
int wf_driver_launch(struct wf_driver *driver, enum wf_stream stream, wf_launcher *launcher,
                     const void *args, size_t bytes);

#endif
