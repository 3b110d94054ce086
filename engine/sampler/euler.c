/* diffusers' EulerDiscreteScheduler without churn: one Euler step of dx/dsigma = (x - x0) / sigma,
   x0 what the network takes the clip to be (Karras et al. 2022, arXiv:2206.00364, algorithm 2). */
#include <math.h>

#include "engine/sampler/driver.h"
#include "engine/sampler/noise.h"
#include "engine/sampler/spacing.h"

enum timesteps { LINSPACE, LEADING, TRAILING };

struct euler_discrete {
    struct wf_sampler base;
    double *trained; /* sigma of each training timestep: wf_noise_read */
    enum wf_spacing spacing;
    int timesteps;               /* enum timesteps: which of the training's */
    int64_t offset;              /* LEADING: added to each */
    bool log_linear;             /* sigmas even in ln sigma, whatever the timesteps */
    bool continuous;             /* the network is told ln(sigma) / 4 instead of a timestep */
    bool final_sigma_min;        /* the last sigma is the training's least instead of 0 */
    double sigma_min, sigma_max; /* of a spacing that is asked for; 0: the timesteps' */
};

/* --- settings --- */

static enum wf_status read_prediction(struct wf_sampler *base, const struct wf_json *config,
                                      struct wf_error *err)
{
    static const char *const names[] = {"epsilon", "v_prediction", "sample", NULL};
    static const enum wf_prediction kinds[] = {WF_PREDICT_EPSILON, WF_PREDICT_V, WF_PREDICT_SAMPLE};
    int kind = 0;
    WF_TRY(wf_sampler_choose(config, "prediction_type", names, &kind, err));
    base->prediction = kinds[kind];
    return WF_OK;
}

static enum wf_status read_timesteps(struct euler_discrete *s, const struct wf_json *config,
                                     struct wf_error *err)
{
    static const char *const spacings[] = {"linspace", "leading", "trailing", NULL};
    static const char *const types[] = {"discrete", "continuous", NULL};
    int type = 0;
    WF_TRY(wf_sampler_choose(config, "timestep_spacing", spacings, &s->timesteps, err));
    WF_TRY(wf_sampler_choose(config, "timestep_type", types, &type, err));
    WF_TRY(wf_json_int(config, "steps_offset", 0, s->base.train_timesteps - 1, &s->offset, err));
    /* diffusers has a timestep of its own for this one kind of network */
    s->continuous = type == 1 && s->base.prediction == WF_PREDICT_V;
    return WF_OK;
}

static enum wf_status read_sigmas(struct euler_discrete *s, const struct wf_json *config,
                                  struct wf_error *err)
{
    static const char *const finals[] = {"zero", "sigma_min", NULL};
    static const char *const interpolations[] = {"linear", "log_linear", NULL};
    int final = 0, interpolation = 0;
    WF_TRY(wf_spacing_read(config, &s->spacing, err));
    WF_TRY(wf_json_double(config, "sigma_min", 1e-6, 1e6, &s->sigma_min, err));
    WF_TRY(wf_json_double(config, "sigma_max", 1e-6, 1e6, &s->sigma_max, err));
    if (s->sigma_min > 0 && s->sigma_max > 0 && s->sigma_max < s->sigma_min)
        return wf_fail(err, WF_REFUSED, "%s: sigma_max, %g, is below sigma_min, %g", config->path,
                       s->sigma_max, s->sigma_min);
    WF_TRY(wf_sampler_choose(config, "final_sigmas_type", finals, &final, err));
    WF_TRY(wf_sampler_choose(config, "interpolation_type", interpolations, &interpolation, err));
    s->final_sigma_min = final == 1;
    s->log_linear = interpolation == 1;
    return WF_OK;
}

static enum wf_status configure(struct wf_sampler *base, const struct wf_json *config,
                                double flow_shift, struct wf_error *err)
{
    struct euler_discrete *s = (struct euler_discrete *)base;
    if (flow_shift > 0)
        return wf_fail(err, WF_REFUSED, "flow-shift: %s has no shift; leave it out",
                       base->driver->class_name);
    if (base->train_timesteps < 2)
        return wf_fail(err, WF_REFUSED, "%s: num_train_timesteps is 1; %s needs 2 or more",
                       config->path, base->driver->class_name);
    WF_TRY(read_prediction(base, config, err));
    WF_TRY(read_timesteps(s, config, err));
    WF_TRY(read_sigmas(s, config, err));
    return wf_noise_read(config, base->train_timesteps, base->mem, &s->trained, err);
}

/* --- tables --- */

/* Of a step, on the training's scale; falling. One step of LINSPACE is at 0, as in diffusers; of
   TRAILING, diffusers' rounding makes one more than asked for of some numbers, which is left out.
 */
static double spaced_timestep(const struct euler_discrete *s, int step)
{
    const int steps = s->base.steps, left = steps - 1 - step;
    const double train = (double)s->base.train_timesteps;
    if (s->timesteps == TRAILING)
        return rint(train - step * (train / steps)) - 1;
    if (s->timesteps == LEADING)
        return (double)(left * (s->base.train_timesteps / steps) + s->offset);
    return steps > 1 ? (double)(float)(left * ((train - 1) / (steps - 1))) : 0;
}

/* The training's sigma at a timestep, between two of them on a line, beyond them the outermost. */
static double sigma_of_timestep(const struct euler_discrete *s, double timestep)
{
    const int64_t last = s->base.train_timesteps - 1;
    if (timestep <= 0)
        return s->trained[0];
    if (timestep >= (double)last)
        return s->trained[last];
    const int64_t low = (int64_t)timestep;
    return s->trained[low] + (s->trained[low + 1] - s->trained[low]) * (timestep - (double)low);
}

/* The reverse, on a line in ln sigma, which diffusers has in float32. The highest timestep whose
   sigma is not above begins the line: the last of all may be lower than the one before it. */
static double timestep_of_sigma(const struct euler_discrete *s, double sigma)
{
    int64_t low = s->base.train_timesteps - 1;
    while (low > 0 && s->trained[low] > sigma)
        low--;
    if (low == s->base.train_timesteps - 1)
        low--;
    const double from = (double)(float)log(s->trained[low]);
    const double to = (double)(float)log(s->trained[low + 1]);
    const double part = to != from ? (log(sigma) - from) / (to - from) : 0;
    return (double)low + fmin(fmax(part, 0), 1);
}

/* sigma[0..steps]: the last is the one behind the steps. */
static void fill_sigmas(const struct euler_discrete *s, double *sigma)
{
    const int steps = s->base.steps;
    for (int i = 0; i < steps; i++)
        sigma[i] = sigma_of_timestep(s, spaced_timestep(s, i));
    sigma[steps] = s->final_sigma_min ? s->trained[0] : 0;
    double last = sigma[steps - 1];
    if (s->log_linear) {
        /* diffusers makes one sigma more than there are steps here, and it hides the final one */
        wf_spacing_fill(WF_SPACING_EXPONENTIAL, s->trained[s->base.train_timesteps - 1],
                        s->trained[0], sigma, steps + 1);
        last = sigma[steps];
    }
    if (s->spacing == WF_SPACING_OWN)
        return;
    wf_spacing_fill(s->spacing, s->sigma_max > 0 ? s->sigma_max : sigma[0],
                    s->sigma_min > 0 ? s->sigma_min : last, sigma, steps);
    sigma[steps] = s->final_sigma_min ? s->trained[0] : 0;
}

static enum wf_status tables(struct wf_sampler *base, struct wf_error *err)
{
    (void)err;
    const struct euler_discrete *s = (struct euler_discrete *)base;
    double sigma[WF_SAMPLER_MAX_STEPS + 1];
    fill_sigmas(s, sigma);
    for (int i = 0; i <= base->steps; i++)
        base->sigma[i] = (float)sigma[i];
    for (int i = 0; i < base->steps; i++) {
        double timestep = spaced_timestep(s, i);
        if (s->continuous)
            timestep = 0.25 * log((double)base->sigma[i]);
        else if (s->spacing != WF_SPACING_OWN)
            timestep = timestep_of_sigma(s, sigma[i]);
        base->timestep[i] = (double)(float)timestep;
    }
    return WF_OK;
}

/* --- a run --- */

static double init_sigma(const struct wf_sampler *base)
{
    const struct euler_discrete *s = (const struct euler_discrete *)base;
    const double most = fmax((double)base->sigma[0], (double)base->sigma[base->steps]);
    return s->timesteps == LEADING ? sqrt(most * most + 1) : most;
}

static double input_scale(const struct wf_sampler *base, int step)
{
    const double sigma = (double)base->sigma[step];
    return 1 / sqrt(sigma * sigma + 1);
}

/* x + (x - x0) / sigma (sigma' - sigma), with what x0 is put in:
   epsilon  x0 = x - sigma m
   v        x0 = x / (sigma^2 + 1) - m sigma / sqrt(sigma^2 + 1)
   sample   x0 = m */
static enum wf_status step(struct wf_sampler *base, struct wf_backend *be, int i,
                           struct wf_tensor prediction, struct wf_tensor latents)
{
    const double sigma = (double)base->sigma[i], next = (double)base->sigma[i + 1];
    double of_latents = 1, of_prediction = next - sigma;
    if (base->prediction == WF_PREDICT_V) {
        of_latents = (1 + sigma * next) / (sigma * sigma + 1);
        of_prediction *= input_scale(base, i);
    } else if (base->prediction == WF_PREDICT_SAMPLE) {
        of_latents = next / sigma;
        of_prediction = 1 - of_latents;
    }
    return wf_lincomb(be, &(struct wf_lincomb){.x = {latents, prediction},
                                               .c = {(float)of_latents, (float)of_prediction},
                                               .terms = 2,
                                               .y = latents});
}

static void close_solver(struct wf_sampler *base)
{
    wf_free(((struct euler_discrete *)base)->trained);
}

const struct wf_sampler_driver wf_sampler_euler_discrete = {
    .class_name = "EulerDiscreteScheduler",
    .keys = "num_train_timesteps beta_start beta_end beta_schedule trained_betas prediction_type "
            "interpolation_type use_karras_sigmas use_exponential_sigmas use_beta_sigmas sigma_min "
            "sigma_max timestep_spacing timestep_type steps_offset rescale_betas_zero_snr "
            "final_sigmas_type "
            /* Other classes' arguments, which the published file carries; none changes anything. */
            "clip_sample set_alpha_to_one skip_prk_steps",
    .bytes = sizeof(struct euler_discrete),
    .configure = configure,
    .tables = tables,
    .init_sigma = init_sigma,
    .input_scale = input_scale,
    .step = step,
    .close = close_solver,
};
