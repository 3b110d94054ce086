/* A backend for tests: ref, but what kernels/cuda/own has kernels for runs in those, at once and on
   the host. Attention and gemm are plain loops around the kernels that finish them on a device. */
#ifndef WEFT_TESTS_OWN_H
#define WEFT_TESTS_OWN_H

#include "kernels/backend.h"

extern const struct wf_ops own_ops;

#endif
