/* What a model and a file are told by, wherever they lie: hashes, XXH3 of 128 bits, as 32 digits.
 */
#ifndef WEFT_ENGINE_IDENTITY_H
#define WEFT_ENGINE_IDENTITY_H

#include "engine/engine.h"

enum { WF_HASH_TEXT = 33 };

/* Of the names, types and dims of all tensors of the components that are open, of the first 4 KiB
   of each, since fine-tuned models have the same headers, and of what is configured: the
   components', the scheduler's and the image processor's JSON as it means, the tokenizer's file.
   What of a tensor comes after its first 4 KiB is not looked at. */
enum wf_status wf_identity_of_model(const struct weft_model *model, char hash[WF_HASH_TEXT],
                                    struct wf_error *err);
/* Of a file's bytes. */
enum wf_status wf_identity_of_file(const char *path, char hash[WF_HASH_TEXT], struct wf_error *err);

#endif
