/* Parameters: packed when they are loaded, in the library's layout or for our own products. */
#include "kernels/cpu/library.h"
#include "kernels/cpu/matrix.h"
#include "kernels/ref/ref.h"

/* The values in the file, and the form that they get. */
struct file_values {
    const struct wf_source *src;
    enum wf_dtype kept; /* what they are rounded to */
    const struct wf_loops *loops;
    int64_t outputs, channels, taps; /* taps of a column */
    /* Fills a column [taps, channels]; there is room for the file's values behind it. */
    enum wf_status (*fill)(const struct file_values *f, int64_t column, float *values,
                           struct wf_error *err);
};

static int64_t depth_of(const struct file_values *f)
{
    return f->channels * f->taps;
}

/* [out,in]: a column is a row of the file. */
static enum wf_status linear_column(const struct file_values *f, int64_t column, float *values,
                                    struct wf_error *err)
{
    return wf_source_f32(f->src, (uint64_t)(column * f->channels), (size_t)f->channels, values,
                         err);
}

/* [out,in,taps] to taps, then channels. */
static enum wf_status conv_column(const struct file_values *f, int64_t column, float *values,
                                  struct wf_error *err)
{
    const int64_t depth = depth_of(f);
    float *file = values + depth;
    WF_TRY(wf_source_f32(f->src, (uint64_t)(column * depth), (size_t)depth, file, err));
    for (int64_t c = 0; c < f->channels; c++) {
        for (int64_t tap = 0; tap < f->taps; tap++)
            values[tap * f->channels + c] = file[c * f->taps + tap];
    }
    return WF_OK;
}

/* Whether weight k of 3, along one axis, belongs to pixel `near` (0: before, 1: after) of the two
   that a result of this parity sees: an even one sees weights 0 | 1 2, an odd one 0 1 | 2. */
static bool falls_on(int64_t k, int64_t near, int64_t odd)
{
    return (k > odd) == (near == 1);
}

/* Column (phase, output) of the folded 2x2 kernel, whose taps are sums of the nine weights. */
static enum wf_status upconv_column(const struct file_values *f, int64_t column, float *values,
                                    struct wf_error *err)
{
    const int64_t phase = column / f->outputs, o = column % f->outputs, count = f->channels * 9;
    float *file = values + depth_of(f);
    WF_TRY(wf_source_f32(f->src, (uint64_t)(o * count), (size_t)count, file, err));
    for (int64_t tap = 0; tap < 4; tap++) {
        for (int64_t c = 0; c < f->channels; c++) {
            double sum = 0;
            for (int64_t k = 0; k < 9; k++) {
                if (falls_on(k / 3, tap / 2, phase / 2) && falls_on(k % 3, tap % 2, phase % 2))
                    sum += (double)file[c * 9 + k];
            }
            values[tap * f->channels + c] = (float)sum;
        }
    }
    return WF_OK;
}

/* A column of any kind, rounded to the type that the parameter is kept in. */
static enum wf_status fill_column(const void *context, int64_t column, float *values,
                                  struct wf_error *err)
{
    enum { PIECE = 128 };
    const struct file_values *f = context;
    uint16_t narrow[PIECE];
    WF_TRY(f->fill(f, column, values, err));
    for (int64_t done = 0; f->kept != WF_F32 && done < depth_of(f); done += PIECE) {
        const int64_t left = depth_of(f) - done, n = left < PIECE ? left : PIECE;
        f->loops->from_f32(narrow, f->kept, values + done, n);
        f->loops->to_f32(values + done, narrow, f->kept, n);
    }
    return WF_OK;
}

/* What our own form of a parameter is made from; *columns and *room as wf_panels_pack takes them.
 */
static struct file_values values_of(const struct wf_backend *be, const struct wf_param *p,
                                    const struct wf_source *src, int64_t *columns, int64_t *room)
{
    struct file_values f = {.src = src,
                            .kept = wf_operand_type(be, p),
                            .loops = wf_cpu_of(be)->loops,
                            .fill = linear_column,
                            .outputs = p->dim[0],
                            .channels = p->dim[1],
                            .taps = 1};
    *columns = p->dim[0];
    *room = 0;
    if (p->kind == WF_PARAM_CONV) {
        f.fill = conv_column;
        f.taps = p->dim[2] * p->dim[3] * p->dim[4];
        *room = depth_of(&f);
    } else if (p->kind == WF_PARAM_UPCONV) {
        f.fill = upconv_column;
        f.taps = 4;
        *columns *= 4;
        *room = f.channels * 9;
    }
    return f;
}

struct wf_panels wf_panels_shape(const struct wf_backend *be, const struct wf_param *p)
{
    int64_t columns, room;
    const struct file_values f = values_of(be, p, NULL, &columns, &room);
    return (struct wf_panels){depth_of(&f), columns, NULL};
}

static size_t panels_bytes(const struct wf_backend *be, const struct wf_param *p)
{
    const struct wf_panels panels = wf_panels_shape(be, p);
    return wf_panels_bytes(be, panels.depth, panels.columns);
}

static enum wf_status pack(struct wf_backend *be, const struct wf_param *p,
                           const struct wf_source *src, float *data)
{
    int64_t columns, room;
    const struct file_values f = values_of(be, p, src, &columns, &room);
    const struct wf_panels panels = {depth_of(&f), columns, data};
    return wf_panels_pack(be, &panels, room, fill_column, &f);
}

struct wf_param wf_folded(const struct wf_param *p)
{
    return (struct wf_param){
        .kind = WF_PARAM_CONV, .rank = 5, .dim = {4 * p->dim[0], p->dim[1], 1, 2, 2}};
}

/* The folded kernel of an UPCONV, as a file would have it; there is room for a column behind it. */
static enum wf_status fold(struct wf_backend *be, const struct file_values *f, float *dense)
{
    const int64_t columns = 4 * f->outputs, width = depth_of(f);
    float *column = dense + columns * width;
    for (int64_t o = 0; o < columns; o++) {
        WF_TRY(upconv_column(f, o, column, be->err));
        for (int64_t i = 0; i < width; i++)
            dense[o * width + i] = column[i % 4 * f->channels + i / 4];
    }
    return WF_OK;
}

/* Dense values of a folded kernel, and a column of it beside those of the file. */
static size_t folded_bytes(const struct wf_param *p)
{
    const struct wf_param folded = wf_folded(p);
    const struct wf_tensor shape = wf_tensor_of(NULL, WF_F32, folded.rank, folded.dim);
    return wf_tensor_bytes(&shape) + (size_t)(4 + 9) * (size_t)p->dim[1] * sizeof(float);
}

static enum wf_status pack_folded(struct wf_backend *be, const struct wf_param *p)
{
    const struct wf_cpu *cpu = wf_cpu_of(be);
    const struct wf_param folded = wf_folded(p);
    const struct file_values f = {
        .src = p->source, .outputs = p->dim[0], .channels = p->dim[1], .taps = 4};
    const struct wf_tensor shape = wf_tensor_of(NULL, WF_F32, folded.rank, folded.dim);
    const size_t bytes = folded_bytes(p);
    float *dense = wf_alloc(be->mem, WF_MEM_WEIGHTS, bytes);
    if (!dense)
        return wf_fail_memory(be->err, "weights", bytes);
    const struct wf_source values = wf_source_memory(dense, WF_F32, wf_tensor_bytes(&shape));
    enum wf_status status = fold(be, &f, dense);
    if (status == WF_OK)
        status = cpu->library->pack(be, cpu->library_state, p->layout, &values, p->room);
    wf_free(dense);
    return status;
}

/* The library's layout of a parameter, or NULL for ours. An UPCONV only in bf16: in f32 our own
   loops are as fast, and need no room for the four cases. */
const struct wf_layout *wf_cpu_layout(const struct wf_backend *be, const struct wf_param *p)
{
    const struct wf_cpu *cpu = wf_cpu_of(be);
    if (!cpu->library || (p->kind == WF_PARAM_UPCONV && wf_operand_type(be, p) != WF_BF16))
        return NULL;
    const struct wf_param folded = p->kind == WF_PARAM_UPCONV ? wf_folded(p) : *p;
    return cpu->library->layout(be, cpu->library_state, &folded);
}

static bool is_plain(const struct wf_param *p)
{
    return p->kind == WF_PARAM_VECTOR || p->kind == WF_PARAM_TABLE;
}

size_t wf_cpu_param_bytes(const struct wf_backend *be, const struct wf_param *p)
{
    if (is_plain(p))
        return wf_ref_param_bytes(be, p);
    const struct wf_layout *layout = wf_cpu_layout(be, p);
    return layout ? layout->bytes : panels_bytes(be, p);
}

struct wf_cpu_need wf_cpu_need_load(struct wf_backend *be, const struct wf_param *p)
{
    const struct wf_cpu *cpu = wf_cpu_of(be);
    int64_t columns, room;
    if (is_plain(p))
        return (struct wf_cpu_need){0};
    const struct wf_layout *layout = wf_cpu_layout(be, p);
    if (layout) {
        const bool folds = p->kind == WF_PARAM_UPCONV;
        struct wf_cpu_need need =
            cpu->library->need_pack(be, layout, folds ? WF_F32 : p->source->dtype);
        need.passing += folds ? folded_bytes(p) : 0;
        return need;
    }
    const struct file_values f = values_of(be, p, NULL, &columns, &room);
    return (struct wf_cpu_need){.thread = (size_t)(depth_of(&f) + room) * sizeof(float)};
}

enum wf_status wf_cpu_load_end(struct wf_backend *be, struct wf_param *p)
{
    const struct wf_cpu *cpu = wf_cpu_of(be);
    if (is_plain(p))
        return wf_ref_load_end(be, p);
    const struct wf_layout *layout = wf_cpu_layout(be, p);
    p->layout = layout;
    if (!layout)
        return pack(be, p, p->source, p->room);
    return p->kind == WF_PARAM_UPCONV
               ? pack_folded(be, p)
               : cpu->library->pack(be, cpu->library_state, layout, p->source, p->room);
}

/* From the library's layout to ours. */
static enum wf_status repack(struct wf_backend *be, const struct wf_param *p, float *data)
{
    const struct wf_cpu *cpu = wf_cpu_of(be);
    const struct wf_param form = p->kind == WF_PARAM_UPCONV ? wf_folded(p) : *p;
    const struct wf_tensor shape = wf_tensor_of(NULL, WF_F32, form.rank, form.dim);
    const size_t bytes = wf_tensor_bytes(&shape);
    float *dense = wf_alloc(be->mem, WF_MEM_ACTIVATIONS, bytes);
    if (!dense)
        return wf_fail_memory(be->err, "weights", bytes);
    const struct wf_source values = wf_source_memory(dense, WF_F32, bytes);
    enum wf_status status = cpu->library->unpack(be, cpu->library_state, p->layout, p->room, dense);
    if (status == WF_OK)
        status = pack(be, &form, &values, data);
    wf_free(dense);
    return status;
}

size_t wf_panels_made_bytes(const struct wf_backend *be, const struct wf_param *p)
{
    const struct wf_param form = p->kind == WF_PARAM_UPCONV ? wf_folded(p) : *p;
    const struct wf_tensor dense = wf_tensor_of(NULL, WF_F32, form.rank, form.dim);
    return wf_cpu_layout(be, p) ? panels_bytes(be, p) + wf_tensor_bytes(&dense) : 0;
}

enum wf_status wf_panels_of(struct wf_backend *be, const struct wf_param *p,
                            struct wf_panels *panels, void **made)
{
    *panels = wf_panels_shape(be, p);
    panels->data = p->room;
    *made = NULL;
    if (!p->layout)
        return WF_OK;
    const size_t bytes = panels_bytes(be, p);
    *made = panels->data = be->ops.take(be, WF_MEM_ACTIVATIONS, bytes);
    if (!*made)
        return wf_fail_memory(be->err, "weights", bytes);
    const enum wf_status status = repack(be, p, panels->data);
    if (status != WF_OK)
        be->ops.give(be, *made);
    return status;
}
