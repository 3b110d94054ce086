#include "kernels/cpu/cpu.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cpu/library.h"
#include "kernels/ref/ref.h"

#ifdef WEFT_HAVE_ONEDNN
static const struct wf_library *const built_in_library = &wf_onednn;
#else
static const struct wf_library *const built_in_library = NULL;
#endif

#if defined(__x86_64__)
static bool has_avx512(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl");
}
#endif

/* WEFT_CPU_ISA (baseline, avx2, avx512, avx512_bf16) holds the choice down, for tests. */
static const struct wf_loops *choose_loops(void)
{
#if defined(__x86_64__)
    const char *limit = getenv("WEFT_CPU_ISA");
    const bool bf16_allowed = !limit || strcmp(limit, "avx512_bf16") == 0;
    const bool avx512_allowed = bf16_allowed || strcmp(limit, "avx512") == 0;
    const bool avx2_allowed = avx512_allowed || strcmp(limit, "avx2") == 0;
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (bf16_allowed && avx2 && has_avx512() && __builtin_cpu_supports("avx512vnni") &&
        __builtin_cpu_supports("avx512bf16"))
        return &wf_loops_avx512_bf16;
    if (avx512_allowed && avx2 && has_avx512())
        return &wf_loops_avx512;
    if (avx2_allowed && avx2)
        return &wf_loops_avx2;
#endif
    return &wf_loops_baseline;
}

static enum wf_status cpu_open(struct wf_backend *be)
{
    struct wf_cpu *cpu = wf_calloc(be->mem, WF_MEM_MISC, 1, sizeof *cpu);
    if (!cpu)
        return wf_fail_memory(be->err, "cpu", sizeof *cpu);
    cpu->loops = choose_loops();
    cpu->library = built_in_library;
    snprintf(be->about, sizeof be->about, "%s", cpu->loops->name);
    be->state = cpu;
    const enum wf_status status =
        cpu->library ? cpu->library->open(be, &cpu->library_state) : WF_OK;
    if (status != WF_OK) {
        wf_free(cpu);
        be->state = NULL;
    }
    return status;
}

static void cpu_close(struct wf_backend *be)
{
    struct wf_cpu *cpu = wf_cpu_of(be);
    if (cpu->library)
        cpu->library->close(be, cpu->library_state);
    wf_free(cpu->scratch);
    wf_free(cpu);
    be->state = NULL;
}

static bool cpu_is_fast(const struct wf_backend *be, enum wf_dtype dtype)
{
    const struct wf_cpu *cpu = wf_cpu_of(be);
    return dtype == WF_F32 || (cpu->library && cpu->library->is_fast(cpu->library_state, dtype));
}

enum wf_status wf_cpu_scratch(struct wf_backend *be, const char *where, size_t bytes)
{
    struct wf_cpu *cpu = wf_cpu_of(be);
    const int threads = wf_cpu_threads(be);
    bytes = (bytes + WF_CPU_LINE - 1) / WF_CPU_LINE * WF_CPU_LINE;
    if (cpu->scratch && cpu->scratch_bytes >= bytes && cpu->scratch_threads >= threads)
        return WF_OK;
    wf_free(cpu->scratch);
    be->kept = 0;
    cpu->scratch = wf_calloc(be->mem, WF_MEM_ACTIVATIONS, (size_t)threads, bytes);
    if (!cpu->scratch)
        return wf_fail_memory(be->err, where, (unsigned long long)threads * bytes);
    be->kept = (size_t)threads * bytes;
    cpu->scratch_bytes = bytes;
    cpu->scratch_threads = threads;
    return WF_OK;
}

void *wf_cpu_own_scratch(const struct wf_backend *be)
{
    const struct wf_cpu *cpu = wf_cpu_of(be);
    return (unsigned char *)cpu->scratch + (size_t)omp_get_thread_num() * cpu->scratch_bytes;
}

const struct wf_ops wf_cpu_ops = {
    .name = "cpu",
    .base = &wf_ref_ops,
    .open = cpu_open,
    .is_fast = cpu_is_fast,
    .close = cpu_close,
    .scratch = wf_cpu_scratch_needed,
    .param_bytes = wf_cpu_param_bytes,
    .load_end = wf_cpu_load_end,
    .copy = wf_cpu_copy,
    .gemm = wf_cpu_gemm,
    .conv = wf_cpu_conv,
    .upconv = wf_cpu_upconv,
    .attention = wf_cpu_attention,
    .layer_norm = wf_cpu_layer_norm,
    .rms_norm = wf_cpu_rms_norm,
    .group_sums = wf_cpu_group_sums,
    .group_apply = wf_cpu_group_apply,
    .rope = wf_cpu_rope,
    .lincomb = wf_cpu_lincomb,
    .affine = wf_cpu_affine,
    .activate = wf_cpu_activate,
    .gated_act = wf_cpu_gated_act,
    .pack_u8 = wf_cpu_pack_u8,
};
