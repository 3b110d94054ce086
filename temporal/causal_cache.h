/* The frames that a causal convolution has to see again: the last two that went into it. A clip
   decoded in chunks of any length is then the clip decoded whole; and where each chunk is computed
   window by window, one cache of whole frames serves all of them. */
#ifndef WEFT_TEMPORAL_CAUSAL_CACHE_H
#define WEFT_TEMPORAL_CAUSAL_CACHE_H

#include "kernels/backend.h"
#include "kernels/base/pool.h"
#include "temporal/window.h"

enum { WF_CAUSAL_FRAMES = 2 }; /* for kernels of three frames */

/* Zeroed: empty. */
struct wf_causal_cache {
    struct wf_tensor frames; /* [2,H,W,C], of whole frames; data NULL until the first use */
    int valid;               /* of them, the newest ones, at the end */
};

/* A convolution's input: what was kept, followed by room for the new frames. */
struct wf_causal_input {
    struct wf_tensor x;    /* [kept + new,h,w,C] of the window, dense */
    struct wf_tensor body; /* the new frames, to be filled */
    int pad_front;         /* zero frames that stand before x */
    struct wf_window at;
};

/* Takes the room for `count` new frames of the convolution's input from the pool, in the type that
   it takes, and copies the kept frames in front. The cache is as the frames before left it for
   every window of the same new frames, in the order of the windows; WF_FAILED where it is not of
   that size of frame and that type, as one from elsewhere may be. */
enum wf_status wf_causal_begin(const struct wf_causal_cache *cache, struct wf_backend *be,
                               struct wf_pool *pool, const struct wf_param *conv, int64_t count,
                               struct wf_size frame, struct wf_window at,
                               struct wf_causal_input *input);
/* Keeps the last frames of a filled input for the next ones, so far as no later window has them
   too: it still wants the old ones, and keeps these itself. */
enum wf_status wf_causal_keep(struct wf_causal_cache *cache, struct wf_backend *be,
                              const struct wf_causal_input *input, struct wf_size frame);
void wf_causal_end(struct wf_causal_input *input, struct wf_pool *pool);
/* Takes the room for whole frames of that type in an empty cache. */
enum wf_status wf_causal_open(struct wf_causal_cache *cache, struct wf_backend *be,
                              enum wf_dtype dtype, struct wf_size frame, int64_t channels);
void wf_causal_clear(struct wf_causal_cache *cache, struct wf_backend *be);

/* Frames first .. first + count - 1 of a convolution of three frames: what of the input they see,
   and the zero frames before that. */
struct wf_tensor wf_causal_seen(const struct wf_causal_input *input, int64_t first, int64_t count,
                                int *pad_front);

#endif
