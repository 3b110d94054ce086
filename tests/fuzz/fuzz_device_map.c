/* engine/place.c: the input's first two parts, between NULs, are --device-map and --dtype. */
#include <stdlib.h>
#include <string.h>

#include "engine/models/family.h"
#include "engine/place.h"
#include "tests/fuzz/fuzz.h"

static void place_model(struct weft_engine *e, struct fuzz *f)
{
    char text[WF_PLACES_BYTES];
    struct weft_model *m = calloc(1, sizeof *m);
    FUZZ_CHECK(m);
    m->engine = e;
    m->family = &wf_family_wan;
    if (fuzz_succeeded(f, wf_model_place(m, &f->err))) {
        wf_model_devices(m, text);
        FUZZ_CHECK(strnlen(text, sizeof text) < sizeof text && strncmp(text, "cuda", 4) != 0);
        wf_model_dtypes(m, text);
        FUZZ_CHECK(strnlen(text, sizeof text) < sizeof text);
    }
    free(m);
}

enum wf_status fuzz_parse(struct fuzz *f, const uint8_t *data, size_t size)
{
    struct weft_engine e = {.mem = f->mem, .device_mem = f->mem};
    struct weft_settings settings;
    size_t bytes;
    const uint8_t *second = fuzz_part(data, size, 1, &bytes);
    char *map = fuzz_text(data, size), *dtype = fuzz_text(second, bytes);
    weft_settings_defaults(&settings);
    settings.device = "cpu";
    settings.device_map = map;
    settings.dtype = dtype;
    settings.threads = 1;
    enum wf_status status = wf_engine_place(&e, &settings);
    f->err = e.err;
    if (status == WF_OK && !strstr(map, "cuda")) /* what a driver says is not the map's affair */
        place_model(&e, f);
    wf_engine_close_backends(&e);
    free(map);
    free(dtype);
    return status;
}
