#include "engine/report.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "engine/job.h"
#include "kernels/base/threads.h"

static json_t *stage(const char *name, const struct wf_stage_stats *s)
{
    return json_pack("{s:s, s:f, s:f, s:I, s:I, s:I}", "name", name, "seconds", s->seconds, "flops",
                     s->flops, "peak_host_bytes", (json_int_t)s->peak_host_bytes,
                     "peak_device_bytes", (json_int_t)0, "transfer_bytes", (json_int_t)0);
}

/* The keys of every stage, and what became of the frames. What is not known is null. */
static json_t *write_stage(const struct weft_writer_info *w)
{
    json_t *object = stage("write", &(struct wf_stage_stats){.seconds = w->seconds});
    json_t *more = json_pack(
        "{s:s?, s:s?, s:s?, s:I, s:I, s:f, s:I, s:I, s:o, s:f, s:I, s:I}", "format", w->format,
        "codec", w->codec, "pix_fmt", w->pix_fmt, "frames", (json_int_t)w->frames, "bytes",
        (json_int_t)w->bytes, "bits_per_second", w->bits_per_second, "packets",
        (json_int_t)w->packets, "key_frames", (json_int_t)w->key_frames, "quality",
        w->quality < 0 ? json_null() : json_real(w->quality), "encode_seconds", w->encode_seconds,
        "queue_peak_bytes", (json_int_t)w->queue_peak_bytes, "queue_limit_bytes",
        (json_int_t)w->queue_limit_bytes);
    if (object && more)
        json_object_update(object, more);
    json_decref(more);
    return object;
}

static json_t *stages(const struct weft_job *job, const struct weft_writer_info *write)
{
    json_t *array = json_array();
    if (!job->decode_only) {
        json_t *steps = json_array();
        for (int i = 0; i < job->steps_done; i++)
            json_array_append_new(steps, json_real(job->step_seconds[i]));
        json_t *denoise = stage("denoise", &job->stats[WEFT_STAGE_DENOISE]);
        json_object_set_new(denoise, "step_seconds", steps);
        json_array_append_new(array, stage("encode", &job->stats[WEFT_STAGE_ENCODE]));
        json_array_append_new(array, denoise);
    }
    json_array_append_new(array, stage("decode", &job->stats[WEFT_STAGE_DECODE]));
    if (write)
        json_array_append_new(array, write_stage(write));
    return array;
}

static json_t *report(const struct weft_job *job, const struct weft_writer_info *write)
{
    const struct weft_engine *e = job->model->engine;
    static const char *const offloads[] = {"none", "model"};
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    json_t *root =
        json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:i}", "weft", WEFT_VERSION, "model",
                  job->model->folder, "family", job->model->family->name, "device", e->device,
                  "dtype", e->be->compute == WF_BF16 ? "bf16" : "f32", "offload",
                  offloads[e->offload], "threads", wf_thread_granted(e->be->threads));
    if (root && !job->decode_only)
        json_object_set_new(root, "seed", json_integer((json_int_t)job->seed));
    json_t *rest =
        json_pack("{s:i, s:i, s:I, s:i, s:o, s:f, s:f, s:I}", "width", job->width, "height",
                  job->height, "frames", (json_int_t)job->frames, "steps", job->request.steps,
                  "stages", stages(job, write), "first_frame_seconds", job->first_frame_seconds,
                  "seconds", job->seconds, "peak_rss_bytes", (json_int_t)usage.ru_maxrss * 1024);
    if (root && rest)
        json_object_update(root, rest);
    json_decref(rest);
    return root;
}

enum wf_status wf_report_write(const struct weft_job *job, const struct weft_writer_info *write,
                               const char *path, struct wf_error *err)
{
    json_t *root = report(job, write);
    if (!root)
        return wf_fail_memory(err, "report", 0);
    errno = 0;
    const int failed = json_dump_file(root, path, JSON_INDENT(1) | JSON_REAL_PRECISION(9));
    json_decref(root);
    if (failed)
        return wf_fail(err, WF_FAILED, "%s: the report could not be written (%s)", path,
                       errno ? strerror(errno) : "unknown error");
    return WF_OK;
}
