/* A model's weight in a checkpoint: found, checked, and described for the backend. */
#ifndef WEFT_IO_WEIGHTS_WEIGHT_H
#define WEFT_IO_WEIGHTS_WEIGHT_H

#include "io/weights/checkpoint.h"
#include "kernels/backend.h"

/* Finds the tensor and checks its type and every dimension; loads nothing. WF_REFUSED names the
   file, the tensor, what was expected and what was found. dims are those of the file and are
   compared as they stand; then p is described in its kind's form: a LINEAR of more axes becomes
   [out, product of the rest], a CONV or UPCONV [out,in,kh,kw] becomes [out,in,1,kh,kw] (and may be
   given so), a VECTOR keeps its axes. *tensor lives as long as the checkpoint. */
enum wf_status wf_weight_find(struct wf_checkpoint *ckpt, enum wf_param_kind kind, const char *name,
                              int rank, const int64_t *dims, struct wf_param *p,
                              const struct wf_st_tensor **tensor, struct wf_error *err);

#endif
