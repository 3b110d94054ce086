/* diffusers' FlowMatchEulerDiscreteScheduler: one Euler step along the flow. */
#include "engine/sampler/driver.h"
#include "engine/sampler/spacing.h"

struct flow_euler {
    struct wf_sampler base;
    struct wf_shift shift;
    enum wf_spacing spacing;
};

static enum wf_status configure(struct wf_sampler *base, const struct wf_json *config,
                                double flow_shift, struct wf_error *err)
{
    static const char *const off[] = {"use_dynamic_shifting", "invert_sigmas",
                                      "stochastic_sampling"};
    struct flow_euler *s = (struct flow_euler *)base;
    for (size_t i = 0; i < sizeof off / sizeof *off; i++)
        WF_TRY(wf_sampler_must_be_off(config, off[i], err));
    base->prediction = WF_PREDICT_FLOW;
    WF_TRY(wf_spacing_read(config, &s->spacing, err));
    return wf_shift_read(config, "shift", flow_shift, &s->shift, err);
}

/* The class computes its range in float32 when it is built, with the shift applied; the steps are
   spread over that range in float64 and the shift is applied to them once more. */
static enum wf_status tables(struct wf_sampler *base, struct wf_error *err)
{
    (void)err;
    struct flow_euler *s = (struct flow_euler *)base;
    const int steps = base->steps;
    const float train = (float)base->train_timesteps, shift = (float)s->shift.factor;
    const float first = train / train, last = 1.0f / train;
    const double sigma_max = shift * first / (1.0f + (shift - 1.0f) * first);
    const double sigma_min = shift * last / (1.0f + (shift - 1.0f) * last);
    const double from = sigma_max * (double)base->train_timesteps;
    const double to = sigma_min * (double)base->train_timesteps;
    const double stride = steps > 1 ? (to - from) / (steps - 1) : 0;
    double sigma[WF_SAMPLER_MAX_STEPS];
    for (int i = 0; i < steps; i++) {
        const double t = i > 0 && i == steps - 1 ? to : i * stride + from;
        sigma[i] = wf_shift_apply(&s->shift, t / (double)base->train_timesteps);
    }
    wf_shift_stretch(&s->shift, sigma, steps);
    if (s->spacing != WF_SPACING_OWN)
        wf_spacing_fill(s->spacing, sigma[0], sigma[steps - 1], sigma, steps);
    for (int i = 0; i < steps; i++) {
        base->sigma[i] = (float)sigma[i];
        base->timestep[i] = (double)(base->sigma[i] * train);
    }
    base->sigma[steps] = 0;
    return WF_OK;
}

/* x + (sigma' - sigma) v */
static enum wf_status step(struct wf_sampler *s, struct wf_backend *be, int i,
                           struct wf_tensor velocity, struct wf_tensor latents)
{
    return wf_lincomb(be, &(struct wf_lincomb){.x = {latents, velocity},
                                               .c = {1, s->sigma[i + 1] - s->sigma[i]},
                                               .terms = 2,
                                               .y = latents});
}

const struct wf_sampler_driver wf_sampler_flow_euler = {
    .class_name = "FlowMatchEulerDiscreteScheduler",
    .keys = "num_train_timesteps shift use_dynamic_shifting base_shift max_shift "
            "base_image_seq_len max_image_seq_len invert_sigmas shift_terminal use_karras_sigmas "
            "use_exponential_sigmas use_beta_sigmas time_shift_type stochastic_sampling",
    .bytes = sizeof(struct flow_euler),
    .configure = configure,
    .tables = tables,
    .step = step,
};
