#include "kernels/base/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum wf_status wf_fail(struct wf_error *err, enum wf_status status, const char *format, ...)
{
    if (!err)
        return status;
    char text[sizeof err->text]; /* an argument may be the text that is replaced */
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    memcpy(err->text, text, sizeof text);
    err->status = status;
    for (char *c = err->text; *c; c++) { /* names come from files: the message stays one line */
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '?';
    }
    return status;
}

enum wf_status wf_fail_memory(struct wf_error *err, const char *where, unsigned long long bytes)
{
    if (bytes == 0)
        return wf_fail(err, WF_FAILED, "%s: out of memory; end other programs", where);
    return wf_fail(err, WF_FAILED,
                   "%s: out of memory for %llu bytes; choose a smaller size, fewer frames or a "
                   "smaller --decode-chunk-size",
                   where, bytes);
}

enum wf_status wf_fail_cancelled(struct wf_error *err)
{
    return wf_fail(err, WF_CANCELLED, "job: cancelled; nothing was written");
}

enum wf_status wf_fail_late(enum wf_status status, struct wf_error *err)
{
    if (status != WF_REFUSED)
        return status;
    if (err)
        err->status = WF_FAILED;
    return WF_FAILED;
}
