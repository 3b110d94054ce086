#include "vae/svd_attention.h"

#include <math.h>
#include <stdio.h>

#include "temporal/work.h"
#include "vae/svd_config.h"

enum wf_status wf_svd_attention_add(struct wf_residency *res, struct wf_svd_attention *a,
                                    int64_t width, bool keep_f32, const char *prefix,
                                    struct wf_error *err)
{
    static const char *const names[] = {"to_q", "to_k", "to_v", "to_out.0"};
    struct wf_layer *const layers[] = {&a->q, &a->k, &a->v, &a->out};
    char norm[128];
    snprintf(norm, sizeof norm, "%s.group_norm", prefix);
    WF_TRY(wf_group_norm_add(res, &a->norm, width, WF_SVD_SPATIAL_EPS, norm, err));
    for (int i = 0; i < 4; i++) {
        WF_TRY(wf_layer_add(res, layers[i], WF_PARAM_LINEAR, WF_DIMS(width, width), err, "%s.%s",
                            prefix, names[i]));
        layers[i]->weight.keep_f32 = keep_f32;
    }
    return WF_OK;
}

struct wf_svd_attention_room wf_svd_attention_shapes(const struct wf_backend *be,
                                                     const struct wf_svd_attention *a,
                                                     int64_t positions)
{
    const int64_t width = a->q.weight.dim[0];
    const enum wf_dtype heads = a->q.weight.keep_f32 ? WF_F32 : wf_attention_type(be, width);
    struct wf_svd_attention_room room = {
        .normed = wf_tensor_of(NULL, wf_operand_type(be, &a->q.weight), WF_DIMS(positions, width))};
    for (int i = 0; i < 3; i++)
        room.qkv[i] = wf_tensor_of(NULL, heads, WF_DIMS(1, positions, 1, width));
    return room;
}

/* The result takes the place of what is normed. */
static enum wf_status attend(struct wf_backend *be, const struct wf_svd_attention *a,
                             const struct wf_svd_attention_room *room)
{
    const struct wf_layer *const layers[] = {&a->q, &a->k, &a->v};
    const struct wf_tensor *qkv = room->qkv;
    for (int i = 0; i < 3; i++)
        WF_TRY(wf_linear(be, layers[i], room->normed, wf_work_lines(qkv[i]), WF_ACT_NONE));
    return wf_attention(be,
                        &(struct wf_attention){.q = qkv[0],
                                               .k = qkv[1],
                                               .v = qkv[2],
                                               .y = wf_tensor_reshape(room->normed, 4, qkv[0].dim),
                                               .scale = 1.0f / sqrtf((float)qkv[0].dim[3])});
}

enum wf_status wf_svd_attention_run(struct wf_backend *be, const struct wf_svd_attention *a,
                                    struct wf_tensor stats, struct wf_tensor frame,
                                    const struct wf_svd_attention_room *room)
{
    WF_TRY(wf_group_norm_apply(be, &a->norm, stats, frame, WF_ACT_NONE,
                               wf_tensor_reshape(room->normed, 4, frame.dim)));
    WF_TRY(attend(be, a, room));
    return wf_linear_add(be, &a->out, room->normed, wf_work_lines(frame), (struct wf_tensor){0});
}
