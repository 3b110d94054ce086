#include "io/video/score.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

enum { CHANNELS = 3 };

struct mean {
    double sum;
    double count; /* of differences */
};

/* What differs across edges, and beside them. */
struct ratio {
    struct mean across, beside;
};

struct list {
    int64_t *at;
    int64_t count;
};

struct wf_score {
    int64_t width, height;
    struct list columns, rows, frames;
    struct ratio seam, chunk_edge;
    int64_t frame;      /* number of the next one */
    struct mean change; /* from the frame before the last one to the last, where it is needed */
    int64_t passed;     /* edges of chunks that lie more than a frame before it */
    float *previous;    /* the frame before, where it is needed; NULL without edges of chunks */
};

/* --- opening -------------------------------------------------------------------------------------
 */

static enum wf_status check_edges(const struct wf_edges *edges, const char *what, int64_t end,
                                  struct wf_error *err)
{
    for (int64_t i = 0; i < edges->count; i++) {
        const int64_t at = edges->at[i];
        if (at < 1 || at >= end)
            return wf_fail(err, WF_REFUSED, "score: an edge at %s %lld is not within 1..%lld", what,
                           (long long)at, (long long)(end - 1));
        if (i > 0 && at <= edges->at[i - 1])
            return wf_fail(err, WF_REFUSED,
                           "score: the edge at %s %lld comes after that at %lld; list each once, "
                           "the lowest first",
                           what, (long long)at, (long long)edges->at[i - 1]);
    }
    return WF_OK;
}

static enum wf_status check(const struct wf_score_config *c, size_t *samples, struct wf_error *err)
{
    if (c->width < 1 || c->height < 1 || __builtin_mul_overflow(c->width, c->height, samples) ||
        __builtin_mul_overflow(*samples, (size_t)CHANNELS, samples) ||
        *samples > PTRDIFF_MAX / sizeof(float))
        return wf_fail(err, WF_REFUSED, "score: a frame of %lldx%lld is not possible",
                       (long long)c->width, (long long)c->height);
    WF_TRY(check_edges(&c->columns, "column", c->width, err));
    WF_TRY(check_edges(&c->rows, "row", c->height, err));
    return check_edges(&c->frames, "frame", INT64_MAX, err);
}

static enum wf_status copy_edges(const struct wf_edges *edges, struct wf_mem *mem,
                                 struct list *list, struct wf_error *err)
{
    if (edges->count < 1)
        return WF_OK;
    const size_t bytes = (size_t)edges->count * sizeof *list->at;
    list->at = wf_alloc(mem, WF_MEM_MISC, bytes);
    if (!list->at)
        return wf_fail_memory(err, "score", bytes);
    memcpy(list->at, edges->at, bytes);
    list->count = edges->count;
    return WF_OK;
}

static enum wf_status fill(struct wf_score *s, const struct wf_score_config *c, size_t samples,
                           struct wf_mem *mem, struct wf_error *err)
{
    s->width = c->width;
    s->height = c->height;
    WF_TRY(copy_edges(&c->columns, mem, &s->columns, err));
    WF_TRY(copy_edges(&c->rows, mem, &s->rows, err));
    WF_TRY(copy_edges(&c->frames, mem, &s->frames, err));
    if (!s->frames.count)
        return WF_OK;
    s->previous = wf_alloc(mem, WF_MEM_FRAMES, samples * sizeof *s->previous);
    return s->previous ? WF_OK : wf_fail_memory(err, "score", samples * sizeof *s->previous);
}

enum wf_status wf_score_open(const struct wf_score_config *config, struct wf_mem *mem,
                             struct wf_score **score, struct wf_error *err)
{
    size_t samples = 0;
    *score = NULL;
    WF_TRY(check(config, &samples, err));
    struct wf_score *s = wf_calloc(mem, WF_MEM_MISC, 1, sizeof *s);
    if (!s)
        return wf_fail_memory(err, "score", sizeof *s);
    const enum wf_status status = fill(s, config, samples, mem, err);
    if (status != WF_OK) {
        wf_score_close(&s);
        return status;
    }
    *score = s;
    return WF_OK;
}

void wf_score_close(struct wf_score **score)
{
    struct wf_score *s = *score;
    if (!s)
        return;
    wf_free(s->columns.at);
    wf_free(s->rows.at);
    wf_free(s->frames.at);
    wf_free(s->previous);
    wf_free(s);
    *score = NULL;
}

/* --- a frame -------------------------------------------------------------------------------------
 */

static void add(struct mean *mean, const float *a, const float *b, int64_t count)
{
    double sum = 0;
    for (int64_t i = 0; i < count; i++)
        sum += fabs((double)a[i] - (double)b[i]);
    mean->sum += sum;
    mean->count += (double)count;
}

static void join(struct mean *mean, const struct mean *other)
{
    mean->sum += other->sum;
    mean->count += other->count;
}

/* One edge of a line of length positions, each of count samples in a row: it stands before position
   at, of which x is the first sample. */
static void add_edge(struct ratio *ratio, const float *x, int64_t at, int64_t length, int64_t count)
{
    add(&ratio->across, x, x - count, count);
    if (at > 1)
        add(&ratio->beside, x - count, x - 2 * count, count);
    if (at + 1 < length)
        add(&ratio->beside, x + count, x, count);
}

static void add_seams(struct wf_score *s, const float *frame)
{
    const int64_t row = s->width * CHANNELS;
    for (int64_t y = 0; s->columns.count && y < s->height; y++) {
        for (int64_t i = 0; i < s->columns.count; i++) {
            const int64_t at = s->columns.at[i];
            add_edge(&s->seam, frame + y * row + at * CHANNELS, at, s->width, CHANNELS);
        }
    }
    for (int64_t i = 0; i < s->rows.count; i++) {
        const int64_t at = s->rows.at[i];
        add_edge(&s->seam, frame + at * row, at, s->height, row);
    }
}

/* Of the next frame and those one and two after it, and of the last. */
static bool is_edge(const struct wf_score *s, int64_t frame)
{
    for (int64_t i = s->passed; i < s->frames.count && s->frames.at[i] <= frame; i++) {
        if (s->frames.at[i] == frame)
            return true;
    }
    return false;
}

static void add_time(struct wf_score *s, const float *frame)
{
    const int64_t t = s->frame, samples = s->width * s->height * CHANNELS;
    while (s->passed < s->frames.count && s->frames.at[s->passed] < t - 1)
        s->passed++;
    const bool before = is_edge(s, t - 1), here = is_edge(s, t), after = is_edge(s, t + 1);
    struct mean change = {0, 0};
    if (t > 0 && (before || here || after))
        add(&change, frame, s->previous, samples);
    if (here) {
        join(&s->chunk_edge.across, &change);
        join(&s->chunk_edge.beside, &s->change);
    }
    if (before)
        join(&s->chunk_edge.beside, &change);
    s->change = change;
    /* The next change counts if an edge is at t, t + 1 or t + 2. */
    if (here || after || is_edge(s, t + 2))
        memcpy(s->previous, frame, (size_t)samples * sizeof *frame);
}

static bool is_finite(const struct ratio *ratio)
{
    return isfinite(ratio->across.sum) && isfinite(ratio->beside.sum);
}

enum wf_status wf_score_frame(struct wf_score *score, const float *frame, struct wf_error *err)
{
    add_seams(score, frame);
    if (score->previous)
        add_time(score, frame);
    score->frame++;
    if (!is_finite(&score->seam) || !is_finite(&score->chunk_edge) || !isfinite(score->change.sum))
        return wf_fail(err, WF_FAILED, "score: frame %lld, or the one before, is not finite",
                       (long long)(score->frame - 1));
    return WF_OK;
}

/* --- the scores ----------------------------------------------------------------------------------
 */

static double quotient(const struct ratio *ratio)
{
    if (!is_finite(ratio) || ratio->across.count == 0 || ratio->beside.count == 0)
        return NAN;
    const double across = ratio->across.sum / ratio->across.count;
    const double beside = ratio->beside.sum / ratio->beside.count;
    if (beside == 0)
        return across == 0 ? 1 : INFINITY;
    return across / beside;
}

double wf_score_seam(const struct wf_score *score)
{
    return quotient(&score->seam);
}

double wf_score_chunk_edge(const struct wf_score *score)
{
    return quotient(&score->chunk_edge);
}
