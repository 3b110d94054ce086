/* What the targets of both picture formats do. */
#ifndef WEFT_TESTS_FUZZ_PICTURE_H
#define WEFT_TESTS_FUZZ_PICTURE_H

#include "tests/fuzz/fuzz.h"

/* Reads the picture, if it is not large, and resizes it, if it is small. */
enum wf_status fuzz_picture(struct fuzz *f, const uint8_t *data, size_t size);

#endif
