/* The public face of io/video's sinks, and the report that counts them in. */
#include <stdlib.h>
#include <string.h>

#include "engine/dump.h"
#include "engine/plan.h"
#include "engine/recipe.h"
#include "engine/resume.h"
#include "io/video/sink.h"

struct weft_writer {
    struct weft_engine *engine;
    struct wf_mem *mem;   /* its own: not what the model computes in */
    struct weft_job *job; /* not looked at after weft_writer_finish */
    struct wf_sink *sink;
    int fps_num, fps_den;
    struct wf_sink_stats stats; /* once the sink is closed */
    struct wf_file_set keep;    /* what else must not be written over */
    char *path;                 /* of the output */
    bool finished;
};

void weft_output_defaults(struct weft_output *output)
{
    *output = (struct weft_output){.crf = -1};
}

const char *weft_output_formats(void)
{
    return wf_sink_formats();
}

static bool job_is_cancelled(void *job)
{
    return atomic_load(&((struct weft_job *)job)->cancelled);
}

/* What the job reads, and what else the caller wants to keep. */
static enum wf_status collect_inputs(struct weft_writer *w, const struct weft_job *job,
                                     const char *const *keep, struct wf_error *err)
{
    for (size_t i = 0; i < job->inputs.count; i++)
        WF_TRY(wf_file_set_add_id(&w->keep, job->inputs.ids[i], w->mem, err));
    for (; keep && *keep; keep++)
        WF_TRY(wf_file_set_add(&w->keep, *keep, w->mem, err));
    return WF_OK;
}

static enum wf_status check_resume(const struct weft_job *job, const char *path,
                                   struct wf_error *err)
{
    if (!path || !wf_resume_writes(job, path))
        return WF_OK;
    return wf_fail(err, WF_REFUSED, "%s: --resume keeps its files there; choose another name",
                   path);
}

static enum wf_status check_dump(const struct weft_job *job, const char *path, struct wf_error *err)
{
    const char *dump = job->request.dump;
    if (!dump || !path || !wf_dump_writes(dump, job->model->family, job->request.steps, path))
        return check_resume(job, path, err);
    return wf_fail(err, WF_REFUSED, "%s: the dump writes there too; choose another name", path);
}

static enum wf_status check_preview(const struct weft_job *job, const char *path,
                                    struct wf_error *err)
{
    const char *preview = job->request.preview;
    if (job->decode_only || !preview || !path || !wf_file_same(preview, path))
        return WF_OK;
    return wf_fail(err, WF_REFUSED, "%s: the preview is written there too; choose another name",
                   path);
}

static enum wf_status open_sink(struct weft_writer *w, struct weft_job *job,
                                const struct weft_output *output, struct wf_error *err)
{
    struct wf_sink_config config;
    WF_TRY(WF_CHECK_RESERVED(output, "output", err));
    WF_TRY(collect_inputs(w, job, output->keep, err));
    WF_TRY(check_dump(job, output->path, err));
    WF_TRY(check_preview(job, output->path, err));
    if (job->request.preview && wf_file_set_has(&w->keep, job->request.preview))
        return wf_fail(err, WF_REFUSED, "%s: is a file that this run reads; choose another preview",
                       job->request.preview);
    if (job->request.dump)
        WF_TRY(wf_dump_check(job->request.dump, job->model->family, job->request.steps, &w->keep,
                             err));
    w->path = output->path ? wf_strdup(w->mem, output->path) : NULL;
    if (output->path && !w->path)
        return wf_fail_memory(err, "output", strlen(output->path) + 1);
    wf_sink_defaults(&config);
    config.path = output->path;
    config.format = output->format;
    config.width = job->width;
    config.height = job->height;
    config.frames = job->frames;
    config.fps_num = job->request.fps_num;
    config.fps_den = job->request.fps_den;
    config.overwrite = output->overwrite != 0 || wf_resume_wrote(job, output->path);
    config.inputs = &w->keep;
    config.codec = output->codec;
    config.crf = output->crf;
    config.preset = output->preset;
    config.pix_fmt = output->pix_fmt;
    config.cancelled = job_is_cancelled;
    config.cancel_context = job;
    char *recipe = NULL;
    if (!output->no_metadata)
        WF_TRY(wf_recipe_text(job, output, &recipe, err));
    config.metadata = recipe;
    const enum wf_status status = wf_sink_open(&config, w->mem, &w->sink, err);
    free(recipe);
    WF_TRY(status);
    if (job->preview && wf_sink_writes(w->sink, job->request.preview))
        return check_preview(job, job->request.preview, err); /* a picture of a series */
    if (wf_sink_hint(w->sink))
        wf_log(w->engine, WEFT_LOG_WARNING, "output: %s", wf_sink_hint(w->sink));
    return WF_OK;
}

enum weft_status weft_writer_open(struct weft_job *job, const struct weft_output *output,
                                  struct weft_writer **writer)
{
    struct weft_engine *engine = job->model->engine;
    *writer = NULL;
    struct wf_mem *mem = wf_mem_open();
    struct weft_writer *w = mem ? wf_calloc(mem, WF_MEM_MISC, 1, sizeof *w) : NULL;
    if (!w) {
        wf_mem_close(&mem);
        return (enum weft_status)wf_fail_memory(&engine->err, "output", sizeof *w);
    }
    w->mem = mem;
    w->engine = engine;
    w->job = job;
    w->fps_num = job->request.fps_num;
    w->fps_den = job->request.fps_den;
    const enum wf_status status = open_sink(w, job, output, &engine->err);
    if (status == WF_OK)
        *writer = w;
    else
        weft_writer_close(&w);
    return (enum weft_status)status;
}

static enum weft_status fail_finished(struct weft_writer *w)
{
    return (enum weft_status)wf_fail(&w->engine->err, WF_FAILED,
                                     "output: it is finished already; open another writer");
}

enum weft_status weft_writer_write(struct weft_writer *w, const struct weft_frame *frame)
{
    struct wf_error *err = &w->engine->err;
    if (!w->sink)
        return fail_finished(w);
    if (!frame->rgb || frame->width != w->job->width || frame->height != w->job->height)
        return (enum weft_status)wf_fail(
            err, WF_FAILED, "output: a frame of %dx%d%s for a clip of %dx%d; give it the job's own",
            frame->width, frame->height, frame->rgb ? "" : " without samples", w->job->width,
            w->job->height);
    enum wf_status status = WF_OK;
    if (frame->index == 0)
        status = wf_resume_note_output(w->job, w->path, err);
    if (status == WF_OK)
        status = wf_sink_write(w->sink, frame->rgb, err);
    return (enum weft_status)status;
}

enum weft_status weft_writer_finish(struct weft_writer *w)
{
    if (!w->sink)
        return fail_finished(w);
    if (job_is_cancelled(w->job)) {
        wf_sink_abort(&w->sink);
        return (enum weft_status)wf_fail_cancelled(&w->engine->err);
    }
    const enum wf_status status = wf_sink_close(&w->sink, &w->stats, &w->engine->err);
    w->finished = status == WF_OK;
    return (enum weft_status)status;
}

void weft_writer_describe(const struct weft_writer *w, struct weft_writer_info *info)
{
    const struct wf_sink_stats *s = &w->stats;
    *info = (struct weft_writer_info){.quality = -1};
    if (!w->finished)
        return;
    info->format = s->format;
    info->codec = s->codec[0] ? s->codec : NULL;
    info->pix_fmt = s->pix_fmt[0] ? s->pix_fmt : NULL;
    info->frames = s->frames;
    info->bytes = s->bytes;
    info->packets = s->packets;
    info->key_frames = s->key_frames;
    info->quality = s->quality;
    info->bits_per_second = 8.0 * (double)s->bytes * w->fps_num / ((double)s->frames * w->fps_den);
    info->seconds = s->seconds;
    info->encode_seconds = s->encode_seconds;
    info->queue_peak_bytes = s->queue_peak_bytes;
    info->queue_limit_bytes = s->queue_limit_bytes;
}

void weft_writer_close(struct weft_writer **writer)
{
    struct weft_writer *w = *writer;
    if (!w)
        return;
    wf_sink_abort(&w->sink);
    wf_free(w->keep.ids);
    wf_free(w->path);
    struct wf_mem *mem = w->mem;
    wf_free(w);
    wf_mem_close(&mem);
    *writer = NULL;
}

/* Whether the report would take the place of what the run reads or writes. */
static enum wf_status check_meeting(const struct weft_job *job, const struct weft_writer *w,
                                    const char *path, struct wf_error *err)
{
    WF_TRY(check_dump(job, path, err));
    WF_TRY(check_preview(job, path, err));
    if (w && (w->sink ? wf_sink_writes(w->sink, path) : w->path && wf_file_same(w->path, path)))
        return wf_fail(err, WF_REFUSED, "%s: the clip is written there; choose another report",
                       path);
    if (wf_file_set_has(w ? &w->keep : &job->inputs, path))
        return wf_fail(err, WF_REFUSED, "%s: is a file that this run reads; choose another report",
                       path);
    return WF_OK;
}

static enum wf_status write_report(struct weft_job *job, const struct weft_writer *w,
                                   const char *path, struct wf_error *err)
{
    struct weft_writer_info info;
    WF_TRY(check_meeting(job, w, path, err));
    if (w)
        weft_writer_describe(w, &info);
    return wf_report_write(job, w ? &info : NULL, path, err);
}

enum weft_status weft_job_report(struct weft_job *job, const struct weft_writer *writer,
                                 const char *path)
{
    return (enum weft_status)write_report(job, writer, path, &job->model->engine->err);
}

static enum wf_status check_report(struct weft_job *job, const struct weft_writer *w,
                                   const char *path, struct wf_error *err)
{
    WF_TRY(wf_report_check(path, job->model->engine->mem, err));
    return check_meeting(job, w, path, err);
}

enum weft_status weft_job_report_check(struct weft_job *job, const struct weft_writer *writer,
                                       const char *path)
{
    return (enum weft_status)check_report(job, writer, path, &job->model->engine->err);
}

static enum wf_status write_plan(struct weft_job *job, const char *path, struct wf_error *err)
{
    WF_TRY(check_meeting(job, NULL, path, err));
    WF_TRY(wf_plan_time(job->model->engine, &job->plan));
    return wf_report_write_plan(job, path, err);
}

enum weft_status weft_job_plan_report(struct weft_job *job, const char *path)
{
    return (enum weft_status)write_plan(job, path, wf_job_error(job));
}
