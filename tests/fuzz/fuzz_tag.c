/* io/video/tag.c: what a clip, PNG or of libavformat's, says of how it was made. */
#include <string.h>

#include "io/video/tag.h"
#include "tests/fuzz/fuzz.h"

enum wf_status fuzz_parse(struct fuzz *f, const uint8_t *data, size_t size)
{
    char *text = NULL;
    WF_TRY(wf_tag_read(fuzz_write("clip", data, size), f->mem, &text, &f->err));
    FUZZ_CHECK(strlen(text) <= size * 1100); /* as much as deflate can */
    wf_free(text);
    return WF_OK;
}
