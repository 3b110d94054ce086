#include "temporal/causal_cache.h"

/* A dense tensor from the pool. */
static enum wf_status take(struct wf_pool *pool, struct wf_backend *be, struct wf_tensor *t)
{
    t->data = wf_pool_take(pool, wf_tensor_bytes(t));
    return t->data ? WF_OK : wf_fail_memory(be->err, "decode", wf_tensor_bytes(t));
}

/* Of whole frames, the pixels of a window. */
static struct wf_tensor window_of(struct wf_tensor frames, struct wf_window at)
{
    const struct wf_tensor rows = wf_tensor_slice(frames, 1, at.h.from, wf_window_height(at));
    return wf_tensor_slice(rows, 2, at.w.from, wf_window_width(at));
}

static bool fits(const struct wf_causal_cache *cache, struct wf_backend *be,
                 const struct wf_param *conv, struct wf_size frame)
{
    const int64_t *dim = cache->frames.dim;
    return dim[1] == frame.height && dim[2] == frame.width && dim[3] == conv->dim[1] &&
           cache->frames.dtype == wf_operand_type(be, conv);
}

enum wf_status wf_causal_begin(const struct wf_causal_cache *cache, struct wf_backend *be,
                               struct wf_pool *pool, const struct wf_param *conv, int64_t count,
                               struct wf_size frame, struct wf_window at,
                               struct wf_causal_input *input)
{
    const int kept = cache->valid;
    if (kept && !fits(cache, be, conv, frame))
        return wf_fail(be->err, WF_FAILED,
                       "causal cache: it is of other frames, or of another device");
    *input = (struct wf_causal_input){.at = at, .pad_front = WF_CAUSAL_FRAMES - kept};
    input->x = wf_tensor_of(
        NULL, wf_operand_type(be, conv),
        WF_DIMS(kept + count, wf_window_height(at), wf_window_width(at), conv->dim[1]));
    WF_TRY(take(pool, be, &input->x));
    input->body = wf_tensor_slice(input->x, 0, kept, count);
    if (!kept)
        return WF_OK;
    const struct wf_tensor frames =
        wf_tensor_slice(cache->frames, 0, WF_CAUSAL_FRAMES - kept, kept);
    return wf_copy(be, &(struct wf_copy){.y = wf_tensor_slice(input->x, 0, 0, kept),
                                         .x = window_of(frames, at)});
}

enum wf_status wf_causal_open(struct wf_causal_cache *cache, struct wf_backend *be,
                              enum wf_dtype dtype, struct wf_size frame, int64_t channels)
{
    struct wf_tensor frames =
        wf_tensor_of(NULL, dtype, WF_DIMS(WF_CAUSAL_FRAMES, frame.height, frame.width, channels));
    frames.data = be->ops.take(be, WF_MEM_CACHE, wf_tensor_bytes(&frames));
    if (!frames.data)
        return wf_fail_memory(be->err, "causal cache", wf_tensor_bytes(&frames));
    cache->frames = frames;
    return WF_OK;
}

/* What of a span no later one has. */
static int64_t own_end(struct wf_span s)
{
    return s.next < s.to ? s.next : s.to;
}

enum wf_status wf_causal_keep(struct wf_causal_cache *cache, struct wf_backend *be,
                              const struct wf_causal_input *input, struct wf_size frame)
{
    const struct wf_tensor *x = &input->x;
    const int valid = x->dim[0] < WF_CAUSAL_FRAMES ? (int)x->dim[0] : WF_CAUSAL_FRAMES;
    struct wf_window own = input->at;
    if (!cache->frames.data)
        WF_TRY(wf_causal_open(cache, be, x->dtype, frame, x->dim[3]));
    if (own.h.next >= frame.height && own.w.next >= frame.width) /* the last of the frame */
        cache->valid = valid;
    own.h.to = own_end(own.h);
    own.w.to = own_end(own.w);
    if (own.h.to <= own.h.from || own.w.to <= own.w.from)
        return WF_OK;
    const struct wf_part newest = {.t = wf_tensor_slice(*x, 0, x->dim[0] - valid, valid),
                                   .at = input->at};
    const struct wf_tensor kept =
        wf_tensor_slice(cache->frames, 0, WF_CAUSAL_FRAMES - valid, valid);
    return wf_copy(be,
                   &(struct wf_copy){.y = window_of(kept, own), .x = wf_part_slice(newest, own)});
}

void wf_causal_end(struct wf_causal_input *input, struct wf_pool *pool)
{
    wf_pool_give(pool, input->x.data);
    input->x.data = NULL;
}

void wf_causal_clear(struct wf_causal_cache *cache, struct wf_backend *be)
{
    if (cache->frames.data)
        be->ops.give(be, cache->frames.data);
    *cache = (struct wf_causal_cache){0};
}

struct wf_tensor wf_causal_seen(const struct wf_causal_input *input, int64_t first, int64_t count,
                                int *pad_front)
{
    const int64_t begin = first - input->pad_front, end = begin + count + WF_CAUSAL_FRAMES;
    *pad_front = begin < 0 ? (int)-begin : 0;
    return wf_tensor_slice(input->x, 0, begin < 0 ? 0 : begin, begin < 0 ? end : end - begin);
}
