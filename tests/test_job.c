/* Jobs through weft.h: what holds beside the pixels. Streaming memory, cancelling, failing
   allocations, several engines, own noise. The model is the smallest fixture. */
#include <math.h>
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

#include "engine/engine.h"
#include "engine/job.h"
#include "engine/place.h"

static char model_folder[4096];

struct opened {
    struct weft_engine *engine;
    struct weft_model *model;
    struct weft_request request;
};

static void close_all(struct opened *o, struct weft_job **job)
{
    weft_job_close(job);
    weft_model_close(&o->model);
    weft_engine_close(&o->engine);
}

/* WEFT_TEST_THREADS: as in test_threads.c. */
static void open_engine(struct opened *o, const char *dtype, const char *device_map)
{
    const char *threads = getenv("WEFT_TEST_THREADS");
    struct weft_settings settings;
    weft_settings_defaults(&settings);
    settings.threads = threads ? atoi(threads) : 0;
    settings.dtype = dtype;
    settings.device_map = device_map;
    assert_int_equal(weft_engine_open(&settings, &o->engine), WEFT_OK);
}

static void open_placed(struct opened *o, const char *dtype, const char *device_map)
{
    *o = (struct opened){0};
    open_engine(o, dtype, device_map);
    assert_int_equal(weft_model_open(o->engine, model_folder, NULL, &o->model), WEFT_OK);
    weft_request_defaults(o->model, &o->request);
    o->request.prompt = "a fox";
    o->request.width = 32;
    o->request.height = 32;
    o->request.num_frames = 5;
    o->request.steps = 2;
    o->request.seed = 3;
    o->request.random_seed = 0;
}

static void open_typed(struct opened *o, const char *dtype)
{
    open_placed(o, dtype, NULL);
}

static void open_small(struct opened *o)
{
    open_typed(o, NULL);
}

/* The sum of all samples, which two equal clips share; the job's last status. */
static enum weft_status run(struct weft_job *job, double *sum)
{
    struct weft_frame frame;
    enum weft_status status;
    *sum = 0;
    while ((status = weft_job_next(job, &frame)) == WEFT_OK && frame.rgb) {
        for (int i = 0; i < frame.width * frame.height * 3; i++)
            *sum += (double)frame.rgb[i] * (1 + i % 7 + (double)frame.index);
    }
    return status;
}

/* Whether a file with that word in its path is mapped into the process. */
static bool is_mapped(const char *word)
{
    FILE *maps = fopen("/proc/self/maps", "r");
    assert_non_null(maps);
    char line[4500];
    bool found = false;
    while (fgets(line, sizeof line, maps))
        found |= strstr(line, word) != NULL;
    fclose(maps);
    return found;
}

struct residents {
    const struct wf_mem *mem;
    bool mapped; /* a file of the model */
    size_t weights;
    int looks;
};

static void look_at_residents(void *context, const struct weft_progress *progress)
{
    struct residents *r = context;
    if (progress->stage != WEFT_STAGE_DENOISE)
        return;
    r->mapped |= is_mapped(model_folder);
    r->weights = wf_mem_live(r->mem, WF_MEM_WEIGHTS);
    r->looks++;
}

/* Under the policy model nothing of the text encoder is in memory while denoising; no file of the
   model is mapped under any. */
static void the_text_encoder_leaves_before_denoising(void **state)
{
    (void)state;
    struct opened o;
    struct weft_job *job;
    double sum;
    open_small(&o);
    struct residents r = {.mem = o.engine->mem};
    o.request.progress = look_at_residents;
    o.request.progress_context = &r;
    assert_int_equal(weft_generate(o.model, &o.request, &job), WEFT_OK);
    assert_int_equal(run(job, &sum), WEFT_OK);
    assert_true(r.looks > 1);
    assert_false(r.mapped);
    const struct weft_model_info *info;
    assert_int_equal(weft_model_describe(o.model, &info), WEFT_OK);
    size_t most = 0;
    for (int i = 0; i < info->component_count; i++)
        if (strcmp(info->components[i].name, "transformer") == 0)
            most = (size_t)info->components[i].parameters * sizeof(float);
    assert_true(r.weights > 0 && r.weights < most + most / 2);
    close_all(&o, &job);
}

/* The arenas are taken once, at the size that the plan says, and that is what is used. */
static void activations_are_known_beforehand(void **state)
{
    (void)state;
    static const struct {
        int width, height, frames, chunk;
        double guidance;
        const char *prompt;
    } cases[] = {{32, 32, 5, 0, 5, "a fox"},
                 {48, 16, 13, 3, 1, "a fox that runs through a long, long winter night"},
                 {64, 32, 17, 9, 3, ""},
                 {16, 16, 1, 0, 5, "x"}};
    struct opened o;
    open_small(&o);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct weft_job *job;
        o.request.width = cases[i].width;
        o.request.height = cases[i].height;
        o.request.num_frames = cases[i].frames;
        o.request.decode_chunk_size = cases[i].chunk;
        o.request.guidance_scale = cases[i].guidance;
        o.request.prompt = cases[i].prompt;
        o.request.steps = 6;
        assert_int_equal(weft_generate(o.model, &o.request, &job), WEFT_OK);
        const size_t planned = job->plan.room.decoder;
        size_t used = 0;
        struct weft_frame frame;
        while (weft_job_next(job, &frame) == WEFT_OK && frame.rgb)
            used = wf_decoder_room_used(job->decoder);
        assert_int_equal(job->phase, WF_JOB_DONE);
        assert_int_equal(job->arena.peak, job->plan.room.activations);
        assert_int_equal(used, planned);
        assert_true(planned > 0 && job->plan.room.activations > 0);
        weft_job_close(&job);
    }
    close_all(&o, &(struct weft_job *){NULL});
}

static size_t decode_peak(int frames)
{
    struct opened o;
    struct weft_job *job = NULL;
    double sum;
    open_small(&o);
    o.request.num_frames = frames;
    o.request.steps = 1;
    assert_int_equal(weft_generate(o.model, &o.request, &job), WEFT_OK);
    assert_int_equal(run(job, &sum), WEFT_OK);
    const size_t latents = wf_tensor_bytes(&job->latents);
    const size_t peak = job->stats[WEFT_STAGE_DECODE].peak[WF_HOST] - latents;
    close_all(&o, &job);
    return peak;
}

static void memory_does_not_grow_with_the_clip(void **state)
{
    (void)state;
    assert_int_equal(decode_peak(13), decode_peak(41));
}

static void frames_come_before_the_clip_is_decoded(void **state)
{
    struct opened o;
    struct weft_job *job = NULL;
    struct weft_frame frame;
    (void)state;
    open_small(&o);
    o.request.num_frames = 13;
    assert_int_equal(weft_generate(o.model, &o.request, &job), WEFT_OK);
    assert_int_equal(weft_job_next(job, &frame), WEFT_OK);
    struct wf_tally all = wf_stage_tally(&job->stats[WEFT_STAGE_DECODE]);
    const double first = wf_flops(&all);
    while (weft_job_next(job, &frame) == WEFT_OK && frame.rgb) {
    }
    all = wf_stage_tally(&job->stats[WEFT_STAGE_DECODE]);
    assert_true(first > 0 && first < wf_flops(&all) / 3);
    close_all(&o, &job);
}

static void cancel_at_step(void *context, const struct weft_progress *progress)
{
    if (progress->stage == WEFT_STAGE_DENOISE && progress->done == 1)
        weft_job_cancel(*(struct weft_job **)context);
}

static void a_job_can_be_cancelled(void **state)
{
    struct opened o;
    struct weft_job *job = NULL;
    double sum;
    (void)state;
    open_small(&o);
    o.request.progress = cancel_at_step;
    o.request.progress_context = &job;
    assert_int_equal(weft_generate(o.model, &o.request, &job), WEFT_OK);
    assert_int_equal(run(job, &sum), WEFT_CANCELLED);
    assert_int_equal(job->steps_done, 1);
    assert_int_equal(run(job, &sum), WEFT_CANCELLED); /* and stays so */
    close_all(&o, &job);
}

static double sum_of(const struct weft_request *change, const char *latents)
{
    struct opened o;
    struct weft_job *job = NULL;
    double sum;
    open_small(&o);
    if (change)
        o.request.seed = change->seed;
    o.request.latents = latents;
    assert_int_equal(weft_generate(o.model, &o.request, &job), WEFT_OK);
    assert_int_equal(run(job, &sum), WEFT_OK);
    close_all(&o, &job);
    return sum;
}

static void the_same_seed_gives_the_same_clip(void **state)
{
    (void)state;
    const double sum = sum_of(NULL, NULL);
    assert_true(sum == sum_of(NULL, NULL));
    assert_true(sum != sum_of(&(struct weft_request){.seed = 4}, NULL));
}

/* The noise of a file that holds the seed's noise is the seed's. */
static void latents_of_a_file_take_the_place_of_the_noise(void **state)
{
    char folder[] = "/tmp/weft-job-XXXXXX", path[64];
    struct opened o;
    struct weft_job *job = NULL;
    double sum;
    (void)state;
    assert_non_null(mkdtemp(folder));
    open_small(&o);
    o.request.dump = folder;
    assert_int_equal(weft_generate(o.model, &o.request, &job), WEFT_OK);
    assert_int_equal(run(job, &sum), WEFT_OK);
    close_all(&o, &job);
    snprintf(path, sizeof path, "%s/latents_initial.safetensors", folder);
    assert_true(sum == sum_of(&(struct weft_request){.seed = 99}, path));
    static const char *const files[] = {"latents_initial",  "latents_step_000",
                                        "latents_step_001", "latents",
                                        "prompt_embeds",    "negative_prompt_embeds"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(path, sizeof path, "%s/%s.safetensors", folder, files[i]);
        assert_int_equal(unlink(path), 0);
    }
    assert_int_equal(rmdir(folder), 0);
}

static void policies_give_the_same_pixels(void **state)
{
    struct opened o;
    struct weft_job *job = NULL;
    static const struct wf_policy policies[] = {{WF_OFFLOAD_NONE, 0},
                                                {WF_OFFLOAD_MODEL, 0},
                                                {WF_OFFLOAD_GROUP, 0},
                                                {WF_OFFLOAD_GROUP, 3},
                                                {WF_OFFLOAD_SEQUENTIAL, 0}};
    double sum, first = 0;
    (void)state;
    for (size_t i = 0; i < sizeof policies / sizeof *policies; i++) {
        open_small(&o);
        o.engine->policy = policies[i];
        assert_int_equal(weft_generate(o.model, &o.request, &job), WEFT_OK);
        assert_int_equal(run(job, &sum), WEFT_OK);
        const size_t weights = wf_mem_live(o.engine->mem, WF_MEM_WEIGHTS);
        assert_true(i ? weights == 0 : weights > 0);
        first = i ? first : sum;
        assert_true(sum == first);
        close_all(&o, &job);
    }
}

/* The plan is the run: its work, its transfers and its peaks are those of the run, byte by byte. */
static void compare_plan(struct weft_job *job, const char *what)
{
    double sum;
    struct weft_stage_plan plan;
    assert_int_equal(run(job, &sum), WEFT_OK);
    for (int stage = 0; stage < WF_JOB_STAGES; stage++) {
        const struct wf_stage_stats *done = &job->stats[stage];
        const struct wf_tally all = wf_stage_tally(done);
        assert_int_equal(weft_job_plan(job, (enum weft_stage)stage, &plan), WEFT_OK);
        assert_true(plan.flops == wf_flops(&all));
        assert_true((double)plan.transfer_bytes == all.work[WF_KIND_LOAD]);
        assert_true(plan.seconds > 0);
        if (plan.peak_host_bytes != done->peak[WF_HOST])
            fail_msg("%s, stage %d: %llu bytes planned, %zu taken", what, stage,
                     (unsigned long long)plan.peak_host_bytes, done->peak[WF_HOST]);
    }
    assert_int_equal(weft_job_plan(job, WEFT_STAGE_WRITE, &plan), WEFT_OK);
    assert_true(plan.seconds == 0 && plan.peak_host_bytes == 0);
}

static void the_plan_is_the_run(void **state)
{
    static const struct {
        struct wf_policy policy;
        const char *dtype;
        int width, frames;
        double guidance;
        const char *map;
    } cases[] = {{{WF_OFFLOAD_NONE, 0}, "f32", 32, 5, 5, NULL},
                 {{WF_OFFLOAD_MODEL, 0}, "bf16", 48, 9, 1, NULL},
                 {{WF_OFFLOAD_GROUP, 1}, "f32", 64, 13, 4, NULL},
                 {{WF_OFFLOAD_GROUP, 3}, "bf16", 32, 5, 4, NULL},
                 {{WF_OFFLOAD_SEQUENTIAL, 0}, "f32", 48, 9, 1, NULL},
                 {{WF_OFFLOAD_SEQUENTIAL, 0}, "bf16", 64, 5, 5, NULL},
                 {{WF_OFFLOAD_NONE, 0}, "f32", 32, 9, 5, "transformer=ref"},
                 {{WF_OFFLOAD_NONE, 0}, "text_encoder=f32,vae=bf16", 48, 5, 4, "vae=ref"},
                 {{WF_OFFLOAD_NONE, 0}, "transformer=bf16", 32, 5, 1, "text_encoder=ref"}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct opened o;
        struct weft_job *job = NULL;
        open_placed(&o, cases[i].dtype, cases[i].map);
        o.engine->policy = cases[i].policy;
        o.request.width = cases[i].width;
        o.request.num_frames = cases[i].frames;
        o.request.guidance_scale = cases[i].guidance;
        assert_int_equal(weft_generate(o.model, &o.request, &job), WEFT_OK);
        char what[32];
        snprintf(what, sizeof what, "case %zu", i);
        compare_plan(job, what);
        close_all(&o, &job);
    }
}

/* A second job finds weights of the first one there, and another model's beside them. */
static void a_plan_begins_with_what_is_there(void **state)
{
    static const struct wf_policy kinds[] = {{WF_OFFLOAD_NONE, 0}, {WF_OFFLOAD_MODEL, 0}};
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct opened o;
        struct weft_model *other;
        struct weft_job *job = NULL, *second = NULL;
        double sum;
        open_small(&o);
        o.engine->policy = kinds[i];
        assert_int_equal(weft_model_open(o.engine, model_folder, NULL, &other), WEFT_OK);
        assert_int_equal(weft_generate(other, &o.request, &job), WEFT_OK);
        assert_int_equal(run(job, &sum), WEFT_OK);
        weft_job_close(&job);
        assert_int_equal(weft_generate(o.model, &o.request, &job), WEFT_OK);
        compare_plan(job, "first job");
        weft_job_close(&job);
        assert_int_equal(weft_generate(o.model, &o.request, &second), WEFT_OK);
        compare_plan(second, "second job");
        weft_job_close(&second);
        weft_model_close(&other);
        close_all(&o, &job);
    }
}

/* What a map names is there, the rest on the device, each in its type; all on ref is ref. */
static void a_map_places_components(void **state)
{
    struct opened o;
    struct weft_job *job = NULL;
    double sums[2];
    (void)state;
    open_placed(&o, "transformer=bf16,vae=f32", "vae=ref,text_encoder=cpu");
    assert_string_equal(wf_model_backend(o.model, "vae")->ops.name, "ref");
    assert_string_equal(wf_model_backend(o.model, "transformer")->ops.name, "cpu");
    assert_string_equal(wf_model_backend(o.model, "text_encoder")->ops.name, "cpu");
    assert_int_equal(wf_model_backend(o.model, "transformer")->compute, WF_BF16);
    assert_int_equal(wf_model_backend(o.model, "vae")->compute, WF_F32);
    assert_int_equal(wf_model_policy(o.model).offload, WF_OFFLOAD_NONE);
    close_all(&o, &job);
    for (int i = 0; i < 2; i++) {
        if (i)
            open_placed(&o, "f32", "text_encoder=ref,transformer=ref,vae=ref");
        else
            open_placed(&o, "f32", "text_encoder=cpu,transformer=ref,vae=ref");
        assert_int_equal(weft_generate(o.model, &o.request, &job), WEFT_OK);
        assert_int_equal(run(job, &sums[i]), WEFT_OK);
        close_all(&o, &job);
    }
    assert_true(fabs(sums[0] - sums[1]) < 1e-5 * fabs(sums[1]));
}

struct told {
    double first, last, fraction;
    int count;
};

static void note_progress(void *context, const struct weft_progress *progress)
{
    struct told *told = context;
    if (!told->count++)
        told->first = progress->remaining_seconds;
    told->last = progress->remaining_seconds;
    assert_true(progress->fraction >= told->fraction && progress->fraction <= 1);
    told->fraction = progress->fraction;
    assert_true(progress->peak_bytes > 0);
    assert_true((progress->unit_seconds > 0) ==
                (progress->stage != WEFT_STAGE_ENCODE && progress->done > 0));
}

/* A job too short to be planned in seconds says nothing at first; else the plan speaks. */
static void what_is_left_comes_from_the_plan(void **state)
{
    (void)state;
    for (int planned = 0; planned < 2; planned++) {
        struct opened o;
        struct weft_job *job = NULL;
        struct told told = {0};
        double sum;
        open_small(&o);
        o.request.progress = note_progress;
        o.request.progress_context = &told;
        assert_int_equal(weft_generate(o.model, &o.request, &job), WEFT_OK);
        for (int stage = 0; stage < 3; stage++) {
            assert_true(job->plan.stats[stage].seconds == 0);
            job->plan.stats[stage].seconds = planned * (stage + 1);
        }
        assert_int_equal(run(job, &sum), WEFT_OK);
        assert_true(planned ? fabs(told.first - 6) < 1e-9 : told.first < 0);
        assert_true(told.last == 0 && told.fraction > 0.999);
        close_all(&o, &job);
    }
}

static void engines_are_independent(void **state)
{
    struct opened a, b;
    struct weft_job *job_a = NULL, *job_b = NULL;
    struct weft_frame frame_a, frame_b;
    (void)state;
    open_small(&a);
    open_small(&b);
    assert_int_equal(weft_generate(a.model, &a.request, &job_a), WEFT_OK);
    b.request.width = 40;
    assert_int_equal(weft_generate(b.model, &b.request, &job_b), WEFT_REFUSED);
    assert_string_equal(weft_engine_error(a.engine), "");
    b.request.width = 32;
    assert_int_equal(weft_generate(b.model, &b.request, &job_b), WEFT_OK);
    for (int i = 0; i < 5; i++) { /* turn by turn */
        assert_int_equal(weft_job_next(job_a, &frame_a), WEFT_OK);
        assert_int_equal(weft_job_next(job_b, &frame_b), WEFT_OK);
        assert_memory_equal(frame_a.rgb, frame_b.rgb, 32 * 32 * 3 * sizeof(float));
    }
    close_all(&a, &job_a);
    close_all(&b, &job_b);
}

/* One job after another on one model, and one that is given up halfway. */
static void a_model_serves_many_jobs(void **state)
{
    struct opened o;
    struct weft_job *job = NULL;
    struct weft_frame frame;
    double first, again;
    (void)state;
    open_small(&o);
    assert_int_equal(weft_generate(o.model, &o.request, &job), WEFT_OK);
    assert_int_equal(run(job, &first), WEFT_OK);
    weft_job_close(&job);
    assert_int_equal(weft_generate(o.model, &o.request, &job), WEFT_OK);
    assert_int_equal(weft_job_next(job, &frame), WEFT_OK);
    weft_job_close(&job);
    assert_int_equal(weft_generate(o.model, &o.request, &job), WEFT_OK);
    assert_int_equal(run(job, &again), WEFT_OK);
    assert_true(first == again);
    close_all(&o, &job);
}

/* --- several jobs of one model --- */

enum { CLIPS = 3 };

/* Clips of other sizes, lengths, prompts and guidance. */
static void ask_for(struct opened *o, int which)
{
    static const char *const prompts[CLIPS] = {"a fox", "two owls in the rain, at night", ""};
    static const int widths[CLIPS] = {32, 48, 16}, frames[CLIPS] = {5, 13, 9};
    o->request.prompt = prompts[which];
    o->request.negative_prompt = which ? "blurred" : NULL;
    o->request.width = widths[which];
    o->request.num_frames = frames[which];
    o->request.guidance_scale = which == 1 ? 1 : 4;
    o->request.decode_chunk_size = which == 2 ? 5 : 0;
    o->request.seed = (uint64_t)which;
}

static void start(struct opened *o, int which, struct weft_job **job)
{
    ask_for(o, which);
    assert_int_equal(weft_generate(o->model, &o->request, job), WEFT_OK);
}

/* One more frame into the sum; false at the end. */
static bool pull_one(struct weft_job *job, double *sum)
{
    struct weft_frame frame;
    assert_int_equal(weft_job_next(job, &frame), WEFT_OK);
    for (int i = 0; frame.rgb && i < frame.width * frame.height * 3; i++)
        *sum += (double)frame.rgb[i] * (1 + i % 7 + (double)frame.index);
    return frame.rgb != NULL;
}

static void alone(double sum[CLIPS])
{
    for (int i = 0; i < CLIPS; i++) {
        struct opened o;
        struct weft_job *job;
        open_small(&o);
        start(&o, i, &job);
        assert_int_equal(run(job, &sum[i]), WEFT_OK);
        close_all(&o, &job);
    }
}

static void jobs_of_one_model_can_be_pulled_in_turns(void **state)
{
    (void)state;
    double want[CLIPS], sum[CLIPS] = {0};
    alone(want);
    for (int order = 0; order < 2; order++) { /* closed forwards and backwards */
        struct opened o;
        struct weft_job *job[CLIPS];
        memset(sum, 0, sizeof sum);
        open_small(&o);
        for (int i = 0; i < CLIPS; i++)
            start(&o, i, &job[i]);
        for (int busy = CLIPS; busy;) {
            busy = 0;
            for (int i = 0; i < CLIPS; i++)
                busy += pull_one(job[i], &sum[i]);
        }
        for (int i = 0; i < CLIPS; i++) {
            assert_true(sum[i] == want[i]);
            weft_job_close(&job[order ? CLIPS - 1 - i : i]);
        }
        close_all(&o, &(struct weft_job *){NULL});
    }
}

/* Of three jobs that have begun, one is cancelled and one given up: the third gives its clip. */
static void a_job_that_ends_early_does_not_touch_the_others(void **state)
{
    (void)state;
    double want[CLIPS];
    alone(want);
    for (int last = 0; last < CLIPS; last++) {
        struct opened o;
        struct weft_job *job[CLIPS];
        struct weft_frame frame;
        double sum[CLIPS] = {0};
        const int cancelled = (last + 1) % CLIPS, given_up = (last + 2) % CLIPS;
        open_small(&o);
        for (int i = 0; i < CLIPS; i++)
            start(&o, i, &job[i]);
        for (int i = 0; i < CLIPS; i++)
            assert_true(pull_one(job[i], &sum[i]));
        weft_job_cancel(job[cancelled]);
        assert_int_equal(weft_job_next(job[cancelled], &frame), WEFT_CANCELLED);
        assert_true(pull_one(job[last], &sum[last]));
        weft_job_close(&job[given_up]);
        while (pull_one(job[last], &sum[last])) {
        }
        assert_true(sum[last] == want[last]);
        weft_job_close(&job[cancelled]);
        close_all(&o, &job[last]);
    }
}

/* A job that memory runs out for fails; the one beside it goes on, and the next one begins anew. */
static void a_job_that_fails_does_not_touch_the_others(void **state)
{
    (void)state;
    double want[CLIPS], sum = 0;
    struct opened o;
    struct weft_job *good, *bad, *after;
    struct weft_frame frame;
    alone(want);
    open_small(&o);
    start(&o, 0, &good);
    assert_true(pull_one(good, &sum));
    for (long nth = 1; nth < 60; nth += 7) {
        start(&o, 1, &bad);
        wf_mem_fail_at(o.engine->mem, nth);
        assert_int_equal(weft_job_next(bad, &frame), WEFT_FAILED);
        wf_mem_fail_at(o.engine->mem, 0);
        weft_job_close(&bad);
    }
    while (pull_one(good, &sum)) {
    }
    assert_true(sum == want[0]);
    start(&o, 2, &after);
    assert_int_equal(run(after, &sum), WEFT_OK);
    assert_true(sum == want[2]);
    weft_job_close(&after);
    close_all(&o, &good);
}

static void several_jobs_hold_the_weights_once(void **state)
{
    (void)state;
    struct opened o;
    struct weft_job *job[CLIPS];
    size_t held[CLIPS];
    double sum = 0;
    open_small(&o);
    o.engine->policy.offload = WF_OFFLOAD_NONE;
    for (int i = 0; i < CLIPS; i++) {
        start(&o, i, &job[i]);
        assert_true(pull_one(job[i], &sum));
        held[i] = wf_mem_live(o.engine->mem, WF_MEM_WEIGHTS);
    }
    assert_true(held[0] > 0 && held[1] == held[0] && held[2] == held[0]);
    for (int i = 0; i < CLIPS; i++)
        weft_job_close(&job[i]);
    close_all(&o, &(struct weft_job *){NULL});
}

/* --- weft.h --- */

static void a_field_from_the_future_is_refused(void **state)
{
    (void)state;
    struct opened o;
    struct weft_job *job = NULL;
    struct weft_engine *engine = NULL;
    struct weft_settings settings;
    char version[32];
    open_small(&o);
    o.request.reserved[3] = 1;
    assert_int_equal(weft_generate(o.model, &o.request, &job), WEFT_REFUSED);
    assert_non_null(strstr(weft_engine_error(o.engine), "request: a field is set"));
    close_all(&o, &job);
    weft_settings_defaults(&settings);
    settings.reserved[0] = 1;
    assert_int_equal(weft_engine_open(&settings, &engine), WEFT_REFUSED);
    weft_engine_close(&engine);
    snprintf(version, sizeof version, "%d.%d.%d", WEFT_VERSION_MAJOR, WEFT_VERSION_MINOR,
             WEFT_VERSION_PATCH);
    assert_string_equal(weft_version(), version);
}

/* Also what the command line does not let through. */
static void tiles_that_cannot_be_are_refused(void **state)
{
    (void)state;
    static const struct {
        int tiling, width, height, overlap_width, overlap_height;
        const char *word; /* NULL: it is possible */
    } cases[] = {
        {-1, 0, 0, -1, -1, "tiling: -1 is not known"},
        {4, 0, 0, -1, -1, "tiling: 4 is not known"},
        {WEFT_TILING_EXACT, -64, 64, -1, -1, "tile-size: -64x64"},
        {WEFT_TILING_EXACT, 64, 0, -1, -1, "tile-size: 64x0"},
        {WEFT_TILING_BLEND, 0, 64, -1, -1, "tile-size: 0x64"},
        {WEFT_TILING_BLEND, 64, 64, 16, -1, "tile-overlap: 16x-1"},
        {WEFT_TILING_NONE, 64, 64, -1, -1, "tile-size: 64x64 goes with tiles"},
        {WEFT_TILING_NONE, 0, 0, 16, 16, "tile-overlap: 16x16 goes with tiling blend alone"},
        {WEFT_TILING_EXACT, 64, 64, 16, 0, "tile-overlap: 16x0 goes with tiling blend alone"},
        {WEFT_TILING_AUTO, 64, 64, 0, 16, "tile-overlap: 0x16 goes with tiling blend alone"},
        {WEFT_TILING_AUTO, 64, 64, -1, -1, NULL},
    };
    struct opened o;
    open_small(&o);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct weft_job *job = NULL;
        o.request.tiling = (enum weft_tiling)cases[i].tiling;
        o.request.tile_width = cases[i].width;
        o.request.tile_height = cases[i].height;
        o.request.tile_overlap_width = cases[i].overlap_width;
        o.request.tile_overlap_height = cases[i].overlap_height;
        assert_int_equal(weft_generate(o.model, &o.request, &job),
                         cases[i].word ? WEFT_REFUSED : WEFT_OK);
        if (cases[i].word && !strstr(weft_engine_error(o.engine), cases[i].word))
            fail_msg("%s", weft_engine_error(o.engine));
        weft_job_close(&job);
    }
    close_all(&o, &(struct weft_job *){NULL});
}

/* What a host does wrong is a status, not the end of it. */
static void misuse_is_a_status(void **state)
{
    (void)state;
    struct opened o;
    struct weft_job *job = NULL;
    struct weft_writer *writer = NULL;
    struct weft_output output;
    const struct weft_frame frame = {.rgb = (const float[3]){0}, .width = 1, .height = 1};
    open_small(&o);
    assert_int_equal(weft_decode(o.model, NULL, &o.request, &job), WEFT_REFUSED);
    assert_null(job);
    assert_int_equal(weft_generate(o.model, &o.request, &job), WEFT_OK);
    weft_output_defaults(&output);
    output.path = "/dev/null";
    output.format = "null";
    assert_int_equal(weft_writer_open(job, &output, &writer), WEFT_OK);
    assert_int_equal(weft_writer_write(writer, &(struct weft_frame){0}), WEFT_FAILED);
    assert_int_equal(weft_writer_write(writer, &frame), WEFT_FAILED);
    assert_non_null(strstr(weft_engine_error(o.engine), "1x1"));
    weft_writer_close(&writer);
    assert_int_equal(weft_job_report_check(job, NULL, "/dev/full"), WEFT_OK);
    assert_int_equal(weft_job_report(job, NULL, "/dev/full"), WEFT_FAILED);
    char weights[4200];
    snprintf(weights, sizeof weights, "%s/model_index.json", model_folder);
    assert_int_equal(weft_job_report(job, NULL, weights), WEFT_REFUSED);
    close_all(&o, &job);
}

static void clips_have_names(void **state)
{
    (void)state;
    struct opened o = {0};
    char path[64];
    open_engine(&o, NULL, NULL);
    assert_int_equal(weft_clip_path(o.engine, "%d/a%%-%03d.y4m", 0, 7, path, 64), WEFT_OK);
    assert_string_equal(path, "%d/a%-007.y4m"); /* the folder is as it is */
    assert_int_equal(weft_clip_path(o.engine, "a%%-%d-%05d.png", 1, 12, path, 64), WEFT_OK);
    assert_string_equal(path, "a%%-12-%05d.png"); /* still a pattern */
    assert_int_equal(weft_clip_path(o.engine, path, 0, 3, path, 64), WEFT_OK);
    assert_string_equal(path, "a%-12-00003.png");
    assert_int_equal(weft_clip_path(o.engine, "a-%d.y4m", 0, 7, path, 20), WEFT_REFUSED);
    assert_non_null(strstr(weft_engine_error(o.engine), "too long"));
    static const char *const bad[] = {"a.y4m", "a%d%d.y4m", "a%s.y4m", "a%.y4m", "%d/a.y4m", ""};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(weft_clip_path(o.engine, bad[i], 0, 7, path, 64), WEFT_REFUSED);
    weft_engine_close(&o.engine);
}

/* Each allocation of the engine fails once: a clean failure, and nothing left behind. */
static void every_allocation_may_fail(void **state)
{
    (void)state;
    int failures = 0, whole = 0;
    for (long nth = 1; !whole; nth += nth < 200 ? 5 : 31) {
        struct opened o = {0};
        struct weft_job *job = NULL;
        double sum;
        open_engine(&o, NULL, NULL);
        const size_t before = wf_mem_live_all(o.engine->mem);
        wf_mem_fail_at(o.engine->mem, nth);
        enum weft_status status = weft_model_open(o.engine, model_folder, NULL, &o.model);
        if (status == WEFT_OK) {
            weft_request_defaults(o.model, &o.request);
            o.request.prompt = "a fox";
            o.request.width = o.request.height = 32;
            o.request.num_frames = 5;
            o.request.steps = 1;
            status = weft_generate(o.model, &o.request, &job);
        }
        if (status == WEFT_OK)
            status = run(job, &sum);
        whole = status == WEFT_OK;
        failures += !whole;
        if (!whole) {
            assert_int_equal(status, WEFT_FAILED);
            assert_non_null(strstr(weft_engine_error(o.engine), "memory"));
        }
        weft_job_close(&job);
        weft_model_close(&o.model);
        wf_mem_fail_at(o.engine->mem, 0);
        assert_true(wf_mem_live(o.engine->mem, WF_MEM_WEIGHTS) == 0);
        assert_true(wf_mem_live(o.engine->mem, WF_MEM_CACHE) == 0);
        assert_true(wf_mem_live_all(o.engine->mem) <= before + (64 << 20)); /* the backend's own */
        weft_engine_close(&o.engine);
    }
    assert_true(failures > 20);
}

int main(void)
{
    const char *source = getenv("WEFT_SOURCE_DIR");
    snprintf(model_folder, sizeof model_folder, "%s/tests/fixtures/basic/model",
             source ? source : ".");

    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_text_encoder_leaves_before_denoising),
        cmocka_unit_test(activations_are_known_beforehand),
        cmocka_unit_test(memory_does_not_grow_with_the_clip),
        cmocka_unit_test(frames_come_before_the_clip_is_decoded),
        cmocka_unit_test(a_job_can_be_cancelled),
        cmocka_unit_test(the_same_seed_gives_the_same_clip),
        cmocka_unit_test(latents_of_a_file_take_the_place_of_the_noise),
        cmocka_unit_test(policies_give_the_same_pixels),
        cmocka_unit_test(the_plan_is_the_run),
        cmocka_unit_test(a_plan_begins_with_what_is_there),
        cmocka_unit_test(a_map_places_components),
        cmocka_unit_test(what_is_left_comes_from_the_plan),
        cmocka_unit_test(engines_are_independent),
        cmocka_unit_test(a_model_serves_many_jobs),
        cmocka_unit_test(jobs_of_one_model_can_be_pulled_in_turns),
        cmocka_unit_test(a_job_that_ends_early_does_not_touch_the_others),
        cmocka_unit_test(a_job_that_fails_does_not_touch_the_others),
        cmocka_unit_test(several_jobs_hold_the_weights_once),
        cmocka_unit_test(a_field_from_the_future_is_refused),
        cmocka_unit_test(tiles_that_cannot_be_are_refused),
        cmocka_unit_test(misuse_is_a_status),
        cmocka_unit_test(clips_have_names),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
