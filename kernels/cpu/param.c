/* Parameters: packed once, when they are loaded, by the library or for our own products. */
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

/* Our own form. */
static enum wf_status pack(struct wf_backend *be, const struct wf_param *p,
                           const struct wf_source *src, struct wf_panels *panels)
{
    struct file_values f = {.src = src,
                            .kept = wf_operand_type(be, p),
                            .loops = wf_cpu_of(be)->loops,
                            .outputs = p->dim[0],
                            .channels = p->dim[1],
                            .taps = 1};
    int64_t columns = p->dim[0], room = 0;
    switch (p->kind) {
    case WF_PARAM_LINEAR:
        f.fill = linear_column;
        break;
    case WF_PARAM_CONV:
        f.fill = conv_column;
        f.taps = p->dim[2] * p->dim[3] * p->dim[4];
        room = depth_of(&f);
        break;
    case WF_PARAM_UPCONV:
        f.fill = upconv_column;
        f.taps = 4;
        columns *= 4;
        room = f.channels * 9;
        break;
    case WF_PARAM_VECTOR:
    case WF_PARAM_TABLE:
        return wf_fail(be->err, WF_FAILED, "load: a parameter of kind %d; this is a bug in weft",
                       (int)p->kind);
    }
    return wf_panels_pack(be, panels, depth_of(&f), columns, room, fill_column, &f);
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

static enum wf_status load_folded(struct wf_backend *be, const struct wf_param *p,
                                  const struct wf_source *src, void **weights)
{
    const struct wf_cpu *cpu = wf_cpu_of(be);
    const struct wf_param folded = wf_folded(p);
    const struct file_values f = {
        .src = src, .outputs = p->dim[0], .channels = p->dim[1], .taps = 4};
    const struct wf_tensor shape = wf_tensor_of(NULL, WF_F32, folded.rank, folded.dim);
    const size_t bytes =
        wf_tensor_bytes(&shape) + (size_t)(depth_of(&f) + f.channels * 9) * sizeof(float);
    float *dense = wf_alloc(be->mem, WF_MEM_WEIGHTS, bytes);
    if (!dense)
        return wf_fail_memory(be->err, "weights", bytes);
    const struct wf_source values = wf_source_memory(dense, WF_F32, wf_tensor_bytes(&shape));
    enum wf_status status = fold(be, &f, dense);
    if (status == WF_OK)
        status = cpu->library->load(be, cpu->library_state, &folded, &values, weights);
    wf_free(dense);
    return status;
}

/* An UPCONV only in bf16: in f32 our own loops are as fast, and need no room for the four cases. */
static enum wf_status load_library(struct wf_backend *be, const struct wf_param *p,
                                   const struct wf_source *src, void **weights)
{
    const struct wf_cpu *cpu = wf_cpu_of(be);
    if (!cpu->library)
        return WF_OK;
    if (p->kind != WF_PARAM_UPCONV)
        return cpu->library->load(be, cpu->library_state, p, src, weights);
    return wf_operand_type(be, p) == WF_BF16 ? load_folded(be, p, src, weights) : WF_OK;
}

enum wf_status wf_packed_panels(struct wf_backend *be, const struct wf_param *p,
                                const struct wf_panels **panels)
{
    const struct wf_cpu *cpu = wf_cpu_of(be);
    struct wf_packed *packed = p->packed;
    *panels = &packed->panels;
    if (packed->panels.data)
        return WF_OK;
    const struct wf_param form = p->kind == WF_PARAM_UPCONV ? wf_folded(p) : *p;
    const struct wf_tensor shape = wf_tensor_of(NULL, WF_F32, form.rank, form.dim);
    const size_t bytes = wf_tensor_bytes(&shape);
    float *dense = wf_alloc(be->mem, WF_MEM_WEIGHTS, bytes);
    if (!dense)
        return wf_fail_memory(be->err, "weights", bytes);
    enum wf_status status = cpu->library->unpack(be, cpu->library_state, packed->library, dense);
    const struct wf_source values = wf_source_memory(dense, WF_F32, bytes);
    if (status == WF_OK)
        status = pack(be, &form, &values, &packed->panels);
    wf_free(dense);
    return status;
}

static void free_packed(struct wf_backend *be, struct wf_packed *packed)
{
    be->ops.give(be, packed->panels.data);
    if (packed->library)
        wf_cpu_of(be)->library->unload(be, packed->library);
    wf_free(packed);
}

enum wf_status wf_cpu_load(struct wf_backend *be, struct wf_param *p, const struct wf_source *src)
{
    if (p->kind == WF_PARAM_VECTOR || p->kind == WF_PARAM_TABLE)
        return wf_ref_load(be, p, src);
    struct wf_packed *packed = wf_calloc(be->mem, WF_MEM_WEIGHTS, 1, sizeof *packed);
    if (!packed)
        return wf_fail_memory(be->err, "weights", sizeof *packed);
    enum wf_status status = load_library(be, p, src, &packed->library);
    if (status == WF_OK && !packed->library)
        status = pack(be, p, src, &packed->panels);
    if (status != WF_OK) {
        free_packed(be, packed);
        return status;
    }
    p->packed = packed;
    return WF_OK;
}

void wf_cpu_unload(struct wf_backend *be, struct wf_param *p)
{
    if (p->kind == WF_PARAM_VECTOR || p->kind == WF_PARAM_TABLE) {
        wf_ref_unload(be, p);
        return;
    }
    free_packed(be, p->packed);
    p->packed = NULL;
}
