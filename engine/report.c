#include "engine/report.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "engine/job.h"
#include "engine/place.h"
#include "engine/plan.h"
#include "engine/text/utf8.h"
#include "io/output.h"
#include "io/part.h"
#include "kernels/base/threads.h"

json_t *wf_report_string(const char *text)
{
    enum { UNKNOWN = 0xfffd, UNKNOWN_BYTES = 3 };
    char *valid = malloc(UNKNOWN_BYTES * strlen(text) + 1);
    size_t used = 0;
    while (valid && *text) {
        uint32_t point;
        const size_t bytes = wf_utf8_read(text, &point);
        used += wf_utf8_write(valid + used, bytes ? point : UNKNOWN);
        text += bytes ? bytes : 1;
    }
    json_t *string = valid ? json_stringn(valid, used) : NULL;
    free(valid);
    return string;
}

struct wf_tally wf_stage_tally(const struct wf_stage_stats *s)
{
    struct wf_tally all = {0};
    for (int b = 0; b < WF_MAX_BACKENDS; b++) {
        for (int kind = 0; kind < WF_KINDS; kind++) {
            all.work[kind] += s->tally[b].work[kind];
            all.seconds[kind] += s->tally[b].seconds[kind];
        }
    }
    return all;
}

static json_t *stage(const char *name, const struct wf_stage_stats *s)
{
    const struct wf_tally all = wf_stage_tally(s);
    const double *by = all.seconds;
    return json_pack("{s:s, s:f, s:f, s:I, s:I, s:I, s:{s:f, s:f, s:f, s:f, s:f}}", "name", name,
                     "seconds", s->seconds, "flops", wf_flops(&all), "peak_host_bytes",
                     (json_int_t)s->peak[WF_HOST], "peak_device_bytes",
                     (json_int_t)s->peak[WF_DEVICE], "transfer_bytes",
                     (json_int_t)all.work[WF_KIND_LOAD], "seconds_by_kind", "gemm",
                     by[WF_KIND_GEMM], "conv", by[WF_KIND_CONV], "attention", by[WF_KIND_ATTENTION],
                     "pass", by[WF_KIND_PASS], "load", by[WF_KIND_LOAD]);
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
    return wf_json_joined(object, more);
}

static json_t *stages(const struct weft_job *job, const struct wf_stage_stats *stats,
                      const struct weft_writer_info *write)
{
    json_t *array = json_array();
    if (!job->decode_only) {
        json_t *steps = json_array();
        for (int i = 0; i < job->steps_done; i++)
            steps = wf_json_plus(steps, json_real(job->step_seconds[i]));
        array = wf_json_plus(array, stage("encode", &stats[WEFT_STAGE_ENCODE]));
        array = wf_json_plus(array, wf_json_with(stage("denoise", &stats[WEFT_STAGE_DENOISE]),
                                                 "step_seconds", steps));
    }
    array = wf_json_plus(array, stage("decode", &stats[WEFT_STAGE_DECODE]));
    return write ? wf_json_plus(array, write_stage(write)) : array;
}

/* [width, height]; null where it is not asked for. */
static json_t *size_of(bool asked, struct wf_size size)
{
    return asked && size.width >= 0
               ? json_pack("[I,I]", (json_int_t)size.width, (json_int_t)size.height)
               : json_null();
}

/* What is the VAE's default is null. */
static json_t *decoding(const struct wf_decode_settings *s)
{
    static const char *const tilings[] = {"none", "exact", "blend"};
    return json_pack("{s:o, s:o, s:s, s:o, s:o}", "decode_chunk_size",
                     s->chunk_size ? json_integer(s->chunk_size) : json_null(), "chunk_overlap",
                     s->chunk_overlap >= 0 ? json_integer(s->chunk_overlap) : json_null(), "tiling",
                     tilings[s->tiling], "tile_size", size_of(s->tile.width > 0, s->tile),
                     "tile_overlap", size_of(s->tiling == WF_TILING_BLEND, s->overlap));
}

/* What was asked for, and how it is done. */
static json_t *request(const struct weft_job *job)
{
    char devices[WF_PLACES_BYTES], dtypes[WF_PLACES_BYTES];
    const struct wf_policy policy = wf_model_policy(job->model);
    wf_model_devices(job->model, devices);
    wf_model_dtypes(job->model, dtypes);
    json_t *root =
        json_pack("{s:s, s:o, s:s, s:s, s:s, s:s, s:i}", "weft", WEFT_VERSION, "model",
                  wf_report_string(job->model->folder), "family", job->model->family->name,
                  "device", devices, "dtype", dtypes, "offload", wf_offload_name(policy.offload),
                  "threads", wf_thread_granted(job->be->threads));
    if (job->model->has_policy)
        root = wf_json_with(root, "chosen", json_string(job->model->chosen));
    if (job->tiling_chosen[0])
        root = wf_json_with(root, "tiling_chosen", json_string(job->tiling_chosen));
    if (policy.offload == WF_OFFLOAD_GROUP)
        root =
            wf_json_with(root, "offload_blocks", json_integer(policy.blocks ? policy.blocks : 1));
    if (!job->decode_only)
        root = wf_json_with(root, "seed", json_integer((json_int_t)job->seed));
    return root;
}

/* root, which may be NULL, with what the clip is and what its stages take. */
static json_t *with_stages(json_t *root, const struct weft_job *job, json_t *stages)
{
    json_t *rest =
        json_pack("{s:i, s:i, s:I, s:i, s:o}", "width", job->width, "height", job->height, "frames",
                  (json_int_t)job->frames, "steps", job->request.steps, "stages", stages);
    return wf_json_joined(wf_json_joined(root, decoding(&job->decoding)), rest);
}

static json_t *report(const struct weft_job *job, const struct weft_writer_info *write)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    json_t *root = with_stages(request(job), job, stages(job, job->stats, write));
    json_t *rest =
        json_pack("{s:f, s:f, s:I}", "first_frame_seconds", job->first_frame_seconds, "seconds",
                  job->seconds, "peak_rss_bytes", (json_int_t)usage.ru_maxrss * 1024);
    return wf_json_joined(root, rest);
}

static json_t *plan_report(const struct weft_job *job)
{
    json_t *root = with_stages(request(job), job, stages(job, job->plan.stats, NULL));
    return wf_json_with(root, "seconds", json_real(wf_plan_seconds(&job->plan)));
}

static int write_piece(const char *buffer, size_t size, void *data)
{
    return wf_output_write(data, buffer, size, NULL) == WF_OK ? 0 : -1;
}

static enum wf_status write_json(const json_t *root, const char *path, struct wf_mem *mem,
                                 struct wf_error *err)
{
    struct wf_output *out;
    bool kept;
    wf_part_sweep(path, 0, 0);
    WF_TRY(wf_output_open(path, true, NULL, mem, &out, err));
    const bool failed =
        json_dump_callback(root, write_piece, out, JSON_INDENT(1) | JSON_REAL_PRECISION(9)) != 0;
    enum wf_status status = wf_output_status(out, err);
    if (failed && status == WF_OK)
        status = wf_fail_memory(err, "report", 0);
    if (status == WF_OK)
        return wf_output_commit(&out, &kept, err);
    wf_output_discard(&out);
    return status;
}

static enum wf_status write_root(const struct weft_job *job, json_t *root, const char *path,
                                 struct wf_error *err)
{
    if (!root)
        return wf_fail_memory(err, "report", 0);
    const enum wf_status status = write_json(root, path, job->model->engine->mem, err);
    json_decref(root);
    return status;
}

enum wf_status wf_report_write(const struct weft_job *job, const struct weft_writer_info *write,
                               const char *path, struct wf_error *err)
{
    return wf_fail_late(write_root(job, report(job, write), path, err), err);
}

enum wf_status wf_report_write_plan(const struct weft_job *job, const char *path,
                                    struct wf_error *err)
{
    return write_root(job, plan_report(job), path, err);
}

enum wf_status wf_report_check(const char *path, struct wf_mem *mem, struct wf_error *err)
{
    struct stat info;
    struct wf_output *out;
    if (stat(path, &info) == 0 && S_ISFIFO(info.st_mode))
        return WF_OK; /* it would wait for its reader now */
    WF_TRY(wf_output_open(path, true, NULL, mem, &out, err));
    wf_output_discard(&out);
    return WF_OK;
}
