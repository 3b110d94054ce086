#include "engine/job.h"

#include <string.h>

#include "engine/dump.h"
#include "engine/latents.h"
#include "engine/place.h"
#include "engine/preview.h"
#include "engine/request.h"
#include "engine/resume.h"

static void log_unused(const struct weft_job *job, const struct wf_json *config)
{
    char keys[512];
    if (wf_sampler_unused(job->sampler, config, keys, sizeof keys))
        wf_log(job->model->engine, WEFT_LOG_WARNING, "%s: %s does not take %s: not applied",
               config->path, wf_sampler_class(job->sampler), keys);
}

/* The network gives what the scheduler takes it for. */
static enum wf_status check_prediction(const struct weft_job *job, const char *path,
                                       struct wf_error *err)
{
    static const char *const given[] = {[WF_PREDICT_FLOW] = "a flow's velocity",
                                        [WF_PREDICT_V] = "v",
                                        [WF_PREDICT_EPSILON] = "the noise",
                                        [WF_PREDICT_SAMPLE] = "the clip"};
    const enum wf_prediction expected = wf_sampler_prediction(job->sampler);
    if (expected == job->model->family->prediction)
        return WF_OK;
    return wf_fail(err, WF_REFUSED,
                   "%s: %s as it is set here takes a network that gives %s, but this model's gives "
                   "%s; download the file again",
                   path, wf_sampler_class(job->sampler), given[expected],
                   given[job->model->family->prediction]);
}

static enum wf_status open_sampler(struct weft_job *job, struct wf_error *err)
{
    char path[WF_PATH_BYTES];
    struct wf_json config = {0};
    WF_TRY(wf_model_path(job->model, "scheduler/scheduler_config.json", path, err));
    WF_TRY(wf_json_open(path, &config, err));
    enum wf_status status =
        wf_sampler_open(&config, wf_model_class(job->model, "scheduler"), job->request.flow_shift,
                        job->model->engine->mem, &job->sampler, err);
    if (status == WF_OK)
        status = check_prediction(job, path, err);
    if (status == WF_OK)
        log_unused(job, &config);
    wf_json_close(&config);
    return status == WF_OK ? wf_sampler_prepare(job->sampler, job->request.steps, err) : status;
}

static enum wf_status find_generator(struct weft_job *job, struct wf_error *err)
{
    const char *name = job->request.generator ? job->request.generator : "cpu";
    job->noise_of_gpu = strcmp(name, "cuda") == 0;
    if (!job->noise_of_gpu && strcmp(name, "cpu") != 0)
        return wf_fail(err, WF_REFUSED, "generator: %s is not known; use cpu or cuda", name);
    if (job->noise_of_gpu && !job->be->device.processors)
        return wf_fail(
            err, WF_REFUSED,
            "generator: the numbers of cuda's depend on the card, and the denoiser is on "
            "none; use --device cuda, or --generator cpu");
    return WF_OK;
}

static int halves_of(const struct weft_job *job)
{
    int halves = 1;
    for (int64_t t = 0; t < job->dims[0]; t++) {
        if (job->model->family->guidance(&job->request, t, job->dims[0]) > 1)
            halves = WF_HALVES;
    }
    return halves;
}

static enum wf_status prepare_generate(struct weft_job *job, struct wf_error *err)
{
    struct weft_model *m = job->model;
    struct weft_request *r = &job->request;
    WF_TRY(wf_request_check(r, err));
    WF_TRY(wf_request_check_taken(r, m->family, err));
    WF_TRY(wf_model_open_pipeline(m, err));
    WF_TRY(m->family->check(m, r, job->dims, err));
    WF_TRY(open_sampler(job, err));
    job->halves = halves_of(job);
    WF_TRY(m->family->prepare(m->pipeline, r, job->halves, &job->state, err));
    WF_TRY(wf_request_seed(r, &job->seed, err));
    WF_TRY(find_generator(job, err));
    wf_generator_seed(&job->generator, job->be, job->noise_of_gpu, job->seed);
    if (r->latents) {
        int64_t dims[4];
        memcpy(dims, job->dims, sizeof dims);
        WF_TRY(wf_latents_read(r->latents, m->vae->geometry.frames_first, m->engine->mem, dims,
                               &job->initial, err));
    }
    if (r->dump)
        WF_TRY(wf_dump_check(r->dump, m->family, r->steps, &job->inputs, err));
    if (r->preview)
        WF_TRY(wf_preview_open(job, err));
    job->step_seconds = wf_calloc(m->engine->mem, WF_MEM_MISC, (size_t)r->steps, sizeof(double));
    return job->step_seconds ? WF_OK
                             : wf_fail_memory(err, "job", (size_t)r->steps * sizeof(double));
}

static enum wf_status prepare_decode(struct weft_job *job, const char *path, struct wf_error *err)
{
    struct weft_model *m = job->model;
    int64_t *dims = job->dims;
    WF_TRY(wf_request_check(&job->request, err));
    WF_TRY(wf_model_open_vae(m, err));
    const struct wf_vae_geometry *g = &m->vae->geometry;
    dims[3] = g->channels;
    WF_TRY(wf_latents_read(path, g->frames_first, m->engine->mem, dims, &job->initial, err));
    if (dims[0] > 1 << 20 || dims[1] * g->spatial > 16384 || dims[2] * g->spatial > 16384)
        return wf_fail(err, WF_REFUSED,
                       "%s: a clip of %lldx%lld latents is larger than weft decodes", path,
                       (long long)dims[2], (long long)dims[1]);
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
        wf_log(e, WEFT_LOG_INFO, "job: %d steps, guidance %s, %s", r->steps,
               job->halves > 1 ? "on" : "off",
               r->latents ? "noise from a file" : "noise from the seed");
}

/* latents: the file of a decoding job, or NULL. */
static enum wf_status note_inputs(struct weft_job *job, const char *latents, struct wf_error *err)
{
    const char *const files[] = {job->model->folder, latents ? latents : job->request.latents,
                                 latents ? NULL : job->request.image};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        if (files[i])
            WF_TRY(wf_file_set_add(&job->inputs, files[i], job->model->engine->mem, err));
    }
    return WF_OK;
}

enum wf_status wf_job_open(struct weft_model *model, const struct weft_request *request,
                           const char *latents, struct weft_job **out)
{
    struct wf_error *err = &model->engine->err;
    *out = NULL;
    struct weft_job *job = wf_calloc(model->engine->mem, WF_MEM_MISC, 1, sizeof *job);
    if (!job)
        return wf_fail_memory(err, "job", sizeof *job);
    job->model = model;
    model->open_jobs++;
    job->request = *request;
    job->decode_only = latents != NULL;
    wf_request_fill(&job->request, &model->defaults);
    job->be = wf_model_backend(model, latents ? "vae" : model->family->denoiser);
    wf_arena_init(&job->arena, wf_backend_source(job->be));
    wf_pool_init(&job->pool, wf_backend_source(job->be));
    enum wf_status status = note_inputs(job, latents, err);
    if (status == WF_OK)
        status = latents ? prepare_decode(job, latents, err) : prepare_generate(job, err);
    if (status == WF_OK) {
        job->decoding = wf_request_decoding(&job->request);
        status = wf_decode_settle(model->vae, job->dims, &job->decoding, err);
    }
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

void wf_job_end_denoise(struct weft_job *job)
{
    const struct weft_model *m = job->model;
    if (!job->state)
        return;
    m->family->finish(job->state);
    job->state = NULL;
    wf_model_stage_end(job->model, WEFT_STAGE_ENCODE);
    wf_model_stage_end(job->model, WEFT_STAGE_DENOISE);
}

void wf_job_end_decode(struct weft_job *job)
{
    if (!job->decoder)
        return;
    wf_decoder_close(&job->decoder);
    wf_model_stage_end(job->model, WEFT_STAGE_DECODE);
}

void weft_job_close(struct weft_job **out)
{
    struct weft_job *job = *out;
    if (!job)
        return;
    wf_job_end_decode(job);
    wf_sampler_close(&job->sampler);
    wf_job_end_denoise(job);
    job->be->ops.give(job->be, job->latents.data);
    wf_arena_close(&job->arena);
    wf_pool_close(&job->pool);
    wf_resume_close(&job->resume);
    wf_preview_close(&job->preview);
    wf_free(job->inputs.ids);
    wf_free(job->initial);
    wf_free(job->step_seconds);
    job->model->open_jobs--;
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
    if (job->model->vae->geometry.causal)
        return;
    info->decode_chunk_size = (int)job->decoding.chunk_size;
    info->chunk_overlap = (int)job->decoding.chunk_overlap;
}

void weft_job_cancel(struct weft_job *job)
{
    atomic_store(&job->cancelled, true);
}
