#include "engine/models/size.h"

int64_t wf_size_nearest(int64_t value, int64_t unit, int64_t least)
{
    return value <= least ? least : least + (value - least + unit / 2) / unit * unit;
}

enum wf_status wf_size_check_side(const char *name, int value, int64_t unit, int64_t most,
                                  struct wf_error *err)
{
    if (value > most)
        return wf_fail(err, WF_REFUSED,
                       "%s: %d is more than this model can do; the largest is %lld", name, value,
                       (long long)most);
    if (value < 1 || value % unit)
        return wf_fail(err, WF_REFUSED, "%s: %d is not a multiple of %lld; the nearest is %lld",
                       name, value, (long long)unit, (long long)wf_size_nearest(value, unit, unit));
    return WF_OK;
}
