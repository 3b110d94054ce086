/* How fast a backend is at each kind of work, measured. */
#ifndef WEFT_KERNELS_RATES_H
#define WEFT_KERNELS_RATES_H

#include "kernels/backend.h"

/* *rates becomes [WF_KINDS]: a second's work of each kind, in its unit. Measured at the first call,
   in a fraction of a second and some megabytes, then kept. */
enum wf_status wf_backend_rates(struct wf_backend *be, const double **rates);

#endif
