/* What weft.h says about threads: engines at work at the same time, cancelling from elsewhere, the
   log. The job's own thread is met at a known place, so that nothing here depends on time. With
   WEFT_TEST_THREADS=1 the engines compute in one thread each, for ThreadSanitizer, which does not
   see the barriers of OpenMP's library. */
#include <omp.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/weft.h"

enum { SIDE = 32, FRAMES = 9, SAMPLES = SIDE * SIDE * 3, ENGINES = 3, STEPS = 1000 };

static char model_folder[4096];

struct opened {
    struct weft_engine *engine;
    struct weft_model *model;
    struct weft_job *job;
    struct weft_writer *writer;
};

static void settings_of_test(struct weft_settings *settings)
{
    const char *threads = getenv("WEFT_TEST_THREADS");
    weft_settings_defaults(settings);
    settings->threads = threads ? atoi(threads) : 0;
}

static enum weft_status open_model(struct opened *o, const struct weft_settings *settings,
                                   struct weft_request *request)
{
    *o = (struct opened){0};
    enum weft_status status = weft_engine_open(settings, &o->engine);
    if (status == WEFT_OK)
        status = weft_model_open(o->engine, model_folder, NULL, &o->model);
    if (status != WEFT_OK)
        return status;
    weft_request_defaults(o->model, request);
    request->prompt = "a fox";
    request->width = request->height = SIDE;
    request->num_frames = FRAMES;
    request->steps = 2;
    request->random_seed = 0;
    return WEFT_OK;
}

static void close_all(struct opened *o)
{
    weft_job_close(&o->job);
    weft_writer_close(&o->writer);
    weft_model_close(&o->model);
    weft_engine_close(&o->engine);
}

/* --- engines at work at the same time --- */

struct clip {
    uint64_t seed;
    const char *dtype;
    int threads;              /* 0: settings_of_test's */
    pthread_barrier_t *start; /* NULL: alone */
    enum weft_status status;
    float frame[FRAMES][SAMPLES];
};

static enum weft_status pull_clip(struct weft_job *job, struct clip *clip)
{
    struct weft_frame frame;
    enum weft_status status;
    while ((status = weft_job_next(job, &frame)) == WEFT_OK && frame.rgb)
        memcpy(clip->frame[frame.index], frame.rgb, sizeof clip->frame[0]);
    return status;
}

/* In a thread of its own, so without cmocka's assertions. */
static void *make_clip(void *context)
{
    struct clip *clip = context;
    struct weft_settings settings;
    struct weft_request request;
    struct opened o;
    settings_of_test(&settings);
    settings.dtype = clip->dtype;
    settings.threads = clip->threads ? clip->threads : settings.threads;
    if (clip->start)
        pthread_barrier_wait(clip->start);
    clip->status = open_model(&o, &settings, &request);
    if (clip->status == WEFT_OK) {
        request.seed = clip->seed;
        clip->status = weft_generate(o.model, &request, &o.job);
    }
    if (clip->status == WEFT_OK)
        clip->status = pull_clip(o.job, clip);
    close_all(&o);
    return NULL;
}

static void engines_at_the_same_time_give_the_same_clips(void **state)
{
    struct clip *alone = calloc(ENGINES, sizeof *alone), *together = calloc(ENGINES, sizeof *alone);
    pthread_barrier_t start;
    pthread_t thread[ENGINES];
    (void)state;
    assert_non_null(alone);
    assert_non_null(together);
    assert_int_equal(pthread_barrier_init(&start, NULL, ENGINES), 0);
    for (int i = 0; i < ENGINES; i++) {
        alone[i] = (struct clip){.seed = (uint64_t)i, .dtype = i % 2 ? "bf16" : "f32"};
        together[i] = alone[i];
        together[i].start = &start;
        make_clip(&alone[i]);
        assert_int_equal(alone[i].status, WEFT_OK);
    }
    for (int i = 0; i < ENGINES; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, make_clip, &together[i]), 0);
    for (int i = 0; i < ENGINES; i++) {
        pthread_join(thread[i], NULL);
        assert_int_equal(together[i].status, WEFT_OK);
        assert_memory_equal(alone[i].frame, together[i].frame, sizeof alone[i].frame);
    }
    assert_memory_not_equal(alone[0].frame, alone[1].frame, sizeof alone[0].frame);
    pthread_barrier_destroy(&start);
    free(alone);
    free(together);
}

/* --- cancelling from another thread --- */

struct meeting {
    struct weft_job *job;
    enum weft_stage stage; /* where they meet: at the first progress in it that is not 0 */
    int go_on;             /* the job does not wait there for the cancelling */
    sem_t reached, cancelled;
    int done_after; /* steps or frames told of after the cancelling */
    int met;
};

static void wait_at_the_place(void *context, const struct weft_progress *progress)
{
    struct meeting *m = context;
    if (m->met)
        m->done_after++;
    if (m->met || progress->stage != m->stage || progress->done == 0)
        return;
    m->met = 1;
    sem_post(&m->reached);
    if (!m->go_on)
        sem_wait(&m->cancelled);
}

static void *cancel(void *context)
{
    struct meeting *m = context;
    sem_wait(&m->reached);
    weft_job_cancel(m->job);
    sem_post(&m->cancelled);
    return NULL;
}

static void write_frames(struct opened *o)
{
    struct weft_frame frame;
    enum weft_status status;
    while ((status = weft_job_next(o->job, &frame)) == WEFT_OK && frame.rgb) {
        status = weft_writer_write(o->writer, &frame);
        if (status != WEFT_OK)
            break;
    }
    assert_int_equal(status, WEFT_CANCELLED);
    assert_non_null(strstr(weft_engine_error(o->engine), "cancelled"));
}

static void cancel_at(enum weft_stage stage, const char *file, int finish, int go_on)
{
    char folder[] = "/tmp/weft-threads-XXXXXX", path[64];
    struct meeting m = {.stage = stage, .go_on = go_on};
    struct weft_settings settings;
    struct weft_request request;
    struct weft_output output;
    struct opened o;
    pthread_t thread;
    assert_non_null(mkdtemp(folder));
    assert_int_equal(sem_init(&m.reached, 0, 0), 0);
    assert_int_equal(sem_init(&m.cancelled, 0, 0), 0);
    settings_of_test(&settings);
    assert_int_equal(open_model(&o, &settings, &request), WEFT_OK);
    request.steps = stage == WEFT_STAGE_DENOISE ? STEPS : 1;
    request.progress = wait_at_the_place;
    request.progress_context = &m;
    assert_int_equal(weft_generate(o.model, &request, &o.job), WEFT_OK);
    m.job = o.job;
    weft_output_defaults(&output);
    snprintf(path, sizeof path, "%s/%s", folder, file);
    output.path = path;
    assert_int_equal(weft_writer_open(o.job, &output, &o.writer), WEFT_OK);
    assert_int_equal(pthread_create(&thread, NULL, cancel, &m), 0);
    write_frames(&o);
    pthread_join(thread, NULL);
    assert_true(go_on || m.done_after == 0);
    if (finish) { /* as a caller that does not look at the status */
        assert_int_equal(weft_writer_finish(o.writer), WEFT_CANCELLED);
        assert_int_equal(weft_writer_finish(o.writer), WEFT_FAILED);
    }
    close_all(&o);
    assert_int_equal(rmdir(folder), 0); /* so it is empty */
    sem_destroy(&m.reached);
    sem_destroy(&m.cancelled);
}

static void cancelled_while_denoising(void **state)
{
    (void)state;
    cancel_at(WEFT_STAGE_DENOISE, "clip.y4m", 0, 0);
    cancel_at(WEFT_STAGE_DENOISE, "clip.safetensors", 1, 0);
    cancel_at(WEFT_STAGE_DENOISE, "clip.y4m", 0, 1); /* at any moment of the steps that follow */
}

static void cancelled_while_decoding(void **state)
{
    (void)state;
    cancel_at(WEFT_STAGE_DECODE, "clip.y4m", 1, 0);
    cancel_at(WEFT_STAGE_DECODE, "frame-%02d.png", 0, 0);
    if (strstr(weft_output_formats(), "mp4"))
        cancel_at(WEFT_STAGE_DECODE, "clip.mp4", 1, 0);
}

/* --- the log --- */

struct lines {
    pthread_t thread;
    int count[2]; /* by level */
    char text[8192];
};

static void collect(void *context, enum weft_log_level level, const char *line)
{
    struct lines *lines = context;
    const size_t used = strlen(lines->text);
    assert_true(pthread_equal(pthread_self(), lines->thread));
    assert_null(strchr(line, '\n'));
    assert_non_null(strstr(line, ": "));
    lines->count[level]++;
    snprintf(lines->text + used, sizeof lines->text - used, "%s\n", line);
}

static void the_log_tells_what_is_done(void **state)
{
    static const char *const told[] = {"device: cpu",   "WanPipeline", "text_encoder: 22 tensors",
                                       "transformer: ", "vae: ",       "job: 32x32, 9 frames",
                                       "job: 2 steps",  "encode: ",    "denoise: ",
                                       "decode: "};
    struct lines lines = {.thread = pthread_self()};
    struct weft_settings settings;
    struct weft_request request;
    struct weft_frame frame;
    struct opened o;
    (void)state;
    settings_of_test(&settings);
    settings.log = collect;
    settings.log_context = &lines;
    assert_int_equal(open_model(&o, &settings, &request), WEFT_OK);
    assert_int_equal(weft_generate(o.model, &request, &o.job), WEFT_OK);
    while (weft_job_next(o.job, &frame) == WEFT_OK && frame.rgb) {
    }
    close_all(&o);
    for (size_t i = 0; i < sizeof told / sizeof *told; i++)
        assert_non_null(strstr(lines.text, told[i]));
    assert_int_equal(lines.count[WEFT_LOG_WARNING], 0);
}

/* --- a program with settings of its own for OpenMP --- */

struct host {
    int dynamic, threads, levels;
    bool in_region; /* it calls weft inside of a parallel region of its own */
};

static void apply(const struct host *host)
{
    omp_set_dynamic(host->dynamic);
    omp_set_num_threads(host->threads);
    omp_set_max_active_levels(host->levels);
}

static struct host settings_now(void)
{
    return (struct host){omp_get_dynamic(), omp_get_max_threads(), omp_get_max_active_levels(),
                         false};
}

static void make_clip_as(const struct host *host, struct clip *clip)
{
    apply(host);
    if (host->in_region) {
#pragma omp parallel num_threads(2)
#pragma omp master
        make_clip(clip);
    } else {
        make_clip(clip);
    }
    const struct host after = settings_now();
    assert_int_equal(clip->status, WEFT_OK);
    assert_int_equal(after.dynamic, host->dynamic);
    assert_int_equal(after.threads, host->threads);
    assert_int_equal(after.levels, host->levels);
}

/* The clip is that of as many threads as OpenMP grants, and the settings are as they were. */
static void openmp_settings_of_the_host_do_not_matter(void **state)
{
    (void)state;
    const struct host before = settings_now();
    static const struct host hosts[] = {
        {1, 2, 1, false}, {1, 1, 1, false}, {0, 1, 1, false}, {0, 7, 3, false},
        {0, 2, 0, false}, {0, 2, 1, true},  {1, 2, 2, true},
    };
    struct clip *clip = calloc(2, sizeof *clip);
    assert_non_null(clip);
    for (size_t i = 0; i < 2 * sizeof hosts / sizeof *hosts; i++) {
        const struct host *host = &hosts[i / 2];
        const bool one = host->in_region || host->levels == 0;
        const int asked = getenv("WEFT_TEST_THREADS") ? 1 : 2;
        clip[0] = (struct clip){.dtype = i % 2 ? "bf16" : "f32", .threads = one ? 1 : asked};
        clip[1] = (struct clip){.dtype = clip[0].dtype, .threads = asked};
        apply(&before);
        make_clip(&clip[0]);
        assert_int_equal(clip[0].status, WEFT_OK);
        make_clip_as(host, &clip[1]);
        assert_memory_equal(clip[0].frame, clip[1].frame, sizeof clip[0].frame);
    }
    apply(&before);
    free(clip);
}

int main(void)
{
    const char *source = getenv("WEFT_SOURCE_DIR");
    snprintf(model_folder, sizeof model_folder, "%s/tests/fixtures/basic/model",
             source ? source : ".");

    const struct CMUnitTest tests[] = {
        cmocka_unit_test(engines_at_the_same_time_give_the_same_clips),
        cmocka_unit_test(openmp_settings_of_the_host_do_not_matter),
        cmocka_unit_test(cancelled_while_denoising),
        cmocka_unit_test(cancelled_while_decoding),
        cmocka_unit_test(the_log_tells_what_is_done),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
