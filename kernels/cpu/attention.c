/* Attention in blocks of queries and keys with a running softmax: scores of one tile of queries
   against one block of keys are all that ever exists of the S x L matrix. Operands are laid out in
   words for the tiles: floats, or pairs of bf16 where the processor multiplies those. */
#include <math.h>
#include <string.h>

#include "kernels/cpu/cpu.h"

enum {
    KEYS = WF_TILE_DEPTH, /* of a block */
    QUERY_TILES = 32,     /* of a block, at most: keys are turned once for all of them */
    SMALL_WORK = 100000,  /* multiplications that are not worth waking other threads for */
};

/* Sizes of the blocks, and where the parts of a thread's memory start, in words. */
struct shape {
    const struct wf_attention *a;
    const struct wf_loops *loops;
    void (*tile)(int rows, int width, int depth, const void *a, const void *b, float *c,
                 int64_t c_pitch, bool add);
    bool pairs;  /* words hold two bf16 */
    bool widens; /* operands are bf16 and words are floats */
    int query_block;
    int64_t depth;   /* words of a head's row */
    int chunks;      /* of WF_TILE_DEPTH of them */
    int value_width; /* of v, filled up to whole panels */
    size_t query, key, value, weight, sum, largest, total, row, end;
};

/* One block of queries of one head. */
struct job {
    const struct shape *shape;
    int64_t batch, head, first;
    int queries;
    float *query;   /* [chunks,query_block] of pitch WF_TILE_PITCH */
    float *key;     /* panels [depth,width] */
    float *value;   /* panels [words of keys,width] */
    float *weight;  /* [tile_rows] of pitch WF_TILE_PITCH */
    float *sum;     /* [query_block,value_width] */
    float *largest; /* [query_block] */
    float *total;   /* [query_block] */
    float *row;     /* [KEYS,depth], where operands are widened */
};

static int panel_width(int tile_width, int64_t columns, int64_t column)
{
    return columns - column > tile_width / 2 ? tile_width : tile_width / 2;
}

static int64_t divide_up(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

/* Whether the rows of t can be read as words of two bf16. */
static bool is_paired(const struct wf_tensor *t)
{
    return t->dtype == WF_BF16 && t->dim[3] % 2 == 0 && t->stride[0] % 2 == 0 &&
           t->stride[1] % 2 == 0 && t->stride[2] % 2 == 0 &&
           (uintptr_t)t->data % sizeof(float) == 0;
}

static int choose_query_block(const struct wf_backend *be, const struct wf_attention *a)
{
    const int tile_rows = wf_cpu_of(be)->loops->tile_rows;
    const int64_t s = a->q.dim[1], heads = a->q.dim[0] * a->q.dim[2]; /* of all batches */
    const int threads = wf_cpu_threads(be);
    const int64_t enough = threads > 1 ? 2 * (int64_t)threads : 1;
    int tiles = QUERY_TILES;
    while (tiles > 1 &&
           (heads * divide_up(s, tiles * tile_rows) < enough || s <= tiles / 2 * tile_rows))
        tiles /= 2;
    return tiles * tile_rows;
}

static struct shape make_shape(const struct wf_backend *be, const struct wf_attention *a)
{
    struct shape p = {.a = a, .loops = wf_cpu_of(be)->loops};
    const int64_t d = a->q.dim[3], e = a->v.dim[3];
    p.pairs = p.loops->tile_pairs && is_paired(&a->q) && is_paired(&a->k);
    p.widens = a->q.dtype != WF_F32 && !p.pairs;
    p.tile = p.pairs ? p.loops->tile_pairs : p.loops->tile;
    p.depth = p.pairs ? d / 2 : d;
    p.query_block = choose_query_block(be, a);
    p.chunks = (int)divide_up(p.depth, WF_TILE_DEPTH);
    p.value_width = (int)divide_up(e, p.loops->tile_width) * p.loops->tile_width;
    p.key = (size_t)p.chunks * (size_t)p.query_block * WF_TILE_PITCH;
    p.value = p.key + (size_t)p.depth * KEYS;
    p.weight = p.value + (size_t)p.value_width * KEYS;
    p.sum = p.weight + (size_t)p.loops->tile_rows * WF_TILE_PITCH;
    p.largest = p.sum + (size_t)p.query_block * (size_t)p.value_width;
    p.total = p.largest + (size_t)p.query_block;
    p.row = p.total + (size_t)p.query_block;
    p.end = p.row + (p.widens ? (size_t)d * KEYS : 0);
    return p;
}

/* Row s of the job's batch and head. */
static void *head_row(const struct job *job, const struct wf_tensor *t, int64_t s)
{
    return wf_at(t, job->batch * t->stride[0] + s * t->stride[1] + job->head * t->stride[2]);
}

static void load_queries(const struct job *job)
{
    const struct shape *p = job->shape;
    const struct wf_tensor *q = &p->a->q;
    for (int i = 0; i < job->queries; i++) {
        const float *row = head_row(job, q, job->first + i);
        if (p->widens) {
            p->loops->to_f32(job->row, row, q->dtype, p->depth);
            row = job->row;
        }
        for (int64_t c = 0; c < p->chunks; c++) {
            const int64_t from = c * WF_TILE_DEPTH, left = p->depth - from;
            memcpy(job->query + (c * p->query_block + i) * WF_TILE_PITCH, row + from,
                   (size_t)(left < WF_TILE_DEPTH ? left : WF_TILE_DEPTH) * sizeof *row);
        }
        job->largest[i] = -INFINITY;
        job->total[i] = 0;
    }
}

/* The words of keys [keys,d], *pitch apart. */
static const float *key_words(const struct job *job, int64_t first, int keys, int64_t *pitch)
{
    const struct shape *p = job->shape;
    const struct wf_tensor *k = &p->a->k;
    if (!p->widens) {
        *pitch = p->pairs ? k->stride[1] / 2 : k->stride[1];
        return head_row(job, k, first);
    }
    for (int i = 0; i < keys; i++)
        p->loops->to_f32(job->row + i * p->depth, head_row(job, k, first + i), k->dtype, p->depth);
    *pitch = p->depth;
    return job->row;
}

/* keys [keys,depth] to panels [depth,width], turned. */
static void load_keys(const struct job *job, int64_t first, int keys)
{
    const struct wf_loops *loops = job->shape->loops;
    const int64_t depth = job->shape->depth;
    int64_t pitch;
    const float *words = key_words(job, first, keys, &pitch);
    for (int column = 0; column < keys; column += loops->tile_width) {
        const int width = panel_width(loops->tile_width, keys, column);
        const int used = keys - column < width ? keys - column : width;
        float *panel = job->key + column * depth;
        loops->turn(panel, width, words + column * pitch, pitch, used, depth);
        for (int64_t j = 0; j < depth && used < width; j++)
            memset(panel + j * width + used, 0, (size_t)(width - used) * sizeof *panel);
    }
}

/* One row of a panel of values: n columns of key `row`, or of a pair of keys, the second of them
   missing after the last. */
static void load_value_words(const struct job *job, float *words, int64_t row, bool is_last,
                             int64_t column, int64_t n)
{
    const struct shape *p = job->shape;
    const struct wf_tensor *v = &p->a->v;
    if (p->pairs) {
        const uint16_t *even = (const uint16_t *)head_row(job, v, row) + column;
        const uint16_t *odd = is_last ? NULL : (const uint16_t *)head_row(job, v, row + 1) + column;
        p->loops->pair((uint32_t *)(void *)words, even, odd, n);
    } else if (p->widens) {
        p->loops->to_f32(words, (const uint16_t *)head_row(job, v, row) + column, v->dtype, n);
    } else {
        memcpy(words, (const float *)head_row(job, v, row) + column, (size_t)n * sizeof *words);
    }
}

/* values [keys,e] to panels [words of keys,width]. */
static void load_values(const struct job *job, int64_t first, int keys)
{
    const struct shape *p = job->shape;
    const int64_t e = p->a->v.dim[3];
    const int step = p->pairs ? 2 : 1, words = (keys + step - 1) / step;
    for (int64_t column = 0; column < e; column += p->loops->tile_width) {
        const int width = panel_width(p->loops->tile_width, e, column);
        const int64_t left = e - column, used = left < width ? left : width;
        float *panel = job->value + column * words;
        for (int i = 0; i < words; i++) {
            const int key = i * step;
            load_value_words(job, panel + i * width, first + key, key + 1 == keys, column, used);
            memset(panel + i * width + used, 0, (size_t)(width - used) * sizeof *panel);
        }
    }
}

/* Scores of a tile of queries, to job->weight. */
static void score_tile(const struct job *job, int tile, int rows, int keys)
{
    const struct shape *p = job->shape;
    for (int column = 0; column < keys; column += p->loops->tile_width) {
        const int width = panel_width(p->loops->tile_width, keys, column);
        for (int c = 0; c < p->chunks; c++) {
            const int64_t from = (int64_t)c * WF_TILE_DEPTH, left = p->depth - from;
            p->tile(rows, width, left < WF_TILE_DEPTH ? (int)left : WF_TILE_DEPTH,
                    job->query + (c * p->query_block + tile) * WF_TILE_PITCH,
                    job->key + column * p->depth + from * width, job->weight + column,
                    WF_TILE_PITCH, c > 0);
        }
    }
}

/* Scores to weights, and what was summed before to their scale. */
static void weigh_tile(const struct job *job, int tile, int rows, int64_t first, int keys)
{
    const struct shape *p = job->shape;
    const struct wf_attention *a = p->a;
    const float *key_bias = a->key_bias.data, *rel_bias = a->rel_bias.data;
    for (int i = 0; i < rows; i++) {
        const int64_t s = job->first + tile + i;
        const float *rel =
            rel_bias ? rel_bias + job->head * a->rel_bias.stride[0] + first - s + a->q.dim[1] - 1
                     : NULL;
        float *sum = job->sum + (int64_t)(tile + i) * p->value_width;
        float *weight = job->weight + i * WF_TILE_PITCH;
        const float factor =
            p->loops->softmax(weight, keys, a->scale, rel, key_bias ? key_bias + first : NULL,
                              &job->largest[tile + i], &job->total[tile + i]);
        if (first > 0 && factor != 1.0f)
            p->loops->scale(sum, sum, p->value_width, factor);
        if (p->pairs)
            p->loops->round_pairs((uint32_t *)(void *)weight, weight, keys + keys % 2);
    }
}

static void sum_tile(const struct job *job, int tile, int rows, bool add, int keys)
{
    const struct shape *p = job->shape;
    const int64_t e = p->a->v.dim[3];
    const int words = p->pairs ? (keys + 1) / 2 : keys;
    for (int64_t column = 0; column < e; column += p->loops->tile_width)
        p->tile(rows, panel_width(p->loops->tile_width, e, column), words, job->weight,
                job->value + column * words, job->sum + (int64_t)tile * p->value_width + column,
                p->value_width, add);
}

static void store_rows(const struct job *job)
{
    const struct shape *p = job->shape;
    const struct wf_tensor *y = &p->a->y;
    for (int i = 0; i < job->queries; i++) {
        float *sum = job->sum + (int64_t)i * p->value_width;
        void *row = head_row(job, y, job->first + i);
        p->loops->scale(y->dtype == WF_F32 ? row : sum, sum, y->dim[3], 1.0f / job->total[i]);
        if (y->dtype != WF_F32)
            p->loops->from_f32(row, y->dtype, sum, y->dim[3]);
    }
}

static void run_job(const struct job *job)
{
    const int tile_rows = job->shape->loops->tile_rows;
    const int64_t all_keys = job->shape->a->k.dim[1];
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

struct wf_cpu_need wf_cpu_need_attention(struct wf_backend *be, const struct wf_attention *a)
{
    return (struct wf_cpu_need){.thread = make_shape(be, a).end * sizeof(float)};
}

enum wf_status wf_cpu_attention(struct wf_backend *be, const struct wf_attention *a)
{
    const struct shape p = make_shape(be, a);
    be->path = p.pairs ? "pairs" : "own";
    WF_TRY(wf_cpu_scratch(be, "attention", p.end * sizeof(float)));
    const int64_t s = a->q.dim[1], blocks = divide_up(s, p.query_block), heads = a->q.dim[2];
    const int64_t tasks = blocks * heads * a->q.dim[0];
    const double work = (double)(s * a->q.dim[0]) * (double)a->k.dim[1] * (double)heads *
                        (double)(a->q.dim[3] + a->v.dim[3]);
    const int team = tasks > 1 && work > SMALL_WORK ? wf_cpu_threads(be) : 1;
#pragma omp parallel for num_threads(team) schedule(dynamic)
    for (int64_t task = 0; task < tasks; task++) {
        float *own = wf_cpu_own_scratch(be);
        const int64_t first = task % blocks * p.query_block, left = s - first;
        run_job(&(const struct job){.shape = &p,
                                    .batch = task / blocks / heads,
                                    .head = task / blocks % heads,
                                    .first = first,
                                    .queries = (int)(left < p.query_block ? left : p.query_block),
                                    .query = own,
                                    .key = own + p.key,
                                    .value = own + p.value,
                                    .weight = own + p.weight,
                                    .sum = own + p.sum,
                                    .largest = own + p.largest,
                                    .total = own + p.total,
                                    .row = own + p.row});
    }
    return WF_OK;
}
