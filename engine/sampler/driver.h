/* Inside the samplers: what they share, and the table that names them. */
#ifndef WEFT_ENGINE_SAMPLER_DRIVER_H
#define WEFT_ENGINE_SAMPLER_DRIVER_H

#include "engine/sampler/sampler.h"

enum { WF_SAMPLER_MAX_ORDER = 3, WF_SAMPLER_MAX_STEPS = 1000 };

struct wf_sampler_driver {
    const char *class_name; /* diffusers' */
    const char *keys;       /* the arguments that it takes from the file, in a row */
    /* Reads the class's own settings; refuses those that are not known. */
    enum wf_status (*configure)(struct wf_sampler *s, const struct wf_json *config,
                                struct wf_error *err);
    /* Fills sigma[0..steps] and timestep[0..steps-1]. */
    void (*tables)(struct wf_sampler *s);
    /* See wf_sampler_step; the buffers of s->kept are there. */
    enum wf_status (*step)(struct wf_sampler *s, struct wf_backend *be, int step,
                           struct wf_tensor velocity, struct wf_tensor latents);
    int kept; /* tensors that it keeps between steps, at solver order 1; one more for each above */
};

struct wf_sampler {
    const struct wf_sampler_driver *driver;
    struct wf_mem *mem;

    double shift;
    double shift_terminal; /* 0: none */
    int64_t train_timesteps;
    bool karras, exponential; /* FlowMatchEuler: how the sigmas are spread, if not evenly */
    int64_t order;            /* UniPC: 1 to 3 */
    bool bh1;                 /* UniPC: B(h) = h instead of e^h - 1 */
    bool lower_order_final;   /* UniPC */
    bool final_sigma_min;     /* UniPC: the last sigma again instead of 0 */
    int64_t uncorrected[WF_SAMPLER_MAX_STEPS]; /* UniPC: steps without a corrector after them */
    int uncorrected_count;

    int steps;
    float sigma[WF_SAMPLER_MAX_STEPS + 1];
    double timestep[WF_SAMPLER_MAX_STEPS];

    /* UniPC: the last sample, then the model outputs, newest first. */
    struct wf_backend *be;
    struct wf_tensor kept[WF_SAMPLER_MAX_ORDER + 2];
    int last_order; /* of the last predictor */
};

extern const struct wf_sampler_driver wf_sampler_unipc, wf_sampler_flow_euler;

/* sigma stretched so that the last becomes shift_terminal: 1 - (1 - sigma) / ((1 - last) / (1 -
 * end)). */
void wf_sampler_stretch(double *sigma, int count, double terminal);
/* A switch of the file that must be off (or missing), because what it does is not built. */
enum wf_status wf_sampler_must_be_off(const struct wf_json *config, const char *key,
                                      struct wf_error *err);

#endif
