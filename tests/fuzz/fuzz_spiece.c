/* engine/text/spiece_check.c and tokenizer.cc: spiece.model. */
#include "tests/fuzz/split.h"

enum wf_status fuzz_parse(struct fuzz *f, const uint8_t *data, size_t size)
{
    fuzz_folder("tokenizer");
    fuzz_write("tokenizer/spiece.model", data, size);
    return fuzz_split(f, fuzz_path("tokenizer"));
}
