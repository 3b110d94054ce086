#include "engine/sampler/spacing.h"

#include <math.h>

#include "engine/sampler/driver.h"

enum wf_status wf_spacing_read(const struct wf_json *config, enum wf_spacing *spacing,
                               struct wf_error *err)
{
    bool karras = false, exponential = false;
    WF_TRY(wf_sampler_must_be_off(config, "use_beta_sigmas", err));
    WF_TRY(wf_json_bool(config, "use_karras_sigmas", &karras, err));
    WF_TRY(wf_json_bool(config, "use_exponential_sigmas", &exponential, err));
    if (karras && exponential)
        return wf_fail(err, WF_REFUSED,
                       "%s: use_karras_sigmas and use_exponential_sigmas are both on; choose one",
                       config->path);
    *spacing = karras ? WF_SPACING_KARRAS : exponential ? WF_SPACING_EXPONENTIAL : WF_SPACING_OWN;
    return WF_OK;
}

void wf_spacing_fill(enum wf_spacing spacing, double first, double last, double *sigma, int count)
{
    const double rho = 7; /* the paper's; diffusers' files have no key for it */
    const bool karras = spacing == WF_SPACING_KARRAS;
    const double from = karras ? pow(first, 1 / rho) : log(first);
    const double to = karras ? pow(last, 1 / rho) : log(last);
    for (int i = 0; i < count; i++) {
        const double ramp = count > 1 ? (double)i / (count - 1) : 0;
        const double at = from + ramp * (to - from);
        sigma[i] = karras ? pow(at, rho) : exp(at);
    }
}

enum wf_status wf_shift_read(const struct wf_json *config, const char *key, double instead,
                             struct wf_shift *shift, struct wf_error *err)
{
    *shift = (struct wf_shift){.factor = 1};
    WF_TRY(wf_json_double(config, key, 1e-6, 1e6, &shift->factor, err));
    WF_TRY(wf_json_double(config, "shift_terminal", 0, 1, &shift->terminal, err));
    if (shift->terminal >= 1)
        return wf_fail(err, WF_REFUSED, "%s: shift_terminal is 1; it must be below 1",
                       config->path);
    if (instead > 0)
        shift->factor = instead;
    return WF_OK;
}

double wf_shift_apply(const struct wf_shift *shift, double sigma)
{
    return shift->factor * sigma / (1 + (shift->factor - 1) * sigma);
}

void wf_shift_stretch(const struct wf_shift *shift, double *sigma, int count)
{
    const double factor = (1 - sigma[count - 1]) / (1 - shift->terminal);
    for (int i = 0; i < count && shift->terminal > 0; i++)
        sigma[i] = 1 - (1 - sigma[i]) / factor;
}
