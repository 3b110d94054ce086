/* engine/text/tokenizer_json.c: tokenizer.json. */
#include "engine/text/spiece.h"
#include "tests/fuzz/split.h"

enum wf_status fuzz_parse(struct fuzz *f, const uint8_t *data, size_t size)
{
    void *model;
    size_t bytes;
    fuzz_folder("tokenizer");
    const char *path = fuzz_write("tokenizer/tokenizer.json", data, size);
    WF_TRY(wf_spiece_from_json(path, f->mem, &model, &bytes, &f->err));
    FUZZ_CHECK(bytes > 0);
    (void)fuzz_succeeded(f, wf_spiece_check(model, bytes, path, &f->err));
    wf_free(model);
    return fuzz_split(f, fuzz_path("tokenizer"));
}
