/* io/image_jpeg.c; the input's first bytes become a JPEG's. */
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/picture.h"

enum wf_status fuzz_parse(struct fuzz *f, const uint8_t *data, size_t size)
{
    static const uint8_t signature[] = {0xff, 0xd8, 0xff};
    if (size < sizeof signature)
        return WF_OK;
    uint8_t *file = malloc(size);
    FUZZ_CHECK(file);
    memcpy(file, data, size);
    memcpy(file, signature, sizeof signature);
    const enum wf_status status = fuzz_picture(f, file, size);
    free(file);
    return status;
}
