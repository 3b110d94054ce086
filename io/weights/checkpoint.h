/* One component's folder in a diffusers checkpoint: config.json and its tensors, in one file or in
   shards with an index, of a variant or not. Symbolic links are followed, as the hub's cache needs.
 */
#ifndef WEFT_IO_WEIGHTS_CHECKPOINT_H
#define WEFT_IO_WEIGHTS_CHECKPOINT_H

#include <stdbool.h>

#include "io/json.h"
#include "io/weights/safetensors.h"

struct wf_checkpoint;

/* base: the stem of the weight files, "diffusion_pytorch_model" (diffusers) or "model"
   (transformers). variant: a word such as "fp16", NULL or "" for none; a variant that is not there
   is refused, as diffusers does. Opens BASE[.VARIANT].safetensors, or
   BASE.safetensors.index[.VARIANT].json with every shard that it names (a shard's name must stay
   inside the folder; a tensor that the index names must be in its shard). A folder that holds both:
   the index wins, as in diffusers, except for base "model", as in transformers. */
enum wf_status wf_checkpoint_open(const char *folder, const char *base, const char *variant,
                                  struct wf_mem *mem, struct wf_checkpoint **ckpt,
                                  struct wf_error *err);
/* Whether a file of the folder is called NAME.VARIANT...: diffusers takes a component of a folder
   that has none from the files without a variant, and refuses a variant that no component has. */
bool wf_checkpoint_has_variant(const char *folder, const char *variant);
void wf_checkpoint_close(struct wf_checkpoint **ckpt);

const struct wf_json *wf_checkpoint_config(const struct wf_checkpoint *ckpt); /* config.json */
const struct wf_st_tensor *wf_checkpoint_find(const struct wf_checkpoint *ckpt, const char *name);
/* How many tensors nobody has asked for by name so far, but those whose names begin with a word of
   the row `but` (NULL: none); *first is one of them. */
int wf_checkpoint_unasked(const struct wf_checkpoint *ckpt, const char *but, const char **first);
int wf_checkpoint_count(const struct wf_checkpoint *ckpt); /* tensors */
const struct wf_st_tensor *wf_checkpoint_at(const struct wf_checkpoint *ckpt,
                                            int index); /* sorted by name */
uint64_t wf_checkpoint_parameters(const struct wf_checkpoint *ckpt);
uint64_t wf_checkpoint_bytes(const struct wf_checkpoint *ckpt);
/* The tensor of that name that is there in a type that the engine does not use, or NULL. */
const struct wf_st_tensor *wf_checkpoint_left_out(const struct wf_checkpoint *ckpt,
                                                  const char *name);

#endif
