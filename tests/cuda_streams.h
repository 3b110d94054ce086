/* The queues of the test's CUDA runtime. All but open and close are called with the lock held. */
#ifndef WEFT_TESTS_CUDA_STREAMS_H
#define WEFT_TESTS_CUDA_STREAMS_H

#include "tests/cuda_double.h"

/* What waits in a stream. */
struct cuda_item {
    struct cuda_item *next;
    enum { ITEM_COPY, ITEM_KERNEL, ITEM_WAIT, ITEM_POISON, ITEM_FREE } kind;
    uint64_t index;
    void *dst; /* COPY, POISON, FREE */
    const void *src;
    size_t bytes;
    wf_launcher *launcher; /* KERNEL; its args are behind the item, so many bytes */
    size_t args;
    bool fails;
    uint64_t event; /* WAIT */
};

struct cuda_streams;

struct cuda_streams *cuda_streams_open(const struct cuda_double *settings);
void cuda_streams_close(struct cuda_streams **streams); /* nothing is queued any more */

/* NULL: memory is short. Room for so many bytes of args. */
struct cuda_item *cuda_streams_queue(struct cuda_streams *s, enum wf_stream stream, int kind,
                                     size_t args);
void *cuda_item_args(struct cuda_item *item);
/* Runs what the schedule lets run now; after each queued item is complete. */
void cuda_streams_turn(struct cuda_streams *s);

uint64_t cuda_streams_record(struct cuda_streams *s, enum wf_stream stream);
bool cuda_streams_passed(const struct cuda_streams *s, uint64_t event);
void cuda_streams_force(struct cuda_streams *s, uint64_t event); /* runs until it has passed */
/* Whether what is queued reads or writes there: a copy, or a kernel that has such an address among
   its args. */
bool cuda_streams_uses(const struct cuda_streams *s, const void *ptr, size_t bytes);
int cuda_streams_error(const struct cuda_streams *s); /* of a kernel that ran; it stays */

/* JOIN; the others are noted as they run. */
void cuda_streams_note_join(struct cuda_streams *s, uint64_t event, bool main);

#endif
