/* The attention in the middle of both halves of Stable Video Diffusion's VAE: one head over the
   positions of a frame. */
#ifndef WEFT_VAE_SVD_ATTENTION_H
#define WEFT_VAE_SVD_ATTENTION_H

#include "temporal/group_norm.h"

struct wf_svd_attention {
    struct wf_group_norm norm;
    struct wf_layer q, k, v, out;
};

/* Adds PREFIX's weights, [width,width] each, to the group begun last. keep_f32: it is computed in
   f32 by any backend. */
enum wf_status wf_svd_attention_add(struct wf_residency *res, struct wf_svd_attention *a,
                                    int64_t width, bool keep_f32, const char *prefix,
                                    struct wf_error *err);

/* What a frame's attention works in. */
struct wf_svd_attention_room {
    struct wf_tensor normed; /* [positions,C] */
    struct wf_tensor qkv[3]; /* [1,positions,1,C] each */
};

/* The tensors for frames of so many positions, dense and without their memory. */
struct wf_svd_attention_room wf_svd_attention_shapes(const struct wf_backend *be,
                                                     const struct wf_svd_attention *a,
                                                     int64_t positions);
/* frame += attention(norm(frame)). frame [1,H,W,C] f32, dense; stats [1,G,3] are its own. The group
   is held. */
enum wf_status wf_svd_attention_run(struct wf_backend *be, const struct wf_svd_attention *a,
                                    struct wf_tensor stats, struct wf_tensor frame,
                                    const struct wf_svd_attention_room *room);

#endif
