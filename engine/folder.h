/* What was named in the place of a model's folder. */
#ifndef WEFT_ENGINE_FOLDER_H
#define WEFT_ENGINE_FOLDER_H

#include "kernels/base/status.h"

/* WF_OK for a folder with a model_index.json; else WF_REFUSED, which says what it looks like and
   what to give instead: a hub's name, its cache, a file, a part of a model, another layout. */
enum wf_status wf_check_folder(const char *folder, struct wf_error *err);

#endif
