/* Attention in blocks of queries and keys with a running softmax: scores of one tile of queries
   against one block of keys are all that ever exists of the S x L matrix. */
#include <math.h>
#include <string.h>

#include "kernels/cpu/cpu.h"

enum {
    KEYS = WF_TILE_DEPTH, /* of a block */
    QUERY_TILES = 32,     /* of a block, at most: keys are turned once for all of them */
    SMALL_WORK = 100000,  /* multiplications that are not worth waking other threads for */
};

/* Sizes of the blocks, and where the parts of a thread's memory start, in floats. */
struct plan {
    const struct wf_attention *a;
    const struct wf_loops *loops;
    int query_block;
    int chunks;      /* of WF_TILE_DEPTH of a head's width */
    int value_width; /* of v, filled up to whole panels */
    size_t query, key, value, weight, sum, largest, total, end;
};

/* One block of queries of one head. */
struct job {
    const struct plan *plan;
    int64_t head, first;
    int queries;
    float *query;   /* [chunks,query_block] of pitch WF_TILE_PITCH, scaled */
    float *key;     /* panels [d,width] */
    float *value;   /* panels [keys,width] */
    float *weight;  /* [tile_rows] of pitch WF_TILE_PITCH */
    float *sum;     /* [query_block,value_width] */
    float *largest; /* [query_block] */
    float *total;   /* [query_block] */
};

static int panel_width(int tile_width, int64_t columns, int64_t column)
{
    return columns - column > tile_width / 2 ? tile_width : tile_width / 2;
}

static int64_t divide_up(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

static struct plan make_plan(const struct wf_backend *be, const struct wf_attention *a)
{
    struct plan p = {.a = a, .loops = wf_cpu_of(be)->loops};
    const int64_t s = a->q.dim[0], heads = a->q.dim[1], d = a->q.dim[2], e = a->v.dim[2];
    const int64_t enough = be->threads > 1 ? 2 * (int64_t)be->threads : 1;
    int tiles = QUERY_TILES;
    while (tiles > 1 && (heads * divide_up(s, tiles * p.loops->tile_rows) < enough ||
                         s <= tiles / 2 * p.loops->tile_rows))
        tiles /= 2;
    p.query_block = tiles * p.loops->tile_rows;
    p.chunks = (int)divide_up(d, WF_TILE_DEPTH);
    p.value_width = (int)divide_up(e, p.loops->tile_width) * p.loops->tile_width;
    p.key = (size_t)p.chunks * (size_t)p.query_block * WF_TILE_PITCH;
    p.value = p.key + (size_t)d * KEYS;
    p.weight = p.value + (size_t)p.value_width * KEYS;
    p.sum = p.weight + (size_t)p.loops->tile_rows * WF_TILE_PITCH;
    p.largest = p.sum + (size_t)p.query_block * (size_t)p.value_width;
    p.total = p.largest + (size_t)p.query_block;
    p.end = p.total + (size_t)p.query_block;
    return p;
}

static const float *head_row(const struct wf_tensor *t, int64_t s, int64_t head)
{
    return (const float *)t->data + s * t->stride[0] + head * t->stride[1];
}

static void load_queries(const struct job *job)
{
    const struct plan *p = job->plan;
    const int64_t d = p->a->q.dim[2];
    for (int i = 0; i < job->queries; i++) {
        const float *q = head_row(&p->a->q, job->first + i, job->head);
        for (int64_t c = 0; c < p->chunks; c++) {
            const int64_t from = c * WF_TILE_DEPTH, left = d - from;
            p->loops->scale(job->query + (c * p->query_block + i) * WF_TILE_PITCH, q + from,
                            left < WF_TILE_DEPTH ? left : WF_TILE_DEPTH, p->a->scale);
        }
        job->largest[i] = -INFINITY;
        job->total[i] = 0;
    }
}

/* keys [keys,d] to panels [d,width], turned. */
static void load_keys(const struct job *job, int64_t first, int keys)
{
    const struct wf_tensor *k = &job->plan->a->k;
    const struct wf_loops *loops = job->plan->loops;
    const int64_t d = k->dim[2];
    for (int column = 0; column < keys; column += loops->tile_width) {
        const int width = panel_width(loops->tile_width, keys, column);
        const int used = keys - column < width ? keys - column : width;
        float *panel = job->key + column * d;
        loops->turn(panel, width, head_row(k, first + column, job->head), k->stride[0], used, d);
        for (int64_t j = 0; j < d && used < width; j++)
            memset(panel + j * width + used, 0, (size_t)(width - used) * sizeof *panel);
    }
}

/* values [keys,e] to panels [keys,width]. */
static void load_values(const struct job *job, int64_t first, int keys)
{
    const struct wf_tensor *v = &job->plan->a->v;
    const int64_t e = v->dim[2];
    const int tile_width = job->plan->loops->tile_width;
    for (int64_t column = 0; column < e; column += tile_width) {
        const int width = panel_width(tile_width, e, column);
        const int64_t left = e - column, used = left < width ? left : width;
        float *panel = job->value + column * keys;
        for (int i = 0; i < keys; i++) {
            memcpy(panel + i * width, head_row(v, first + i, job->head) + column,
                   (size_t)used * sizeof *panel);
            memset(panel + i * width + used, 0, (size_t)(width - used) * sizeof *panel);
        }
    }
}

/* Scores of a tile of queries, to job->weight. */
static void score_tile(const struct job *job, int tile, int rows, int keys)
{
    const struct plan *p = job->plan;
    const int64_t d = p->a->k.dim[2];
    for (int column = 0; column < keys; column += p->loops->tile_width) {
        const int width = panel_width(p->loops->tile_width, keys, column);
        for (int c = 0; c < p->chunks; c++) {
            const int64_t from = (int64_t)c * WF_TILE_DEPTH, left = d - from;
            p->loops->tile(rows, width, left < WF_TILE_DEPTH ? (int)left : WF_TILE_DEPTH,
                           job->query + (c * p->query_block + tile) * WF_TILE_PITCH,
                           job->key + column * d + from * width, job->weight + column,
                           WF_TILE_PITCH, c > 0);
        }
    }
}

/* Scores to weights, and what was summed before to their scale. */
static void weigh_tile(const struct job *job, int tile, int rows, int64_t first, int keys)
{
    const struct plan *p = job->plan;
    const struct wf_attention *a = p->a;
    const float *key_bias = a->key_bias.data, *rel_bias = a->rel_bias.data;
    for (int i = 0; i < rows; i++) {
        const int64_t s = job->first + tile + i;
        const float *rel =
            rel_bias ? rel_bias + job->head * a->rel_bias.stride[0] + first - s + a->q.dim[0] - 1
                     : NULL;
        float *sum = job->sum + (int64_t)(tile + i) * p->value_width;
        const float factor = p->loops->softmax(job->weight + i * WF_TILE_PITCH, keys, rel,
                                               key_bias ? key_bias + first : NULL,
                                               &job->largest[tile + i], &job->total[tile + i]);
        if (first > 0 && factor != 1.0f)
            p->loops->scale(sum, sum, p->value_width, factor);
    }
}

static void sum_tile(const struct job *job, int tile, int rows, bool add, int keys)
{
    const struct plan *p = job->plan;
    const int64_t e = p->a->v.dim[2];
    for (int64_t column = 0; column < e; column += p->loops->tile_width)
        p->loops->tile(rows, panel_width(p->loops->tile_width, e, column), keys, job->weight,
                       job->value + column * keys,
                       job->sum + (int64_t)tile * p->value_width + column, p->value_width, add);
}

static void store_rows(const struct job *job)
{
    const struct plan *p = job->plan;
    const struct wf_tensor *y = &p->a->y;
    for (int i = 0; i < job->queries; i++) {
        float *sum = job->sum + (int64_t)i * p->value_width;
        void *row = wf_at(y, (job->first + i) * y->stride[0] + job->head * y->stride[1]);
        p->loops->scale(y->dtype == WF_F32 ? row : sum, sum, y->dim[2], 1.0f / job->total[i]);
        if (y->dtype != WF_F32)
            p->loops->from_f32(row, y->dtype, sum, y->dim[2]);
    }
}

static void run_job(const struct job *job)
{
    const int tile_rows = job->plan->loops->tile_rows;
    const int64_t all_keys = job->plan->a->k.dim[0];
    load_queries(job);
    for (int64_t first = 0; first < all_keys; first += KEYS) {
        const int keys = (int)(all_keys - first < KEYS ? all_keys - first : KEYS);
        load_keys(job, first, keys);
        load_values(job, first, keys);
        for (int tile = 0; tile < job->queries; tile += tile_rows) {
            const int left = job->queries - tile, rows = left < tile_rows ? left : tile_rows;
            score_tile(job, tile, rows, keys);
            weigh_tile(job, tile, rows, first, keys);
            sum_tile(job, tile, rows, first > 0, keys);
        }
    }
    store_rows(job);
}

enum wf_status wf_cpu_attention(struct wf_backend *be, const struct wf_attention *a)
{
    const struct plan p = make_plan(be, a);
    WF_TRY(wf_cpu_scratch(be, "attention", p.end * sizeof(float)));
    const int64_t s = a->q.dim[0], blocks = divide_up(s, p.query_block);
    const int64_t tasks = blocks * a->q.dim[1];
    const double work =
        (double)s * (double)a->k.dim[0] * (double)a->q.dim[1] * (double)(a->q.dim[2] + a->v.dim[2]);
#pragma omp parallel for num_threads(be->threads)                                                  \
    schedule(dynamic) if (tasks > 1 && work > SMALL_WORK && be->threads > 1)
    for (int64_t task = 0; task < tasks; task++) {
        float *own = wf_cpu_own_scratch(be);
        const int64_t first = task % blocks * p.query_block, left = s - first;
        run_job(&(const struct job){.plan = &p,
                                    .head = task / blocks,
                                    .first = first,
                                    .queries = (int)(left < p.query_block ? left : p.query_block),
                                    .query = own,
                                    .key = own + p.key,
                                    .value = own + p.value,
                                    .weight = own + p.weight,
                                    .sum = own + p.sum,
                                    .largest = own + p.largest,
                                    .total = own + p.total});
    }
    return WF_OK;
}
