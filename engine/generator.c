#include "engine/generator.h"

#include "kernels/base/philox.h"

void wf_generator_seed(struct wf_generator *g, const struct wf_backend *be, bool of_gpu,
                       uint64_t seed)
{
    *g = (struct wf_generator){.of_gpu = of_gpu,
                               .idle = be->is_plan,
                               .seed = seed,
                               .processors = be->device.processors,
                               .threads = be->device.threads};
    wf_rng_seed(&g->rng, seed);
}

enum wf_status wf_generator_normal(struct wf_generator *g, struct wf_mem *mem, size_t count,
                                   float **values, struct wf_error *err)
{
    *values = wf_alloc(mem, WF_MEM_CACHE, count * sizeof **values);
    if (!*values)
        return wf_fail_memory(err, "noise", count * sizeof **values);
    if (g->idle)
        return WF_OK;
    if (g->of_gpu)
        wf_philox_normal(g->seed, g->processors, g->threads, &g->turn, *values, count);
    else
        wf_rng_normal(&g->rng, *values, count);
    return WF_OK;
}
