/* The UMT5 encoder (Wan's text encoder), as transformers' UMT5EncoderModel computes it. */
#ifndef WEFT_ENGINE_ENCODERS_UMT5_H
#define WEFT_ENGINE_ENCODERS_UMT5_H

#include "io/weights/residency.h"
#include "kernels/base/arena.h"

struct wf_umt5;

/* Reads the folder's config.json and finds and checks every weight; loads none. The residency is
   the caller's, empty so far, and is closed before the encoder. */
enum wf_status wf_umt5_open(struct wf_residency *res, struct wf_mem *mem, struct wf_umt5 **enc,
                            struct wf_error *err);
void wf_umt5_close(struct wf_umt5 **enc);
int wf_umt5_width(const struct wf_umt5 *enc); /* d_model */
int wf_umt5_vocabulary(const struct wf_umt5 *enc);

struct wf_umt5_text {
    const int32_t *ids; /* real tokens */
    int count;
    struct wf_tensor out; /* [count,d_model] f32, to be filled */
};

/* out = last_hidden_state of the real tokens. Padding is not computed: masked keys weigh exactly
   nothing and positions are relative. All texts pass a layer before the next is loaded; where
   weights are given back at all, a layer is given back then. */
enum wf_status wf_umt5_encode(struct wf_umt5 *enc, const struct wf_umt5_text *texts, int text_count,
                              struct wf_arena *arena, struct wf_error *err);

/* The row of the relative position table for a key that lies offset tokens after its query. */
int wf_umt5_bucket(int64_t offset, int64_t buckets, int64_t max_distance);

#endif
