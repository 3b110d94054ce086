/* One code point from and to UTF-8. */
#ifndef WEFT_ENGINE_TEXT_UTF8_H
#define WEFT_ENGINE_TEXT_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Reads the code point that text, which ends with a NUL, starts with; the number of its bytes, or 0
   where text is not UTF-8 (too long a form, a surrogate, above U+10FFFF, cut short). */
size_t wf_utf8_read(const char *text, uint32_t *point);
/* Writes a code point, which is no surrogate and at most U+10FFFF; the number of its bytes. */
size_t wf_utf8_write(char text[4], uint32_t point);
bool wf_utf8_valid(const char *text);

#endif
