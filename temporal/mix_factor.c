#include "temporal/mix_factor.h"

#include <math.h>
#include <stdio.h>

#include "io/weights/weight.h"

enum wf_status wf_mix_factor_read(const struct wf_residency *res, const char *prefix,
                                  float *sigmoid, struct wf_error *err)
{
    char name[160];
    float *value = NULL;
    struct wf_param p = {0};
    const struct wf_st_tensor *t = NULL;
    snprintf(name, sizeof name, "%s.time_mixer.mix_factor", prefix);
    WF_TRY(wf_weight_find(wf_residency_checkpoint(res), WF_PARAM_VECTOR, name, WF_DIMS(1), &p, &t,
                          err));
    WF_TRY(wf_st_read_f32(t, wf_residency_backend(res)->mem, &value, err));
    *sigmoid = (float)(1 / (1 + exp(-(double)*value)));
    wf_free(value);
    return WF_OK;
}
