/* io/weights/safetensors.c: whatever is indexed lies in the file and can be read. */
#include <string.h>

#include "io/weights/safetensors.h"
#include "tests/fuzz/fuzz.h"

static void check_tensor(struct fuzz *f, const struct wf_st_tensor *t, size_t file_bytes)
{
    uint64_t count = 1;
    FUZZ_CHECK(t->rank >= 0 && t->rank <= WF_ST_MAX_RANK);
    for (int i = 0; i < t->rank; i++)
        count *= (uint64_t)t->dim[i];
    FUZZ_CHECK(t->begin <= t->end && t->end <= file_bytes);
    FUZZ_CHECK(t->bytes == count * wf_dtype_bytes(t->dtype) && t->source.bytes == t->bytes);
    FUZZ_CHECK(wf_st_find(t->file, t->name) == t && !wf_st_left_out(t->file, t->name));
    wf_st_prefetch(t);
    float *values;
    if (t->dtype != WF_U8 && t->dtype != WF_I32 &&
        fuzz_succeeded(f, wf_st_read_f32(t, f->mem, &values, &f->err)))
        wf_free(values);
}

enum wf_status fuzz_parse(struct fuzz *f, const uint8_t *data, size_t size)
{
    struct wf_st_file *file;
    const char *before = "";
    WF_TRY(wf_st_open(fuzz_write("model.safetensors", data, size), f->mem, &file, &f->err));
    for (int i = 0; i < wf_st_count(file); i++) {
        const struct wf_st_tensor *t = wf_st_at(file, i);
        FUZZ_CHECK(i == 0 || strcmp(before, t->name) < 0);
        before = t->name;
        check_tensor(f, t, size);
    }
    wf_st_close(&file);
    FUZZ_CHECK(!file);
    return WF_OK;
}
