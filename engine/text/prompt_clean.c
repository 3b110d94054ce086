#include <stdbool.h>
#include <string.h>

#include "engine/text/text.h"
#include "engine/text/utf8.h"

/* White space by Unicode, which \s of Python's regex module is; diffusers cleans with that. */
static bool is_space(uint32_t point)
{
    return (point >= 0x09 && point <= 0x0d) || point == 0x20 || point == 0x85 || point == 0xa0 ||
           point == 0x1680 || (point >= 0x2000 && point <= 0x200a) || point == 0x2028 ||
           point == 0x2029 || point == 0x202f || point == 0x205f || point == 0x3000;
}

/* What str.strip takes from the ends: the information separators, too. */
static bool is_stripped(uint32_t point)
{
    return is_space(point) || (point >= 0x1c && point <= 0x1f);
}

/* Cuts the ends off: *text moves to the first code point that stays, the end after the last. */
static void strip(char **text)
{
    char *end = *text;
    bool started = false;
    size_t bytes;
    uint32_t point = 0;
    for (char *c = *text; *c; c += bytes) {
        bytes = wf_utf8_read(c, &point);
        if (is_stripped(point))
            continue;
        if (!started)
            *text = c;
        started = true;
        end = c + bytes;
    }
    if (!started)
        *text = end;
    *end = '\0';
}

/* Copies text with one space for each run of them; out may be the start of its buffer. */
static void collapse(char *out, const char *text)
{
    bool in_run = false;
    size_t bytes;
    uint32_t point = 0;
    for (; *text; text += bytes) {
        bytes = wf_utf8_read(text, &point);
        if (!is_space(point)) {
            memmove(out, text, bytes);
            out += bytes;
            in_run = false;
        } else if (!in_run) {
            *out++ = ' ';
            in_run = true;
        }
    }
    *out = '\0';
}

enum wf_status wf_prompt_clean(const char *prompt, struct wf_mem *mem, char **out,
                               struct wf_error *err)
{
    char *fixed, *once = NULL;
    *out = NULL;
    WF_TRY(wf_text_fix(prompt, mem, &fixed, err));
    enum wf_status status = wf_html_unescape(fixed, mem, &once, err);
    wf_free(fixed);
    WF_TRY(status);
    status = wf_html_unescape(once, mem, out, err);
    wf_free(once);
    if (status != WF_OK)
        return status;
    char *text = *out;
    strip(&text);
    collapse(*out, text);
    return WF_OK;
}
