/* weft_compare: two clips read side by side, frame by frame. */
#include "engine/compare.h"

#include <math.h>
#include <stdlib.h>

#include "io/video/convert.h"
#include "io/video/metric.h"
#include "io/video/score.h"
#include "io/video/source.h"
#include "kernels/base/clock.h"
#include "temporal/chunks.h"
#include "vae/tiles.h"

static const double most_score = 1e6; /* where only the edges change */

struct comparing {
    struct wf_compared *out;
    struct wf_mem *mem;
    struct wf_video *reference, *clip;
    struct wf_convert *convert;               /* the clip to the reference's form; NULL: has it */
    struct wf_convert *show_reference, *show; /* to RGB, where that is needed */
    struct wf_metric *metric;
    struct wf_score *score; /* NULL: no edges are known */
    float *rgb;             /* for it */
    double mse, ssim;       /* sums */
};

void weft_comparison_defaults(struct weft_comparison *comparison)
{
    *comparison = (struct weft_comparison){.min_ssim = -2, .max_abs = -1};
}

void wf_compare_thresholds(const struct weft_comparison *a, const struct weft_comparison_result *r,
                           struct wf_threshold t[WF_THRESHOLDS])
{
    t[0] = (struct wf_threshold){.option = "min-psnr",
                                 .name = "PSNR",
                                 .unit = " dB",
                                 .limit = a->min_psnr,
                                 .found = r->psnr,
                                 .asked = a->min_psnr > 0,
                                 .kept = r->psnr >= a->min_psnr};
    t[1] = (struct wf_threshold){.option = "min-ssim",
                                 .name = "SSIM",
                                 .unit = "",
                                 .limit = a->min_ssim,
                                 .found = r->ssim,
                                 .asked = a->min_ssim >= -1,
                                 .kept = r->ssim >= a->min_ssim};
    t[2] = (struct wf_threshold){.option = "max-abs",
                                 .name = "largest difference",
                                 .unit = "",
                                 .limit = a->max_abs,
                                 .found = r->max_abs,
                                 .asked = a->max_abs >= 0,
                                 .kept = r->max_abs <= a->max_abs};
}

/* --- what is asked for --- */

static enum wf_status check(const struct weft_comparison *a, struct wf_error *err)
{
    WF_TRY(WF_CHECK_RESERVED(a, "comparison", err));
    if (!a->reference || !*a->reference || !a->clip || !*a->clip)
        return wf_fail(err, WF_REFUSED, "compare: a clip is missing; give a reference and a clip");
    if (!(a->min_psnr >= 0) || !isfinite(a->min_psnr) || !(a->min_ssim <= 1) || a->max_abs > 255)
        return wf_fail(err, WF_REFUSED,
                       "compare: a threshold is not possible; PSNR is 0 or more, SSIM 1 or less, a "
                       "difference 255 or less");
    if ((a->tile_width > 0) != (a->tile_height > 0) || a->tile_width < 0 || a->tile_height < 0)
        return wf_fail(err, WF_REFUSED,
                       "tile-size: %dx%d is not possible; give both sides in pixels", a->tile_width,
                       a->tile_height);
    if (!a->tile_width && (a->tile_overlap_width || a->tile_overlap_height))
        return wf_fail(err, WF_REFUSED,
                       "tile-overlap: says nothing without the tiles' size; add --tile-size");
    if (!a->decode_chunk_size && a->chunk_overlap)
        return wf_fail(err, WF_REFUSED,
                       "chunk-overlap: says nothing without the chunks' size; add "
                       "--decode-chunk-size");
    return WF_OK;
}

/* Rates that differ by less are one, rounded in two ways; 24 and 23.976 are not. */
static bool same_rate(const struct wf_video_info *a, const struct wf_video_info *b)
{
    if (!a->fps_num || !b->fps_num)
        return true;
    const double left = (double)a->fps_num * b->fps_den, right = (double)b->fps_num * a->fps_den;
    return fabs(left - right) <= 5e-4 * right;
}

static enum wf_status check_pair(struct comparing *c, struct wf_error *err)
{
    const char *path = c->out->asked->clip;
    const struct wf_video_info *r = wf_video_info(c->reference), *v = wf_video_info(c->clip);
    if (r->format.width != v->format.width || r->format.height != v->format.height)
        return wf_fail(err, WF_REFUSED,
                       "%s: is %dx%d, the reference %dx%d; compare clips of one size", path,
                       v->format.width, v->format.height, r->format.width, r->format.height);
    if (r->frames != v->frames)
        return wf_fail(err, WF_REFUSED,
                       "%s: has %lld frames, the reference %lld; compare clips of one length", path,
                       (long long)v->frames, (long long)r->frames);
    if (!same_rate(r, v))
        return wf_fail(
            err, WF_REFUSED,
            "%s: has %.6g frames a second, the reference %.6g; compare clips of one rate", path,
            (double)v->fps_num / v->fps_den, (double)r->fps_num / r->fps_den);
    struct weft_comparison_result *out = &c->out->result;
    const struct wf_video_info *rated = r->fps_num ? r : v;
    out->frames = r->frames;
    out->width = r->format.width;
    out->height = r->format.height;
    out->fps_num = rated->fps_num;
    out->fps_den = rated->fps_den;
    return WF_OK;
}

/* --- edges --- */

/* What the clip says of how it was decoded, where the caller does not and it can be. Chunks of a
   family that has no edges between them have no overlap either, not even one of 0. */
static void ask_clip(struct weft_comparison *a)
{
    struct weft_recipe *recipe;
    struct weft_request r;
    char message[512];
    weft_request_open(&r);
    if (weft_recipe_open(a->clip, &recipe, message, sizeof message) != WEFT_OK)
        return;
    weft_recipe_request(recipe, &r);
    weft_recipe_close(&recipe);
    if (!a->tile_width && r.tile_width > r.tile_overlap_width &&
        r.tile_height > r.tile_overlap_height && r.tile_width > 0 && r.tile_height > 0) {
        a->tile_width = r.tile_width;
        a->tile_height = r.tile_height;
        a->tile_overlap_width = r.tile_overlap_width > 0 ? r.tile_overlap_width : 0;
        a->tile_overlap_height = r.tile_overlap_height > 0 ? r.tile_overlap_height : 0;
    }
    if (!a->decode_chunk_size && r.chunk_overlap >= 0 && r.decode_chunk_size > r.chunk_overlap) {
        a->decode_chunk_size = r.decode_chunk_size;
        a->chunk_overlap = r.chunk_overlap;
    }
}

/* Tiles begin there. */
static enum wf_status tile_edges(struct comparing *c, int64_t *columns, int64_t *rows,
                                 struct wf_score_config *config, struct wf_error *err)
{
    const struct weft_comparison *a = c->out->asked;
    const struct wf_size frame = {config->height, config->width};
    struct wf_tiles tiles;
    if (!a->tile_width)
        return WF_OK;
    WF_TRY(wf_tiles_blend(&tiles, frame, (struct wf_size){a->tile_height, a->tile_width},
                          (struct wf_size){a->tile_overlap_height, a->tile_overlap_width}, 1, err));
    for (int64_t i = 1; i < tiles.columns; i++)
        columns[config->columns.count++] = i * tiles.stride.width;
    for (int64_t i = 1; i < tiles.rows; i++)
        rows[config->rows.count++] = i * tiles.stride.height;
    config->columns.at = columns;
    config->rows.at = rows;
    return WF_OK;
}

/* The first frame of each chunk that no other has a part in. */
static enum wf_status chunk_edges(struct comparing *c, int64_t *frames,
                                  struct wf_score_config *config, struct wf_error *err)
{
    const struct weft_comparison *a = c->out->asked;
    struct wf_chunks chunks;
    if (!a->decode_chunk_size)
        return WF_OK;
    WF_TRY(wf_chunks_init(&chunks, c->out->result.frames, a->decode_chunk_size, a->chunk_overlap,
                          err));
    for (int64_t i = 0; i + 1 < chunks.count; i++) {
        const struct wf_chunk chunk = wf_chunks_range(&chunks, i);
        frames[config->frames.count++] = chunk.first + chunk.count;
    }
    config->frames.at = frames;
    return WF_OK;
}

static enum wf_status open_scores(struct comparing *c, int64_t *columns, int64_t *rows,
                                  int64_t *frames, struct wf_error *err)
{
    const struct weft_comparison_result *r = &c->out->result;
    struct wf_score_config config = {.width = r->width, .height = r->height};
    WF_TRY(tile_edges(c, columns, rows, &config, err));
    WF_TRY(chunk_edges(c, frames, &config, err));
    if (!config.columns.count && !config.rows.count && !config.frames.count)
        return WF_OK;
    const size_t bytes = (size_t)r->width * (size_t)r->height * 3 * sizeof *c->rgb;
    c->rgb = wf_alloc(c->mem, WF_MEM_FRAMES, bytes);
    return c->rgb ? wf_score_open(&config, c->mem, &c->score, err)
                  : wf_fail_memory(err, "compare", bytes);
}

static enum wf_status find_edges(struct comparing *c, struct wf_error *err)
{
    const struct weft_comparison_result *r = &c->out->result;
    const size_t width = (size_t)r->width, height = (size_t)r->height, frames = (size_t)r->frames;
    int64_t *at = wf_calloc(c->mem, WF_MEM_MISC, width + height + frames, sizeof *at);
    if (!at)
        return wf_fail_memory(err, "compare", (width + height + frames) * sizeof *at);
    const enum wf_status status = open_scores(c, at, at + width, at + width + height, err);
    wf_free(at);
    return status;
}

/* --- opening --- */

static enum wf_status open_converters(struct comparing *c, struct wf_error *err)
{
    const struct wf_picture_format *r = &wf_video_info(c->reference)->format;
    const struct wf_picture_format *v = &wf_video_info(c->clip)->format;
    const struct wf_picture_format rgb = {
        .width = r->width, .height = r->height, .colours = WF_RGB, .full = true, .bits = 8};
    if (!wf_picture_same(r, v))
        WF_TRY(wf_convert_open(v, r, c->mem, &c->convert, err));
    if (c->score || c->out->shows)
        WF_TRY(wf_convert_open(v, &rgb, c->mem, &c->show, err));
    if (c->out->shows)
        WF_TRY(wf_convert_open(r, &rgb, c->mem, &c->show_reference, err));
    return wf_metric_open(r, c->mem, &c->metric, err);
}

static enum wf_status take_memory(struct comparing *c, struct wf_error *err)
{
    struct wf_compared *out = c->out;
    const size_t frames = (size_t)out->result.frames;
    out->psnr = wf_calloc(c->mem, WF_MEM_MISC, frames, sizeof *out->psnr);
    out->ssim = wf_calloc(c->mem, WF_MEM_MISC, frames, sizeof *out->ssim);
    out->max_abs = wf_calloc(c->mem, WF_MEM_MISC, frames, sizeof *out->max_abs);
    return out->psnr && out->ssim && out->max_abs
               ? WF_OK
               : wf_fail_memory(err, "compare", frames * sizeof *out->psnr);
}

static enum wf_status open_all(struct comparing *c, struct wf_error *err)
{
    const struct weft_comparison *a = c->out->asked;
    WF_TRY(wf_compare_report_check(a, c->mem, err));
    WF_TRY(wf_video_open(a->reference, c->mem, &c->reference, err));
    WF_TRY(wf_video_open(a->clip, c->mem, &c->clip, err));
    WF_TRY(check_pair(c, err));
    WF_TRY(take_memory(c, err));
    WF_TRY(find_edges(c, err));
    return open_converters(c, err);
}

static void close_all(struct comparing *c)
{
    wf_video_close(&c->reference);
    wf_video_close(&c->clip);
    wf_convert_close(&c->convert);
    wf_convert_close(&c->show_reference);
    wf_convert_close(&c->show);
    wf_metric_close(&c->metric);
    wf_score_close(&c->score);
    wf_free(c->rgb);
    for (int i = 0; i < WF_SHOWN; i++) {
        wf_free(c->out->shown[i].reference);
        wf_free(c->out->shown[i].clip);
    }
    wf_free(c->out->psnr);
    wf_free(c->out->ssim);
    wf_free(c->out->max_abs);
}

/* --- the frames that are shown --- */

static bool is_worse(const struct weft_compared_frame *a, const struct weft_compared_frame *b)
{
    return a->psnr != b->psnr ? a->psnr < b->psnr : a->index < b->index;
}

/* The place for a frame: that of one close by, else a free one, else the best one's; NULL where
   what is there is worse. */
static struct wf_shown *find_place(struct wf_compared *out, const struct weft_compared_frame *frame)
{
    const int64_t apart = out->result.frames / 12; /* neighbours look alike */
    struct wf_shown *place = &out->shown[0];
    for (int i = 0; i < WF_SHOWN; i++) {
        struct wf_shown *s = &out->shown[i];
        if (s->clip && frame->index - s->frame.index <= apart)
            return is_worse(frame, &s->frame) ? s : NULL;
        if (place->clip && (!s->clip || is_worse(&place->frame, &s->frame)))
            place = s;
    }
    return !place->clip || is_worse(frame, &place->frame) ? place : NULL;
}

static void copy_rgb(const struct wf_picture *p, int width, int height, unsigned char *to)
{
    for (int y = 0; y < height; y++) {
        for (int x = 0; x < width; x++) {
            for (int i = 0; i < 3; i++)
                *to++ = p->plane[i][y * p->stride[i] + x];
        }
    }
}

static enum wf_status keep_pictures(struct comparing *c, const struct weft_compared_frame *frame,
                                    const struct wf_picture *reference,
                                    const struct wf_picture *clip, struct wf_error *err)
{
    const int width = c->out->result.width, height = c->out->result.height;
    const size_t bytes = (size_t)width * (size_t)height * 3;
    struct wf_shown *s = isinf(frame->psnr) ? NULL : find_place(c->out, frame);
    if (!s)
        return WF_OK;
    if (!s->reference)
        s->reference = wf_alloc(c->mem, WF_MEM_FRAMES, bytes);
    if (!s->clip)
        s->clip = wf_alloc(c->mem, WF_MEM_FRAMES, bytes);
    if (!s->reference || !s->clip)
        return wf_fail_memory(err, "compare", bytes);
    const struct wf_picture left = wf_convert_run(c->show_reference, reference);
    const struct wf_picture right = wf_convert_run(c->show, clip);
    copy_rgb(&left, width, height, s->reference);
    copy_rgb(&right, width, height, s->clip);
    s->frame = *frame;
    return WF_OK;
}

static int order(const void *left, const void *right)
{
    const struct wf_shown *a = left, *b = right;
    if (!a->clip || !b->clip)
        return (b->clip != NULL) - (a->clip != NULL);
    return is_worse(&a->frame, &b->frame) ? -1 : 1;
}

/* --- a frame --- */

static enum wf_status score(struct comparing *c, const struct wf_picture *clip,
                            struct wf_error *err)
{
    const int width = c->out->result.width, height = c->out->result.height;
    const struct wf_picture p = wf_convert_run(c->show, clip);
    float *to = c->rgb;
    for (int y = 0; y < height; y++) {
        for (int x = 0; x < width; x++) {
            for (int i = 0; i < 3; i++)
                *to++ = (float)p.plane[i][y * p.stride[i] + x] / 255.0f;
        }
    }
    return wf_score_frame(c->score, c->rgb, err);
}

static void note(struct comparing *c, const struct weft_compared_frame *f, double mse)
{
    struct wf_compared *out = c->out;
    struct weft_comparison_result *r = &out->result;
    c->mse += mse;
    c->ssim += f->ssim;
    out->psnr[f->index] = f->psnr;
    out->ssim[f->index] = f->ssim;
    out->max_abs[f->index] = f->max_abs;
    if (f->psnr < r->min_psnr) {
        r->min_psnr = f->psnr;
        r->min_psnr_frame = f->index;
    }
    if (f->index == 0 || f->ssim < r->min_ssim) {
        r->min_ssim = f->ssim;
        r->min_ssim_frame = f->index;
    }
    if (f->max_abs > r->max_abs)
        r->max_abs = f->max_abs;
}

static enum wf_status compare_frame(struct comparing *c, int64_t index, struct wf_error *err)
{
    const struct weft_comparison *a = c->out->asked;
    struct wf_picture reference, clip;
    WF_TRY(wf_video_next(c->reference, &reference, err));
    WF_TRY(wf_video_next(c->clip, &clip, err));
    const struct wf_picture same = c->convert ? wf_convert_run(c->convert, &clip) : clip;
    const struct wf_metric_frame found = wf_metric_measure(c->metric, &reference, &same);
    const struct weft_compared_frame frame = {.index = index,
                                              .frames = c->out->result.frames,
                                              .psnr = wf_metric_psnr(found.mse),
                                              .ssim = found.ssim,
                                              .max_abs = found.max_abs};
    note(c, &frame, found.mse);
    if (c->score)
        WF_TRY(score(c, &clip, err));
    if (c->out->shows)
        WF_TRY(keep_pictures(c, &frame, &reference, &clip, err));
    if (a->frame && a->frame(a->frame_context, &frame) != 0)
        return wf_fail(err, WF_CANCELLED, "compare: stopped at frame %lld", (long long)index);
    return WF_OK;
}

/* Below 0 what is not a number. */
static double known(double value)
{
    return isnan(value) ? -1 : fmin(value, most_score);
}

static void conclude(struct comparing *c)
{
    struct weft_comparison_result *r = &c->out->result;
    struct wf_threshold thresholds[WF_THRESHOLDS];
    r->psnr = wf_metric_psnr(c->mse / (double)r->frames);
    r->ssim = c->ssim / (double)r->frames;
    r->seam = c->score ? known(wf_score_seam(c->score)) : -1;
    r->chunk_edge = c->score ? known(wf_score_chunk_edge(c->score)) : -1;
    r->pass = 1;
    wf_compare_thresholds(c->out->asked, r, thresholds);
    for (int i = 0; i < WF_THRESHOLDS; i++)
        r->pass = r->pass && (!thresholds[i].asked || thresholds[i].kept);
    qsort(c->out->shown, WF_SHOWN, sizeof *c->out->shown, order);
}

static enum wf_status compare(struct comparing *c, struct wf_error *err)
{
    const double start = wf_clock();
    WF_TRY(open_all(c, err));
    for (int64_t i = 0; i < c->out->result.frames; i++)
        WF_TRY(compare_frame(c, i, err));
    conclude(c);
    c->out->seconds = wf_clock() - start;
    return c->out->asked->report ? wf_fail_late(wf_compare_report_write(c->out, err), err) : WF_OK;
}

enum weft_status weft_compare(struct weft_engine *engine, const struct weft_comparison *comparison,
                              struct weft_comparison_result *result)
{
    struct weft_comparison asked = *comparison;
    struct wf_compared out = {.asked = &asked,
                              .mem = engine->mem,
                              .result = {.min_psnr = INFINITY, .min_psnr_frame = -1}};
    struct comparing c = {.out = &out, .mem = engine->mem};
    out.shows = comparison->report && wf_compare_report_shows(comparison->report);
    *result = (struct weft_comparison_result){0};
    enum wf_status status = check(comparison, &engine->err);
    if (status == WF_OK) {
        ask_clip(&asked);
        status = compare(&c, &engine->err);
    }
    if (status == WF_OK)
        *result = out.result;
    close_all(&c);
    return (enum weft_status)status;
}
