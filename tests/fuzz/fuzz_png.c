/* io/image_png.c; the input's first bytes become a PNG's. Where the first was no NUL, checksums
   become right, so that what they guard is reached. */
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "tests/fuzz/picture.h"

enum { SIGNATURE = 8, AROUND = 12 /* length, type and checksum of a chunk */ };

static uint32_t get(const uint8_t *data)
{
    return (uint32_t)data[0] << 24 | (uint32_t)data[1] << 16 | (uint32_t)data[2] << 8 | data[3];
}

static void mend_checksums(uint8_t *file, size_t size)
{
    for (size_t at = SIGNATURE; size - at >= AROUND;) {
        const uint32_t length = get(file + at);
        if (length > size - at - AROUND)
            return;
        const uLong sum = crc32(0, file + at + 4, length + 4);
        for (int i = 0; i < 4; i++)
            file[at + 8 + length + (size_t)i] = (uint8_t)(sum >> (24 - 8 * i));
        at += AROUND + length;
    }
}

enum wf_status fuzz_parse(struct fuzz *f, const uint8_t *data, size_t size)
{
    if (size < SIGNATURE)
        return WF_OK;
    uint8_t *file = malloc(size);
    FUZZ_CHECK(file);
    memcpy(file, data, size);
    memcpy(file, "\x89PNG\r\n\x1a\n", SIGNATURE);
    if (data[0])
        mend_checksums(file, size);
    const enum wf_status status = fuzz_picture(f, file, size);
    free(file);
    return status;
}
