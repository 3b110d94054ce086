/* diffusers' FlowMatchEulerDiscreteScheduler: one Euler step along the flow. */
#include <math.h>

#include "engine/sampler/driver.h"

static enum wf_status configure(struct wf_sampler *s, const struct wf_json *config,
                                struct wf_error *err)
{
    static const char *const off[] = {"use_dynamic_shifting", "invert_sigmas", "use_beta_sigmas",
                                      "stochastic_sampling"};
    for (size_t i = 0; i < sizeof off / sizeof *off; i++)
        WF_TRY(wf_sampler_must_be_off(config, off[i], err));
    WF_TRY(wf_json_bool(config, "use_karras_sigmas", &s->karras, err));
    WF_TRY(wf_json_bool(config, "use_exponential_sigmas", &s->exponential, err));
    if (s->karras && s->exponential)
        return wf_fail(err, WF_REFUSED,
                       "%s: use_karras_sigmas and use_exponential_sigmas are both on; choose one",
                       config->path);
    return wf_json_double(config, "shift", 1e-6, 1e6, &s->shift, err);
}

/* Spreads the steps anew between the first and the last sigma: evenly in sigma^(1/7) (Karras et al.
   2022, equation 5) or in ln sigma. */
static void respace(const struct wf_sampler *s, double *sigma)
{
    const double rho = 7, first = sigma[0], last = sigma[s->steps - 1];
    for (int i = 0; i < s->steps && (s->karras || s->exponential); i++) {
        const double ramp = s->steps > 1 ? (double)i / (s->steps - 1) : 0;
        if (s->karras)
            sigma[i] =
                pow(pow(first, 1 / rho) + ramp * (pow(last, 1 / rho) - pow(first, 1 / rho)), rho);
        else
            sigma[i] = exp(log(first) + ramp * (log(last) - log(first)));
    }
}

/* The class computes its range in float32 when it is built, with the shift applied; the steps are
   spread over that range in float64 and the shift is applied to them once more. */
static void tables(struct wf_sampler *s)
{
    const float train = (float)s->train_timesteps, shift = (float)s->shift;
    const float first = train / train, last = 1.0f / train;
    const double sigma_max = shift * first / (1.0f + (shift - 1.0f) * first);
    const double sigma_min = shift * last / (1.0f + (shift - 1.0f) * last);
    const double from = sigma_max * (double)s->train_timesteps;
    const double to = sigma_min * (double)s->train_timesteps;
    const double stride = s->steps > 1 ? (to - from) / (s->steps - 1) : 0;
    double sigma[WF_SAMPLER_MAX_STEPS];
    for (int i = 0; i < s->steps; i++) {
        const double t = i > 0 && i == s->steps - 1 ? to : i * stride + from;
        const double flat = t / (double)s->train_timesteps;
        sigma[i] = s->shift * flat / (1 + (s->shift - 1) * flat);
    }
    if (s->shift_terminal > 0)
        wf_sampler_stretch(sigma, s->steps, s->shift_terminal);
    respace(s, sigma);
    for (int i = 0; i < s->steps; i++) {
        s->sigma[i] = (float)sigma[i];
        s->timestep[i] = (double)(s->sigma[i] * train);
    }
    s->sigma[s->steps] = 0;
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
    .configure = configure,
    .tables = tables,
    .step = step,
};
