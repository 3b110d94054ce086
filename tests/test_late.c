/* On a device with a queue and memory of its own, which late.c plays, every fixture's model gives
   what it gives on ref, bit by bit, under every policy: no caller peeks, frees early, or forgets to
   wait. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/engine.h"
#include "tests/late.h"

static const struct wf_policy policies[] = {{WF_OFFLOAD_NONE, 0},
                                            {WF_OFFLOAD_MODEL, 0},
                                            {WF_OFFLOAD_GROUP, 1},
                                            {WF_OFFLOAD_GROUP, 3},
                                            {WF_OFFLOAD_SEQUENTIAL, 0}};
enum { POLICIES = sizeof policies / sizeof *policies };

/* A clip in host memory. */
struct clip {
    float *samples;
    size_t count;
};

static struct weft_engine *open_engine(bool is_late, struct wf_policy policy, const char *dtype)
{
    struct weft_settings settings;
    struct weft_engine *e;
    weft_settings_defaults(&settings);
    settings.device = "ref";
    settings.dtype = dtype;
    settings.threads = 1;
    assert_int_equal(weft_engine_open(&settings, &e), WEFT_OK);
    e->policy = policy;
    if (is_late) {
        wf_backend_close(&e->backends[0]);
        assert_int_equal(
            wf_backend_open_table(&late_ops, dtype, 1, e->mem, NULL, &e->err, &e->backends[0]),
            WF_OK);
    }
    return e;
}

static struct clip pull(struct weft_engine *e, struct weft_job *job)
{
    struct clip clip = {NULL, 0};
    struct weft_frame frame;
    for (;;) {
        if (weft_job_next(job, &frame) != WEFT_OK)
            fail_msg("%s", weft_engine_error(e));
        if (!frame.rgb)
            break;
        const size_t count = (size_t)frame.width * (size_t)frame.height * 3;
        clip.samples = realloc(clip.samples, (clip.count + count) * sizeof(float));
        assert_non_null(clip.samples);
        memcpy(clip.samples + clip.count, frame.rgb, count * sizeof(float));
        clip.count += count;
    }
    weft_job_close(&job);
    return clip;
}

/* What a model makes, or decodes from its fixture's latents. */
static struct clip make(struct weft_engine *e, const char *fixture, bool decodes)
{
    const char *root = getenv("WEFT_SOURCE_DIR");
    char folder[1024], latents[1024];
    struct weft_model *model;
    struct weft_request request;
    struct weft_job *job;
    snprintf(folder, sizeof folder, "%s/tests/fixtures/%s/model", root ? root : ".", fixture);
    snprintf(latents, sizeof latents, "%s/tests/fixtures/%s/expect/latents.safetensors",
             root ? root : ".", fixture);
    if (weft_model_open(e, folder, NULL, &model) != WEFT_OK)
        fail_msg("%s", weft_engine_error(e));
    weft_request_defaults(model, &request);
    request.prompt = "a fox, seen from above";
    request.width = 32;
    request.height = 48;
    request.num_frames = 9;
    request.steps = 2;
    request.guidance_scale = 4;
    request.seed = 5;
    request.random_seed = 0;
    const enum weft_status status = decodes ? weft_decode(model, latents, &request, &job)
                                            : weft_generate(model, &request, &job);
    if (status != WEFT_OK)
        fail_msg("%s", weft_engine_error(e));
    const struct clip clip = pull(e, job);
    weft_model_close(&model);
    return clip;
}

static bool same(struct clip have, struct clip want)
{
    return have.count == want.count &&
           memcmp(have.samples, want.samples, want.count * sizeof(float)) == 0;
}

static void compare(const char *fixture, const char *dtype, bool decodes)
{
    struct weft_engine *e = open_engine(false, policies[0], dtype);
    const struct clip want = make(e, fixture, decodes);
    weft_engine_close(&e);
    for (int i = 0; i < POLICIES; i++) {
        e = open_engine(true, policies[i], dtype);
        const size_t before = wf_mem_live_all(e->mem);
        const struct clip have = make(e, fixture, decodes);
        if (!same(have, want))
            fail_msg("%s in %s, policy %d: other samples", fixture, dtype, i);
        assert_int_equal(wf_sync(e->backends[0]), WF_OK);
        assert_int_equal(wf_mem_live_all(e->mem), before);
        free(have.samples);
        weft_engine_close(&e);
    }
    free(want.samples);
}

static void late_is_ref(void **state)
{
    static const char *const fixtures[] = {"basic",    "bf16",    "euler",       "long_prompt",
                                           "one_step", "sharded", "single_frame"};
    (void)state;
    for (size_t i = 0; i < sizeof fixtures / sizeof *fixtures; i++) {
        compare(fixtures[i], "f32", false);
        compare(fixtures[i], "f32", true);
    }
    compare("bf16", "bf16", false);
    compare("bf16", "bf16", true);
}

/* Some components on ref, some on a device with a queue: tensors cross by the host. */
static void a_map_crosses(void **state)
{
    static const char *const maps[] = {"transformer=late", "text_encoder=late", "vae=late",
                                       "text_encoder=late,vae=late"};
    const struct wf_policy none = {WF_OFFLOAD_NONE, 0};
    struct weft_engine *e = open_engine(false, none, "f32");
    const struct clip want = make(e, "basic", false);
    (void)state;
    weft_engine_close(&e);
    for (size_t i = 0; i < sizeof maps / sizeof *maps; i++) {
        e = open_engine(false, none, "f32");
        assert_int_equal(
            wf_backend_open_table(&late_ops, "f32", 1, e->mem, NULL, &e->err, &e->backends[1]),
            WF_OK);
        strcpy(e->devices[1], "late");
        e->backend_count = 2;
        strcpy(e->device_map, maps[i]);
        const struct clip have = make(e, "basic", false);
        if (!same(have, want))
            fail_msg("%s: other samples", maps[i]);
        free(have.samples);
        weft_engine_close(&e);
    }
    free(want.samples);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(late_is_ref),
                                       cmocka_unit_test(a_map_crosses)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
