/* What the targets of clips do. */
#ifndef WEFT_TESTS_FUZZ_CLIP_H
#define WEFT_TESTS_FUZZ_CLIP_H

#include "tests/fuzz/fuzz.h"

/* Opens a clip, and reads its first frames, if they are small. */
enum wf_status fuzz_clip(struct fuzz *f, const char *path);

#endif
