/* Reading sources with several threads. */
#include "kernels/cpu/cpu.h"

enum {
    PART = 1 << 18, /* values that a thread reads at a time: enough for a call of the system */
    PIECE = 8192,   /* of them, converted while they are in the cache */
};

void wf_cpu_note(struct wf_error *failure, const struct wf_error *err)
{
#pragma omp critical
    *failure = *err;
}

enum wf_status wf_cpu_noted(struct wf_backend *be, const struct wf_error *failure)
{
    if (failure->status != WF_OK && be->err)
        *be->err = *failure;
    return failure->status;
}

static enum wf_status read_part(const struct wf_loops *loops, const struct wf_source *src,
                                int64_t first, int64_t count, void *dst, enum wf_dtype type,
                                struct wf_error *err)
{
    uint16_t piece[PIECE];
    const size_t each = wf_dtype_bytes(src->dtype);
    if (type == src->dtype)
        return wf_source_read(src, (uint64_t)first * each, dst, (size_t)count * each, err);
    float *values = dst;
    for (int64_t done = 0; done < count; done += PIECE) {
        const int64_t n = count - done < PIECE ? count - done : PIECE;
        WF_TRY(wf_source_read(src, (uint64_t)(first + done) * each, piece, (size_t)n * each, err));
        loops->to_f32(values + done, piece, src->dtype, n);
    }
    return WF_OK;
}

enum wf_status wf_cpu_read(struct wf_backend *be, const struct wf_source *src, int64_t first,
                           int64_t count, void *dst, enum wf_dtype type)
{
    struct wf_error failure = {.status = WF_OK};
    const int64_t parts = (count + PART - 1) / PART;
    const int team = parts > 1 ? wf_cpu_threads(be) : 1;
#pragma omp parallel for num_threads(team) schedule(dynamic)
    for (int64_t i = 0; i < parts; i++) {
        struct wf_error err;
        const int64_t at = i * PART, left = count - at;
        if (read_part(wf_cpu_of(be)->loops, src, first + at, left < PART ? left : PART,
                      (unsigned char *)dst + (size_t)at * wf_dtype_bytes(type), type,
                      &err) != WF_OK)
            wf_cpu_note(&failure, &err);
    }
    return wf_cpu_noted(be, &failure);
}
