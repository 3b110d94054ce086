#include "temporal/chunks.h"

#include <float.h>
#include <math.h>

static enum wf_status check(int64_t size, int64_t overlap, struct wf_error *err)
{
    if (size < 1)
        return wf_fail(err, WF_REFUSED,
                       "decode-chunk-size: %lld is below 1 frame; the nearest is 1",
                       (long long)size);
    if (overlap < 0)
        return wf_fail(err, WF_REFUSED, "chunk-overlap: %lld is below 0 frames; the nearest is 0",
                       (long long)overlap);
    if (overlap >= size)
        return wf_fail(
            err, WF_REFUSED,
            "chunk-overlap: %lld is not below the chunk of %lld frame%s; the nearest is %lld",
            (long long)overlap, (long long)size, size == 1 ? "" : "s", (long long)(size - 1));
    return WF_OK;
}

enum wf_status wf_chunks_init(struct wf_chunks *chunks, int64_t frames, int64_t size,
                              int64_t overlap, struct wf_error *err)
{
    if (frames < 1)
        return wf_fail(err, WF_FAILED, "decode: a clip of %lld frames", (long long)frames);
    WF_TRY(check(size, overlap, err));
    const int64_t stride = size - overlap, rest = frames > size ? frames - size : 0;
    *chunks = (struct wf_chunks){.frames = frames,
                                 .size = size,
                                 .overlap = overlap,
                                 .count = 1 + rest / stride + (rest % stride != 0)};
    return WF_OK;
}

struct wf_chunk wf_chunks_range(const struct wf_chunks *chunks, int64_t i)
{
    const int64_t frames = chunks->frames, size = chunks->size;
    if (size >= frames)
        return (struct wf_chunk){0, frames};
    const int64_t first = i * (size - chunks->overlap);
    if (first <= frames - size)
        return (struct wf_chunk){first, size};
    return chunks->overlap ? (struct wf_chunk){frames - size, size}
                           : (struct wf_chunk){first, frames - first};
}

int64_t wf_chunks_shared(const struct wf_chunks *chunks, int64_t i)
{
    if (i == 0)
        return 0;
    const struct wf_chunk before = wf_chunks_range(chunks, i - 1);
    return before.first + before.count - wf_chunks_range(chunks, i).first;
}

double wf_chunks_weight(const struct wf_chunks *chunks, int64_t i, int64_t j)
{
    const int64_t shared = wf_chunks_shared(chunks, i);
    if (j >= shared)
        return 1;
    return fmin(((double)j + 0.5) / (double)shared, 1 - DBL_EPSILON);
}

int64_t wf_chunks_final(const struct wf_chunks *chunks, int64_t i)
{
    return i + 1 < chunks->count ? wf_chunks_range(chunks, i + 1).first : chunks->frames;
}
