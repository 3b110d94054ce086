/* Devices that are opened at run time, so that one program serves machines with and without them.
 */
#ifndef WEFT_KERNELS_MODULE_H
#define WEFT_KERNELS_MODULE_H

#include <stdbool.h>

#include "kernels/backend.h"

/* The table of weft-cuda.so: named by WEFT_CUDA_MODULE in the environment, else beside the program
   or library that this code is in or in lib/weft of the folder that this is installed in, else
   where the build was to be installed. It stays open to the end of the process. WF_REFUSED names
   what is missing. */
enum wf_status wf_module_cuda(const struct wf_ops **ops, struct wf_error *err);
/* Whether a driver's library is there. */
bool wf_module_driver(const char *library);

#endif
