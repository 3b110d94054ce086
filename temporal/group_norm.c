#include "temporal/group_norm.h"

enum wf_status wf_group_norm_add(struct wf_residency *res, struct wf_group_norm *norm,
                                 int64_t channels, float eps, const char *prefix,
                                 struct wf_error *err)
{
    norm->eps = eps;
    WF_TRY(wf_vector_add(res, &norm->weight, WF_DIMS(channels), err, "%s.weight", prefix));
    return wf_vector_add(res, &norm->shift, WF_DIMS(channels), err, "%s.bias", prefix);
}

static enum wf_status sums(const struct wf_work *work, struct wf_tensor x, struct wf_tensor *y)
{
    WF_TRY(wf_work_take(work, WF_F32, WF_DIMS(x.dim[0], WF_NORM_GROUPS, 3), y));
    return wf_group_sums(work->be, &(struct wf_group_sums){.x = x, .y = *y});
}

enum wf_status wf_group_norm_survey(const struct wf_work *work, struct wf_tensor x,
                                    struct wf_tensor *stats)
{
    struct wf_tensor frames;
    WF_TRY(wf_work_take(work, WF_F32, WF_DIMS(1, WF_NORM_GROUPS, 3), stats));
    WF_TRY(sums(work, x, &frames));
    const struct wf_tensor parts =
        wf_tensor_reshape(frames, WF_DIMS(x.dim[0], 1, WF_NORM_GROUPS, 3));
    WF_TRY(wf_group_merge(work->be, &(struct wf_group_merge){.x = parts, .y = *stats}));
    wf_work_give(work, frames);
    return WF_OK;
}

enum wf_status wf_group_norm_apply(struct wf_backend *be, const struct wf_group_norm *norm,
                                   struct wf_tensor stats, struct wf_tensor x, enum wf_act act,
                                   struct wf_tensor y)
{
    if (stats.dim[0] == 1) { /* those of all frames */
        stats.stride[0] = 0;
        stats.dim[0] = x.dim[0];
    }
    return wf_group_apply(be, &(struct wf_group_apply){.x = x,
                                                       .y = y,
                                                       .stats = stats,
                                                       .weight = norm->weight.tensor,
                                                       .shift = norm->shift.tensor,
                                                       .act = act,
                                                       .eps = norm->eps});
}

enum wf_status wf_group_norm_frames(const struct wf_work *work, const struct wf_group_norm *norm,
                                    struct wf_tensor x, enum wf_act act, struct wf_tensor y)
{
    struct wf_tensor stats;
    WF_TRY(sums(work, x, &stats));
    WF_TRY(wf_group_norm_apply(work->be, norm, stats, x, act, y));
    wf_work_give(work, stats);
    return WF_OK;
}
