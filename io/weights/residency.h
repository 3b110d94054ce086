/* Which weights are held when. A model declares its weights in groups (its blocks) and brackets
   every use: prefetch the next, acquire, use, release. The policy decides what that means; models
   and kernels never know which one is in force, and the output is bit-identical under each. */
#ifndef WEFT_IO_WEIGHTS_RESIDENCY_H
#define WEFT_IO_WEIGHTS_RESIDENCY_H

#include "io/weights/checkpoint.h"
#include "kernels/backend.h"

enum wf_offload {
    WF_OFFLOAD_NONE,  /* what was loaded once is held to the end of the job */
    WF_OFFLOAD_MODEL, /* a component's weights are given back when its stage has no more use for
                         them: at its end, or group by group where it passes each once */
};

struct wf_residency; /* the weights of one component */

/* All three must outlive the residency. */
enum wf_status wf_residency_open(enum wf_offload policy, struct wf_checkpoint *ckpt,
                                 struct wf_backend *be, struct wf_mem *mem,
                                 struct wf_residency **res, struct wf_error *err);
void wf_residency_close(struct wf_residency **res);

/* Says that a stage goes through the groups once: a group that is given back at all is given back
   when it is released, as nobody comes back to it. */
void wf_residency_pass_once(struct wf_residency *res);
/* Begins a group; the number that names it counts from 0. */
enum wf_status wf_residency_group(struct wf_residency *res, int *group, struct wf_error *err);
/* Adds a weight to the group begun last: finds the tensor, checks its type and every dimension, and
   remembers where it lies; loads nothing. p lives as long as the residency. WF_REFUSED names the
   file, the tensor, what was expected and what was found. dims are those of the
   file and are compared as they stand; then p is described in its kind's form: a LINEAR of more
   axes becomes [out, product of the rest], a CONV or UPCONV [out,in,kh,kw] becomes
   [out,in,1,kh,kw] (and may be given so), a VECTOR keeps its axes. */
enum wf_status wf_residency_add(struct wf_residency *res, struct wf_param *p,
                                enum wf_param_kind kind, const char *name, int rank,
                                const int64_t *dims, struct wf_error *err);

void wf_residency_prefetch(struct wf_residency *res,
                           int group); /* a hint; unknown groups are ignored */
enum wf_status wf_residency_acquire(struct wf_residency *res, int group, struct wf_error *err);
void wf_residency_release(struct wf_residency *res, int group);
void wf_residency_stage_end(struct wf_residency *res); /* no group is acquired */

#endif
