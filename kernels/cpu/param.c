/* Parameters: packed once, when they are loaded, by the library or for our own products. */
#include "kernels/cpu/library.h"
#include "kernels/cpu/matrix.h"
#include "kernels/ref/ref.h"

/* The values in the file, in its type, and what they are rounded to. */
struct file_values {
    const unsigned char *src;
    enum wf_dtype dtype, kept;
    const struct wf_loops *loops;
    int64_t outputs, channels, taps; /* taps of a column */
    void (*fill)(const struct file_values *f, int64_t column, float *values);
};

static const unsigned char *file_at(const struct file_values *f, int64_t element)
{
    return f->src + (size_t)element * wf_dtype_bytes(f->dtype);
}

static float file_value(const struct file_values *f, int64_t element)
{
    float value;
    wf_to_f32(&value, file_at(f, element), f->dtype, 1);
    return value;
}

/* [out,in]: a column is a row of the file. */
static void linear_column(const struct file_values *f, int64_t column, float *values)
{
    f->loops->to_f32(values, file_at(f, column * f->channels), f->dtype, f->channels);
}

/* [out,in,taps] to taps, then channels. */
static void conv_column(const struct file_values *f, int64_t column, float *values)
{
    for (int64_t c = 0; c < f->channels; c++) {
        for (int64_t tap = 0; tap < f->taps; tap++)
            values[tap * f->channels + c] =
                file_value(f, (column * f->channels + c) * f->taps + tap);
    }
}

/* Whether weight k of 3, along one axis, belongs to pixel `near` (0: before, 1: after) of the two
   that a result of this parity sees: an even one sees weights 0 | 1 2, an odd one 0 1 | 2. */
static bool falls_on(int64_t k, int64_t near, int64_t odd)
{
    return (k > odd) == (near == 1);
}

/* Column (phase, output) of the folded 2x2 kernel, whose taps are sums of the nine weights. */
static void upconv_column(const struct file_values *f, int64_t column, float *values)
{
    const int64_t phase = column / f->outputs, o = column % f->outputs;
    for (int64_t tap = 0; tap < 4; tap++) {
        for (int64_t c = 0; c < f->channels; c++) {
            double sum = 0;
            for (int64_t k = 0; k < 9; k++) {
                if (falls_on(k / 3, tap / 2, phase / 2) && falls_on(k % 3, tap % 2, phase % 2))
                    sum += (double)file_value(f, (o * f->channels + c) * 9 + k);
            }
            values[tap * f->channels + c] = (float)sum;
        }
    }
}

static int64_t depth_of(const struct file_values *f)
{
    return f->channels * f->taps;
}

/* A column of any kind, rounded to the type that the parameter is kept in. */
static void fill_column(const void *context, int64_t column, float *values)
{
    enum { PIECE = 128 };
    const struct file_values *f = context;
    uint16_t narrow[PIECE];
    f->fill(f, column, values);
    for (int64_t done = 0; f->kept != WF_F32 && done < depth_of(f); done += PIECE) {
        const int64_t left = depth_of(f) - done, n = left < PIECE ? left : PIECE;
        f->loops->from_f32(narrow, f->kept, values + done, n);
        f->loops->to_f32(values + done, narrow, f->kept, n);
    }
}

/* Our own form, from dense values. */
static enum wf_status pack(struct wf_backend *be, const struct wf_param *p, const void *src,
                           enum wf_dtype dtype, struct wf_panels *panels)
{
    struct file_values f = {.src = src,
                            .dtype = dtype,
                            .kept = wf_operand_type(be, p),
                            .loops = wf_cpu_of(be)->loops,
                            .outputs = p->dim[0],
                            .channels = p->dim[1],
                            .taps = 1};
    int64_t columns = p->dim[0];
    switch (p->kind) {
    case WF_PARAM_LINEAR:
        f.fill = linear_column;
        break;
    case WF_PARAM_CONV:
        f.fill = conv_column;
        f.taps = p->dim[2] * p->dim[3] * p->dim[4];
        break;
    case WF_PARAM_UPCONV:
        f.fill = upconv_column;
        f.taps = 4;
        columns *= 4;
        break;
    case WF_PARAM_VECTOR:
    case WF_PARAM_TABLE:
        return wf_fail(be->err, WF_FAILED, "load: a parameter of kind %d; this is a bug in weft",
                       (int)p->kind);
    }
    return wf_panels_pack(be, panels, depth_of(&f), columns, fill_column, &f);
}

struct wf_param wf_folded(const struct wf_param *p)
{
    return (struct wf_param){
        .kind = WF_PARAM_CONV, .rank = 5, .dim = {4 * p->dim[0], p->dim[1], 1, 2, 2}};
}

/* The folded kernel of an UPCONV as a file would have it. */
static enum wf_status load_folded(struct wf_backend *be, const struct wf_param *p, const void *src,
                                  enum wf_dtype dtype, void **weights)
{
    const struct wf_cpu *cpu = wf_cpu_of(be);
    const struct wf_param folded = wf_folded(p);
    const int64_t channels = p->dim[1], width = 4 * channels;
    const struct file_values f = {
        .src = src, .dtype = dtype, .outputs = p->dim[0], .channels = channels, .taps = 4};
    const struct wf_tensor shape = wf_tensor_of(NULL, WF_F32, folded.rank, folded.dim);
    const size_t bytes = wf_tensor_bytes(&shape) + (size_t)width * sizeof(float);
    float *dense = wf_alloc(be->mem, WF_MEM_WEIGHTS, bytes);
    if (!dense)
        return wf_fail_memory(be->err, "weights", bytes);
    float *column = dense + wf_tensor_count(&shape);
    for (int64_t o = 0; o < folded.dim[0]; o++) {
        upconv_column(&f, o, column);
        for (int64_t i = 0; i < width; i++)
            dense[o * width + i] = column[i % 4 * channels + i / 4];
    }
    const enum wf_status status =
        cpu->library->load(be, cpu->library_state, &folded, dense, WF_F32, weights);
    wf_free(dense);
    return status;
}

/* An UPCONV only in bf16: in f32 our own loops are as fast, and need no room for the four cases. */
static enum wf_status load_library(struct wf_backend *be, const struct wf_param *p, const void *src,
                                   enum wf_dtype dtype, void **weights)
{
    const struct wf_cpu *cpu = wf_cpu_of(be);
    if (!cpu->library)
        return WF_OK;
    if (p->kind != WF_PARAM_UPCONV)
        return cpu->library->load(be, cpu->library_state, p, src, dtype, weights);
    return wf_operand_type(be, p) == WF_BF16 ? load_folded(be, p, src, dtype, weights) : WF_OK;
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
    if (status == WF_OK)
        status = pack(be, &form, dense, WF_F32, &packed->panels);
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

enum wf_status wf_cpu_load(struct wf_backend *be, struct wf_param *p, const void *src,
                           enum wf_dtype dtype)
{
    if (p->kind == WF_PARAM_VECTOR || p->kind == WF_PARAM_TABLE)
        return wf_ref_load(be, p, src, dtype);
    struct wf_packed *packed = wf_calloc(be->mem, WF_MEM_WEIGHTS, 1, sizeof *packed);
    if (!packed)
        return wf_fail_memory(be->err, "weights", sizeof *packed);
    enum wf_status status = load_library(be, p, src, dtype, &packed->library);
    if (status == WF_OK && !packed->library)
        status = pack(be, p, src, dtype, &packed->panels);
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
