#include "engine/finite.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* All bits of the exponent are set in a NaN and in an infinity; collected without a branch, so that
   the loop runs at the speed of memory. */
bool wf_all_finite(const float *values, size_t count)
{
    const uint32_t exponent = 0x7f800000u;
    uint32_t found = 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, &values[i], sizeof bits);
        found |= (bits & exponent) == exponent;
    }
    return !found;
}

static enum wf_status fail_at(struct wf_error *err, const char *format, va_list args)
{
    char where[128];
    vsnprintf(where, sizeof where, format, args);
    return wf_fail(err, WF_FAILED,
                   "%s are not all numbers (NaN or infinite); the weights may be damaged: download "
                   "them again, or try --dtype f32",
                   where);
}

enum wf_status wf_fail_not_finite(struct wf_error *err, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const enum wf_status status = fail_at(err, format, args);
    va_end(args);
    return status;
}

enum wf_status wf_check_finite(struct wf_backend *be, struct wf_tensor t, struct wf_error *err,
                               const char *format, ...)
{
    const size_t count = (size_t)wf_tensor_count(&t);
    float *host = wf_alloc(be->mem, WF_MEM_MISC, count * sizeof *host);
    if (!host)
        return wf_fail_memory(err, "check", count * sizeof *host);
    enum wf_status status = wf_download(be, host, t);
    if (status == WF_OK && !be->is_plan && !wf_all_finite(host, count)) {
        va_list args;
        va_start(args, format);
        status = fail_at(err, format, args);
        va_end(args);
    }
    wf_free(host);
    return status;
}
