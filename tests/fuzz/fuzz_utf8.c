/* engine/text/utf8.c: what is read as a code point is written as the bytes that it was. */
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "engine/text/utf8.h"
#include "tests/fuzz/fuzz.h"

enum wf_status fuzz_parse(struct fuzz *f, const uint8_t *data, size_t size)
{
    (void)f;
    char *text = fuzz_text(data, size), again[4];
    bool valid = true;
    for (const char *at = text; *at;) {
        uint32_t point;
        utf8proc_int32_t other;
        const size_t bytes = wf_utf8_read(at, &point);
        const utf8proc_ssize_t theirs = utf8proc_iterate((const utf8proc_uint8_t *)at, -1, &other);
        FUZZ_CHECK(bytes ? theirs == (utf8proc_ssize_t)bytes && (uint32_t)other == point
                         : theirs < 0);
        FUZZ_CHECK(!bytes ||
                   (wf_utf8_write(again, point) == bytes && memcmp(again, at, bytes) == 0));
        valid = valid && bytes;
        at += bytes ? bytes : 1;
    }
    FUZZ_CHECK(wf_utf8_valid(text) == valid);
    free(text);
    return WF_OK;
}
