/* The sample model with products in bf16 against the same in f32: it has layers wide enough for
   bf16 in every part, which the small models of tests/fixtures have not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/weft.h"
#include "tests/compare.h"

enum { STEPS = 4, FRAMES = 9 };

static char model_folder[1024], work[] = "/tmp/weft-bf16-XXXXXX";

struct opened {
    struct weft_engine *engine;
    struct weft_model *model;
    struct weft_request request;
    char dump[64];
};

static void open_type(struct opened *o, const char *dtype)
{
    struct weft_settings settings;
    weft_settings_defaults(&settings);
    settings.dtype = dtype;
    settings.device = getenv("WEFT_TEST_DEVICE");
    assert_int_equal(weft_engine_open(&settings, &o->engine), WEFT_OK);
    if (weft_model_open(o->engine, model_folder, NULL, &o->model) != WEFT_OK)
        fail_msg("%s", weft_engine_error(o->engine));
    weft_request_defaults(o->model, &o->request);
    snprintf(o->dump, sizeof o->dump, "%s/%s", work, dtype);
    o->request.prompt = "a blue square moves left";
    o->request.num_frames = FRAMES;
    o->request.steps = STEPS;
    o->request.seed = 5;
    o->request.random_seed = 0;
    o->request.dump = o->dump;
}

static void close_type(struct opened *o)
{
    weft_model_close(&o->model);
    weft_engine_close(&o->engine);
}

/* All frames of a job, which it closes. */
static struct array pull(const struct opened *o, struct weft_job *job)
{
    struct weft_job_info info;
    struct weft_frame frame;
    struct array all = {.rank = 1};
    weft_job_describe(job, &info);
    const size_t size = (size_t)info.width * (size_t)info.height * 3;
    all.data = malloc(size * (size_t)info.frames * sizeof(float));
    assert_non_null(all.data);
    for (;;) {
        if (weft_job_next(job, &frame) != WEFT_OK)
            fail_msg("%s", weft_engine_error(o->engine));
        if (!frame.rgb)
            break;
        memcpy(all.data + (size_t)frame.index * size, frame.rgb, size * sizeof(float));
        all.count += size;
    }
    assert_int_equal(all.count, size * (size_t)info.frames);
    weft_job_close(&job);
    return all;
}

static struct array generate(struct opened *o)
{
    struct weft_job *job = NULL;
    assert_int_equal(weft_generate(o->model, &o->request, &job), WEFT_OK);
    return pull(o, job);
}

static struct array decode(struct opened *o, int chunk)
{
    char path[128];
    struct weft_job *job = NULL;
    snprintf(path, sizeof path, "%s/f32/latents.safetensors", work);
    o->request.decode_chunk_size = chunk;
    assert_int_equal(weft_decode(o->model, path, &o->request, &job), WEFT_OK);
    return pull(o, job);
}

/* Relative error of a dumped tensor. */
static double error_of(const char *file, const char *tensor)
{
    char path[128];
    struct array f32, bf16;
    snprintf(path, sizeof path, "%s/f32/%s.safetensors", work, file);
    assert_true(array_read(path, tensor, &f32));
    snprintf(path, sizeof path, "%s/bf16/%s.safetensors", work, file);
    assert_true(array_read(path, tensor, &bf16));
    assert_true(array_same_dims(&f32, &bf16));
    const double error = relative_l2(bf16.data, f32.data, f32.count);
    printf("%s: relative error %.3g\n", file, error);
    array_free(&f32);
    array_free(&bf16);
    return error;
}

static void a_clip_in_bf16_is_the_clip(void **state)
{
    (void)state;
    struct opened o;
    struct array clip[2];
    static const char *const dtypes[2] = {"f32", "bf16"};
    for (int i = 0; i < 2; i++) {
        open_type(&o, dtypes[i]);
        clip[i] = generate(&o);
        close_type(&o);
    }
    assert_true(error_of("latents_initial", "latents") == 0);
    const double embeds = error_of("prompt_embeds", "prompt_embeds");
    assert_true(embeds > 0 && embeds <= 1e-2);
    for (int step = 0; step < STEPS; step++) { /* 1e-2 a step, which may add up */
        char name[32];
        snprintf(name, sizeof name, "latents_step_%03d", step);
        assert_true(error_of(name, "latents") <= 1e-2 * (step + 1));
    }
    const double db = psnr(clip[1].data, clip[0].data, clip[0].count);
    printf("frames: %.1f dB\n", db);
    assert_true(db >= 45);
    for (int i = 0; i < 2; i++)
        array_free(&clip[i]);
}

static bool on_gpu(void)
{
    const char *device = getenv("WEFT_TEST_DEVICE");
    return device && strncmp(device, "cuda", 4) == 0;
}

/* The latents of the f32 clip, decoded in both types, and in bf16 in chunks of every size. */
static void chunks_do_not_show_in_bf16(void **state)
{
    (void)state;
    struct opened o;
    open_type(&o, "f32");
    struct array f32 = decode(&o, 0);
    close_type(&o);
    open_type(&o, "bf16");
    struct array whole = decode(&o, FRAMES);
    const double db = psnr(whole.data, f32.data, f32.count);
    printf("decode: %.1f dB\n", db);
    assert_true(db >= 45 && db < 120);
    for (int chunk = 0; chunk < FRAMES; chunk++) {
        struct array part = decode(&o, chunk);
        assert_int_equal(part.count, whole.count);
        /* A GPU has other kernels for other shapes. */
        if (on_gpu())
            assert_true(psnr(part.data, whole.data, whole.count) >= 55);
        else
            assert_memory_equal(part.data, whole.data, whole.count * sizeof(float));
        array_free(&part);
    }
    close_type(&o);
    array_free(&whole);
    array_free(&f32);
}

int main(void)
{
    const char *source = getenv("WEFT_SOURCE_DIR");
    char command[128];
    snprintf(model_folder, sizeof model_folder, "%s/samples/shapes", source ? source : ".");
    if (!mkdtemp(work))
        return EXIT_FAILURE;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_clip_in_bf16_is_the_clip),
        cmocka_unit_test(chunks_do_not_show_in_bf16),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    snprintf(command, sizeof command, "rm -rf %s", work);
    return system(command) == 0 ? failed : EXIT_FAILURE;
}
