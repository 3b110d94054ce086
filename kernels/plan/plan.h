/* The plan backend: computes nothing and counts everything. Memory that it hands out is reserved
   addresses, which nobody may read or write; parameters are never read. */
#ifndef WEFT_KERNELS_PLAN_PLAN_H
#define WEFT_KERNELS_PLAN_PLAN_H

#include "kernels/backend.h"

extern const struct wf_ops wf_plan_ops;

/* Once it is open: whose place it takes. */
void wf_plan_stand_for(struct wf_backend *be, struct wf_backend *like);

#endif
