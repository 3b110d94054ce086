/* engine/latents.c: what is accepted is of the dims asked for, and all numbers. */
#include <math.h>

#include "engine/latents.h"
#include "tests/fuzz/fuzz.h"

enum wf_status fuzz_parse(struct fuzz *f, const uint8_t *data, size_t size)
{
    const char *path = fuzz_write("latents.safetensors", data, size);
    enum wf_status status = WF_OK;
    for (int i = 0; i < 4; i++) {
        int64_t dims[4] = {0, 0, 0, i < 2 ? 0 : 4};
        float *values;
        status = wf_latents_read(path, i % 2, f->mem, dims, &values, &f->err);
        if (!fuzz_succeeded(f, status))
            continue;
        const int64_t count = dims[0] * dims[1] * dims[2] * dims[3];
        FUZZ_CHECK(count > 0 && count <= (int64_t)size && (i < 2 || dims[3] == 4));
        for (int64_t k = 0; k < count; k++)
            FUZZ_CHECK(isfinite(values[k]));
        wf_free(values);
    }
    return status;
}
