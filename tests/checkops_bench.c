/* checkops --bench: time and speed of each operation, on Wan 1.3B's shapes and on the sample's, and
   the share of what the machine reached in the same run without any of our code: in arithmetic, or
   in a plain pass over as many bytes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/base/arena.h"
#include "kernels/base/rng.h"
#include "tests/checkops.h"

struct stand {
    struct wf_mem *mem;
    struct wf_error err;
    struct wf_backend *be;
    struct wf_arena arena;
    struct wf_rng rng;
    const char *only;
    bool failed;
    double flops[WF_BF16 + 1]; /* the machine's, a second, by the type of the operands */
    double bytes;              /* the machine's, a second, over as many as the operation at hand */
};

static struct wf_tensor values(struct stand *s, int rank, const int64_t *dims)
{
    struct wf_tensor t = {0};
    if (wf_tensor_new(&s->arena, WF_F32, &t, &s->err, rank, dims) != WF_OK) {
        printf("%s\n", s->err.text);
        exit(1);
    }
    float *data = t.data;
    for (int64_t i = 0; i < wf_tensor_count(&t); i++)
        data[i] = (float)(wf_rng_u32(&s->rng) >> 8) * 0x1p-23f - 1;
    return t;
}

/* The same in the type that a product takes. */
static struct wf_tensor typed(struct stand *s, enum wf_dtype dtype, int rank, const int64_t *dims)
{
    const struct wf_tensor f32 = values(s, rank, dims);
    struct wf_tensor t = f32;
    if (dtype != WF_F32 && (wf_tensor_new(&s->arena, dtype, &t, &s->err, rank, dims) != WF_OK ||
                            wf_copy(s->be, &(struct wf_copy){.y = t, .x = f32}) != WF_OK))
        exit(1);
    return t;
}

static struct wf_tensor operand(struct stand *s, const struct wf_param *p, int rank,
                                const int64_t *dims)
{
    return typed(s, wf_operand_type(s->be, p), rank, dims);
}

static struct wf_param param(struct stand *s, enum wf_param_kind kind, int rank,
                             const int64_t *dims)
{
    struct wf_param p = {.kind = kind, .rank = rank};
    memcpy(p.dim, dims, (size_t)rank * sizeof *dims);
    const struct wf_arena_mark mark = wf_arena_mark(&s->arena);
    const struct wf_tensor t = values(s, rank, dims);
    const struct wf_source src = wf_source_memory(t.data, WF_F32, wf_tensor_bytes(&t));
    void *room = s->be->ops.take(s->be, WF_MEM_WEIGHTS, wf_param_bytes(s->be, &p));
    if (!room || wf_param_load(s->be, &p, room, &src) != WF_OK) {
        printf("%s\n", s->err.text);
        exit(1);
    }
    wf_arena_release(&s->arena, mark);
    return p;
}

static void drop(struct stand *s, struct wf_param *p)
{
    void *room = p->room;
    wf_param_unload(s->be, p);
    s->be->ops.give(s->be, room);
}

typedef enum wf_status (*call)(struct wf_backend *be, const void *args);

/* Seconds, the best of several runs; 0 after a failure, which is printed. */
static double time_call(struct stand *s, const char *name, const char *shape, call run,
                        const void *args)
{
    double best = 1e30, spent = 0;
    for (int i = 0; i < 3 || (spent < 0.4 && i < 1000); i++) {
        s->be->tally = (struct wf_tally){0};
        const double start = clock_seconds();
        if (run(s->be, args) != WF_OK) {
            printf("%-11s %-44s %s\n", name, shape, s->err.text);
            s->failed = true;
            return 0;
        }
        const double time = clock_seconds() - start;
        spent += time;
        best = time < best ? time : best;
    }
    return best;
}

static void print_rate(const char *name, const char *shape, double time, double work, double peak,
                       const char *unit)
{
    if (time > 0)
        printf("%-11s %-44s %9.3f ms  %7.1f %-7s %4.0f %%\n", name, shape, time * 1e3,
               work / time * 1e-9, unit, 100 * work / time / peak);
    fflush(stdout);
}

/* For what is bound by arithmetic, with operands of that type. */
static void measure_flops(struct stand *s, const char *name, const char *shape, call run,
                          const void *args, enum wf_dtype type)
{
    const double time = time_call(s, name, shape, run, args);
    print_rate(name, shape, time, wf_flops(&s->be->tally), s->flops[type], "GFLOP/s");
}

/* For what is bound by memory: bytes are those read and written once. */
static void measure_bytes(struct stand *s, const char *name, const char *shape, call run,
                          const void *args, double bytes)
{
    const double time = time_call(s, name, shape, run, args);
    print_rate(name, shape, time, bytes, s->bytes, "GB/s");
}

static void measure_machine(struct stand *s)
{
    s->flops[WF_F32] = peak_flops(WF_F32, s->be->threads);
    s->flops[WF_BF16] = peak_flops(WF_BF16, s->be->threads);
    printf("the machine: %.1f GFLOP/s with f32 operands, %.1f with bf16\n", s->flops[WF_F32] * 1e-9,
           s->flops[WF_BF16] * 1e-9);
}

#define RUN_OP(name)                                                                               \
    static enum wf_status run_##name(struct wf_backend *be, const void *args)                      \
    {                                                                                              \
        return wf_##name(be, args);                                                                \
    }
WF_OPS(RUN_OP)

static bool wanted(const struct stand *s, const char *name)
{
    return !s->only || strcmp(s->only, name) == 0;
}

static void bench_gemm(struct stand *s, int64_t m, int64_t n, int64_t k, enum wf_act act)
{
    if (!wanted(s, "gemm"))
        return;
    const struct wf_arena_mark mark = wf_arena_mark(&s->arena);
    struct wf_param w = param(s, WF_PARAM_LINEAR, WF_DIMS(n, k));
    struct wf_param bias = param(s, WF_PARAM_VECTOR, WF_DIMS(n));
    const struct wf_gemm a = {.x = operand(s, &w, WF_DIMS(m, k)),
                              .y = values(s, WF_DIMS(m, n)),
                              .w = &w,
                              .bias = &bias,
                              .act = act};
    char shape[64];
    snprintf(shape, sizeof shape, "m %d n %d k %d act %d", (int)m, (int)n, (int)k, (int)act);
    measure_flops(s, "gemm", shape, run_gemm, &a, a.x.dtype);
    drop(s, &w);
    drop(s, &bias);
    wf_arena_release(&s->arena, mark);
}

/* Three frames in, one out: what a causal decoder does for each frame. */
static void bench_conv(struct stand *s, int64_t h, int64_t w, int64_t c, int64_t o, int taps,
                       int size)
{
    if (!wanted(s, "conv"))
        return;
    const struct wf_arena_mark mark = wf_arena_mark(&s->arena);
    struct wf_param p = param(s, WF_PARAM_CONV, WF_DIMS(o, c, taps, size, size));
    const struct wf_conv a = {.x = operand(s, &p, WF_DIMS(taps + 1, h, w, c)),
                              .y = values(s, WF_DIMS(2, h, w, o)),
                              .w = &p,
                              .pad_h = {size / 2, size / 2},
                              .pad_w = {size / 2, size / 2},
                              .stride_t = 1,
                              .stride_hw = 1};
    char shape[64];
    snprintf(shape, sizeof shape, "%dx%d, %d to %d channels, %dx%dx%d", (int)h, (int)w, (int)c,
             (int)o, taps, size, size);
    measure_flops(s, "conv", shape, run_conv, &a, a.x.dtype);
    drop(s, &p);
    wf_arena_release(&s->arena, mark);
}

static void bench_upconv(struct stand *s, int64_t h, int64_t w, int64_t c, int64_t o)
{
    if (!wanted(s, "upconv"))
        return;
    const struct wf_arena_mark mark = wf_arena_mark(&s->arena);
    struct wf_param p = param(s, WF_PARAM_UPCONV, WF_DIMS(o, c, 1, 3, 3));
    const struct wf_upconv a = {.x = operand(s, &p, WF_DIMS(1, h, w, c)),
                                .y = values(s, WF_DIMS(1, 2 * h, 2 * w, o)),
                                .w = &p,
                                .pad_h = {1, 1},
                                .pad_w = {1, 1}};
    char shape[64];
    snprintf(shape, sizeof shape, "%dx%d to twice, %d to %d channels", (int)h, (int)w, (int)c,
             (int)o);
    measure_flops(s, "upconv", shape, run_upconv, &a, a.x.dtype);
    drop(s, &p);
    wf_arena_release(&s->arena, mark);
}

static void bench_attention(struct stand *s, int64_t q, int64_t l, int64_t heads, int64_t d)
{
    if (!wanted(s, "attention"))
        return;
    const struct wf_arena_mark mark = wf_arena_mark(&s->arena);
    const enum wf_dtype type = wf_attention_type(s->be, d);
    const struct wf_attention a = {.q = typed(s, type, WF_DIMS(1, q, heads, d)),
                                   .k = typed(s, type, WF_DIMS(1, l, heads, d)),
                                   .v = typed(s, type, WF_DIMS(1, l, heads, d)),
                                   .y = values(s, WF_DIMS(1, q, heads, d)),
                                   .scale = 0.1f};
    char shape[64];
    snprintf(shape, sizeof shape, "s %d l %d, %dx%d", (int)q, (int)l, (int)heads, (int)d);
    measure_flops(s, "attention", shape, run_attention, &a, a.q.dtype);
    wf_arena_release(&s->arena, mark);
}

/* [m,d] through everything that reads and writes it once. */
static void bench_rows(struct stand *s, int64_t m, int64_t d)
{
    const struct wf_arena_mark mark = wf_arena_mark(&s->arena);
    const struct wf_tensor x = values(s, WF_DIMS(m, d)), y = values(s, WF_DIMS(m, d));
    const struct wf_tensor w = values(s, WF_DIMS(d));
    const double bytes = 8.0 * (double)m * (double)d;
    s->bytes = peak_bytes(y.data, x.data, m * d, s->be->threads);
    char shape[64];
    snprintf(shape, sizeof shape, "%dx%d", (int)m, (int)d);
    if (wanted(s, "layer_norm"))
        measure_bytes(s, "layer_norm", shape, run_layer_norm,
                      &(struct wf_layer_norm){x, y, w, w, 1e-6f}, bytes);
    if (wanted(s, "rms_norm"))
        measure_bytes(s, "rms_norm", shape, run_rms_norm,
                      &(struct wf_rms_norm){x, y, w, WF_RMS_L2, WF_ACT_SILU, 1e-12f}, bytes);
    if (wanted(s, "affine"))
        measure_bytes(s, "affine", shape, run_affine, &(struct wf_affine){x, y, w, w, -1, 1},
                      bytes);
    if (wanted(s, "lincomb"))
        measure_bytes(s, "lincomb", shape, run_lincomb,
                      &(struct wf_lincomb){.x = {x, y}, .y = y, .c = {1, 1}, .terms = 2},
                      1.5 * bytes);
    if (wanted(s, "activate")) {
        measure_bytes(s, "activate silu", shape, run_activate,
                      &(struct wf_activate){.x = x, .y = y, .act = WF_ACT_SILU}, bytes);
        measure_bytes(s, "activate gelu", shape, run_activate,
                      &(struct wf_activate){.x = x, .y = y, .act = WF_ACT_GELU_ERF}, bytes);
    }
    if (wanted(s, "gated_act"))
        measure_bytes(s, "gated_act", shape, run_gated_act,
                      &(struct wf_gated_act){.a = x, .b = x, .y = y, .act = WF_ACT_GELU_TANH},
                      bytes);
    if (wanted(s, "copy")) {
        struct wf_tensor half = y;
        half.dtype = WF_BF16;
        measure_bytes(s, "copy", shape, run_copy, &(struct wf_copy){.x = x, .y = y}, bytes);
        measure_bytes(s, "copy bf16", shape, run_copy, &(struct wf_copy){.x = x, .y = half},
                      0.75 * bytes);
        const struct wf_tensor turned = wf_tensor_permute(x, WF_ORDER(1, 0));
        measure_bytes(
            s, "copy turned", shape, run_copy,
            &(struct wf_copy){.x = turned, .y = wf_tensor_of(y.data, WF_F32, WF_DIMS(d, m))},
            bytes);
    }
    if (wanted(s, "pack_u8"))
        measure_bytes(s, "pack_u8", shape, run_pack_u8,
                      &(struct wf_pack_u8){.x = x, .y = wf_tensor_of(y.data, WF_U8, WF_DIMS(m, d))},
                      0.625 * bytes);
    wf_arena_release(&s->arena, mark);
}

/* A frame of a decoder through group norm. */
static void bench_group_norm(struct stand *s, int64_t h, int64_t w, int64_t c)
{
    enum { GROUPS = 32 };
    if (!wanted(s, "group_sums") && !wanted(s, "group_apply"))
        return;
    const struct wf_arena_mark mark = wf_arena_mark(&s->arena);
    const struct wf_tensor x = values(s, WF_DIMS(1, h, w, c)), y = values(s, WF_DIMS(1, h, w, c));
    const struct wf_tensor weight = values(s, WF_DIMS(c)), stats = values(s, WF_DIMS(1, GROUPS, 3));
    const double bytes = 8.0 * (double)wf_tensor_count(&x);
    struct wf_tensor half = y;
    half.dtype = WF_BF16;
    s->bytes = peak_bytes(y.data, x.data, wf_tensor_count(&x), s->be->threads);
    char shape[64];
    snprintf(shape, sizeof shape, "%dx%d, %d channels", (int)h, (int)w, (int)c);
    if (wanted(s, "group_sums"))
        measure_bytes(s, "group_sums", shape, run_group_sums, &(struct wf_group_sums){x, stats},
                      0.5 * bytes);
    const struct wf_group_apply a = {x, y, stats, weight, weight, WF_ACT_SILU, 1e-6f};
    const struct wf_group_apply narrow = {x, half, stats, weight, weight, WF_ACT_SILU, 1e-6f};
    if (wanted(s, "group_apply")) {
        measure_bytes(s, "group_apply", shape, run_group_apply, &a, bytes);
        measure_bytes(s, "group_apply bf16", shape, run_group_apply, &narrow, 0.75 * bytes);
    }
    wf_arena_release(&s->arena, mark);
}

static void bench_group_merge(struct stand *s, int64_t parts, int64_t groups)
{
    if (!wanted(s, "group_merge"))
        return;
    const struct wf_arena_mark mark = wf_arena_mark(&s->arena);
    const struct wf_tensor x = values(s, WF_DIMS(parts, 1, groups, 3));
    const struct wf_tensor room = values(s, WF_DIMS(parts, 1, groups, 3));
    const struct wf_tensor y = values(s, WF_DIMS(1, groups, 3));
    char shape[64];
    s->bytes = peak_bytes(room.data, x.data, wf_tensor_count(&x), s->be->threads);
    snprintf(shape, sizeof shape, "%d parts of %d groups", (int)parts, (int)groups);
    measure_bytes(s, "group_merge", shape, run_group_merge, &(struct wf_group_merge){x, y},
                  4.0 * (double)(wf_tensor_count(&x) + wf_tensor_count(&y)));
    wf_arena_release(&s->arena, mark);
}

static void bench_rope(struct stand *s, int64_t rows, int64_t heads, int64_t d)
{
    if (!wanted(s, "rope"))
        return;
    const struct wf_arena_mark mark = wf_arena_mark(&s->arena);
    const struct wf_tensor x = values(s, WF_DIMS(rows, heads, d));
    const struct wf_rope a = {x, x, values(s, WF_DIMS(rows, d / 2)),
                              values(s, WF_DIMS(rows, d / 2))};
    char shape[64];
    s->bytes = peak_bytes(x.data, x.data, wf_tensor_count(&x), s->be->threads);
    snprintf(shape, sizeof shape, "%dx%dx%d", (int)rows, (int)heads, (int)d);
    measure_bytes(s, "rope", shape, run_rope, &a, 8.0 * (double)wf_tensor_count(&x));
    wf_arena_release(&s->arena, mark);
}

static void bench_gather(struct stand *s, int64_t rows, int64_t d)
{
    enum { IDS = 512 };
    if (!wanted(s, "gather"))
        return;
    const struct wf_arena_mark mark = wf_arena_mark(&s->arena);
    const struct wf_tensor x = values(s, WF_DIMS(rows, d)), y = values(s, WF_DIMS(IDS, d));
    struct wf_param table = {.kind = WF_PARAM_TABLE, .rank = 2, .dim = {rows, d}};
    int32_t ids[IDS];
    char shape[64];
    for (int i = 0; i < IDS; i++)
        ids[i] = (int32_t)(wf_rng_u32(&s->rng) % (uint32_t)rows);
    snprintf(shape, sizeof shape, "%d of %dx%d", (int)IDS, (int)rows, (int)d);
    s->bytes = peak_bytes(y.data, x.data, IDS * d, s->be->threads);
    const struct wf_source src = wf_source_memory(x.data, WF_F32, wf_tensor_bytes(&x));
    if (wf_param_load(s->be, &table, NULL, &src) == WF_OK)
        measure_bytes(s, "gather", shape, run_gather,
                      &(struct wf_gather){.y = y, .table = &table, .ids = ids},
                      8.0 * IDS * (double)d);
    wf_param_unload(s->be, &table);
    wf_arena_release(&s->arena, mark);
}

/* Weights into a room that is filled anew, once an acquire. */
struct loading {
    struct wf_param *param;
    void *room;
    const struct wf_source *src;
};

static enum wf_status run_load(struct wf_backend *be, const void *args)
{
    const struct loading *l = args;
    const enum wf_status status = wf_param_load(be, l->param, l->room, l->src);
    wf_param_unload(be, l->param);
    return status;
}

static void bench_load(struct stand *s, enum wf_param_kind kind, int rank, const int64_t *dims)
{
    if (!wanted(s, "load"))
        return;
    const struct wf_arena_mark mark = wf_arena_mark(&s->arena);
    const struct wf_tensor x = values(s, rank, dims), y = values(s, rank, dims);
    const double count = (double)wf_tensor_count(&x);
    struct wf_param p = {.kind = kind, .rank = rank};
    char shape[64];
    memcpy(p.dim, dims, (size_t)rank * sizeof *dims);
    snprintf(shape, sizeof shape, "%s %d from %d", kind == WF_PARAM_LINEAR ? "linear" : "conv",
             (int)dims[0], (int)dims[1]);
    s->bytes = peak_bytes(y.data, x.data, wf_tensor_count(&x), s->be->threads);
    const double kept = (double)wf_dtype_bytes(wf_operand_type(s->be, &p));
    const struct wf_source src = wf_source_memory(x.data, WF_F32, wf_tensor_bytes(&x));
    void *room = s->be->ops.take(s->be, WF_MEM_WEIGHTS, wf_param_bytes(s->be, &p));
    if (room)
        measure_bytes(s, "load", shape, run_load, &(struct loading){&p, room, &src},
                      (4 + kept) * count);
    s->be->ops.give(s->be, room);
    wf_arena_release(&s->arena, mark);
}

static void bench_all(struct stand *s)
{
    measure_machine(s);
    printf("Wan 1.3B\n");
    bench_gemm(s, 2550, 1536, 1536, WF_ACT_NONE);
    bench_gemm(s, 2550, 8960, 1536, WF_ACT_GELU_TANH);
    bench_gemm(s, 2550, 1536, 8960, WF_ACT_NONE);
    bench_gemm(s, 1, 9216, 1536, WF_ACT_NONE);
    bench_attention(s, 2550, 2550, 12, 128);
    bench_attention(s, 2550, 512, 12, 128);
    bench_conv(s, 60, 34, 384, 384, 3, 3);
    bench_conv(s, 120, 68, 384, 192, 3, 3);
    bench_conv(s, 272, 480, 96, 96, 3, 3);
    bench_conv(s, 272, 480, 96, 3, 3, 3);
    bench_conv(s, 60, 34, 384, 768, 3, 1);
    bench_conv(s, 60, 34, 384, 1152, 1, 1);
    bench_upconv(s, 136, 240, 192, 96);
    bench_rows(s, 2550, 1536);
    bench_rows(s, (int64_t)272 * 480, 96);
    bench_rope(s, 2550, 12, 128);
    bench_gather(s, 20000, 4096);
    bench_load(s, WF_PARAM_LINEAR, WF_DIMS(8960, 1536));
    bench_load(s, WF_PARAM_CONV, WF_DIMS(384, 384, 3, 3, 3));
    printf("SVD's decoder\n");
    bench_group_norm(s, 576, 1024, 128);
    bench_group_norm(s, 288, 512, 512);
    bench_group_norm(s, 72, 128, 320);
    bench_group_merge(s, 25, 32);
    printf("the sample\n");
    bench_gemm(s, 448, 192, 192, WF_ACT_NONE);
    bench_gemm(s, 448, 576, 192, WF_ACT_GELU_TANH);
    bench_gemm(s, 448, 192, 576, WF_ACT_NONE);
    bench_gemm(s, 1, 1152, 192, WF_ACT_NONE);
    bench_attention(s, 448, 448, 6, 32);
    bench_attention(s, 448, 30, 6, 32);
    bench_conv(s, 16, 16, 16, 64, 3, 3);
    bench_conv(s, 32, 32, 64, 64, 3, 3);
    bench_conv(s, 64, 64, 32, 32, 3, 3);
    bench_conv(s, 128, 128, 16, 16, 3, 3);
    bench_conv(s, 128, 128, 16, 3, 3, 3);
    bench_upconv(s, 64, 64, 32, 16);
    bench_rows(s, 448, 192);
    bench_rows(s, (int64_t)128 * 128, 16);
    bench_rope(s, 448, 6, 32);
}

int bench(const char *device, const char *dtype, const char *only, int threads)
{
    struct stand s = {.mem = wf_mem_open(), .only = only};
    if (!s.mem || wf_backend_open(device, dtype, threads, s.mem, NULL, &s.err, &s.be) != WF_OK) {
        printf("%s\n", s.err.text);
        wf_mem_close(&s.mem);
        return 1;
    }
    if (s.be->device.own_memory) {
        puts("the operands are the host's: tests/gpu.sh profiles a GPU");
        wf_backend_close(&s.be);
        wf_mem_close(&s.mem);
        return 1;
    }
    wf_arena_init(&s.arena, wf_backend_source(s.be));
    wf_rng_seed(&s.rng, 1);
    printf("%s, %d threads\n", device, s.be->threads);
    bench_all(&s);
    wf_arena_close(&s.arena);
    wf_backend_close(&s.be);
    wf_mem_close(&s.mem);
    return s.failed;
}
