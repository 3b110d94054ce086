/* A SentencePiece model as bytes: SentencePiece itself trusts parts of them that this checks. */
#ifndef WEFT_ENGINE_TEXT_SPIECE_H
#define WEFT_ENGINE_TEXT_SPIECE_H

#include <stddef.h>

#include "kernels/base/mem.h"
#include "kernels/base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* WF_REFUSED, naming path, when the message is malformed or when its table of character
   replacements would lead a search outside of itself. */
enum wf_status wf_spiece_check(const void *model, size_t bytes, const char *path,
                               struct wf_error *err);

/* Makes a model from the Unigram tokenizer of a tokenizer.json; *model is to be freed with
   wf_free. WF_REFUSED when the file holds another kind of tokenizer. */
enum wf_status wf_spiece_from_json(const char *path, struct wf_mem *mem, void **model,
                                   size_t *bytes, struct wf_error *err);

#ifdef __cplusplus
}
#endif

#endif
