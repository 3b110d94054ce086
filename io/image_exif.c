/* The orientation of a picture, from EXIF (a TIFF directory) and XMP (a text), read as Pillow reads
   them, damaged ones included. */
#include <stdbool.h>
#include <string.h>

#include "io/image_format.h"

enum { ORIENTATION = 274, ENTRY = 12 }; /* a tag; bytes of a directory's entry */

struct tiff {
    const uint8_t *data;
    size_t bytes;
    bool big_endian;
};

/* A number of up to 4 bytes, which the caller knows to be there. */
static uint32_t get(const struct tiff *tiff, uint64_t at, int bytes)
{
    uint32_t value = 0;
    for (int i = 0; i < bytes; i++)
        value = value << 8 | tiff->data[at + (uint64_t)(tiff->big_endian ? i : bytes - 1 - i)];
    return value;
}

/* Bytes of one value of a type; 0: no such type. */
static int size_of(uint32_t type)
{
    static const uint8_t sizes[] = {0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 0, 0, 8};
    return type < sizeof sizes ? sizes[type] : 0;
}

static int in_range(uint32_t value)
{
    return value >= 1 && value <= 8 ? (int)value : 1;
}

/* Texts, bytes and fractions are no orientation; of long integers the lower half counts. */
static int orientation_of(const struct tiff *tiff, uint32_t type, uint64_t at)
{
    const int size = size_of(type);
    switch (type) {
    case 3:  /* unsigned of 16 bits */
    case 4:  /* of 32 */
    case 6:  /* signed of 8 */
    case 8:  /* of 16 */
    case 9:  /* of 32 */
    case 13: /* a directory's place */
        return in_range(get(tiff, at, size));
    case 16: /* unsigned of 64 */
        return get(tiff, at + (tiff->big_endian ? 0 : 4), 4) != 0
                   ? 1
                   : in_range(get(tiff, at + (tiff->big_endian ? 4 : 0), 4));
    default:
        return 1;
    }
}

/* Pillow skips an entry when those so far hold more bytes than there are, and reads no further from
   the first that lies outside. */
static int search_directory(const struct tiff *tiff, uint64_t at)
{
    if (at + 2 > tiff->bytes)
        return 0;
    const uint32_t entries = get(tiff, at, 2);
    uint64_t outside = 0;
    for (uint64_t e = at + 2, end = e + ENTRY * entries; e < end; e += ENTRY) {
        if (e + ENTRY > tiff->bytes)
            return 0;
        const uint32_t tag = get(tiff, e, 2), type = get(tiff, e + 2, 2);
        const uint64_t size = (uint64_t)size_of(type) * get(tiff, e + 4, 4);
        uint64_t value = e + 8;
        if (size > 4) {
            outside += size;
            if (outside > tiff->bytes)
                continue;
            value = get(tiff, value, 4);
            if (value + size > tiff->bytes)
                return 0;
        }
        if (size > 0 && tag == ORIENTATION)
            return orientation_of(tiff, type, value);
    }
    return 0;
}

int wf_exif_orientation(const uint8_t *data, size_t bytes)
{
    /* Some writers put the prefix there twice. */
    for (int i = 0; i < 2 && bytes >= 6 && memcmp(data, "Exif\0\0", 6) == 0; i++) {
        data += 6;
        bytes -= 6;
    }
    if (bytes < 8 || (memcmp(data, "II", 2) != 0 && memcmp(data, "MM", 2) != 0) ||
        (memcmp(data + 2, "\0*", 2) != 0 && memcmp(data + 2, "*\0", 2) != 0))
        return 0;
    const struct tiff tiff = {data, bytes, data[0] == 'M'};
    return search_directory(&tiff, get(&tiff, 4, 4));
}

int wf_xmp_orientation(const uint8_t *text, size_t bytes)
{
    static const char name[] = "tiff:Orientation"; /* ="6" or >6< */
    const uint8_t *end = text + bytes;
    for (const uint8_t *at; (at = memmem(text, (size_t)(end - text), name, sizeof name - 1));) {
        text = at + sizeof name - 1;
        if (end - text >= 2 && memcmp(text, "=\"", 2) == 0)
            at = text + 2;
        else if (end - text >= 1 && *text == '>')
            at = text + 1;
        else
            continue;
        if (at < end && *at >= '0' && *at <= '9')
            return in_range((uint32_t)(*at - '0'));
    }
    return 0;
}
