/* Chunks along time, for families whose decoder looks both ways: neighbouring chunks share frames,
   which are blended in the order of the chunks so that no chunk edge shows. Ranges and weights
   alone; whoever decodes the chunks blends them:

       out = (1 - w) out + w new    on each frame of a chunk, w as wf_chunks_weight says */
#ifndef WEFT_TEMPORAL_CHUNKS_H
#define WEFT_TEMPORAL_CHUNKS_H

#include <stdint.h>

#include "kernels/base/status.h"

/* As wf_chunks_init left it. Chunks start every size - overlap frames. With an overlap the last one
   starts earlier than that where it would be short, so that each has its full size; without one the
   last is short. A clip no longer than a chunk is one chunk. */
struct wf_chunks {
    int64_t frames;  /* of the clip */
    int64_t size;    /* of a chunk, in frames; may be more than the clip has */
    int64_t overlap; /* frames that a chunk shares with the one before, below size */
    int64_t count;   /* of chunks */
};

/* frames is 1 or more. WF_REFUSED, with the nearest value that would do, where size is below 1 or
   overlap is not within 0..size-1. */
enum wf_status wf_chunks_init(struct wf_chunks *chunks, int64_t frames, int64_t size,
                              int64_t overlap, struct wf_error *err);

/* Frames first .. first + count - 1 of the clip. */
struct wf_chunk {
    int64_t first, count;
};

/* In all of these 0 <= i < count. */
struct wf_chunk wf_chunks_range(const struct wf_chunks *chunks, int64_t i);
/* Frames at the start of chunk i that were decoded before. For the last one that may be more than
   overlap; 0 for the first. */
int64_t wf_chunks_shared(const struct wf_chunks *chunks, int64_t i);
/* The weight of frame j of chunk i, 0 <= j < its frames: (j + 1/2) / s on the s shared ones, there
   always above 0 and below 1; 1 on the others. */
double wf_chunks_weight(const struct wf_chunks *chunks, int64_t i, int64_t j);
/* Frames, from the clip's start, that no chunk after i changes. */
int64_t wf_chunks_final(const struct wf_chunks *chunks, int64_t i);

#endif
