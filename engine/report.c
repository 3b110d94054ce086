#include "engine/report.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "engine/job.h"

static json_t *stage(const char *name, const struct wf_stage_stats *s)
{
    return json_pack("{s:s, s:f, s:f, s:I, s:I, s:I}", "name", name, "seconds", s->seconds, "flops",
                     s->flops, "peak_host_bytes", (json_int_t)s->peak_host_bytes,
                     "peak_device_bytes", (json_int_t)0, "transfer_bytes", (json_int_t)0);
}

static json_t *stages(const struct weft_job *job, double write_seconds)
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
    if (write_seconds >= 0)
        json_array_append_new(array,
                              stage("write", &(struct wf_stage_stats){.seconds = write_seconds}));
    return array;
}

static json_t *report(const struct weft_job *job, double write_seconds)
{
    const struct weft_engine *e = job->model->engine;
    static const char *const offloads[] = {"none", "model"};
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    json_t *root = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:i}", "weft", WEFT_VERSION, "model",
                             job->model->folder, "family", job->model->family->name, "device",
                             e->device, "dtype", e->be->compute == WF_BF16 ? "bf16" : "f32",
                             "offload", offloads[e->offload], "threads", e->be->threads);
    if (root && !job->decode_only)
        json_object_set_new(root, "seed", json_integer((json_int_t)job->seed));
    json_t *rest = json_pack("{s:i, s:i, s:I, s:i, s:o, s:f, s:f, s:I}", "width", job->width,
                             "height", job->height, "frames", (json_int_t)job->frames, "steps",
                             job->request.steps, "stages", stages(job, write_seconds),
                             "first_frame_seconds", job->first_frame_seconds, "seconds",
                             job->seconds, "peak_rss_bytes", (json_int_t)usage.ru_maxrss * 1024);
    if (root && rest)
        json_object_update(root, rest);
    json_decref(rest);
    return root;
}

enum wf_status wf_report_write(const struct weft_job *job, double write_seconds, const char *path,
                               struct wf_error *err)
{
    json_t *root = report(job, write_seconds);
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
