/* What the targets of both tokenizer files do. */
#ifndef WEFT_TESTS_FUZZ_SPLIT_H
#define WEFT_TESTS_FUZZ_SPLIT_H

#include "tests/fuzz/fuzz.h"

/* Opens the tokenizer of a folder and splits texts with it. */
enum wf_status fuzz_split(struct fuzz *f, const char *folder);

#endif
