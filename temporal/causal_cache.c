#include "temporal/causal_cache.h"

#include "kernels/base/arena.h"

enum wf_status wf_causal_begin(const struct wf_causal_cache *cache, struct wf_backend *be,
                               struct wf_arena *arena, const struct wf_param *conv,
                               const int64_t dims[4], struct wf_causal_input *input)
{
    const int kept = cache->valid;
    WF_TRY(wf_tensor_new(arena, wf_operand_type(be, conv), &input->x, be->err,
                         WF_DIMS(kept + dims[0], dims[1], dims[2], dims[3])));
    input->body = wf_tensor_slice(input->x, 0, kept, dims[0]);
    input->pad_front = WF_CAUSAL_FRAMES - kept;
    if (!kept)
        return WF_OK;
    return wf_copy(be, &(struct wf_copy){
                           .y = wf_tensor_slice(input->x, 0, 0, kept),
                           .x = wf_tensor_slice(cache->frames, 0, WF_CAUSAL_FRAMES - kept, kept)});
}

enum wf_status wf_causal_keep(struct wf_causal_cache *cache, struct wf_backend *be,
                              const struct wf_causal_input *input)
{
    const struct wf_tensor *x = &input->x;
    if (!cache->frames.data) {
        struct wf_tensor frames = wf_tensor_of(
            NULL, x->dtype, WF_DIMS(WF_CAUSAL_FRAMES, x->dim[1], x->dim[2], x->dim[3]));
        frames.data = be->ops.take(be, WF_MEM_CACHE, wf_tensor_bytes(&frames));
        if (!frames.data)
            return wf_fail_memory(be->err, "causal cache", wf_tensor_bytes(&frames));
        cache->frames = frames;
    }
    const int valid = x->dim[0] < WF_CAUSAL_FRAMES ? (int)x->dim[0] : WF_CAUSAL_FRAMES;
    cache->valid = valid;
    return wf_copy(be, &(struct wf_copy){
                           .y = wf_tensor_slice(cache->frames, 0, WF_CAUSAL_FRAMES - valid, valid),
                           .x = wf_tensor_slice(*x, 0, x->dim[0] - valid, valid)});
}

void wf_causal_clear(struct wf_causal_cache *cache, struct wf_backend *be)
{
    if (cache->frames.data)
        be->ops.give(be, cache->frames.data);
    *cache = (struct wf_causal_cache){0};
}
