/* --dump: the tensors of each stage, in diffusers' layout. */
#ifndef WEFT_ENGINE_DUMP_H
#define WEFT_ENGINE_DUMP_H

#include "engine/models/family.h"
#include "io/file.h"

/* WF_REFUSED when folder is no folder, or can neither be written to nor be made, or when a file
   that a run of so many steps of the family writes into it is there already and is no file, or one
   of the inputs. Makes nothing. */
enum wf_status wf_dump_check(const char *folder, const struct wf_family *family, int steps,
                             const struct wf_file_set *inputs, struct wf_error *err);
/* Whether such a dump writes the file of that path. */
bool wf_dump_writes(const char *folder, const struct wf_family *family, int steps,
                    const char *path);
enum wf_status wf_dump_make(const char *folder, struct wf_error *err);

/* FOLDER/NAME.safetensors with tensor `latents`, in diffusers' layout, from latents [T,h,w,C]. */
enum wf_status wf_dump_latents(const char *folder, const char *name, struct wf_backend *be,
                               struct wf_tensor latents, bool frames_first, struct wf_arena *arena,
                               struct wf_error *err);
/* FOLDER/NAME.safetensors with tensor NAME. */
enum wf_status wf_dump_condition(const char *folder, const char *name, struct wf_backend *be,
                                 const struct wf_condition *condition, struct wf_arena *arena,
                                 struct wf_error *err);

#endif
