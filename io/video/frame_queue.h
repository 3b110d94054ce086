/* Frames on their way from the thread that makes them to the one that writes them: a queue bounded
   in bytes. One producer, one consumer. */
#ifndef WEFT_IO_VIDEO_FRAME_QUEUE_H
#define WEFT_IO_VIDEO_FRAME_QUEUE_H

#include <stdbool.h>
#include <stddef.h>

#include "kernels/base/mem.h"
#include "kernels/base/status.h"

struct wf_frame_queue;

/* Asked some ten times a second by a call that waits; true ends the wait with WF_CANCELLED. */
struct wf_frame_stop {
    bool (*asked)(void *context); /* NULL: never */
    void *context;
};

/* At most limit_bytes of frames wait (one at least fits), beside the one that is being written.
   Buffers are taken as they are needed and used again. */
enum wf_status wf_frame_queue_open(size_t frame_bytes, size_t limit_bytes,
                                   struct wf_frame_stop stop, struct wf_mem *mem,
                                   struct wf_frame_queue **queue, struct wf_error *err);
/* Both threads are through with it; NULL is allowed. */
void wf_frame_queue_close(struct wf_frame_queue **queue);

/* Producer: a buffer to fill, once there is room. Fails as the consumer failed. */
enum wf_status wf_frame_queue_room(struct wf_frame_queue *queue, void **buffer,
                                   struct wf_error *err);
/* Producer: the buffer is filled and goes to the end of the queue. */
void wf_frame_queue_put(struct wf_frame_queue *queue, void *buffer);
/* Producer: no frame will follow; with drop those that wait are not written either. */
void wf_frame_queue_end(struct wf_frame_queue *queue, bool drop);
/* Producer, after the end: waits for the consumer and returns what it reported. */
enum wf_status wf_frame_queue_wait(struct wf_frame_queue *queue, struct wf_error *err);

/* Either, or after both: bytes of frames that waited at most, and that may wait. */
void wf_frame_queue_peak(struct wf_frame_queue *queue, size_t *peak_bytes, size_t *limit_bytes);

/* Consumer: the next frame, waiting for one; NULL after the end. */
void *wf_frame_queue_take(struct wf_frame_queue *queue);
void wf_frame_queue_give_back(struct wf_frame_queue *queue, void *buffer);
bool wf_frame_queue_dropped(struct wf_frame_queue *queue);
/* Consumer: takes no more, for good or (status) because it failed. */
void wf_frame_queue_done(struct wf_frame_queue *queue, enum wf_status status,
                         const struct wf_error *err);

#endif
