#include "engine/job.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "engine/dump.h"
#include "engine/finite.h"
#include "kernels/base/rng.h"

double wf_clock(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static struct wf_backend *backend(const struct weft_job *job)
{
    return job->model->engine->be;
}

static struct wf_error *error_of(const struct weft_job *job)
{
    return &job->model->engine->err;
}

/* --- checking a request --- */

static void fill_defaults(struct weft_request *r, const struct wf_defaults *d)
{
    r->width = r->width ? r->width : d->width;
    r->height = r->height ? r->height : d->height;
    r->num_frames = r->num_frames ? r->num_frames : d->num_frames;
    r->steps = r->steps ? r->steps : d->steps;
    r->max_sequence_length =
        r->max_sequence_length ? r->max_sequence_length : d->max_sequence_length;
    if (r->guidance_scale < 0)
        r->guidance_scale = d->guidance_scale;
    if (!r->fps_num) {
        r->fps_num = d->fps_num;
        r->fps_den = d->fps_den;
    }
}

static enum wf_status check_numbers(const struct weft_request *r, struct wf_error *err)
{
    WF_TRY(WF_CHECK_RESERVED(r, "request", err));
    if (r->fps_num < 1 || r->fps_den < 1 || r->fps_num / r->fps_den > 1000)
        return wf_fail(err, WF_REFUSED, "fps: %d/%d is not possible; choose 0.001 to 1000",
                       r->fps_num, r->fps_den);
    if (!isfinite(r->guidance_scale) || r->guidance_scale > 1000)
        return wf_fail(err, WF_REFUSED, "guidance-scale: %g is not possible; choose 0 to 1000",
                       r->guidance_scale);
    if (!isfinite(r->flow_shift) || r->flow_shift < 0 || r->flow_shift > 1e6)
        return wf_fail(err, WF_REFUSED,
                       "flow-shift: %g is not possible; choose above 0, to 1000000", r->flow_shift);
    if (r->decode_chunk_size < 0)
        return wf_fail(err, WF_REFUSED, "decode-chunk-size: %d is not possible; choose 1 or more",
                       r->decode_chunk_size);
    return WF_OK;
}

static enum wf_status open_sampler(struct weft_job *job, struct wf_error *err)
{
    char path[WF_PATH_BYTES];
    struct wf_json config = {0};
    WF_TRY(wf_model_path(job->model, "scheduler/scheduler_config.json", path, err));
    WF_TRY(wf_json_open(path, &config, err));
    enum wf_status status = wf_sampler_open(&config, job->request.flow_shift,
                                            job->model->engine->mem, &job->sampler, err);
    wf_json_close(&config);
    return status == WF_OK ? wf_sampler_prepare(job->sampler, job->request.steps, err) : status;
}

/* Reads tensor `latents` of a file into job->initial; what says what the dims must be, 0 for any.
 */
static enum wf_status read_latents(struct weft_job *job, const char *path, const int64_t want[5],
                                   int64_t found[5], struct wf_error *err)
{
    struct wf_st_file *file = NULL;
    WF_TRY(wf_st_open(path, job->model->engine->mem, &file, err));
    const struct wf_st_tensor *t = wf_st_find(file, "latents");
    enum wf_status status = WF_OK;
    bool fits =
        t && t->rank == 5 && (t->dtype == WF_F32 || t->dtype == WF_F16 || t->dtype == WF_BF16);
    for (int i = 0; fits && i < 5; i++) {
        fits = t->dim[i] > 0 && (!want[i] || t->dim[i] == want[i]);
        found[i] = t->dim[i];
    }
    if (!fits) {
        status =
            wf_fail(err, WF_REFUSED, "%s: %s; expected tensor `latents`, F32 [1,%lld,%s]", path,
                    t ? "tensor `latents` is not of the right type or dims"
                      : "there is no tensor `latents`",
                    (long long)want[1], "T,h,w of the clip");
    } else {
        const size_t count = t->bytes / wf_dtype_bytes(t->dtype);
        job->initial = wf_alloc(job->model->engine->mem, WF_MEM_CACHE, count * sizeof(float));
        if (job->initial)
            wf_to_f32(job->initial, t->data, t->dtype, count);
        else
            status = wf_fail_memory(err, path, count * sizeof(float));
        if (job->initial && !wf_all_finite(job->initial, count))
            status = wf_fail(
                err, WF_REFUSED,
                "%s: the latents are not all numbers (NaN or infinite); make them again", path);
    }
    wf_st_close(&file);
    return status;
}

static enum wf_status draw_seed(struct weft_job *job, struct wf_error *err)
{
    job->seed = job->request.seed;
    if (!job->request.random_seed)
        return WF_OK;
    uint32_t drawn; /* 32 bits: a number that is easy to type again */
    if (getrandom(&drawn, sizeof drawn, 0) != (ssize_t)sizeof drawn)
        return wf_fail(err, WF_FAILED, "seed: the system gives no random number; use --seed");
    job->seed = drawn;
    return WF_OK;
}

static enum wf_status prepare_generate(struct weft_job *job, struct wf_error *err)
{
    struct weft_model *m = job->model;
    struct weft_request *r = &job->request;
    WF_TRY(check_numbers(r, err));
    WF_TRY(wf_model_open_pipeline(m, err));
    WF_TRY(m->family->check(m, r, job->dims, err));
    WF_TRY(open_sampler(job, err));
    job->halves = r->guidance_scale > 1 ? WF_HALVES : 1;
    WF_TRY(m->family->prepare(m->pipeline, r, job->halves, &job->state, err));
    WF_TRY(draw_seed(job, err));
    if (r->latents) {
        int64_t found[5];
        const int64_t want[5] = {1, job->dims[3], job->dims[0], job->dims[1], job->dims[2]};
        WF_TRY(read_latents(job, r->latents, want, found, err));
    }
    if (r->dump)
        WF_TRY(wf_dump_check(r->dump, err));
    job->step_seconds = wf_calloc(m->engine->mem, WF_MEM_MISC, (size_t)r->steps, sizeof(double));
    return job->step_seconds ? WF_OK
                             : wf_fail_memory(err, "job", (size_t)r->steps * sizeof(double));
}

static enum wf_status prepare_decode(struct weft_job *job, const char *path, struct wf_error *err)
{
    struct weft_model *m = job->model;
    int64_t found[5];
    WF_TRY(check_numbers(&job->request, err));
    WF_TRY(wf_model_open_vae(m, err));
    const struct wf_vae_geometry *g = &m->vae->geometry;
    const int64_t want[5] = {1, g->channels, 0, 0, 0};
    WF_TRY(read_latents(job, path, want, found, err));
    if (found[2] > 1 << 20 || found[3] * g->spatial > 16384 || found[4] * g->spatial > 16384)
        return wf_fail(err, WF_REFUSED,
                       "%s: a clip of %lldx%lld latents is larger than weft decodes", path,
                       (long long)found[4], (long long)found[3]);
    const int64_t dims[4] = {found[2], found[3], found[4], g->channels};
    memcpy(job->dims, dims, sizeof dims);
    job->request.steps = 0;
    return WF_OK;
}

static void log_job(const struct weft_job *job)
{
    const struct weft_request *r = &job->request;
    const struct weft_engine *e = job->model->engine;
    wf_log(e, WEFT_LOG_INFO, "job: %dx%d, %lld frames at %d/%d a second", job->width, job->height,
           (long long)job->frames, r->fps_num, r->fps_den);
    if (!job->decode_only)
        wf_log(e, WEFT_LOG_INFO, "job: %d steps, guidance %g, %s", r->steps, r->guidance_scale,
               r->latents ? "noise from a file" : "noise from the seed");
}

static enum wf_status make_job(struct weft_model *model, const struct weft_request *request,
                               const char *latents, struct weft_job **out)
{
    struct wf_error *err = &model->engine->err;
    *out = NULL;
    struct weft_job *job = wf_calloc(model->engine->mem, WF_MEM_MISC, 1, sizeof *job);
    if (!job)
        return wf_fail_memory(err, "job", sizeof *job);
    job->model = model;
    job->request = *request;
    job->decode_only = latents != NULL;
    fill_defaults(&job->request, &model->defaults);
    wf_arena_init(&job->arena, wf_backend_source(model->engine->be));
    enum wf_status status =
        latents ? prepare_decode(job, latents, err) : prepare_generate(job, err);
    if (status == WF_OK && !backend(job)->is_plan)
        status = wf_plan_job(model, &job->request, latents, &job->plan, err);
    if (status != WF_OK) {
        weft_job_close(&job);
        return status;
    }
    const struct wf_vae_geometry *g = &model->vae->geometry;
    job->frames = wf_vae_frames(model->vae, job->dims[0], true);
    job->height = (int)(job->dims[1] * g->spatial);
    job->width = (int)(job->dims[2] * g->spatial);
    log_job(job);
    *out = job;
    return WF_OK;
}

enum weft_status weft_generate(struct weft_model *model, const struct weft_request *request,
                               struct weft_job **job)
{
    return (enum weft_status)make_job(model, request, NULL, job);
}

enum weft_status weft_decode(struct weft_model *model, const char *latents_file,
                             const struct weft_request *request, struct weft_job **job)
{
    return (enum weft_status)make_job(model, request, latents_file, job);
}

/* The job needs nothing of what stands before the VAE any more. */
static void end_denoise(struct weft_job *job)
{
    const struct weft_model *m = job->model;
    if (!job->state)
        return;
    m->family->finish(job->state);
    job->state = NULL;
    m->family->encode_end(m->pipeline);
    m->family->denoise_end(m->pipeline);
}

void weft_job_close(struct weft_job **out)
{
    struct weft_job *job = *out;
    if (!job)
        return;
    wf_decoder_close(&job->decoder);
    wf_sampler_close(&job->sampler);
    end_denoise(job); /* of a job that was not finished */
    backend(job)->ops.give(backend(job), job->latents.data);
    wf_arena_close(&job->arena);
    wf_free(job->initial);
    wf_free(job->step_seconds);
    wf_free(job);
    *out = NULL;
}

void weft_job_describe(const struct weft_job *job, struct weft_job_info *info)
{
    *info = (struct weft_job_info){.width = job->width,
                                   .height = job->height,
                                   .frames = job->frames,
                                   .fps_num = job->request.fps_num,
                                   .fps_den = job->request.fps_den,
                                   .steps = job->request.steps,
                                   .seed = job->seed};
}

void weft_job_cancel(struct weft_job *job)
{
    atomic_store(&job->cancelled, true);
}

/* --- running --- */

static void tell(const struct weft_job *job, enum weft_stage stage, int done, int total,
                 double stage_began)
{
    if (!job->request.progress)
        return;
    const double now = wf_clock();
    const double remaining = done ? (now - stage_began) / done * (total - done) : -1;
    const struct weft_progress progress = {.stage = stage,
                                           .done = done,
                                           .total = total,
                                           .seconds = now - job->started,
                                           .remaining_seconds = remaining};
    job->request.progress(job->request.progress_context, &progress);
}

static void stage_begin(struct weft_job *job)
{
    wf_mem_peak_reset(job->model->engine->mem);
    backend(job)->flops = 0;
}

/* Adds what was done since `began`, so that a stage may be entered more than once. */
static void stage_count(struct weft_job *job, enum weft_stage stage, double began)
{
    struct wf_stage_stats *s = &job->stats[stage];
    const size_t peak = wf_mem_peak(job->model->engine->mem);
    s->seconds += wf_clock() - began;
    s->flops += backend(job)->flops;
    s->peak_host_bytes = peak > s->peak_host_bytes ? peak : s->peak_host_bytes;
    backend(job)->flops = 0;
}

static void log_stage(const struct weft_job *job, enum weft_stage stage)
{
    static const char *const names[] = {"encode", "denoise", "decode"};
    const struct wf_stage_stats *s = &job->stats[stage];
    wf_log(job->model->engine, WEFT_LOG_INFO, "%s: %.2f s, %.1f GFLOP, %.1f MB at most",
           names[stage], s->seconds, s->flops * 1e-9, (double)s->peak_host_bytes * 1e-6);
}

static enum wf_status encode(struct weft_job *job)
{
    struct weft_model *m = job->model;
    struct wf_error *err = error_of(job);
    static const char *const names[WF_HALVES] = {"prompt_embeds", "negative_prompt_embeds"};
    struct wf_tensor embeds[WF_HALVES];
    WF_TRY(m->family->encode(job->state, &job->arena, embeds, err));
    m->family->encode_end(m->pipeline);
    for (int half = 0; half < job->halves && job->request.dump; half++)
        WF_TRY(wf_dump_embeds(job->request.dump, names[half], backend(job), embeds[half],
                              m->family->text_rows(job->state), err));
    for (int half = 0; half < job->halves; half++)
        WF_TRY(wf_check_finite(backend(job), embeds[half], err, "encode: the embeddings of the %s",
                               half ? "negative prompt" : "prompt"));
    for (int half = 0; half < job->halves; half++)
        WF_TRY(m->family->condition(job->state, half, embeds[half], &job->arena, err));
    return WF_OK;
}

static enum wf_status run_encode(struct weft_job *job)
{
    const double began = wf_clock();
    const struct wf_arena_mark mark = wf_arena_mark(&job->arena);
    stage_begin(job);
    tell(job, WEFT_STAGE_ENCODE, 0, 1, began);
    WF_TRY(encode(job));
    wf_arena_release(&job->arena, mark);
    tell(job, WEFT_STAGE_ENCODE, 1, 1, began);
    stage_count(job, WEFT_STAGE_ENCODE, began);
    log_stage(job, WEFT_STAGE_ENCODE);
    return WF_OK;
}

/* job->latents from diffusers' layout: a file's values or the seed's noise. */
static enum wf_status place_latents(struct weft_job *job)
{
    struct wf_backend *be = backend(job);
    const int64_t *d = job->dims;
    struct wf_tensor latents = wf_tensor_of(NULL, WF_F32, 4, d), planes;
    latents.data = be->ops.take(be, WF_MEM_CACHE, wf_tensor_bytes(&latents));
    if (!latents.data)
        return wf_fail_memory(error_of(job), "latents", wf_tensor_bytes(&latents));
    job->latents = latents;
    if (!job->initial) {
        struct wf_rng rng;
        const size_t count = (size_t)wf_tensor_count(&latents);
        job->initial = wf_alloc(be->mem, WF_MEM_CACHE, count * sizeof(float));
        if (!job->initial)
            return wf_fail_memory(error_of(job), "latents", count * sizeof(float));
        wf_rng_seed(&rng, job->seed);
        wf_rng_normal(&rng, job->initial, count);
    }
    const struct wf_arena_mark mark = wf_arena_mark(&job->arena);
    WF_TRY(wf_tensor_new(&job->arena, WF_F32, &planes, error_of(job),
                         WF_DIMS(d[3], d[0], d[1], d[2])));
    WF_TRY(wf_upload(be, planes, job->initial));
    WF_TRY(wf_copy(be, latents, wf_tensor_permute(planes, WF_ORDER(1, 2, 3, 0))));
    WF_TRY(wf_sync(be));
    wf_arena_release(&job->arena, mark);
    wf_free(job->initial);
    job->initial = NULL;
    return WF_OK;
}

static enum wf_status dump_latents(struct weft_job *job, const char *name)
{
    if (!job->request.dump)
        return WF_OK;
    return wf_dump_latents(job->request.dump, name, backend(job), job->latents, &job->arena,
                           error_of(job));
}

/* v = v_u + g (v_c - v_u), left in velocity[0]. */
static enum wf_status guide(struct weft_job *job, const struct wf_tensor *velocity)
{
    if (job->halves == 1)
        return WF_OK;
    const float g = (float)job->request.guidance_scale;
    return wf_lincomb(backend(job), &(struct wf_lincomb){.x = {velocity[0], velocity[1]},
                                                         .c = {g, 1 - g},
                                                         .terms = 2,
                                                         .y = velocity[0]});
}

static enum wf_status denoise_step(struct weft_job *job, int step)
{
    struct weft_model *m = job->model;
    struct wf_tensor velocity[WF_HALVES];
    const struct wf_arena_mark mark = wf_arena_mark(&job->arena);
    for (int half = 0; half < job->halves; half++)
        WF_TRY(wf_tensor_new(&job->arena, WF_F32, &velocity[half], error_of(job), 4, job->dims));
    WF_TRY(m->family->denoise(job->state, job->latents, wf_sampler_timestep(job->sampler, step),
                              velocity, &job->arena, error_of(job)));
    WF_TRY(guide(job, velocity));
    WF_TRY(wf_sampler_step(job->sampler, backend(job), step, velocity[0], job->latents));
    WF_TRY(wf_sync(backend(job)));
    wf_arena_release(&job->arena, mark);
    char name[32];
    snprintf(name, sizeof name, "latents_step_%03d", step);
    WF_TRY(dump_latents(job, name));
    return wf_check_finite(backend(job), job->latents, error_of(job),
                           "denoise: step %d of %d: the latents", step + 1, job->request.steps);
}

static enum wf_status run_denoise(struct weft_job *job)
{
    const double began = wf_clock();
    const int steps = job->request.steps;
    stage_begin(job);
    WF_TRY(place_latents(job));
    WF_TRY(dump_latents(job, "latents_initial"));
    tell(job, WEFT_STAGE_DENOISE, 0, steps, began);
    for (int step = 0; step < steps; step++) {
        const double step_began = wf_clock();
        WF_TRY(denoise_step(job, step));
        job->step_seconds[job->steps_done++] = wf_clock() - step_began;
        tell(job, WEFT_STAGE_DENOISE, step + 1, steps, began);
    }
    WF_TRY(dump_latents(job, "latents"));
    wf_sampler_end(job->sampler);
    end_denoise(job);
    stage_count(job, WEFT_STAGE_DENOISE, began);
    log_stage(job, WEFT_STAGE_DENOISE);
    return WF_OK;
}

static enum wf_status run_stages(struct weft_job *job)
{
    job->started = wf_clock();
    if (!wf_arena_reserve(&job->arena, job->plan.activations))
        return wf_fail_memory(error_of(job), "activations", job->plan.activations);
    if (job->decode_only) {
        WF_TRY(place_latents(job));
    } else {
        if (job->request.dump)
            WF_TRY(wf_dump_make(job->request.dump, error_of(job)));
        WF_TRY(run_encode(job));
        WF_TRY(run_denoise(job));
    }
    wf_arena_close(&job->arena);
    stage_begin(job);
    return wf_decoder_open(job->model->vae, job->latents, job->request.decode_chunk_size,
                           &job->plan.room, &job->decoder, error_of(job));
}

static enum wf_status check_frame(const struct weft_job *job, const struct weft_frame *frame)
{
    const size_t count = (size_t)frame->width * (size_t)frame->height * 3;
    if (backend(job)->is_plan || wf_all_finite(frame->rgb, count))
        return WF_OK;
    return wf_fail_not_finite(error_of(job), "decode: frame %lld: the samples",
                              (long long)job->given);
}

static enum wf_status next_frame(struct weft_job *job, struct weft_frame *frame)
{
    const double began = wf_clock();
    WF_TRY(wf_decoder_next(job->decoder, &frame->rgb, error_of(job)));
    stage_count(job, WEFT_STAGE_DECODE, began);
    job->seconds = wf_clock() - job->started;
    if (!frame->rgb) {
        wf_decoder_close(&job->decoder);
        job->phase = WF_JOB_DONE;
        log_stage(job, WEFT_STAGE_DECODE);
        return WF_OK;
    }
    WF_TRY(check_frame(job, frame));
    if (!job->given)
        job->first_frame_seconds = job->seconds;
    frame->index = job->given++;
    tell(job, WEFT_STAGE_DECODE, (int)job->given, (int)job->frames,
         job->started + job->seconds - job->stats[WEFT_STAGE_DECODE].seconds);
    return WF_OK;
}

static enum wf_status pull(struct weft_job *job, struct weft_frame *frame)
{
    if (job->phase == WF_JOB_DONE)
        return WF_OK;
    if (job->phase == WF_JOB_BROKEN)
        return wf_fail(error_of(job), WF_FAILED, "job: it failed before; make a new one");
    if (job->phase == WF_JOB_READY) {
        WF_TRY(run_stages(job));
        job->phase = WF_JOB_DECODING;
    }
    return next_frame(job, frame);
}

enum weft_status weft_job_next(struct weft_job *job, struct weft_frame *frame)
{
    *frame = (struct weft_frame){.width = job->width, .height = job->height};
    backend(job)->cancel = &job->cancelled;
    enum wf_status status = pull(job, frame);
    backend(job)->cancel = NULL;
    if (status == WF_OK && atomic_load(&job->cancelled))
        status = wf_fail_cancelled(error_of(job));
    if (status != WF_OK) {
        frame->rgb = NULL;
        job->phase = WF_JOB_BROKEN;
    }
    return (enum weft_status)status;
}
