/* engine/text: prompt_clean.c, text_fix.c. */
#include <stdlib.h>
#include <string.h>

#include "engine/text/text.h"
#include "engine/text/utf8.h"
#include "tests/fuzz/fuzz.h"

enum wf_status fuzz_parse(struct fuzz *f, const uint8_t *data, size_t size)
{
    char *text = fuzz_text(data, size), *clean;
    const bool valid = wf_utf8_valid(text);
    const enum wf_status status = wf_prompt_clean(text, f->mem, &clean, &f->err);
    free(text);
    if (status != WF_OK) {
        FUZZ_CHECK(status == WF_FAILED || !valid);
        return status;
    }
    const size_t length = strlen(clean);
    FUZZ_CHECK(valid && wf_utf8_valid(clean));
    FUZZ_CHECK(clean[0] != ' ' && (!length || clean[length - 1] != ' '));
    FUZZ_CHECK(!strstr(clean, "  ") && !strpbrk(clean, "\n\r\t\v\f"));
    wf_free(clean);
    return WF_OK;
}
