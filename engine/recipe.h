/* What a clip was made of, as a text that is kept in it: the request, what was chosen where the
   request left it open, and by what the model and the other files are told. Nothing of when, where,
   how fast or in how much memory: the same clip has the same text. */
#ifndef WEFT_ENGINE_RECIPE_H
#define WEFT_ENGINE_RECIPE_H

#include <jansson.h>

#include "engine/job.h"

/* The job's and its output's (NULL: without it), as JSON; the caller frees it with free. */
enum wf_status wf_recipe_text(const struct weft_job *job, const struct weft_output *output,
                              char **text, struct wf_error *err);

#endif
