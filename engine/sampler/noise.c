/* float32 throughout, rounded where torch rounds: the sigmas of little noise are differences of
   numbers near 1, where float32 shows from the fourth digit on. */
#include "engine/sampler/noise.h"

#include <math.h>

#include "engine/sampler/driver.h"

/* An operation on float32 values, done in double and rounded, is float32's own. */
static double f32(double x)
{
    return (double)(float)x;
}

/* torch.linspace: from both ends, one rounding a value. */
static void fill_evenly(double first, double last, int64_t count, double *y)
{
    const double from = f32(first), to = f32(last);
    const double step = count > 1 ? f32(f32(to - from) / (double)(count - 1)) : 0;
    for (int64_t i = 0; i < count; i++)
        y[i] = f32(i < count / 2 ? from + step * (double)i : to - step * (double)(count - 1 - i));
}

/* alpha_bar of Nichol and Dhariwal 2021 (arXiv:2102.09672, equation 17), not divided by its value
   at 0; at: 0 to 1. */
static double cosine_alpha_bar(double at)
{
    const double pi = 3.14159265358979323846;
    return pow(cos((at + 0.008) / 1.008 * pi / 2), 2);
}

static void fill_cosine(int64_t count, double *beta)
{
    const double most = 0.999; /* that the last ones are capped at */
    for (int64_t i = 0; i < count; i++) {
        const double from = (double)i / (double)count, to = (double)(i + 1) / (double)count;
        beta[i] = f32(fmin(1 - cosine_alpha_bar(to) / cosine_alpha_bar(from), most));
    }
}

static enum wf_status read_trained(const struct wf_json *config, int64_t count, double *beta,
                                   struct wf_error *err)
{
    int found = 0;
    WF_TRY(wf_json_doubles(config, "trained_betas", (int)count, beta, &found, err));
    if (found != count)
        return wf_fail(err, WF_REFUSED,
                       "%s: trained_betas has %d values, expected num_train_timesteps, %lld",
                       config->path, found, (long long)count);
    for (int64_t i = 0; i < count; i++) {
        if (!(beta[i] > 0 && beta[i] < 1))
            return wf_fail(err, WF_REFUSED,
                           "%s: trained_betas holds %g, expected numbers between 0 and 1",
                           config->path, beta[i]);
        beta[i] = f32(beta[i]);
    }
    return WF_OK;
}

static enum wf_status read_betas(const struct wf_json *config, int64_t count, double *beta,
                                 struct wf_error *err)
{
    enum { LINEAR, SCALED_LINEAR, COSINE };
    static const char *const schedules[] = {"linear", "scaled_linear", "squaredcos_cap_v2", NULL};
    int schedule = LINEAR;
    double start = 1e-4, end = 0.02;
    const json_t *trained = json_object_get(config->root, "trained_betas");
    if (trained && !json_is_null(trained))
        return read_trained(config, count, beta, err);
    WF_TRY(wf_sampler_choose(config, "beta_schedule", schedules, &schedule, err));
    WF_TRY(wf_json_double(config, "beta_start", 1e-9, 1, &start, err));
    WF_TRY(wf_json_double(config, "beta_end", 1e-9, 1, &end, err));
    if (schedule == COSINE)
        fill_cosine(count, beta);
    else if (schedule == LINEAR)
        fill_evenly(start, end, count, beta);
    else
        fill_evenly(sqrt(start), sqrt(end), count, beta);
    for (int64_t i = 0; i < count && schedule == SCALED_LINEAR; i++)
        beta[i] = f32(beta[i] * beta[i]);
    return WF_OK;
}

/* beta becomes alpha_bar, the product of 1 - beta so far, which torch keeps in double. */
static void accumulate(double *x, int64_t count)
{
    double product = 1;
    for (int64_t i = 0; i < count; i++) {
        product *= f32(1 - x[i]);
        x[i] = f32(product);
    }
}

/* Lin et al. 2023 (arXiv:2305.08891), algorithm 1: sqrt(alpha_bar) is moved so that the last is 0,
   and scaled so that the first is what it was. beta to beta. */
static void rescale_to_zero_snr(double *x, int64_t count)
{
    accumulate(x, count);
    const double first = f32(sqrt(x[0])), last = f32(sqrt(x[count - 1]));
    const double scale = f32(first / f32(first - last));
    for (int64_t i = 0; i < count; i++) {
        const double root = f32(f32(f32(sqrt(x[i])) - last) * scale);
        x[i] = f32(root * root);
    }
    for (int64_t i = count - 1; i > 0; i--)
        x[i] = f32(1 - f32(x[i] / x[i - 1]));
    x[0] = f32(1 - x[0]);
}

static enum wf_status fill_sigmas(const struct wf_json *config, int64_t count, double *x,
                                  struct wf_error *err)
{
    bool rescaled = false;
    WF_TRY(read_betas(config, count, x, err));
    WF_TRY(wf_json_bool(config, "rescale_betas_zero_snr", &rescaled, err));
    if (rescaled)
        rescale_to_zero_snr(x, count);
    accumulate(x, count);
    if (rescaled)
        x[count - 1] = 0x1p-24; /* instead of 0, whose sigma is infinite */
    for (int64_t i = 0; i < count; i++) {
        x[i] = f32(sqrt(f32(f32(1 - x[i]) / x[i])));
        if (!(x[i] > 0) || !isfinite(x[i]))
            return wf_fail(err, WF_REFUSED,
                           "%s: the betas make sigma %g at timestep %lld, where it must be finite "
                           "and above 0; mend or download the file again",
                           config->path, x[i], (long long)i);
    }
    return WF_OK;
}

enum wf_status wf_noise_read(const struct wf_json *config, int64_t count, struct wf_mem *mem,
                             double **sigma, struct wf_error *err)
{
    double *x = wf_calloc(mem, WF_MEM_MISC, (size_t)count, sizeof *x);
    *sigma = NULL;
    if (!x)
        return wf_fail_memory(err, "sampler", (size_t)count * sizeof *x);
    const enum wf_status status = fill_sigmas(config, count, x, err);
    if (status == WF_OK)
        *sigma = x;
    else
        wf_free(x);
    return status;
}
