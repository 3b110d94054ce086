/* Group norms of pictures: 32 groups, statistics of a frame or of a clip. */
#ifndef WEFT_TEMPORAL_GROUP_NORM_H
#define WEFT_TEMPORAL_GROUP_NORM_H

#include "temporal/work.h"

enum { WF_NORM_GROUPS = 32 };

struct wf_group_norm {
    struct wf_param weight, shift;
    float eps;
};

/* Adds "PREFIX.weight" and "PREFIX.bias" [channels] to the group begun last. */
enum wf_status wf_group_norm_add(struct wf_residency *res, struct wf_group_norm *norm,
                                 int64_t channels, float eps, const char *prefix,
                                 struct wf_error *err);

/* y = act(norm(x)), each frame by its own statistics; x [T,H,W,C] f32, y likewise in F32 or BF16;
   may be x. */
enum wf_status wf_group_norm_frames(const struct wf_work *work, const struct wf_group_norm *norm,
                                    struct wf_tensor x, enum wf_act act, struct wf_tensor y);

/* stats [1,G,3] of all frames of x [T,H,W,C] together, from the pool; the caller gives it back. */
enum wf_status wf_group_norm_survey(const struct wf_work *work, struct wf_tensor x,
                                    struct wf_tensor *stats);
/* y = act(norm(x)) by such statistics, of any window of what was surveyed. */
enum wf_status wf_group_norm_apply(struct wf_backend *be, const struct wf_group_norm *norm,
                                   struct wf_tensor stats, struct wf_tensor x, enum wf_act act,
                                   struct wf_tensor y);

#endif
