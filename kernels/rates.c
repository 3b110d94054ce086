#include "kernels/rates.h"

#include <string.h>

#include "kernels/base/arena.h"
#include "kernels/base/clock.h"

/* Shapes as models have them: large enough that what a call costs beside its work does not count.
 */
enum { WIDTH = 1536, ROWS = 1024, CHANNELS = 96, SIDE = 128, HEADS = 12, HEAD = 128, TIMES = 3 };

static const double enough = 5e-3; /* seconds */

/* A kind's sample: its operands for so many rows, and the operation. */
struct sample {
    struct wf_backend *be;
    struct wf_arena *arena;
    struct wf_tensor value; /* [1] */
    struct wf_param *param;
    int64_t rows;
};

/* A new operand, all of one value. */
static enum wf_status operand(const struct sample *s, enum wf_dtype dtype, int rank,
                              const int64_t *dims, struct wf_tensor *t)
{
    struct wf_tensor value = s->value;
    WF_TRY(wf_tensor_new(s->arena, dtype, t, s->be->err, rank, dims));
    value.rank = rank;
    for (int i = 0; i < rank; i++) {
        value.dim[i] = dims[i];
        value.stride[i] = 0;
    }
    return wf_copy(s->be, &(struct wf_copy){.x = value, .y = *t});
}

static enum wf_status best_of(struct sample *s, enum wf_kind kind,
                              enum wf_status (*run)(struct wf_backend *be, const void *args),
                              const void *args, double *seconds)
{
    *seconds = 1e30;
    for (int i = 0; i < TIMES; i++) {
        s->be->tally.work[kind] = 0;
        const double began = wf_clock();
        WF_TRY(run(s->be, args));
        WF_TRY(wf_sync(s->be));
        const double took = wf_clock() - began;
        *seconds = took < *seconds ? took : *seconds;
        if (took > 10 * enough)
            break;
    }
    return WF_OK;
}

#define RUN(name)                                                                                  \
    static enum wf_status run_##name(struct wf_backend *be, const void *args)                      \
    {                                                                                              \
        return wf_##name(be, args);                                                                \
    }
RUN(gemm)
RUN(conv)
RUN(attention)
RUN(rms_norm)

static enum wf_status time_gemm(struct sample *s, double *seconds)
{
    struct wf_gemm a = {.w = s->param};
    const enum wf_dtype type = wf_operand_type(s->be, s->param);
    WF_TRY(operand(s, type, WF_DIMS(s->rows, WIDTH), &a.x));
    WF_TRY(operand(s, WF_F32, WF_DIMS(s->rows, WIDTH), &a.y));
    return best_of(s, WF_KIND_GEMM, run_gemm, &a, seconds);
}

static enum wf_status time_conv(struct sample *s, double *seconds)
{
    const int64_t side = s->rows < SIDE ? s->rows : SIDE;
    struct wf_conv a = {.w = s->param,
                        .pad_h = {1, 1},
                        .pad_w = {1, 1},
                        .stride_t = 1,
                        .stride_hw = 1,
                        .accumulate = true};
    WF_TRY(operand(s, wf_operand_type(s->be, s->param), WF_DIMS(3, side, side, CHANNELS), &a.x));
    WF_TRY(operand(s, WF_F32, WF_DIMS(1, side, side, CHANNELS), &a.y));
    return best_of(s, WF_KIND_CONV, run_conv, &a, seconds);
}

static enum wf_status time_attention(struct sample *s, double *seconds)
{
    struct wf_attention a = {.scale = 0.1f};
    const enum wf_dtype type = wf_attention_type(s->be, HEAD);
    struct wf_tensor *const in[] = {&a.q, &a.k, &a.v};
    for (int i = 0; i < 3; i++)
        WF_TRY(operand(s, type, WF_DIMS(1, s->rows, HEADS, HEAD), in[i]));
    WF_TRY(operand(s, WF_F32, WF_DIMS(1, s->rows, HEADS, HEAD), &a.y));
    return best_of(s, WF_KIND_ATTENTION, run_attention, &a, seconds);
}

static enum wf_status time_pass(struct sample *s, double *seconds)
{
    struct wf_rms_norm a = {.form = WF_RMS_L2, .eps = 1e-6f, .act = WF_ACT_SILU};
    WF_TRY(operand(s, WF_F32, WF_DIMS(64 * s->rows, 96), &a.x));
    WF_TRY(operand(s, s->be->compute, WF_DIMS(64 * s->rows, 96), &a.y));
    return best_of(s, WF_KIND_PASS, run_rms_norm, &a, seconds);
}

/* From few rows on, until it takes long enough: a backend may be a thousand times slower than
   another. */
static enum wf_status measure(struct sample *s, enum wf_kind kind,
                              enum wf_status (*time)(struct sample *s, double *seconds),
                              double *rate)
{
    double seconds = 0;
    for (s->rows = 16; s->rows <= ROWS && seconds < enough; s->rows *= 4) {
        const struct wf_arena_mark mark = wf_arena_mark(s->arena);
        WF_TRY(time(s, &seconds));
        *rate = s->be->tally.work[kind] / (seconds > 0 ? seconds : 1e-9);
        wf_arena_release(s->arena, mark);
    }
    return WF_OK;
}

/* Zeros, from memory: a file in the page cache is read about as fast. */
static enum wf_status read_zeros(void *context, uint64_t offset, void *dst, size_t bytes,
                                 struct wf_error *err)
{
    (void)context, (void)offset, (void)err;
    memset(dst, 0, bytes);
    return WF_OK;
}

static enum wf_status load(struct sample *s, const struct wf_source *src, double *rate)
{
    double best = 1e30;
    void *room = wf_arena_alloc(s->arena, wf_param_bytes(s->be, s->param));
    if (!room)
        return wf_fail_memory(s->be->err, "rates", wf_param_bytes(s->be, s->param));
    for (int i = 0; i < TIMES; i++) {
        const double began = wf_clock();
        wf_param_unload(s->be, s->param);
        WF_TRY(wf_param_load(s->be, s->param, room, src));
        WF_TRY(wf_sync(s->be));
        const double took = wf_clock() - began;
        best = took < best ? took : best;
    }
    *rate = (double)src->bytes / (best > 0 ? best : 1e-9);
    return WF_OK;
}

static enum wf_status measure_all(struct wf_backend *be, struct wf_arena *arena, double *rates)
{
    struct wf_param linear = {.kind = WF_PARAM_LINEAR, .rank = 2, .dim = {WIDTH, WIDTH}};
    struct wf_param conv = {.kind = WF_PARAM_CONV, .rank = 5, .dim = {CHANNELS, CHANNELS, 3, 3, 3}};
    struct wf_source src = {WF_BF16, 2 * CHANNELS * CHANNELS * 27, read_zeros, NULL};
    struct sample s = {.be = be, .arena = arena, .param = &conv};
    double unused;
    const float half = 0.5f;
    WF_TRY(wf_tensor_new(arena, WF_F32, &s.value, be->err, WF_DIMS(1)));
    WF_TRY(wf_upload(be, s.value, &half));
    enum wf_status status = load(&s, &src, &unused);
    if (status == WF_OK)
        status = measure(&s, WF_KIND_CONV, time_conv, &rates[WF_KIND_CONV]);
    wf_param_unload(be, &conv);
    WF_TRY(status);
    s.param = &linear;
    src.bytes = 2 * WIDTH * WIDTH;
    status = load(&s, &src, &rates[WF_KIND_LOAD]);
    if (status == WF_OK)
        status = measure(&s, WF_KIND_GEMM, time_gemm, &rates[WF_KIND_GEMM]);
    wf_param_unload(be, &linear);
    WF_TRY(status);
    WF_TRY(measure(&s, WF_KIND_ATTENTION, time_attention, &rates[WF_KIND_ATTENTION]));
    return measure(&s, WF_KIND_PASS, time_pass, &rates[WF_KIND_PASS]);
}

/* By a backend of its own: what the samples leave with it goes with it. */
static enum wf_status measure_apart(struct wf_backend *be)
{
    struct wf_backend *same;
    struct wf_arena arena;
    WF_TRY(wf_backend_open_same(be, &same));
    wf_arena_init(&arena, wf_backend_source(same));
    const enum wf_status status = measure_all(same, &arena, be->rates);
    wf_arena_close(&arena);
    wf_backend_close(&same);
    return status;
}

enum wf_status wf_backend_rates(struct wf_backend *be, const double **rates)
{
    *rates = be->rates;
    return be->rates[WF_KIND_PASS] > 0 ? WF_OK : measure_apart(be);
}
