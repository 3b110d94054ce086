/* cuBLASLt and cuDNN for tests: plain loops that run when the stream comes to them, and strict
   about what kernels/cuda/cublas.h and graph.h promise. Workspaces are written to. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cuda/library.h"
#include "kernels/ref/ref.h"
#include "tests/cuda_double.h"

enum { WORKSPACE = 4096 };

static void stop(const char *what)
{
    fprintf(stderr, "cuda double: %s\n", what);
    abort();
}

static void *must(void *memory)
{
    if (!memory)
        stop("no memory");
    return memory;
}

static bool is_aligned(const void *ptr, uintptr_t to)
{
    return ptr && (uintptr_t)ptr % to == 0;
}

static void spoil(void *workspace, size_t bytes)
{
    memset(workspace, 0xff, bytes < WORKSPACE ? bytes : WORKSPACE);
}

static float get(const void *data, enum wf_dtype type, int64_t at)
{
    return type == WF_F32 ? ((const float *)data)[at]
                          : wf_bf16_to_f32(((const uint16_t *)data)[at]);
}

/* y (+)= value: of bf16 it is rounded once. */
static void put(void *data, enum wf_dtype type, int64_t at, double value)
{
    if (type == WF_F32)
        ((float *)data)[at] = (float)value;
    else
        ((uint16_t *)data)[at] = wf_f32_to_bf16((float)value);
}

/* sum[n] += x[k] w[k][n], over k. */
static void add_products(double *sum, const float *x, const float *w, int64_t k, int64_t n)
{
    for (int64_t i = 0; i < k; i++) {
        for (int64_t j = 0; j < n; j++)
            sum[j] += (double)x[i] * (double)w[i * n + j];
    }
}

/* --- cuBLASLt --- */

struct wf_cublas {
    bool no_products;
};

enum wf_status wf_cublas_open(struct wf_cublas **cublas, struct wf_error *err)
{
    (void)err;
    *cublas = must(calloc(1, sizeof **cublas));
    (*cublas)->no_products = cuda_double.no_products;
    return WF_OK;
}

void wf_cublas_close(struct wf_cublas **cublas)
{
    free(*cublas);
    *cublas = NULL;
}

/* Batches one after another, of attention: their distances are given. */
bool wf_cublas_takes(const struct wf_cublas_gemm *a)
{
    return !a->cublas->no_products || a->x_batch || a->w_batch;
}

static void check_gemm(const struct wf_cublas_gemm *a)
{
    const uintptr_t x = wf_dtype_bytes(a->type), y = wf_dtype_bytes(a->y_type);
    if (a->m < 1 || a->n < 1 || a->k < 1 || a->batches < 1)
        stop("a product of nothing");
    if (a->x_row < a->k || a->w_row < (a->in_rows ? a->n : a->k) || a->y_row < a->n)
        stop("a product's rows overlap");
    if ((a->type != WF_F32 && a->type != WF_BF16) ||
        (a->y_type != WF_F32 && a->y_type != WF_BF16) ||
        (a->type == WF_F32 && a->y_type == WF_BF16))
        stop("a product of types that cuBLASLt has not");
    if (!is_aligned(a->x, x) || !is_aligned(a->w, x) || !is_aligned(a->y, y) ||
        (a->bias && !is_aligned(a->bias, 16)) || !is_aligned(a->workspace, 256))
        stop("a product's memory is not aligned");
    if (a->accumulate && a->y_type != WF_F32)
        stop("a sum in bf16");
}

/* w as f32 [K,N]. */
static void turn(const struct wf_cublas_gemm *a, int64_t batch, float *out)
{
    for (int64_t k = 0; k < a->k; k++) {
        for (int64_t n = 0; n < a->n; n++)
            out[k * a->n + n] =
                get(a->w, a->type,
                    batch * a->w_batch + (a->in_rows ? k * a->w_row + n : n * a->w_row + k));
    }
}

static void finish_row(const struct wf_cublas_gemm *a, int64_t at, const double *sum)
{
    for (int64_t n = 0; n < a->n; n++) {
        double value = (double)a->alpha * sum[n];
        if (a->accumulate)
            value += (double)get(a->y, a->y_type, at + n);
        if (a->bias)
            value += (double)get(a->bias, a->y_type, n);
        if (a->gelu_tanh)
            value = wf_ref_act(value, WF_ACT_GELU_TANH);
        put(a->y, a->y_type, at + n, value);
    }
}

const char *wf_cublas_text(const struct wf_cublas *cublas)
{
    (void)cublas;
    return "a double fails";
}

int wf_cublas_launch(const void *args, void *stream)
{
    const struct wf_cublas_gemm *a = args;
    (void)stream;
    check_gemm(a);
    spoil(a->workspace, a->workspace_bytes);
    float *w = must(malloc((size_t)(a->k * a->n) * sizeof *w));
    float *x = must(malloc((size_t)a->k * sizeof *x));
    double *sum = must(malloc((size_t)a->n * sizeof *sum));
    for (int64_t batch = 0; batch < a->batches; batch++) {
        turn(a, batch, w);
        for (int64_t m = 0; m < a->m; m++) {
            for (int64_t k = 0; k < a->k; k++)
                x[k] = get(a->x, a->type, batch * a->x_batch + m * a->x_row + k);
            memset(sum, 0, (size_t)a->n * sizeof *sum);
            add_products(sum, x, w, a->k, a->n);
            finish_row(a, batch * a->y_batch + m * a->y_row, sum);
        }
    }
    free(w);
    free(x);
    free(sum);
    return 0;
}

/* --- cuDNN --- */

struct cudnnContext {
    bool no_graphs;
    long fail_plan;
};

static long plans;

long cuda_double_plans(void)
{
    return plans;
}

struct wf_graph_plan {
    struct wf_graph_plan *next;
    bool is_conv;
    struct wf_graph_conv conv;
    struct wf_graph_attention attention;
};

struct wf_graphs {
    struct cudnnContext *handle;
    struct wf_error *err;
    struct wf_graph_plan *plans;
};

enum wf_status wf_cudnn_open(struct cudnnContext **handle, struct wf_error *err)
{
    (void)err;
    *handle = must(calloc(1, sizeof **handle));
    (*handle)->no_graphs = cuda_double.no_graphs;
    (*handle)->fail_plan = cuda_double.fail_plan;
    plans = 0;
    return WF_OK;
}

void wf_cudnn_close(struct cudnnContext **handle)
{
    free(*handle);
    *handle = NULL;
}

enum wf_status wf_graphs_open(struct cudnnContext *handle, const char *description,
                              struct wf_graphs **graphs, struct wf_error *err)
{
    (void)description;
    *graphs = must(calloc(1, sizeof **graphs));
    **graphs = (struct wf_graphs){.handle = handle, .err = err};
    return WF_OK;
}

void wf_graphs_close(struct wf_graphs **graphs)
{
    for (struct wf_graph_plan *p = *graphs ? (*graphs)->plans : NULL, *next; p; p = next) {
        next = p->next;
        free(p);
    }
    free(*graphs);
    *graphs = NULL;
}

/* Kept, as cuDNN's plans are: what a launch was given is there when it runs. */
static struct wf_graph_plan *keep(struct wf_graphs *graphs, const struct wf_graph_plan *plan)
{
    struct wf_graph_plan *kept = must(malloc(sizeof *kept));
    *kept = *plan;
    kept->next = graphs->plans;
    graphs->plans = kept;
    return kept;
}

static enum wf_status count_plan(struct wf_graphs *graphs)
{
    if (++plans == graphs->handle->fail_plan)
        return wf_fail(graphs->err, WF_FAILED, "double: no plan");
    return WF_OK;
}

static bool axis_is_wrong(int64_t x, int64_t y, int64_t kernel, int64_t padding, int64_t stride)
{
    return x < 1 || kernel < 1 || stride < 1 || padding < 0 || padding + x < kernel ||
           y != (padding + x - kernel) / stride + 1;
}

static bool is_long(int64_t frames, int64_t frame, int64_t span)
{
    return (frames - 1) * frame + span >= INT64_C(1) << 31;
}

enum wf_status wf_graph_conv(struct wf_graphs *graphs, const struct wf_graph_conv *shape,
                             struct wf_graph_plan **plan)
{
    struct wf_graph_plan p = {.is_conv = true, .conv = *shape};
    struct wf_graph_conv *s = &p.conv;
    const int64_t line = s->x[2] * s->x[3], y = s->y[1] * s->y[2] * s->y[3];
    s->x_line = s->x_line ? s->x_line : line;
    const int64_t x = (s->x[1] - 1) * s->x_line + line; /* from a frame's first element on */
    s->x_frame = s->x_frame ? s->x_frame : s->x[1] * s->x_line;
    s->y_frame = s->y_frame ? s->y_frame : y;
    *plan = NULL;
    WF_TRY(count_plan(graphs));
    if (axis_is_wrong(s->x[0], s->y[0], s->kernel[0], s->pad_front + s->pad_back, s->stride_t) ||
        axis_is_wrong(s->x[1], s->y[1], s->kernel[1], s->pad_h[0] + s->pad_h[1], s->stride_hw) ||
        axis_is_wrong(s->x[2], s->y[2], s->kernel[2], s->pad_w[0] + s->pad_w[1], s->stride_hw) ||
        s->x_line < line || s->x_frame < x || s->y_frame < y || is_long(s->x[0], s->x_frame, x) ||
        is_long(s->y[0], s->y_frame, y) || (s->accumulate && s->y_type != WF_F32))
        return wf_fail(graphs->err, WF_FAILED, "double: not as the contract of a convolution says");
    if (s->x[3] % 8 || s->y[3] % 8 || s->x_line % 8 || s->x_frame % 8 || s->y_frame % 8)
        return wf_fail(graphs->err, WF_FAILED, "double: a convolution that is not aligned");
    if (!graphs->handle->no_graphs)
        *plan = keep(graphs, &p);
    return WF_OK;
}

enum wf_status wf_graph_attention(struct wf_graphs *graphs, const struct wf_graph_attention *shape,
                                  struct wf_graph_plan **plan)
{
    const struct wf_graph_plan p = {.attention = *shape};
    const struct wf_graph_attention *s = shape;
    *plan = NULL;
    WF_TRY(count_plan(graphs));
    if (s->batches < 1 || s->queries < 1 || s->keys < 1 || s->heads < 1)
        return wf_fail(graphs->err, WF_FAILED, "double: an attention to nothing");
    if (s->width % 8 || s->value_width % 8 || s->width > WF_GRAPH_HEAD ||
        s->value_width > WF_GRAPH_HEAD || graphs->handle->no_graphs)
        return WF_OK;
    for (int i = 0; i < 3; i++) {
        const int64_t axis = i == 0 ? s->batches : i == 2 ? s->heads : 2;
        if (axis > 1 &&
            (s->q_stride[i] % 8 || s->k_stride[i] % 8 || s->v_stride[i] % 8 || s->y_stride[i] % 8))
            return wf_fail(graphs->err, WF_FAILED, "double: an attention that is not aligned");
    }
    *plan = keep(graphs, &p);
    return WF_OK;
}

size_t wf_graph_plan_workspace(const struct wf_graph_plan *plan)
{
    (void)plan;
    return WORKSPACE;
}

/* --- what a plan computes --- */

/* w [O,kt,kh,kw,C] as f32 [kt,kh,kw,C,O]. */
static void turn_weights(const struct wf_graph_conv *s, const uint16_t *w, float *out)
{
    const int64_t k = s->kernel[0] * s->kernel[1] * s->kernel[2] * s->x[3], outputs = s->y[3];
    for (int64_t i = 0; i < k; i++) {
        for (int64_t o = 0; o < outputs; o++)
            out[i * outputs + o] = wf_bf16_to_f32(w[o * k + i]);
    }
}

/* The sums of a pixel of y. */
static void convolve_pixel(const struct wf_graph_conv *s, const uint16_t *x, const float *w,
                           const int64_t y[3], float *values, double *sum)
{
    const int64_t *kernel = s->kernel, channels = s->x[3], outputs = s->y[3];
    memset(sum, 0, (size_t)outputs * sizeof *sum);
    for (int64_t tap = 0; tap < kernel[0] * kernel[1] * kernel[2]; tap++) {
        const int64_t t = y[0] * s->stride_t + tap / (kernel[1] * kernel[2]) - s->pad_front;
        const int64_t h = y[1] * s->stride_hw + tap / kernel[2] % kernel[1] - s->pad_h[0];
        const int64_t v = y[2] * s->stride_hw + tap % kernel[2] - s->pad_w[0];
        if (t < 0 || t >= s->x[0] || h < 0 || h >= s->x[1] || v < 0 || v >= s->x[2])
            continue;
        const int64_t at = t * s->x_frame + h * s->x_line + v * channels;
        for (int64_t c = 0; c < channels; c++)
            values[c] = wf_bf16_to_f32(x[at + c]);
        add_products(sum, values, w + tap * channels * outputs, channels, outputs);
    }
}

static void convolve(const struct wf_graph_conv *s, const struct wf_graph_pointers *p)
{
    const int64_t k = s->kernel[0] * s->kernel[1] * s->kernel[2] * s->x[3], outputs = s->y[3];
    float *w = must(malloc((size_t)(k * outputs) * sizeof *w));
    float *values = must(malloc((size_t)s->x[3] * sizeof *values));
    double *sum = must(malloc((size_t)outputs * sizeof *sum));
    turn_weights(s, p->w, w);
    for (int64_t i = 0; i < s->y[0] * s->y[1] * s->y[2]; i++) {
        const int64_t y[3] = {i / (s->y[1] * s->y[2]), i / s->y[2] % s->y[1], i % s->y[2]};
        const int64_t at = y[0] * s->y_frame + (y[1] * s->y[2] + y[2]) * outputs;
        convolve_pixel(s, p->x, w, y, values, sum);
        for (int64_t o = 0; o < outputs; o++) {
            if (s->has_bias)
                sum[o] += (double)get(p->bias, s->y_type, o);
            if (s->accumulate)
                sum[o] += (double)get(p->y, s->y_type, at + o);
            put(p->y, s->y_type, at + o, sum[o]);
        }
    }
    free(w);
    free(values);
    free(sum);
}

static struct wf_tensor operand(const void *data, enum wf_dtype type, int64_t batches, int64_t rows,
                                int64_t heads, int64_t width, const int64_t *stride)
{
    struct wf_tensor t =
        wf_tensor_of((void *)(uintptr_t)data, type, WF_DIMS(batches, rows, heads, width));
    memcpy(t.stride, stride, 3 * sizeof *stride);
    return t;
}

static int attend(const struct wf_graph_attention *s, const struct wf_graph_pointers *p)
{
    struct wf_attention a = {
        .q = operand(p->q, WF_BF16, s->batches, s->queries, s->heads, s->width, s->q_stride),
        .k = operand(p->k, WF_BF16, s->batches, s->keys, s->heads, s->width, s->k_stride),
        .v = operand(p->v, WF_BF16, s->batches, s->keys, s->heads, s->value_width, s->v_stride),
        .y = operand(p->y, WF_BF16, s->batches, s->queries, s->heads, s->value_width, s->y_stride),
        .scale = s->scale};
    if (s->has_key_bias)
        a.key_bias = wf_tensor_of((void *)(uintptr_t)p->key_bias, WF_F32, WF_DIMS(s->keys));
    struct wf_error err;
    struct wf_mem *mem = must(wf_mem_open());
    struct wf_backend be = {.mem = mem, .err = &err};
    const enum wf_status status = wf_ref_attention(&be, &a);
    wf_mem_close(&mem);
    return status == WF_OK ? 0 : 2;
}

enum wf_status wf_graphs_can_compile(struct wf_graphs *graphs, bool *can)
{
    (void)graphs;
    *can = true;
    return WF_OK;
}

enum wf_status wf_graph_run(struct wf_graphs *graphs, const struct wf_graph_plan *plan,
                            const struct wf_graph_pointers *p, void *workspace,
                            struct CUstream_st *stream)
{
    (void)graphs;
    (void)stream;
    if (!is_aligned(workspace, 256))
        stop("a graph's workspace is not aligned");
    spoil(workspace, WORKSPACE);
    if (plan->is_conv) {
        if (!is_aligned(p->x, 16) || !is_aligned(p->w, 16) || !is_aligned(p->y, 16) ||
            (plan->conv.has_bias && !is_aligned(p->bias, 16)))
            stop("a convolution's memory is not aligned");
        convolve(&plan->conv, p);
        return WF_OK;
    }
    if (!is_aligned(p->q, 16) || !is_aligned(p->k, 16) || !is_aligned(p->v, 16) ||
        !is_aligned(p->y, 16) || (plan->attention.has_key_bias && !is_aligned(p->key_bias, 16)))
        stop("an attention's memory is not aligned");
    return attend(&plan->attention, p) == 0 ? WF_OK : WF_FAILED;
}
