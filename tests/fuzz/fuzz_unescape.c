/* engine/text/html_unescape.c */
#include <stdlib.h>
#include <string.h>

#include "engine/text/text.h"
#include "engine/text/utf8.h"
#include "tests/fuzz/fuzz.h"

/* The form that wants a ';' is given the room that it asks for, and not a byte more. */
static void unescape_whole(const char *text)
{
    char *out = malloc(2 * strlen(text) + 1);
    FUZZ_CHECK(out);
    wf_html_unescape_whole(out, text);
    FUZZ_CHECK(wf_utf8_valid(out) && (strchr(text, '&') || strcmp(out, text) == 0));
    free(out);
}

enum wf_status fuzz_parse(struct fuzz *f, const uint8_t *data, size_t size)
{
    char *text = fuzz_text(data, size), *out = NULL;
    const enum wf_status status = wf_html_unescape(text, f->mem, &out, &f->err);
    if (status == WF_OK) {
        FUZZ_CHECK(wf_utf8_valid(text) && wf_utf8_valid(out));
        FUZZ_CHECK(strchr(text, '&') || strcmp(out, text) == 0);
        unescape_whole(text);
    }
    wf_free(out);
    free(text);
    return status;
}
