/* The CPU backend: OpenMP, SIMD chosen at run time, and oneDNN where the build has it. */
#ifndef WEFT_KERNELS_CPU_CPU_H
#define WEFT_KERNELS_CPU_CPU_H

#include "kernels/backend.h"
#include "kernels/base/threads.h"
#include "kernels/cpu/loops.h"

extern const struct wf_ops wf_cpu_ops;

struct wf_library;

/* be->state */
struct wf_cpu {
    const struct wf_loops *loops;
    void *scratch; /* thread i owns scratch_bytes from i * scratch_bytes */
    size_t scratch_bytes;
    int scratch_threads;
    const struct wf_library *library; /* NULL where the build has none */
    void *library_state;
};

static inline struct wf_cpu *wf_cpu_of(const struct wf_backend *be)
{
    return be->state;
}

/* Element `at` of t. */
static inline void *wf_at(const struct wf_tensor *t, int64_t at)
{
    return (unsigned char *)t->data + (size_t)at * wf_dtype_bytes(t->dtype);
}

/* How many threads work is cut for. Asked before each operation: it is the caller's thread and
   OpenMP's settings there that decide. Our own loops leave the cutting to OpenMP, so they are right
   with any number; a library that cuts by itself has to be told. Not inside of a region. */
static inline int wf_cpu_threads(const struct wf_backend *be)
{
    return wf_thread_granted(be->threads);
}

/* How many threads to wake for that much work; one if it is no more than `small`. */
static inline int wf_cpu_team(const struct wf_backend *be, int64_t work, int64_t small)
{
    return work > small ? wf_cpu_threads(be) : 1;
}

enum { WF_CPU_LINE = 64 }; /* bytes of a cache line */

/* Working memory of at least `bytes` for each thread, until the next call; rounded up so that no
   two threads share a cache line. Taken before a parallel region, where failing is still easy. */
enum wf_status wf_cpu_scratch(struct wf_backend *be, const char *where, size_t bytes);
void *wf_cpu_own_scratch(const struct wf_backend *be); /* the calling thread's, in the region */

/* A failure in a parallel region: noted there, by any thread, and told after it. */
void wf_cpu_note(struct wf_error *failure, const struct wf_error *err);
enum wf_status wf_cpu_noted(struct wf_backend *be, const struct wf_error *failure);

/* count values of a source from `first` on, read by several threads. type: F32, or the source's. */
enum wf_status wf_cpu_read(struct wf_backend *be, const struct wf_source *src, int64_t first,
                           int64_t count, void *dst, enum wf_dtype type);

/* scratch.c; and its parts: what one thread needs, and what passes. */
void wf_cpu_scratch_needed(struct wf_backend *be, enum wf_op op, const void *args,
                           struct wf_scratch *scratch);
struct wf_cpu_need {
    size_t thread, passing;
};
struct wf_cpu_need wf_cpu_need_gemm(struct wf_backend *be, const struct wf_gemm *a);
struct wf_cpu_need wf_cpu_need_conv(struct wf_backend *be, const struct wf_conv *a);
struct wf_cpu_need wf_cpu_need_upconv(struct wf_backend *be, const struct wf_upconv *a);
struct wf_cpu_need wf_cpu_need_attention(struct wf_backend *be, const struct wf_attention *a);
struct wf_cpu_need wf_cpu_need_group_sums(const struct wf_group_sums *a);
struct wf_cpu_need wf_cpu_need_group_apply(const struct wf_group_apply *a);
struct wf_cpu_need wf_cpu_need_load(struct wf_backend *be, const struct wf_param *p);

size_t wf_cpu_param_bytes(const struct wf_backend *be, const struct wf_param *p);
enum wf_status wf_cpu_load_end(struct wf_backend *be, struct wf_param *p);
/* The operations that are faster here than ref's. */
#define WF_CPU_OP(name)                                                                            \
    enum wf_status wf_cpu_##name(struct wf_backend *be, const struct wf_##name *a);
WF_CPU_OP(copy)
WF_CPU_OP(gemm)
WF_CPU_OP(conv)
WF_CPU_OP(upconv)
WF_CPU_OP(attention)
WF_CPU_OP(layer_norm)
WF_CPU_OP(rms_norm)
WF_CPU_OP(group_sums)
WF_CPU_OP(group_apply)
WF_CPU_OP(rope)
WF_CPU_OP(lincomb)
WF_CPU_OP(affine)
WF_CPU_OP(activate)
WF_CPU_OP(gated_act)
WF_CPU_OP(pack_u8)

#endif
