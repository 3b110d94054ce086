/* Latents in files: their types, their two orders of axes, and what is refused. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/engine.h"
#include "engine/latents.h"
#include "engine/place.h"

enum { VALUES = 16 * 2 * 4 * 6 };

static char model_folder[4096], path[] = "/tmp/weft-latents-XXXXXX";
static struct weft_engine *engine;
static struct weft_model *model;

/* Tensor `latents` of VALUES values in the file. */
static void write_file(enum wf_dtype dtype, const char *shape, const float *values)
{
    char header[256];
    unsigned char data[VALUES * sizeof(float)];
    const size_t bytes = VALUES * wf_dtype_bytes(dtype);
    const int length =
        snprintf(header, sizeof header,
                 "{\"latents\":{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":[0,%zu]}}",
                 wf_dtype_name(dtype), shape, bytes);
    const unsigned char size[8] = {(unsigned char)length};
    wf_from_f32(data, dtype, values, VALUES);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    fwrite(size, 1, sizeof size, file);
    fwrite(header, 1, (size_t)length, file);
    fwrite(data, 1, bytes, file);
    assert_int_equal(fclose(file), 0);
}

/* The same numbers in every type. */
static void fill(float values[VALUES])
{
    for (int i = 0; i < VALUES; i++)
        values[i] = (float)(i * 7 % 33 - 16) / 8;
}

/* What the decoding of the file says, and in sum a number of its samples. */
static enum weft_status decode(double *sum)
{
    struct weft_request request;
    struct weft_job *job = NULL;
    struct weft_frame frame;
    weft_request_defaults(model, &request);
    enum weft_status status = weft_decode(model, path, &request, &job);
    *sum = 0;
    while (status == WEFT_OK && (status = weft_job_next(job, &frame)) == WEFT_OK && frame.rgb) {
        for (int i = 0; i < frame.width * frame.height * 3; i++)
            *sum += (double)frame.rgb[i] * (1 + i % 7 + (double)frame.index);
    }
    weft_job_close(&job);
    return status;
}

static const enum wf_dtype types[] = {WF_F32, WF_F16, WF_BF16};

static void latents_may_be_of_three_types(void **state)
{
    (void)state;
    float values[VALUES];
    double first = 0, sum;
    fill(values);
    for (int i = 0; i < 3; i++) {
        write_file(types[i], "[1,16,2,4,6]", values);
        assert_int_equal(decode(&sum), WEFT_OK);
        first = i ? first : sum;
        assert_true(sum == first && sum > 0);
    }
}

static void latents_that_are_no_numbers_are_refused(void **state)
{
    (void)state;
    static const float wrong[] = {NAN, INFINITY, -INFINITY};
    float values[VALUES];
    double sum;
    for (int i = 0; i < 9; i++) {
        fill(values);
        values[VALUES - 1 - i] = wrong[i / 3];
        write_file(types[i % 3], "[1,16,2,4,6]", values);
        assert_int_equal(decode(&sum), WEFT_REFUSED);
        assert_non_null(strstr(weft_engine_error(engine), "not all numbers"));
    }
}

static void a_refusal_says_what_was_expected_and_found(void **state)
{
    (void)state;
    static const struct {
        enum wf_dtype dtype;
        const char *shape, *found;
    } cases[] = {
        {WF_F16, "[1,2,16,4,6]",
         "is F16 [1,2,16,4,6]; expected F32, F16, BF16 or F64 [1,16,T,h,w]"},
        {WF_F32, "[2,16,1,4,6]",
         "is F32 [2,16,1,4,6]; expected F32, F16, BF16 or F64 [1,16,T,h,w]"},
        {WF_F32, "[16,2,4,6]", "is F32 [16,2,4,6]; expected F32, F16, BF16 or F64 [1,16,T,h,w]"},
        {WF_BF16, "[768]", "is BF16 [768]; expected F32, F16, BF16 or F64 [1,16,T,h,w]"},
    };
    float values[VALUES];
    double sum;
    fill(values);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_file(cases[i].dtype, cases[i].shape, values);
        assert_int_equal(decode(&sum), WEFT_REFUSED);
        if (!strstr(weft_engine_error(engine), cases[i].found))
            fail_msg("%s", weft_engine_error(engine));
    }
}

/* In [T,h,w,C] the value that file has at (c, t, row, column). */
static void check_place(const float *host, const float *file, const int64_t at[4],
                        const int64_t dims[4])
{
    const int64_t t = at[0], h = at[1], w = at[2], c = at[3];
    assert_true(host[((t * dims[1] + h) * dims[2] + w) * dims[3] + c] ==
                file[((t * dims[3] + c) * dims[1] + h) * dims[2] + w]);
}

/* There and back, of a family whose files have [1,T,C,h,w]. */
static void a_family_may_have_its_frames_first(void **state)
{
    (void)state;
    struct wf_backend *be = wf_model_backend(model, "vae");
    struct wf_arena arena;
    struct wf_tensor latents;
    int64_t dims[4] = {0, 0, 0, 4}, file[5];
    float written[VALUES], host[VALUES], back[VALUES], *values = NULL;
    for (int i = 0; i < VALUES; i++)
        written[i] = (float)i;
    write_file(WF_F32, "[1,8,4,6,4]", written);
    assert_int_equal(wf_latents_read(path, true, engine->mem, dims, &values, &engine->err), WF_OK);
    assert_memory_equal(dims, ((const int64_t[]){8, 6, 4, 4}), sizeof dims);
    wf_latents_file_dims(true, dims, file);
    assert_memory_equal(file, ((const int64_t[]){1, 8, 4, 6, 4}), sizeof file);
    wf_arena_init(&arena, wf_backend_source(be));
    assert_int_equal(wf_tensor_new(&arena, WF_F32, &latents, &engine->err, 4, dims), WF_OK);
    assert_int_equal(wf_latents_upload(be, latents, true, values, &arena), WF_OK);
    assert_int_equal(wf_download(be, host, latents), WF_OK);
    check_place(host, written, (const int64_t[]){0, 0, 0, 3}, dims);
    check_place(host, written, (const int64_t[]){5, 4, 2, 1}, dims);
    check_place(host, written, (const int64_t[]){7, 5, 3, 3}, dims);
    assert_int_equal(wf_latents_download(be, back, latents, true, &arena), WF_OK);
    assert_memory_equal(back, written, sizeof back);
    wf_arena_close(&arena);
    wf_free(values);
    dims[0] = dims[1] = dims[2] = 0;
    dims[3] = 5;
    assert_int_equal(wf_latents_read(path, true, engine->mem, dims, &values, &engine->err),
                     WF_REFUSED);
    assert_non_null(strstr(weft_engine_error(engine), "F64 [1,T,5,h,w]"));
}

int main(void)
{
    const char *source = getenv("WEFT_SOURCE_DIR");
    snprintf(model_folder, sizeof model_folder, "%s/tests/fixtures/basic/model",
             source ? source : ".");
    const int fd = mkstemp(path);
    if (fd < 0 || close(fd) != 0 || weft_engine_open(NULL, &engine) != WEFT_OK ||
        weft_model_open(engine, model_folder, NULL, &model) != WEFT_OK)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(latents_may_be_of_three_types),
        cmocka_unit_test(latents_that_are_no_numbers_are_refused),
        cmocka_unit_test(a_refusal_says_what_was_expected_and_found),
        cmocka_unit_test(a_family_may_have_its_frames_first),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    weft_model_close(&model);
    weft_engine_close(&engine);
    unlink(path);
    return failed;
}
