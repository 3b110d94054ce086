/* engine/sampler: scheduler_config.json. What is accepted has finite tables and a finite path. */
#include <math.h>
#include <string.h>

#include "engine/sampler/sampler.h"
#include "tests/fuzz/fuzz.h"

static void check_tables(const struct wf_sampler *s)
{
    const int steps = wf_sampler_steps(s);
    FUZZ_CHECK(isfinite(wf_sampler_init_sigma(s)));
    for (int i = 0; i < steps; i++) {
        FUZZ_CHECK(isfinite(wf_sampler_timestep(s, i)) && isfinite(wf_sampler_sigma(s, i)));
        FUZZ_CHECK(isfinite(wf_sampler_input_scale(s, i)) && wf_sampler_sigma(s, i) >= 0);
        FUZZ_CHECK(i == 0 || wf_sampler_sigma(s, i) <= wf_sampler_sigma(s, i - 1));
    }
    FUZZ_CHECK(isfinite(wf_sampler_sigma(s, steps)) && wf_sampler_sigma(s, steps) >= 0);
}

/* A network that always says 0.5. */
static void follow(struct fuzz *f, struct wf_sampler *s, struct wf_backend *be)
{
    float x = 1, v = 0.5f;
    const struct wf_tensor latents = wf_tensor_of(&x, WF_F32, 1, (const int64_t[]){1});
    const struct wf_tensor prediction = wf_tensor_of(&v, WF_F32, 1, latents.dim);
    bool good = true;
    for (int i = 0; i < wf_sampler_steps(s) && good; i++)
        good = fuzz_succeeded(f, wf_sampler_step(s, be, i, prediction, latents));
    FUZZ_CHECK(!good || isfinite(x));
}

static void run(struct fuzz *f, struct wf_sampler *s)
{
    static const int counts[] = {1, 2, 5, 30};
    struct wf_backend *be;
    if (!fuzz_succeeded(f, wf_backend_open("ref", "f32", 1, f->mem, NULL, &f->err, &be)))
        return;
    for (int i = 0; i < 4; i++) {
        if (!fuzz_succeeded(f, wf_sampler_prepare(s, counts[i], &f->err)))
            continue;
        check_tables(s);
        follow(f, s, be);
        wf_sampler_end(s);
    }
    wf_backend_close(&be);
}

enum wf_status fuzz_parse(struct fuzz *f, const uint8_t *data, size_t size)
{
    static const char *const classes[] = {NULL, "UniPCMultistepScheduler",
                                          "FlowMatchEulerDiscreteScheduler",
                                          "EulerDiscreteScheduler"};
    struct wf_json json;
    char unused[64];
    WF_TRY(wf_json_open(fuzz_write("scheduler_config.json", data, size), &json, &f->err));
    enum wf_status status = WF_OK;
    for (int i = 0; i < 4; i++) {
        struct wf_sampler *s;
        status = wf_sampler_open(&json, classes[i], 0, f->mem, &s, &f->err);
        if (!fuzz_succeeded(f, status))
            continue;
        (void)wf_sampler_unused(s, &json, unused, sizeof unused);
        FUZZ_CHECK(strnlen(unused, sizeof unused) < sizeof unused);
        run(f, s);
        wf_sampler_close(&s);
    }
    wf_json_close(&json);
    return status;
}
