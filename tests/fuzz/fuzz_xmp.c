/* io/image_exif.c: XMP. */
#include "io/image_format.h"
#include "tests/fuzz/fuzz.h"

enum wf_status fuzz_parse(struct fuzz *f, const uint8_t *data, size_t size)
{
    (void)f;
    const int orientation = wf_xmp_orientation(data, size);
    FUZZ_CHECK(orientation >= 0 && orientation <= 8);
    return WF_OK;
}
