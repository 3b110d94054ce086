#include "tests/own.h"

#include <string.h>

#include "kernels/cuda/own/own.h"
#include "kernels/ref/ref.h"

typedef int launcher(const void *args, void *stream);

static enum wf_status launch(struct wf_backend *be, launcher *kernel, const void *args)
{
    const int error = kernel(args, NULL);
    return error ? wf_fail(be->err, WF_FAILED, "own: error %d", error) : WF_OK;
}

#define OWN_OPS(X)                                                                                 \
    X(copy)                                                                                        \
    X(layer_norm)                                                                                  \
    X(rms_norm)                                                                                    \
    X(group_merge)                                                                                 \
    X(group_apply)                                                                                 \
    X(rope)                                                                                        \
    X(lincomb)                                                                                     \
    X(affine)                                                                                      \
    X(activate)                                                                                    \
    X(gated_act)                                                                                   \
    X(pack_u8)

#define OWN_OP(name)                                                                               \
    static enum wf_status own_##name(struct wf_backend *be, const struct wf_##name *a)             \
    {                                                                                              \
        return launch(be, wf_own_##name, a);                                                       \
    }
OWN_OPS(OWN_OP)

static enum wf_status own_group_sums(struct wf_backend *be, const struct wf_group_sums *a)
{
    const size_t bytes = (size_t)wf_own_group_sums_bytes(&a->x);
    void *parts = wf_alloc(be->mem, WF_MEM_ACTIVATIONS, bytes);
    if (!parts)
        return wf_fail_memory(be->err, "group_sums", bytes);
    memset(parts, 0xff, bytes);
    const struct wf_own_group_sums sums = {a->x, a->y, parts};
    const enum wf_status status = launch(be, wf_own_group_sums, &sums);
    wf_free(parts);
    return status;
}

/* --- parameters --- */

static enum wf_dtype kept_type(const struct wf_backend *be, const struct wf_param *p)
{
    return p->kind == WF_PARAM_VECTOR ? WF_F32 : wf_operand_type(be, p);
}

static struct wf_tensor room_of(const struct wf_backend *be, const struct wf_param *p)
{
    const int64_t *dim = p->dim;
    const enum wf_dtype kept = kept_type(be, p);
    if (p->kind == WF_PARAM_CONV)
        return wf_tensor_of(p->room, kept, WF_DIMS(dim[0], dim[2], dim[3], dim[4], dim[1]));
    if (p->kind == WF_PARAM_UPCONV)
        return wf_tensor_of(p->room, kept, WF_DIMS(4 * dim[0], 1, 2, 2, dim[1]));
    return wf_tensor_of(p->room, kept, p->rank, dim);
}

static size_t own_param_bytes(const struct wf_backend *be, const struct wf_param *p)
{
    const struct wf_tensor room = room_of(be, p);
    return p->kind == WF_PARAM_TABLE ? 0 : wf_tensor_bytes(&room);
}

/* A multiple of 9, as UPCONV wants it, and of nothing else, so that pieces end anywhere. */
enum { PIECE = 9 * 333 };

static enum wf_status load_piece(struct wf_backend *be, const struct wf_param *p, int64_t first,
                                 int64_t count)
{
    float staging[PIECE + 1];
    const struct wf_source *src = p->source;
    const size_t each = wf_dtype_bytes(src->dtype);
    unsigned char *values = (unsigned char *)staging + each;
    WF_TRY(wf_source_read(src, (uint64_t)first * each, values, (size_t)count * each, be->err));
    struct wf_own_load a = {.src = values,
                            .from = src->dtype,
                            .first = first,
                            .count = count,
                            .layout = p->kind == WF_PARAM_CONV     ? WF_OWN_CONV
                                      : p->kind == WF_PARAM_UPCONV ? WF_OWN_UPCONV
                                                                   : WF_OWN_DENSE,
                            .dst = p->room,
                            .to = kept_type(be, p)};
    for (int i = 0; i < p->rank; i++)
        a.dim[i] = p->dim[i];
    return launch(be, wf_own_load, &a);
}

static enum wf_status own_load_end(struct wf_backend *be, struct wf_param *p)
{
    if (p->kind == WF_PARAM_TABLE)
        return WF_OK;
    const struct wf_own_fill poison = {p->room, (int64_t)own_param_bytes(be, p), 0xff};
    WF_TRY(launch(be, wf_own_fill, &poison));
    p->tensor = room_of(be, p);
    int64_t count = 1;
    for (int i = 0; i < p->rank; i++)
        count *= p->dim[i];
    for (int64_t done = 0; done < count; done += PIECE)
        WF_TRY(load_piece(be, p, done, count - done < PIECE ? count - done : PIECE));
    return WF_OK;
}

static const float *bias_of(const struct wf_param *bias)
{
    return bias ? bias->tensor.data : NULL;
}

/* --- sums of products --- */

static enum wf_status own_gemm(struct wf_backend *be, const struct wf_gemm *a)
{
    const size_t count = (size_t)wf_tensor_count(&a->y);
    float *product = wf_calloc(be->mem, WF_MEM_ACTIVATIONS, count, sizeof *product);
    if (!product)
        return wf_fail_memory(be->err, "gemm", count * sizeof *product);
    const struct wf_tensor y = wf_tensor_of(product, WF_F32, a->y.rank, a->y.dim);
    const struct wf_own_gate gate = {
        .x = y, .y = a->y, .gate = a->gate, .act = a->act, .accumulate = a->accumulate};
    enum wf_status status =
        wf_ref_gemm(be, &(const struct wf_gemm){.x = a->x, .y = y, .w = a->w, .bias = a->bias});
    if (status == WF_OK)
        status = launch(be, wf_own_gate, &gate);
    wf_free(product);
    return status;
}

static enum wf_status own_conv(struct wf_backend *be, const struct wf_conv *a)
{
    const int64_t *dim = a->w->dim;
    const struct wf_own_conv conv = {.x = a->x,
                                     .y = a->y,
                                     .weight = a->w->room,
                                     .bias = bias_of(a->bias),
                                     .o = dim[0],
                                     .kt = dim[2],
                                     .kh = dim[3],
                                     .kw = dim[4],
                                     .pad_front = a->pad_front,
                                     .pad_h = {a->pad_h[0], a->pad_h[1]},
                                     .pad_w = {a->pad_w[0], a->pad_w[1]},
                                     .stride_t = a->stride_t,
                                     .stride_hw = a->stride_hw,
                                     .accumulate = a->accumulate};
    return launch(be, wf_own_conv, &conv);
}

static enum wf_status own_upconv(struct wf_backend *be, const struct wf_upconv *a)
{
    const int64_t *y = a->y.dim, outputs = 4 * a->w->dim[0];
    struct wf_tensor z =
        wf_tensor_of(NULL, WF_F32, WF_DIMS(y[0], y[1] / 2 + 1, y[2] / 2 + 1, outputs));
    z.data = wf_alloc(be->mem, WF_MEM_ACTIVATIONS, wf_tensor_bytes(&z));
    if (!z.data)
        return wf_fail_memory(be->err, "upconv", wf_tensor_bytes(&z));
    const struct wf_own_conv conv = {.x = a->x,
                                     .y = z,
                                     .weight = a->w->room,
                                     .o = outputs,
                                     .kt = 1,
                                     .kh = 2,
                                     .kw = 2,
                                     .pad_h = {a->pad_h[0], a->pad_h[1]},
                                     .pad_w = {a->pad_w[0], a->pad_w[1]},
                                     .stride_t = 1,
                                     .stride_hw = 1};
    const struct wf_own_interleave interleave = {z, a->y, bias_of(a->bias)};
    enum wf_status status = launch(be, wf_own_conv, &conv);
    if (status == WF_OK)
        status = launch(be, wf_own_interleave, &interleave);
    wf_free(z.data);
    return status;
}

/* --- attention, some queries at a time --- */

enum { QUERIES = 7 };

static int64_t row_of(const struct wf_tensor *t, int64_t batch, int64_t s, int64_t head)
{
    return batch * t->stride[0] + s * t->stride[1] + head * t->stride[2];
}

/* scores [h,R,L] of the queries from `first` on. */
static void multiply_keys(const struct wf_attention *a, int64_t batch, int64_t first,
                          const struct wf_tensor *scores)
{
    for (int64_t row = 0; row < wf_tensor_rows(scores); row++) {
        const int64_t head = row / scores->dim[1], s = first + row % scores->dim[1];
        for (int64_t j = 0; j < scores->dim[2]; j++) {
            double dot = 0;
            for (int64_t i = 0; i < a->q.dim[3]; i++)
                dot += (double)wf_get(&a->q, row_of(&a->q, batch, s, head) + i) *
                       (double)wf_get(&a->k, row_of(&a->k, batch, j, head) + i);
            wf_row(scores, row)[j] = (float)dot;
        }
    }
}

static void multiply_values(const struct wf_attention *a, int64_t batch, int64_t first,
                            const struct wf_tensor *weights)
{
    for (int64_t row = 0; row < wf_tensor_rows(weights); row++) {
        const int64_t head = row / weights->dim[1], s = first + row % weights->dim[1];
        for (int64_t i = 0; i < a->v.dim[3]; i++) {
            double sum = 0;
            for (int64_t j = 0; j < weights->dim[2]; j++)
                sum += (double)wf_get(weights, wf_tensor_row(weights, row) + j) *
                       (double)wf_get(&a->v, row_of(&a->v, batch, j, head) + i);
            wf_set(&a->y, row_of(&a->y, batch, s, head) + i, sum);
        }
    }
}

static enum wf_status attend(struct wf_backend *be, const struct wf_attention *a, int64_t batch,
                             int64_t first, void *memory)
{
    const int64_t left = a->q.dim[1] - first;
    const int64_t rows = left < QUERIES ? left : QUERIES, keys = a->k.dim[1];
    const struct wf_tensor scores = wf_tensor_of(memory, WF_F32, WF_DIMS(a->q.dim[2], rows, keys));
    const struct wf_own_softmax softmax = {.scores = scores,
                                           .y = scores,
                                           .rel_bias = a->rel_bias,
                                           .key_bias = a->key_bias,
                                           .scale = a->scale,
                                           .first = first,
                                           .queries = a->q.dim[1]};
    multiply_keys(a, batch, first, &scores);
    WF_TRY(launch(be, wf_own_softmax, &softmax));
    multiply_values(a, batch, first, &scores);
    return WF_OK;
}

static enum wf_status own_attention(struct wf_backend *be, const struct wf_attention *a)
{
    const size_t count = (size_t)(QUERIES * a->q.dim[2] * a->k.dim[1]);
    float *memory = wf_calloc(be->mem, WF_MEM_ACTIVATIONS, count, sizeof *memory);
    if (!memory)
        return wf_fail_memory(be->err, "attention", count * sizeof *memory);
    enum wf_status status = WF_OK;
    for (int64_t batch = 0; batch < a->q.dim[0]; batch++) {
        for (int64_t s = 0; status == WF_OK && s < a->q.dim[1]; s += QUERIES)
            status = attend(be, a, batch, s, memory);
    }
    wf_free(memory);
    return status;
}

#define OWN_SLOT(name) .name = own_##name,
const struct wf_ops own_ops = {.name = "own",
                               .base = &wf_ref_ops,
                               .param_bytes = own_param_bytes,
                               .load_end = own_load_end,
                               .gemm = own_gemm,
                               .conv = own_conv,
                               .upconv = own_upconv,
                               .group_sums = own_group_sums,
                               .attention = own_attention,
                               OWN_OPS(OWN_SLOT)};
