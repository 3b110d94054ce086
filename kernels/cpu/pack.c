#include "kernels/cpu/pack.h"

#include <string.h>

enum {
    GROUP = 16
}; /* outputs that are turned at a time: their words fill cache lines of a panel */

/* One thread's memory. */
struct desk {
    unsigned char *file; /* [GROUP,depth] as they are read */
    uint32_t *rows;      /* [GROUP,words] of the panels' type */
    float *wide;         /* [depth] on the way from one 16-bit type to the other */
};

struct job {
    const struct wf_word_panels *panels;
    const struct wf_source *src;
    const struct wf_loops *loops;
    size_t each;  /* bytes of a value in the source */
    bool as_read; /* rows are words as they are read: nothing to convert, nothing to fill up */
    uint32_t *room;
};

static size_t rounded(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

static size_t desk_bytes(const struct job *j)
{
    const size_t depth = (size_t)j->panels->depth;
    return rounded(GROUP * depth * j->each) +
           rounded(GROUP * (size_t)j->panels->words * sizeof(uint32_t)) +
           rounded(depth * sizeof(float));
}

static struct desk desk_at(const struct job *j, void *memory)
{
    struct desk d = {.file = memory};
    d.rows = (uint32_t *)(void *)(d.file + rounded(GROUP * (size_t)j->panels->depth * j->each));
    d.wide = (float *)(void *)((unsigned char *)d.rows +
                               rounded(GROUP * (size_t)j->panels->words * sizeof(uint32_t)));
    return d;
}

/* A row of the file in the panels' type. */
static void convert(const struct job *j, const void *from, void *to, float *wide)
{
    const int64_t depth = j->panels->depth;
    const enum wf_dtype type = j->panels->type, found = j->src->dtype;
    if (found == type) {
        memcpy(to, from, (size_t)depth * j->each);
    } else if (type == WF_F32) {
        j->loops->to_f32(to, from, found, depth);
    } else if (found == WF_F32) {
        memcpy(wide, from, (size_t)depth * j->each); /* it may lie at any address */
        j->loops->from_f32(to, type, wide, depth);
    } else {
        j->loops->to_f32(wide, from, found, depth);
        j->loops->from_f32(to, type, wide, depth);
    }
}

/* The rows of `count` outputs, and zeros for those that the group lacks. */
static const uint32_t *fill_rows(const struct job *j, const struct desk *d, int64_t count)
{
    const struct wf_word_panels *p = j->panels;
    if (j->as_read && count == GROUP)
        return (const uint32_t *)(const void *)d->file;
    const size_t pitch = (size_t)p->words, used = (size_t)p->depth * wf_dtype_bytes(p->type);
    for (size_t i = 0; i < GROUP; i++) {
        unsigned char *row = (unsigned char *)(d->rows + i * pitch);
        const bool has = (int64_t)i < count;
        if (has)
            convert(j, d->file + i * (size_t)p->depth * j->each, row, d->wide);
        memset(row + (has ? used : 0), 0, pitch * sizeof(uint32_t) - (has ? used : 0));
    }
    return d->rows;
}

static enum wf_status pack_group(const struct job *j, const struct desk *d, int64_t first,
                                 struct wf_error *err)
{
    const struct wf_word_panels *p = j->panels;
    const int64_t left = p->outputs - first, count = left < 0 ? 0 : left < GROUP ? left : GROUP;
    if (count > 0)
        WF_TRY(wf_source_read(j->src, (uint64_t)(first * p->depth) * j->each, d->file,
                              (size_t)(count * p->depth) * j->each, err));
    uint32_t *panel = j->room + first / p->width * p->words * p->width + first % p->width;
    j->loops->turn((float *)(void *)panel, p->width,
                   (const float *)(const void *)fill_rows(j, d, count), p->words, GROUP, p->words);
    return WF_OK;
}

struct wf_cpu_need wf_pack_words_need(const struct wf_word_panels *panels, enum wf_dtype dtype)
{
    const struct job j = {.panels = panels, .each = wf_dtype_bytes(dtype)};
    return (struct wf_cpu_need){.thread = desk_bytes(&j)};
}

enum wf_status wf_pack_words(struct wf_backend *be, const struct wf_word_panels *panels,
                             const struct wf_source *src, uint32_t *room)
{
    const int64_t padded = (panels->outputs + panels->width - 1) / panels->width * panels->width;
    const size_t each = wf_dtype_bytes(src->dtype);
    const struct job j = {.panels = panels,
                          .src = src,
                          .loops = wf_cpu_of(be)->loops,
                          .each = each,
                          .as_read = src->dtype == panels->type &&
                                     (size_t)panels->depth * each ==
                                         (size_t)panels->words * sizeof(uint32_t),
                          .room = room};
    struct wf_error failure = {.status = WF_OK};
    WF_TRY(wf_cpu_scratch(be, "weights", desk_bytes(&j)));
#pragma omp parallel for num_threads(wf_cpu_threads(be)) schedule(static)
    for (int64_t first = 0; first < padded; first += GROUP) {
        const struct desk d = desk_at(&j, wf_cpu_own_scratch(be));
        struct wf_error err;
        if (pack_group(&j, &d, first, &err) != WF_OK)
            wf_cpu_note(&failure, &err);
    }
    return wf_cpu_noted(be, &failure);
}
