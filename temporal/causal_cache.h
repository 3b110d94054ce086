/* The frames that a causal convolution has to see again: the last two that went into it. A clip
   decoded in chunks of any length is then the clip decoded whole. */
#ifndef WEFT_TEMPORAL_CAUSAL_CACHE_H
#define WEFT_TEMPORAL_CAUSAL_CACHE_H

#include "kernels/backend.h"

struct wf_arena;

enum { WF_CAUSAL_FRAMES = 2 }; /* for kernels of three frames */

/* Zeroed: empty. */
struct wf_causal_cache {
    struct wf_tensor frames; /* [2,H,W,C]; data NULL until the first use */
    int valid;               /* of them, the newest ones, at the end */
};

/* A convolution's input: what was kept, followed by room for the new frames. */
struct wf_causal_input {
    struct wf_tensor x;    /* [kept + new,H,W,C], dense */
    struct wf_tensor body; /* the new frames, to be filled */
    int pad_front;         /* zero frames that stand before x */
};

/* Takes the room for the convolution's input from the arena, in the type that it takes, and copies
   the kept frames in front. */
enum wf_status wf_causal_begin(const struct wf_causal_cache *cache, struct wf_backend *be,
                               struct wf_arena *arena, const struct wf_param *conv,
                               const int64_t dims[4], struct wf_causal_input *input);
/* Keeps the last frames of a filled input for the next chunk. */
enum wf_status wf_causal_keep(struct wf_causal_cache *cache, struct wf_backend *be,
                              const struct wf_causal_input *input);
void wf_causal_clear(struct wf_causal_cache *cache, struct wf_backend *be);

#endif
