/* What was named in the place of a model's folder. */
#ifndef WEFT_ENGINE_FOLDER_H
#define WEFT_ENGINE_FOLDER_H

#include <stdbool.h>

#include "kernels/base/status.h"

enum wf_folder {
    WF_FOLDER_MODEL,    /* it has a model_index.json */
    WF_FOLDER_WITH_VAE, /* it has none, but a vae/ below it */
    WF_FOLDER_PART,     /* it is a component's own, a VAE's where it is of use */
};

/* WF_REFUSED for anything else: says what it looks like and what to give instead: a hub's name, its
   cache, a file, another layout. */
enum wf_status wf_check_folder(const char *folder, enum wf_folder *kind, struct wf_error *err);
/* Whether the folder above a component's own is a model's. */
bool wf_folder_is_below_model(const char *folder);

#endif
