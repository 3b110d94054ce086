/* Copies between any two layouts and types: axes that lie together in both are joined, then lines
   are copied along the destination's fastest axis, in blocks along the source's, so that a cache
   line that was read is used up. */
#include <string.h>

#include "kernels/cpu/cpu.h"

enum { BLOCK = 16, SMALL_COPY = 16384 };

/* The joint view of source and destination; axis 0 is the slowest of the destination. */
struct layout {
    int rank;
    int64_t dim[WF_MAX_RANK], to[WF_MAX_RANK], from[WF_MAX_RANK];
};

static void swap_axes(struct layout *l, int i, int j)
{
    const struct layout old = *l;
    l->dim[i] = old.dim[j];
    l->to[i] = old.to[j];
    l->from[i] = old.from[j];
    l->dim[j] = old.dim[i];
    l->to[j] = old.to[i];
    l->from[j] = old.from[i];
}

static struct layout join_axes(const struct layout *l)
{
    struct layout joined = {0};
    for (int i = 0; i < l->rank; i++) {
        const int last = joined.rank - 1;
        if (last >= 0 && joined.to[last] == l->dim[i] * l->to[i] &&
            joined.from[last] == l->dim[i] * l->from[i]) {
            joined.dim[last] *= l->dim[i];
            joined.to[last] = l->to[i];
            joined.from[last] = l->from[i];
        } else {
            joined.dim[joined.rank] = l->dim[i];
            joined.to[joined.rank] = l->to[i];
            joined.from[joined.rank++] = l->from[i];
        }
    }
    return joined;
}

static struct layout make_layout(const struct wf_tensor *dst, const struct wf_tensor *src)
{
    struct layout l = {0};
    for (int i = 0; i < dst->rank; i++) {
        if (dst->dim[i] == 1)
            continue;
        l.dim[l.rank] = dst->dim[i];
        l.to[l.rank] = dst->stride[i];
        l.from[l.rank++] = src->stride[i];
        for (int j = l.rank - 1; j > 0 && l.to[j] > l.to[j - 1]; j--)
            swap_axes(&l, j, j - 1);
    }
    if (l.rank == 0)
        return (struct layout){.rank = 1, .dim = {1}, .to = {1}, .from = {1}};
    return join_axes(&l);
}

/* One line: n elements, to and from apart. */
struct line {
    const struct wf_loops *loops;
    enum wf_dtype dst_type, src_type;
    int64_t to, from;
};

#define COPY_STRIDED(type)                                                                         \
    do {                                                                                           \
        type *d = (type *)dst;                                                                     \
        const type *s = (const type *)src;                                                         \
        for (int64_t i = 0; i < n; i++)                                                            \
            d[i * l->to] = s[i * l->from];                                                         \
    } while (0)

static void copy_same(const struct line *l, void *dst, const void *src, int64_t n)
{
    const size_t size = wf_dtype_bytes(l->dst_type);
    if (l->to == 1 && l->from == 1)
        memcpy(dst, src, (size_t)n * size);
    else if (size == 4)
        COPY_STRIDED(uint32_t);
    else if (size == 2)
        COPY_STRIDED(uint16_t);
    else
        COPY_STRIDED(uint8_t);
}

/* Through f32, BLOCK values at a time. */
static void convert(const struct line *l, unsigned char *dst, const unsigned char *src, int64_t n)
{
    const struct wf_loops *loops = l->loops;
    if (l->to == 1 && l->from == 1 && l->dst_type == WF_F32) {
        loops->to_f32((float *)(void *)dst, src, l->src_type, n);
        return;
    }
    if (l->to == 1 && l->from == 1 && l->src_type == WF_F32) {
        loops->from_f32(dst, l->dst_type, (const float *)(const void *)src, n);
        return;
    }
    const size_t to = wf_dtype_bytes(l->dst_type), from = wf_dtype_bytes(l->src_type);
    for (int64_t i = 0; i < n; i++) {
        float value;
        wf_to_f32(&value, src + (size_t)(i * l->from) * from, l->src_type, 1);
        wf_from_f32(dst + (size_t)(i * l->to) * to, l->dst_type, &value, 1);
    }
}

static void copy_line(const struct line *l, void *dst, const void *src, int64_t n)
{
    if (l->dst_type == l->src_type)
        copy_same(l, dst, src, n);
    else
        convert(l, dst, src, n);
}

/* The axis along which the source is contiguous, if the destination's is another; else -1. */
static int source_axis(const struct layout *l)
{
    int best = l->rank - 1;
    for (int i = l->rank - 2; i >= 0; i--) {
        if (l->from[i] < l->from[best] && l->from[i] > 0)
            best = i;
    }
    return best == l->rank - 1 || l->from[l->rank - 1] == 0 ? -1 : best;
}

/* Whether a plane of f32 is to be turned: lines that are contiguous in the destination, and in the
   source run across those of a contiguous axis. */
static bool is_turn(const struct line *l, int64_t from_line)
{
    return l->dst_type == WF_F32 && l->src_type == WF_F32 && l->to == 1 && from_line == 1;
}

/* `lines` lines of `n` elements, the lines to_line and from_line apart, in square blocks. */
static void copy_plane(const struct line *l, unsigned char *dst, const unsigned char *src,
                       int64_t lines, int64_t to_line, int64_t from_line, int64_t n)
{
    const size_t to = wf_dtype_bytes(l->dst_type), from = wf_dtype_bytes(l->src_type);
    if (is_turn(l, from_line)) {
        l->loops->turn((float *)(void *)dst, to_line, (const float *)(const void *)src, l->from, n,
                       lines);
        return;
    }
    for (int64_t at = 0; at < n; at += BLOCK) {
        const int64_t length = n - at < BLOCK ? n - at : BLOCK;
        for (int64_t i = 0; i < lines; i++)
            copy_line(l, dst + (size_t)(i * to_line + at * l->to) * to,
                      src + (size_t)(i * from_line + at * l->from) * from, length);
    }
}

/* The whole copy, cut into tasks: a line, or a group of lines where the source runs across them. */
struct cut {
    struct layout l;
    struct line line;
    int64_t lines, group, groups, tasks;
};

static struct cut make_cut(const struct wf_backend *be, const struct wf_tensor *dst,
                           const struct wf_tensor *src)
{
    struct cut p = {.l = make_layout(dst, src), .group = 1};
    const int axis = source_axis(&p.l), last = p.l.rank - 1;
    if (axis >= 0) {
        p.group = BLOCK;
        for (int i = axis; i < last - 1; i++) /* next to the destination's */
            swap_axes(&p.l, i, i + 1);
    }
    p.line =
        (struct line){wf_cpu_of(be)->loops, dst->dtype, src->dtype, p.l.to[last], p.l.from[last]};
    p.lines = last > 0 ? p.l.dim[last - 1] : 1;
    p.groups = (p.lines + p.group - 1) / p.group;
    p.tasks = p.groups;
    for (int i = 0; i < last - 1; i++)
        p.tasks *= p.l.dim[i];
    return p;
}

static void run_task(const struct cut *p, void *dst, const void *src, int64_t task)
{
    const int last = p->l.rank - 1, across = last > 0 ? last - 1 : 0;
    const int64_t first = task % p->groups * p->group, left = p->lines - first;
    const int64_t to_line = last > 0 ? p->l.to[across] : 0;
    const int64_t from_line = last > 0 ? p->l.from[across] : 0;
    int64_t rest = task / p->groups, to = first * to_line, from = first * from_line;
    for (int i = last - 2; i >= 0; i--) {
        to += rest % p->l.dim[i] * p->l.to[i];
        from += rest % p->l.dim[i] * p->l.from[i];
        rest /= p->l.dim[i];
    }
    unsigned char *d = (unsigned char *)dst + (size_t)to * wf_dtype_bytes(p->line.dst_type);
    const unsigned char *s =
        (const unsigned char *)src + (size_t)from * wf_dtype_bytes(p->line.src_type);
    if (p->group == 1)
        copy_line(&p->line, d, s, p->l.dim[last]);
    else
        copy_plane(&p->line, d, s, left < p->group ? left : p->group, to_line, from_line,
                   p->l.dim[last]);
}

enum wf_status wf_cpu_copy(struct wf_backend *be, const struct wf_copy *a)
{
    const struct cut p = make_cut(be, &a->y, &a->x);
    const int team = wf_cpu_team(be, wf_tensor_count(&a->y), SMALL_COPY);
#pragma omp parallel for num_threads(team) schedule(static)
    for (int64_t task = 0; task < p.tasks; task++)
        run_task(&p, a->y.data, a->x.data, task);
    return WF_OK;
}
