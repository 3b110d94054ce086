/* Looking for values that are not numbers where they pass anyway, so that one damaged weight ends
   the run with a line and not with a black clip. */
#ifndef WEFT_ENGINE_FINITE_H
#define WEFT_ENGINE_FINITE_H

#include <stdbool.h>
#include <stddef.h>

#include "kernels/backend.h"

/* Whether all values are numbers: neither NaN nor infinite. */
bool wf_all_finite(const float *values, size_t count);

/* The same of a dense f32 tensor on the backend, by a copy on the host; WF_FAILED begins with what
   format says: the stage, the step, and what the values are. */
enum wf_status wf_check_finite(struct wf_backend *be, struct wf_tensor t, struct wf_error *err,
                               const char *format, ...) __attribute__((format(printf, 4, 5)));
/* That failure, of values that are on the host. */
enum wf_status wf_fail_not_finite(struct wf_error *err, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
