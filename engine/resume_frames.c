/* The frames of a clip as they are decoded, chunk by chunk, and what the decoder carries from the
   last of them to the next: a run that was killed hands them on again and goes on from there. */
#include "engine/resume_folder.h"

static const char frames_name[] = "frames", carried_name[] = "decoder";

/* Before the frames of a chunk, f32 [frames,height,width,3] within 0..1. */
struct head {
    uint64_t frames, width, height;
};

/* Before the newest `valid` frames [valid,h,w,C] of a causal cache. */
struct carried {
    uint64_t valid, dtype;
    int64_t dim[3];
};

static struct head head_of(const struct weft_job *job, int64_t chunk)
{
    return (struct head){.frames = (uint64_t)wf_decoder_chunk_frames(job->decoder, chunk),
                         .width = (uint64_t)job->width,
                         .height = (uint64_t)job->height};
}

static size_t frame_bytes(const struct weft_job *job)
{
    return (size_t)job->width * (size_t)job->height * 3 * sizeof(float);
}

/* --- what the decoder carries --- */

static enum wf_status save_cache(struct wf_kept_out *out, struct wf_backend *be,
                                 const struct wf_causal_cache *cache, struct wf_error *err)
{
    const struct wf_tensor *f = &cache->frames;
    const struct carried c = {.valid = (uint64_t)cache->valid,
                              .dtype = (uint64_t)f->dtype,
                              .dim = {f->dim[1], f->dim[2], f->dim[3]}};
    WF_TRY(wf_kept_write(out, &c, sizeof c, err));
    if (!cache->valid)
        return WF_OK;
    return wf_kept_write_tensor(
        out, be, wf_tensor_slice(*f, 0, WF_CAUSAL_FRAMES - cache->valid, cache->valid), err);
}

static enum wf_status write_carried(const struct weft_job *job, struct wf_kept_out *out,
                                    struct wf_error *err)
{
    const struct wf_causal_cache *cache;
    for (int64_t i = 0; (cache = wf_decoder_cache(job->decoder, i)); i++)
        WF_TRY(save_cache(out, job->be, cache, err));
    const struct wf_tensor shared = wf_decoder_shared(job->decoder);
    return wf_kept_write(out, shared.data, wf_tensor_bytes(&shared), err);
}

/* Whether so many elements may be in what is left of the file. */
static bool in_file(const struct carried *c, uint64_t left)
{
    uint64_t bytes = c->valid * wf_dtype_bytes((enum wf_dtype)c->dtype);
    for (int i = 0; i < 3; i++) {
        if (c->dim[i] < 1 || __builtin_mul_overflow(bytes, (uint64_t)c->dim[i], &bytes))
            return false;
    }
    return bytes <= left;
}

static enum wf_status load_cache(struct wf_kept_in *in, struct wf_backend *be,
                                 struct wf_causal_cache *cache, struct wf_error *err)
{
    struct carried c;
    WF_TRY(wf_kept_read(in, &c, sizeof c, err));
    if (!c.valid)
        return WF_OK;
    if (c.valid > WF_CAUSAL_FRAMES || c.dtype > WF_BF16 || !in_file(&c, wf_kept_left(in)))
        return wf_fail(err, WF_FAILED,
                       "resume: a causal cache of a size that cannot be; remove "
                       "the folder's decoder files");
    WF_TRY(wf_causal_open(cache, be, (enum wf_dtype)c.dtype,
                          (struct wf_size){.height = c.dim[0], .width = c.dim[1]}, c.dim[2]));
    cache->valid = (int)c.valid;
    return wf_kept_read_tensor(
        in, be, wf_tensor_slice(cache->frames, 0, WF_CAUSAL_FRAMES - cache->valid, cache->valid),
        err);
}

static enum wf_status load_carried(struct weft_job *job, struct wf_kept_in *in,
                                   struct wf_error *err)
{
    struct wf_causal_cache *cache;
    for (int64_t i = 0; (cache = wf_decoder_cache(job->decoder, i)); i++)
        WF_TRY(load_cache(in, job->be, cache, err));
    const struct wf_tensor shared = wf_decoder_shared(job->decoder);
    WF_TRY(wf_kept_read(in, shared.data, wf_tensor_bytes(&shared), err));
    if (wf_kept_left(in))
        return wf_fail(err, WF_FAILED, "%s: its decoder files are of another size; remove them",
                       job->request.resume);
    return WF_OK;
}

/* --- what is there --- */

/* A chunk's frames; *in NULL where they are not there. */
static enum wf_status open_frames(const struct weft_job *job, int64_t chunk, struct wf_kept_in **in,
                                  struct wf_error *err)
{
    struct head h = {0};
    const struct head wanted = head_of(job, chunk);
    const uint64_t most = sizeof h + wanted.frames * frame_bytes(job);
    WF_TRY(wf_resume_open(job, frames_name, chunk, most, in, err));
    if (!*in)
        return WF_OK;
    if (wf_kept_left(*in) >= sizeof h)
        WF_TRY(wf_kept_read(*in, &h, sizeof h, err));
    if (h.frames != wanted.frames || h.width != wanted.width || h.height != wanted.height ||
        wf_kept_left(*in) != h.frames * frame_bytes(job))
        wf_kept_close(in);
    return WF_OK;
}

/* Chunks from the clip's start whose frames are all there. */
static enum wf_status count_chunks(const struct weft_job *job, int64_t *count, struct wf_error *err)
{
    struct wf_kept_in *in = NULL;
    for (*count = 0; *count < wf_decoder_chunks(job->decoder); ++*count) {
        WF_TRY(open_frames(job, *count, &in, err));
        if (!in)
            break;
        wf_kept_close(&in);
    }
    return WF_OK;
}

/* The decoder behind the last of `chunks` after which its state is there. */
static enum wf_status go_on(struct weft_job *job, int64_t chunks, struct wf_error *err)
{
    struct wf_kept_in *in = NULL;
    int64_t n = chunks + 1;
    const struct wf_stage_stats *planned = &job->plan.stats[WEFT_STAGE_DECODE];
    const uint64_t most = planned->peak[WF_HOST] + planned->peak[WF_DEVICE]; /* it was held then */
    while (!in && (n = wf_resume_newest(job, carried_name, n)) > 0)
        WF_TRY(wf_resume_open(job, carried_name, n, most, &in, err));
    if (!in)
        return WF_OK;
    job->resume->kept = n;
    wf_decoder_go_on(job->decoder, n);
    const enum wf_status status = load_carried(job, in, err);
    wf_kept_close(&in);
    return status;
}

enum wf_status wf_resume_begin_decode(struct weft_job *job, struct wf_error *err)
{
    struct wf_resume *r = job->resume;
    const int64_t chunks = wf_decoder_chunks(job->decoder);
    int64_t whole = 0;
    r->keeps = true;
    wf_decoder_look_ahead(job->decoder, false); /* it is kept between two chunks */
    r->frame = wf_alloc(job->model->engine->mem, WF_MEM_FRAMES, frame_bytes(job));
    if (!r->frame)
        return wf_fail_memory(err, "resume", frame_bytes(job));
    WF_TRY(count_chunks(job, &whole, err));
    if (whole == chunks) {
        r->kept = chunks;
        wf_decoder_go_on(job->decoder, chunks);
    } else {
        WF_TRY(go_on(job, whole, err));
    }
    r->decoded = r->kept;
    if (r->kept)
        wf_log(job->model->engine, WEFT_LOG_INFO, "resume: %lld of %lld chunks are decoded",
               (long long)r->kept, (long long)chunks);
    return WF_OK;
}

/* --- handing on what is there --- */

bool wf_resume_has_frame(const struct weft_job *job)
{
    return job->resume && job->resume->shown < job->resume->kept;
}

enum wf_status wf_resume_frame(struct weft_job *job, const float **frame, struct wf_error *err)
{
    struct wf_resume *r = job->resume;
    if (!r->clip)
        WF_TRY(open_frames(job, r->shown, &r->clip, err));
    if (!r->clip)
        return wf_fail(err, WF_FAILED, "%s: its frames changed while they were read; start again",
                       job->request.resume);
    WF_TRY(wf_kept_read(r->clip, r->frame, frame_bytes(job), err));
    *frame = r->frame;
    if (wf_kept_left(r->clip))
        return WF_OK;
    wf_kept_close(&r->clip);
    r->shown++;
    return WF_OK;
}

/* --- keeping --- */

/* Seconds in which the second chunk is decoded: as planned, or as the first one took a frame. */
static double chunk_seconds(const struct weft_job *job)
{
    const double planned = job->plan.stats[WEFT_STAGE_DECODE].seconds / (double)job->frames;
    const double measured = job->stats[WEFT_STAGE_DECODE].seconds / (double)job->given;
    return (planned > 0 ? planned : measured) * (double)wf_decoder_chunk_frames(job->decoder, 1);
}

/* Whether what a chunk leaves is written in less than half the time in which it is decoded: on a
   fast device a clip is decoded again sooner than that. */
static bool is_cheaper(const struct weft_job *job)
{
    const double disk = 1e9; /* bytes a second, with their checksum, into the system's cache */
    double bytes = (double)wf_decoder_chunk_frames(job->decoder, 1) * (double)frame_bytes(job);
    const struct wf_causal_cache *cache;
    for (int64_t i = 0; (cache = wf_decoder_cache(job->decoder, i)); i++)
        bytes += cache->valid ? (double)wf_tensor_bytes(&cache->frames) : 0;
    return bytes / disk < chunk_seconds(job) / 2;
}

static void stop_keeping(struct weft_job *job)
{
    job->resume->keeps = false;
    wf_decoder_look_ahead(job->decoder, true);
    wf_resume_remove(job, frames_name, 0);
    wf_log(job->model->engine, WEFT_LOG_INFO,
           "resume: frames are decoded again sooner than they are kept");
}

static enum wf_status end_chunk(struct weft_job *job, struct wf_error *err)
{
    struct wf_resume *r = job->resume;
    WF_TRY(wf_kept_commit(&r->frames, err));
    r->decoded++;
    if (r->decoded < wf_decoder_chunks(job->decoder)) {
        if (r->decoded > 1 || is_cheaper(job))
            return wf_resume_keep(job, carried_name, r->decoded, write_carried, err);
        stop_keeping(job);
        return WF_OK;
    }
    for (int64_t n = INT64_MAX; (n = wf_resume_newest(job, carried_name, n)) > 0;)
        wf_resume_remove(job, carried_name, n); /* all frames are there */
    return WF_OK;
}

enum wf_status wf_resume_keep_frame(struct weft_job *job, const float *frame, struct wf_error *err)
{
    struct wf_resume *r = job->resume;
    if (!r->keeps)
        return WF_OK;
    if (!r->frames) {
        const struct head h = head_of(job, r->decoded);
        WF_TRY(wf_resume_create(job, frames_name, r->decoded, &r->frames, err));
        WF_TRY(wf_kept_write(r->frames, &h, sizeof h, err));
    }
    WF_TRY(wf_kept_write(r->frames, frame, frame_bytes(job), err));
    return wf_decoder_at_edge(job->decoder) ? end_chunk(job, err) : WF_OK;
}
