#include "kernels/cpu/matrix.h"

#include <string.h>

enum {
    ROW_TILES = 8,       /* of a block */
    SMALL_WORK = 200000, /* multiplications that are not worth waking other threads for */
};

/* Of the panel that holds a column, by the tile's width. */
static int panel_width(const struct wf_panels *panels, int tile_width, int64_t column)
{
    const int64_t left = panels->columns - column / tile_width * tile_width;
    return left > tile_width / 2 ? tile_width : tile_width / 2;
}

static int64_t padded_columns(const struct wf_panels *panels, int tile_width)
{
    const int64_t last = (panels->columns - 1) / tile_width * tile_width;
    return last + panel_width(panels, tile_width, last);
}

/* One panel, from its first column on. */
static enum wf_status pack_panel(const struct wf_panels *panels, int64_t first, int width,
                                 wf_column_source source, const void *context, float *column,
                                 struct wf_error *err)
{
    float *panel = panels->data + first * panels->depth;
    for (int i = 0; i < width; i++) {
        if (first + i < panels->columns)
            WF_TRY(source(context, first + i, column, err));
        else
            memset(column, 0, (size_t)panels->depth * sizeof *column);
        for (int64_t k = 0; k < panels->depth; k++)
            panel[k * width + i] = column[k];
    }
    return WF_OK;
}

size_t wf_panels_bytes(const struct wf_backend *be, int64_t depth, int64_t columns)
{
    const struct wf_panels panels = {.depth = depth, .columns = columns};
    return (size_t)padded_columns(&panels, wf_cpu_of(be)->loops->tile_width) * (size_t)depth *
           sizeof(float);
}

enum wf_status wf_panels_pack(struct wf_backend *be, const struct wf_panels *panels, int64_t room,
                              wf_column_source source, const void *context)
{
    const int tile_width = wf_cpu_of(be)->loops->tile_width;
    const int64_t columns = panels->columns;
    WF_TRY(wf_cpu_scratch(be, "weights", (size_t)(panels->depth + room) * sizeof(float)));
    struct wf_error failure = {.status = WF_OK};
    const int team = panels->depth * columns > SMALL_WORK ? wf_cpu_threads(be) : 1;
#pragma omp parallel for num_threads(team) schedule(static)
    for (int64_t first = 0; first < columns; first += tile_width) {
        struct wf_error err;
        if (pack_panel(panels, first, panel_width(panels, tile_width, first), source, context,
                       wf_cpu_own_scratch(be), &err) != WF_OK)
            wf_cpu_note(&failure, &err);
    }
    return wf_cpu_noted(be, &failure);
}

/* What is multiplied, and by which panels. */
struct task {
    const struct wf_product *p;
    struct wf_panels right;
};

/* A block's place and size, and one thread's memory for it. */
struct block {
    int64_t frame, row, column;
    int rows, columns; /* columns are padded */
    float *left;       /* [rows,WF_TILE_DEPTH], of pitch WF_TILE_PITCH */
    float *sums;       /* [rows,WF_BLOCK_COLUMNS] */
};

static void multiply(const struct wf_loops *loops, const struct wf_panels *right,
                     const struct block *b, int64_t from, int depth, bool add)
{
    for (int column = 0; column < b->columns;) {
        const int width = panel_width(right, loops->tile_width, b->column + column);
        const float *panel = right->data + (b->column + column) * right->depth + from * width;
        for (int row = 0; row < b->rows; row += loops->tile_rows) {
            const int left = b->rows - row;
            loops->tile(left < loops->tile_rows ? left : loops->tile_rows, width, depth,
                        b->left + row * WF_TILE_PITCH, panel,
                        b->sums + row * WF_BLOCK_COLUMNS + column, WF_BLOCK_COLUMNS, add);
        }
        column += width;
    }
}

static void run_block(const struct wf_loops *loops, const struct task *t, const struct block *b)
{
    const struct wf_product *p = t->p;
    const struct wf_span span =
        p->span ? p->span(p->context, b->frame) : (struct wf_span){0, t->right.depth};
    for (int64_t from = span.from; from < span.end; from += WF_TILE_DEPTH) {
        const int64_t left = span.end - from;
        const int depth = left < WF_TILE_DEPTH ? (int)left : WF_TILE_DEPTH;
        p->fill(p->context, loops, b->frame, b->row, b->rows, from, depth, b->left);
        multiply(loops, &t->right, b, from, depth, from > span.from);
    }
    if (span.from >= span.end)
        memset(b->sums, 0, (size_t)b->rows * WF_BLOCK_COLUMNS * sizeof *b->sums);
    const int64_t left = t->right.columns - b->column;
    const int columns = left < b->columns ? (int)left : b->columns;
    for (int i = 0; i < b->rows; i++)
        p->finish(p->context, loops, b->frame, b->row + i, b->column, columns,
                  b->sums + i * WF_BLOCK_COLUMNS);
}

static int64_t divide_up(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

/* Blocks get smaller where there would be too few of them for the threads. */
static void choose_block(const struct wf_backend *be, const struct task *t, int *rows, int *columns)
{
    const struct wf_loops *loops = wf_cpu_of(be)->loops;
    const struct wf_product *p = t->p;
    const int threads = wf_cpu_threads(be);
    const int64_t enough = threads > 1 ? 3 * (int64_t)threads : 1;
    *columns = WF_BLOCK_COLUMNS;
    for (int tiles = ROW_TILES;; tiles /= 2) {
        *rows = tiles * loops->tile_rows;
        const int64_t row_blocks = p->frames * divide_up(p->rows, *rows);
        if (row_blocks * divide_up(t->right.columns, *columns) >= enough)
            return;
        if (tiles == 1)
            break;
    }
    while (*columns > 2 * loops->tile_width &&
           p->frames * divide_up(p->rows, *rows) * divide_up(t->right.columns, *columns) < enough)
        *columns /= 2;
}

static size_t block_bytes(int rows)
{
    return (size_t)rows * (WF_TILE_PITCH + WF_BLOCK_COLUMNS) * sizeof(float);
}

struct wf_cpu_need wf_product_need(struct wf_backend *be, const struct wf_product *p)
{
    const struct task t = {.p = p, .right = wf_panels_shape(be, p->right)};
    int rows, columns;
    choose_block(be, &t, &rows, &columns);
    return (struct wf_cpu_need){.thread = block_bytes(rows),
                                .passing = wf_panels_made_bytes(be, p->right)};
}

static enum wf_status run_task(struct wf_backend *be, const char *where, const struct task *t)
{
    const struct wf_loops *loops = wf_cpu_of(be)->loops;
    const struct wf_product *p = t->p;
    const struct wf_panels *right = &t->right;
    int rows, columns;
    choose_block(be, t, &rows, &columns);
    const size_t left_floats = (size_t)rows * WF_TILE_PITCH;
    WF_TRY(wf_cpu_scratch(be, where, block_bytes(rows)));
    const int64_t row_blocks = divide_up(p->rows, rows);
    const int64_t blocks = p->frames * row_blocks * divide_up(right->columns, columns);
    const double work =
        (double)p->frames * (double)p->rows * (double)right->depth * (double)right->columns;
    const int64_t padded = padded_columns(right, loops->tile_width);
    const int team = blocks > 1 && work > SMALL_WORK ? wf_cpu_threads(be) : 1;
#pragma omp parallel for num_threads(team) schedule(dynamic)
    for (int64_t i = 0; i < blocks; i++) {
        struct block b = {.left = wf_cpu_own_scratch(be)};
        b.sums = b.left + left_floats;
        b.row = i % row_blocks * rows;
        b.frame = i / row_blocks % p->frames;
        b.column = i / row_blocks / p->frames * columns;
        b.rows = (int)(p->rows - b.row < rows ? p->rows - b.row : rows);
        b.columns = (int)(padded - b.column < columns ? padded - b.column : columns);
        run_block(loops, t, &b);
    }
    return WF_OK;
}

enum wf_status wf_product_run(struct wf_backend *be, const char *where, const struct wf_product *p)
{
    struct task task = {.p = p};
    void *made;
    WF_TRY(wf_panels_of(be, p->right, &task.right, &made));
    const enum wf_status status = run_task(be, where, &task);
    be->ops.give(be, made);
    return status;
}
