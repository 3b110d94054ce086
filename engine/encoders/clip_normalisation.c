#include "engine/encoders/clip_normalisation.h"

#include <float.h>

#include "io/json.h"

/* Three numbers from low on, or the key is missing. */
static enum wf_status read_three(const struct wf_json *json, const char *key, double low,
                                 float *out, struct wf_error *err)
{
    double value[3];
    int count;
    if (!json_object_get(json->root, key))
        return WF_OK;
    WF_TRY(wf_json_require(json, key, err));
    WF_TRY(wf_json_doubles(json, key, 3, value, &count, err));
    for (int i = 0; i < count; i++) {
        if (!(value[i] >= low && value[i] <= (double)FLT_MAX))
            return wf_fail(err, WF_REFUSED, "%s: \"%s\" has %g; expected numbers from %g to %g",
                           json->path, key, value[i], low, (double)FLT_MAX);
        out[i] = (float)value[i];
    }
    if (count != 3)
        return wf_fail(err, WF_REFUSED, "%s: \"%s\" has %d numbers; expected 3", json->path, key,
                       count);
    return WF_OK;
}

enum wf_status wf_clip_normalisation_read(const char *path, struct wf_clip_normalisation *out,
                                          struct wf_error *err)
{
    struct wf_json json;
    *out = (struct wf_clip_normalisation){.mean = {0.48145466f, 0.4578275f, 0.40821073f},
                                          .std = {0.26862954f, 0.26130258f, 0.27577711f}};
    WF_TRY(wf_json_open(path, &json, err));
    enum wf_status status = read_three(&json, "image_mean", -(double)FLT_MAX, out->mean, err);
    if (status == WF_OK)
        status = read_three(&json, "image_std", (double)FLT_MIN, out->std, err);
    wf_json_close(&json);
    return status;
}
