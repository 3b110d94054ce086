/* From a prompt to token numbers, as diffusers' Wan pipeline does it. */
#ifndef WEFT_ENGINE_TEXT_TEXT_H
#define WEFT_ENGINE_TEXT_TEXT_H

#include <stdint.h>

#include "kernels/base/mem.h"
#include "kernels/base/status.h"

/* html.unescape of Python on UTF-8 text; *out is to be freed with wf_free. Text that is not UTF-8
   is WF_REFUSED. */
enum wf_status wf_html_unescape(const char *text, struct wf_mem *mem, char **out,
                                struct wf_error *err);

/* What a C1 control character 0x80 to 0x9f means: Windows-1252, where that has a character. */
uint32_t wf_windows_1252(uint32_t number);
/* ftfy's unescape_html: only references that end with ';', some of them in capitals too. out has
   room for twice the text. */
void wf_html_unescape_whole(char *out, const char *text);

/* ftfy.fix_text, but for its repair of text that was decoded wrongly: references, control
   characters, ligatures, widths, quotes, line breaks, terminal escapes, NFC. *out is to be freed
   with wf_free. */
enum wf_status wf_text_fix(const char *text, struct wf_mem *mem, char **out, struct wf_error *err);

/* diffusers' prompt_clean with ftfy: wf_text_fix, html.unescape twice, runs of Unicode white space
   become one space, none at the ends (nor U+001C to U+001F there, as Python's str.strip). */
enum wf_status wf_prompt_clean(const char *prompt, struct wf_mem *mem, char **out,
                               struct wf_error *err);

struct wf_tokenizer;

/* folder: the checkpoint's tokenizer/, which holds spiece.model or, without it, a tokenizer.json
   with a Unigram model. WF_REFUSED when neither is there or the one that counts cannot be used. */
enum wf_status wf_tokenizer_open(const char *folder, struct wf_mem *mem, struct wf_tokenizer **tok,
                                 struct wf_error *err);
void wf_tokenizer_close(struct wf_tokenizer **tok);
int wf_tokenizer_size(const struct wf_tokenizer *tok); /* ids are below it */

/* ids holds max numbers, max >= 1. Writes the pieces of clean text and then </s>; text that is too
   long is cut so that </s> is the last of max. No padding. *whole (NULL is allowed) is the count
   that it had uncut. */
enum wf_status wf_tokenizer_encode(const struct wf_tokenizer *tok, const char *text, int32_t *ids,
                                   int max, int *count, int *whole, struct wf_error *err);

#endif
