/* A job's random generator: torch's, which gives the same numbers in the same order. */
#ifndef WEFT_ENGINE_GENERATOR_H
#define WEFT_ENGINE_GENERATOR_H

#include "kernels/backend.h"
#include "kernels/base/rng.h"

struct wf_generator {
    bool of_gpu; /* as torch draws on that card, else as it does on a CPU */
    bool idle;   /* of a plan, which looks at no number */
    uint64_t seed;
    int processors, threads; /* of the card */
    uint64_t turn;
    struct wf_rng rng;
};

/* be: what the job computes on, and of_gpu, on whose card. */
void wf_generator_seed(struct wf_generator *generator, const struct wf_backend *be, bool of_gpu,
                       uint64_t seed);
/* count normal values as the next call of torch.randn gives them in float32; the caller frees them.
 */
enum wf_status wf_generator_normal(struct wf_generator *generator, struct wf_mem *mem, size_t count,
                                   float **values, struct wf_error *err);

#endif
