/* A backend that does everything late: operations, copies and frees wait in a queue until somebody
   has to see a result; its memory is not the caller's, who may not even read it. It computes what
   ref computes, so whoever peeks, frees early, forgets to wait or loads over what is still read
   gives other numbers than ref, or crashes. */
#ifndef WEFT_TESTS_LATE_H
#define WEFT_TESTS_LATE_H

#include "kernels/backend.h"

extern const struct wf_ops late_ops;

#endif
