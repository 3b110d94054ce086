/* Which weights are held when. A model declares its weights in groups (its blocks) and, inside
   them, layers; it brackets every use by acquire and release. The policy decides what is loaded,
   when, and what goes; models and kernels never know which one is in force, and the output is
   bit-identical under each. */
#ifndef WEFT_IO_WEIGHTS_RESIDENCY_H
#define WEFT_IO_WEIGHTS_RESIDENCY_H

#include "io/weights/checkpoint.h"
#include "kernels/backend.h"

enum wf_offload {
    WF_OFFLOAD_NONE,  /* what was loaded once is held until the residency closes */
    WF_OFFLOAD_MODEL, /* a component's weights are held to the end of its stage; where it passes
                         each group once, one group at a time */
    WF_OFFLOAD_GROUP, /* so many groups at a time */
    WF_OFFLOAD_SEQUENTIAL, /* one layer at a time, and its group's other weights */
};

const char *wf_offload_name(enum wf_offload offload); /* "none", ... */

struct wf_policy {
    enum wf_offload offload;
    int blocks; /* GROUP: groups that are loaded together; 0: 1 */
};

/* The weights of one component. What is loaded together lies in one room, memory of the backend; a
   policy that holds a part of the weights fills a few rooms anew again and again, which costs a
   fraction of fresh memory. */
struct wf_residency;

/* All three must outlive the residency. */
enum wf_status wf_residency_open(struct wf_policy policy, struct wf_checkpoint *ckpt,
                                 struct wf_backend *be, struct wf_mem *mem,
                                 struct wf_residency **res, struct wf_error *err);
void wf_residency_close(struct wf_residency **res); /* before the parameters that were added go */
struct wf_checkpoint *wf_residency_checkpoint(const struct wf_residency *res);
struct wf_backend *wf_residency_backend(const struct wf_residency *res);

/* Another policy from here on; nothing is acquired. What was loaded is given back. */
void wf_residency_set_policy(struct wf_residency *res, struct wf_policy policy);
/* Groups are acquired in the order of their numbers, around and around (as it is when nothing is
   said) or once; out of turn is allowed, and loads when asked. */
void wf_residency_order(struct wf_residency *res, bool around);
/* Groups that are begun from here on stand outside of that order: nothing is fetched before they
   are asked for, and each is loaded for itself. */
void wf_residency_aside(struct wf_residency *res);
/* Begins a group; *unit names it, and all weights that are added and belong to none of its layers.
 */
enum wf_status wf_residency_group(struct wf_residency *res, int *unit, struct wf_error *err);
/* Begins a layer of that group: what is added up to the next call is acquired by the layer's *unit,
   while its group is acquired too. */
enum wf_status wf_residency_layer(struct wf_residency *res, int *unit, struct wf_error *err);
/* Ends the layer: what is added from here on is the group's own. */
void wf_residency_layer_end(struct wf_residency *res);
/* Adds a weight: finds the tensor, checks its type and every dimension, and remembers where it
   lies; loads nothing. p lives as long as the residency. As wf_weight_find says. */
enum wf_status wf_residency_add(struct wf_residency *res, struct wf_param *p,
                                enum wf_param_kind kind, const char *name, int rank,
                                const int64_t *dims, struct wf_error *err);

/* From the first acquire on nothing is declared any more. */
enum wf_status wf_residency_acquire(struct wf_residency *res, int unit, struct wf_error *err);
void wf_residency_release(struct wf_residency *res, int unit);
void wf_residency_stage_end(struct wf_residency *res); /* nothing is acquired */

size_t wf_residency_held(const struct wf_residency *res); /* bytes of its rooms */
/* Loads what another one of the same declarations and policy has loaded: a plan begins with what is
   there. */
enum wf_status wf_residency_mirror(struct wf_residency *res, const struct wf_residency *other,
                                   struct wf_error *err);

#endif
