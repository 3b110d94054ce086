/* Files that shrink, change, vanish or get another under their name while a job runs: an error that
   names the file, or the clip of the files that were opened. */
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

static char fixture[4096], folder[] = "/tmp/weft-files-XXXXXX";

static void shell(const char *format, const char *a, const char *b)
{
    char command[9000];
    snprintf(command, sizeof command, format, a, b);
    assert_int_equal(system(command), 0);
}

static void copy_model(void)
{
    shell("rm -rf '%s'%s", folder, "");
    shell("cp -r '%s' '%s'", fixture, folder);
}

/* What happens to a file at a stage's given moment. */
struct event {
    enum weft_stage stage;
    int done;
    const char *file;
    void (*happen)(const char *path);
};

static void cut(const char *path)
{
    assert_int_equal(truncate(path, 0), 0);
}

static void cut_a_little(const char *path)
{
    FILE *file = fopen(path, "r+");
    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    const long bytes = ftell(file);
    fclose(file);
    assert_int_equal(truncate(path, bytes - 4), 0);
}

static void write_over(const char *path)
{
    shell("cp '%s' '%s.copy'", path, path);
    shell("cat '%s.copy' > '%s'", path, path);
}

static void take_away(const char *path)
{
    assert_int_equal(unlink(path), 0);
}

static void put_another(const char *path)
{
    char other[4200];
    snprintf(other, sizeof other, "%s.new", path);
    shell("echo rubbish > '%s'%s", other, "");
    assert_int_equal(rename(other, path), 0);
}

static void look(void *context, const struct weft_progress *progress)
{
    const struct event *e = context;
    char path[4200];
    if (progress->stage != e->stage || progress->done != e->done)
        return;
    snprintf(path, sizeof path, "%s/%s", folder, e->file);
    e->happen(path);
}

/* The clip's checksum, or the failure's line. */
static enum weft_status run(const struct event *e, double *sum, char line[1024])
{
    struct weft_engine *engine = NULL;
    struct weft_model *model = NULL;
    struct weft_job *job = NULL;
    struct weft_request request;
    struct weft_frame frame;
    copy_model();
    assert_int_equal(weft_engine_open(NULL, &engine), WEFT_OK);
    assert_int_equal(weft_model_open(engine, folder, NULL, &model), WEFT_OK);
    weft_request_defaults(model, &request);
    request.prompt = "a fox";
    request.width = request.height = 32;
    request.num_frames = 9;
    request.steps = 2;
    request.random_seed = 0;
    if (e) {
        request.progress = look;
        request.progress_context = (void *)(uintptr_t)e;
    }
    assert_int_equal(weft_generate(model, &request, &job), WEFT_OK);
    enum weft_status status;
    *sum = 0;
    while ((status = weft_job_next(job, &frame)) == WEFT_OK && frame.rgb) {
        for (int i = 0; i < frame.width * frame.height * 3; i++)
            *sum += (double)frame.rgb[i] * (1 + i % 7 + (double)frame.index);
    }
    snprintf(line, 1024, "%s", weft_engine_error(engine));
    weft_job_close(&job);
    weft_model_close(&model);
    weft_engine_close(&engine);
    return status;
}

static const struct {
    enum weft_stage stage;
    int done;
    const char *file;
} uses[] = {
    {WEFT_STAGE_ENCODE, 0, "text_encoder/model.safetensors"},
    {WEFT_STAGE_ENCODE, 1, "transformer/diffusion_pytorch_model.safetensors"},
    {WEFT_STAGE_DENOISE, 2, "vae/diffusion_pytorch_model.safetensors"},
};
enum { USES = sizeof uses / sizeof *uses };

static void a_file_that_changes_is_an_error_that_names_it(void **state)
{
    (void)state;
    static const struct {
        void (*happen)(const char *path);
        const char *word;
    } faults[] = {
        {cut, "became shorter"}, {cut_a_little, "became shorter"}, {write_over, "changed"}};
    for (size_t i = 0; i < sizeof faults / sizeof *faults * USES; i++) {
        struct event e = {.happen = faults[i / USES].happen};
        double sum;
        char line[1024];
        e.stage = uses[i % USES].stage;
        e.done = uses[i % USES].done;
        e.file = uses[i % USES].file;
        assert_int_equal(run(&e, &sum, line), WEFT_FAILED);
        if (!strstr(line, e.file) || !strstr(line, faults[i / USES].word))
            fail_msg("%s", line);
    }
}

static void a_file_that_was_opened_is_used_to_the_end(void **state)
{
    (void)state;
    void (*const changes[])(const char *path) = {take_away, put_another};
    double want, sum;
    char line[1024];
    assert_int_equal(run(NULL, &want, line), WEFT_OK);
    for (size_t i = 0; i < sizeof changes / sizeof *changes * USES; i++) {
        struct event e = {.happen = changes[i / USES]};
        e.stage = uses[i % USES].stage;
        e.done = uses[i % USES].done;
        e.file = uses[i % USES].file;
        assert_int_equal(run(&e, &sum, line), WEFT_OK);
        assert_true(sum == want);
    }
}

int main(void)
{
    const char *source = getenv("WEFT_SOURCE_DIR");
    snprintf(fixture, sizeof fixture, "%s/tests/fixtures/basic/model", source ? source : ".");
    if (!mkdtemp(folder))
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_that_changes_is_an_error_that_names_it),
        cmocka_unit_test(a_file_that_was_opened_is_used_to_the_end),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    shell("rm -rf '%s'%s", folder, "");
    return failed;
}
