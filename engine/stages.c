/* The stages of a job, one unit of work at a time. */
#include <stdio.h>
#include <string.h>

#include "engine/dump.h"
#include "engine/finite.h"
#include "engine/job.h"
#include "engine/latents.h"
#include "engine/preview.h"
#include "engine/progress.h"
#include "engine/resume.h"
#include "kernels/base/clock.h"

/* --- what a unit took --- */

/* Begins a unit; other jobs may have used the engine since the last one. */
static double unit_begin(struct weft_job *job)
{
    const struct weft_engine *e = job->model->engine;
    for (int a = 0; a < WF_ACCOUNTS; a++)
        wf_mem_peak_reset(wf_engine_account(e, a));
    for (int b = 0; b < e->backend_count; b++)
        e->backends[b]->tally = (struct wf_tally){0};
    return wf_clock();
}

static void unit_end(struct weft_job *job, enum weft_stage stage, double began)
{
    struct wf_stage_stats *s = &job->stats[stage];
    const struct weft_engine *e = job->model->engine;
    s->seconds += wf_clock() - began;
    for (int b = 0; b < e->backend_count; b++) {
        for (int i = 0; i < WF_KINDS; i++) {
            s->tally[b].work[i] += e->backends[b]->tally.work[i];
            s->tally[b].seconds[i] += e->backends[b]->tally.seconds[i];
        }
    }
    for (int a = 0; a < WF_ACCOUNTS; a++) {
        const size_t peak = wf_mem_peak(wf_engine_account(e, a));
        s->peak[a] = peak > s->peak[a] ? peak : s->peak[a];
    }
}

static void log_stage(const struct weft_job *job, enum weft_stage stage)
{
    static const char *const names[] = {"encode", "denoise", "decode"};
    const struct wf_stage_stats *s = &job->stats[stage];
    const struct wf_tally all = wf_stage_tally(s);
    wf_log(job->model->engine, WEFT_LOG_INFO, "%s: %.2f s, %.1f GFLOP, %.1f MB at most",
           names[stage], s->seconds, wf_flops(&all) * 1e-9,
           (double)(s->peak[WF_HOST] + s->peak[WF_DEVICE]) * 1e-6);
}

/* --- encode --- */

static enum wf_status look_at(struct weft_job *job, const struct wf_condition_kind *kind,
                              const struct wf_condition *condition)
{
    struct wf_error *err = wf_job_error(job);
    if (!condition->value.data)
        return WF_OK;
    if (job->request.dump)
        WF_TRY(
            wf_dump_condition(job->request.dump, kind->name, job->be, condition, &job->arena, err));
    return wf_check_finite(job->be, condition->value, err, "encode: %s", kind->what);
}

static enum wf_status encode(struct weft_job *job)
{
    struct weft_model *m = job->model;
    struct wf_error *err = wf_job_error(job);
    struct wf_condition conditions[WF_MAX_CONDITIONS] = {0};
    WF_TRY(m->family->encode(job->state, &job->generator, &job->arena, conditions, err));
    wf_model_stage_end(m, WEFT_STAGE_ENCODE);
    for (int i = 0; i < WF_MAX_CONDITIONS; i++)
        WF_TRY(look_at(job, &m->family->conditions[i], &conditions[i]));
    return m->family->condition(job->state, conditions, &job->arena, err);
}

static enum wf_status run_encode(struct weft_job *job)
{
    const double began = unit_begin(job);
    const struct wf_arena_mark mark = wf_arena_mark(&job->arena);
    wf_progress_tell(job, WEFT_STAGE_ENCODE, 0, 1);
    WF_TRY(encode(job));
    wf_arena_release(&job->arena, mark);
    unit_end(job, WEFT_STAGE_ENCODE, began);
    wf_progress_tell(job, WEFT_STAGE_ENCODE, 1, 1);
    log_stage(job, WEFT_STAGE_ENCODE);
    job->phase = WF_JOB_DENOISING;
    return WF_OK;
}

/* --- denoise --- */

static enum wf_status new_latents(struct weft_job *job)
{
    struct wf_tensor latents = wf_tensor_of(NULL, WF_F32, 4, job->dims);
    latents.data = job->be->ops.take(job->be, WF_MEM_CACHE, wf_tensor_bytes(&latents));
    if (!latents.data)
        return wf_fail_memory(wf_job_error(job), "latents", wf_tensor_bytes(&latents));
    job->latents = latents;
    return WF_OK;
}

/* job->latents from a file's values or the seed's noise. */
static enum wf_status place_latents(struct weft_job *job)
{
    struct wf_backend *be = job->be;
    WF_TRY(new_latents(job));
    const struct wf_tensor latents = job->latents;
    if (!job->initial)
        WF_TRY(wf_generator_normal(&job->generator, be->mem, (size_t)wf_tensor_count(&latents),
                                   &job->initial, wf_job_error(job)));
    WF_TRY(wf_latents_upload(be, latents, job->model->vae->geometry.frames_first, job->initial,
                             &job->arena));
    wf_free(job->initial);
    job->initial = NULL;
    return WF_OK;
}

static enum wf_status dump_latents(struct weft_job *job, const char *name)
{
    if (!job->request.dump)
        return WF_OK;
    return wf_dump_latents(job->request.dump, name, job->be, job->latents,
                           job->model->vae->geometry.frames_first, &job->arena, wf_job_error(job));
}

static double guidance_of(const struct weft_job *job, int64_t frame)
{
    return job->model->family->guidance(&job->request, frame, job->dims[0]);
}

/* p = p_u + g (p_c - p_u), left in prediction[0], for as many frames at a time as have one g. */
static enum wf_status guide(struct weft_job *job, const struct wf_tensor *prediction)
{
    const int64_t frames = job->halves > 1 ? job->dims[0] : 0;
    for (int64_t t = 0, count; t < frames; t += count) {
        const double g = guidance_of(job, t);
        count = 1;
        while (t + count < frames && guidance_of(job, t + count) == g)
            count++;
        const struct wf_tensor with = wf_tensor_slice(prediction[0], 0, t, count);
        const struct wf_tensor without = wf_tensor_slice(prediction[1], 0, t, count);
        WF_TRY(wf_lincomb(job->be, &(struct wf_lincomb){.x = {with, without},
                                                        .c = {(float)g, 1 - (float)g},
                                                        .terms = 2,
                                                        .y = with}));
    }
    return WF_OK;
}

/* y = c x */
static enum wf_status scale(struct weft_job *job, struct wf_tensor x, double c, struct wf_tensor y)
{
    return wf_lincomb(job->be, &(struct wf_lincomb){.x = {x}, .c = {(float)c}, .terms = 1, .y = y});
}

/* The latents as the network takes them. */
static enum wf_status network_input(struct weft_job *job, int step, struct wf_tensor *input)
{
    const double c = wf_sampler_input_scale(job->sampler, step);
    *input = job->latents;
    if (c == 1)
        return WF_OK;
    WF_TRY(wf_tensor_new(&job->arena, WF_F32, input, wf_job_error(job), 4, job->dims));
    return scale(job, job->latents, c, *input);
}

static enum wf_status predict(struct weft_job *job, int step, struct wf_tensor *prediction)
{
    struct wf_tensor input;
    for (int half = 0; half < job->halves; half++)
        WF_TRY(
            wf_tensor_new(&job->arena, WF_F32, &prediction[half], wf_job_error(job), 4, job->dims));
    WF_TRY(network_input(job, step, &input));
    return job->model->family->denoise(job->state, input, wf_sampler_timestep(job->sampler, step),
                                       prediction, &job->arena, &job->pool, wf_job_error(job));
}

static enum wf_status denoise_step(struct weft_job *job, int step)
{
    struct wf_tensor prediction[WF_HALVES];
    const struct wf_arena_mark mark = wf_arena_mark(&job->arena);
    WF_TRY(predict(job, step, prediction));
    WF_TRY(guide(job, prediction));
    WF_TRY(wf_preview_step(job, step, prediction[0], wf_job_error(job)));
    WF_TRY(wf_sampler_step(job->sampler, job->be, step, prediction[0], job->latents));
    WF_TRY(wf_sync(job->be));
    wf_arena_release(&job->arena, mark);
    char name[32];
    snprintf(name, sizeof name, "latents_step_%03d", step);
    WF_TRY(dump_latents(job, name));
    return wf_check_finite(job->be, job->latents, wf_job_error(job),
                           "denoise: step %d of %d: the latents", step + 1, job->request.steps);
}

/* Where a run before this one was killed. */
static enum wf_status go_on(struct weft_job *job)
{
    WF_TRY(new_latents(job));
    WF_TRY(wf_resume_load(job, wf_job_error(job)));
    wf_progress_tell(job, WEFT_STAGE_DENOISE, job->steps_done, job->request.steps);
    return WF_OK;
}

static enum wf_status begin_denoise(struct weft_job *job)
{
    const double sigma = wf_sampler_init_sigma(job->sampler);
    if (!wf_pool_reserve(&job->pool, job->plan.room.blocks))
        return wf_fail_memory(wf_job_error(job), "activations", job->plan.room.blocks);
    if (wf_resume_has_state(job))
        return go_on(job);
    WF_TRY(place_latents(job));
    wf_progress_tell(job, WEFT_STAGE_DENOISE, 0, job->request.steps);
    WF_TRY(dump_latents(job, "latents_initial"));
    return sigma == 1 ? WF_OK : scale(job, job->latents, sigma, job->latents);
}

/* To where the VAE computes. */
static enum wf_status move_latents(struct weft_job *job)
{
    struct wf_backend *from = job->be, *to = job->model->vae->be;
    struct wf_tensor moved = job->latents;
    if (from == to)
        return WF_OK;
    moved.data = to->ops.take(to, WF_MEM_CACHE, wf_tensor_bytes(&moved));
    if (!moved.data)
        return wf_fail_memory(wf_job_error(job), "latents", wf_tensor_bytes(&moved));
    const enum wf_status status = wf_cross(from, job->latents, to, moved);
    from->ops.give(from, job->latents.data);
    job->latents = moved;
    job->be = to;
    return status;
}

static enum wf_status begin_decode(struct weft_job *job)
{
    wf_arena_close(&job->arena);
    wf_pool_close(&job->pool);
    WF_TRY(move_latents(job));
    job->phase = WF_JOB_DECODING;
    WF_TRY(wf_decoder_open(job->model->vae, job->latents, &job->decoding, job->plan.room.decoder,
                           &job->decoder, wf_job_error(job)));
    return job->resume ? wf_resume_begin_decode(job, wf_job_error(job)) : WF_OK;
}

static enum wf_status end_denoise(struct weft_job *job)
{
    WF_TRY(dump_latents(job, "latents"));
    wf_sampler_end(job->sampler);
    wf_job_end_denoise(job);
    log_stage(job, WEFT_STAGE_DENOISE);
    return begin_decode(job);
}

static enum wf_status run_denoise(struct weft_job *job)
{
    const double began = unit_begin(job);
    if (!job->latents.data)
        WF_TRY(begin_denoise(job));
    const double step_began = wf_clock();
    WF_TRY(denoise_step(job, job->steps_done));
    job->step_seconds[job->steps_done++] = wf_clock() - step_began;
    if (job->resume)
        WF_TRY(wf_resume_save(job, wf_job_error(job)));
    unit_end(job, WEFT_STAGE_DENOISE, began);
    wf_progress_tell(job, WEFT_STAGE_DENOISE, job->steps_done, job->request.steps);
    return job->steps_done == job->request.steps ? end_denoise(job) : WF_OK;
}

/* --- decode --- */

static enum wf_status check_frame(const struct weft_job *job, const struct weft_frame *frame)
{
    const size_t count = (size_t)frame->width * (size_t)frame->height * 3;
    if (job->be->is_plan || wf_all_finite(frame->rgb, count))
        return WF_OK;
    return wf_fail_not_finite(wf_job_error(job), "decode: frame %lld: the samples",
                              (long long)job->given);
}

static enum wf_status run_decode(struct weft_job *job, struct weft_frame *frame)
{
    const double began = unit_begin(job);
    const bool kept = wf_resume_has_frame(job);
    WF_TRY(kept ? wf_resume_frame(job, &frame->rgb, wf_job_error(job))
                : wf_decoder_next(job->decoder, &frame->rgb, wf_job_error(job)));
    if (!frame->rgb)
        wf_job_end_decode(job);
    unit_end(job, WEFT_STAGE_DECODE, began);
    job->seconds = wf_clock() - job->started;
    if (!frame->rgb) {
        job->phase = WF_JOB_DONE;
        log_stage(job, WEFT_STAGE_DECODE);
        return WF_OK;
    }
    WF_TRY(check_frame(job, frame));
    if (!job->given)
        job->first_frame_seconds = job->seconds;
    frame->index = job->given++;
    job->kept += kept;
    if (job->resume && !kept)
        WF_TRY(wf_resume_keep_frame(job, frame->rgb, wf_job_error(job)));
    wf_progress_tell(job, WEFT_STAGE_DECODE, (int)job->given, (int)job->frames);
    return WF_OK;
}

/* --- the job --- */

static enum wf_status begin(struct weft_job *job)
{
    job->started = wf_clock();
    if (!wf_arena_reserve(&job->arena, job->plan.room.activations))
        return wf_fail_memory(wf_job_error(job), "activations", job->plan.room.activations);
    if (job->decode_only) {
        WF_TRY(place_latents(job));
        return begin_decode(job);
    }
    job->phase = WF_JOB_ENCODING;
    if (job->request.dump && !job->be->is_plan)
        WF_TRY(wf_dump_make(job->request.dump, wf_job_error(job)));
    if (job->request.resume)
        WF_TRY(wf_resume_begin(job, wf_job_error(job)));
    if (job->steps_done < job->request.steps)
        return WF_OK;
    WF_TRY(begin_denoise(job)); /* all of it is done */
    return end_denoise(job);
}

enum wf_status wf_job_advance(struct weft_job *job, struct weft_frame *frame)
{
    switch (job->phase) {
    case WF_JOB_READY:
        return begin(job);
    case WF_JOB_ENCODING:
        return run_encode(job);
    case WF_JOB_DENOISING:
        return run_denoise(job);
    case WF_JOB_DECODING:
        return run_decode(job, frame);
    case WF_JOB_DONE:
        return WF_OK;
    case WF_JOB_BROKEN:
        break;
    }
    if (atomic_load(&job->cancelled))
        return wf_fail_cancelled(wf_job_error(job));
    return wf_fail(wf_job_error(job), WF_FAILED, "job: it failed before; make a new one");
}
