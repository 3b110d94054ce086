/* A CUDA runtime for tests, in the place of kernels/cuda/driver.c: memory is the host's, streams
   are queues of what was asked for, and nothing runs before its schedule lets it. What lacks a wait
   then reads NaN, or what was there before.

   Its libraries are in cuda_double_library.c. Settings hold for the device that is opened next;
   one at a time is open. */
#ifndef WEFT_TESTS_CUDA_DOUBLE_H
#define WEFT_TESTS_CUDA_DOUBLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/cuda/driver.h"

enum cuda_schedule {
    CUDA_LATE,   /* nothing runs until the host waits for it, or another stream that must run */
    CUDA_EARLY,  /* all but the compute stream's kernels runs as soon as its waits allow it */
    CUDA_RANDOM, /* with each call, here and there */
    CUDA_SCHEDULES
};

struct cuda_double {
    enum cuda_schedule schedule;
    uint64_t seed;    /* of CUDA_RANDOM */
    size_t memory;    /* bytes of the device; 0: 64 GiB */
    bool no_graphs;   /* cuDNN takes nothing */
    bool no_products; /* nor does cuBLASLt, but attention's */
    long fail_launch; /* that one fails, counted from 1; 0: none */
    bool fails_late;  /* when it runs, so that a later call tells; else at once */
    long fail_plan;   /* the search for that plan fails, counted from 1; 0: none */
    int devices;      /* that are there; 0: one */
};

/* What is set here is the next device's. */
extern struct cuda_double cuda_double;

/* What happened, in the order in which it ran. */
enum cuda_kind {
    CUDA_COPY,
    CUDA_KERNEL,
    CUDA_WAIT, /* of a stream, for an event */
    CUDA_JOIN, /* of the host, for an event that had not passed, or a copy of memory not pinned */
};

struct cuda_trace {
    enum cuda_kind kind;
    enum wf_stream stream;
    uint64_t index;              /* among all that was queued on the stream */
    bool main;                   /* JOIN: by the thread that opened the device */
    enum wf_stream event_stream; /* WAIT, JOIN: the event comes after what has */
    uint64_t event_index;        /*   this index and less on that stream */
};

/* Of the device that was opened last, closed or not; the double's own until another is opened. */
const struct cuda_trace *cuda_double_trace(size_t *count);
void cuda_double_forget(void); /* frees the trace */
/* Of the device that was opened last. */
long cuda_double_launches(void);
long cuda_double_plans(void); /* that were asked for */

#endif
