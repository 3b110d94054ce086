/* How the sigmas of a run lie between the first and the last: what several classes do alike. */
#ifndef WEFT_ENGINE_SAMPLER_SPACING_H
#define WEFT_ENGINE_SAMPLER_SPACING_H

#include "io/json.h"

/* Whether the file asks for a spacing of its own. */
enum wf_spacing {
    WF_SPACING_OWN,    /* no: the class's */
    WF_SPACING_KARRAS, /* even in sigma^(1/7): Karras et al. 2022, arXiv:2206.00364, equation 5 */
    WF_SPACING_EXPONENTIAL /* even in ln sigma */
};

/* use_karras_sigmas and use_exponential_sigmas; WF_REFUSED for both, and for use_beta_sigmas, which
   is not built. */
enum wf_status wf_spacing_read(const struct wf_json *config, enum wf_spacing *spacing,
                               struct wf_error *err);
/* sigma[0..count-1] from first to last, both above 0; one value: first. Not for WF_SPACING_OWN. */
void wf_spacing_fill(enum wf_spacing spacing, double first, double last, double *sigma, int count);

/* How a flow's sigmas are moved toward more noise. */
struct wf_shift {
    double factor;   /* sigma becomes factor sigma / (1 + (factor - 1) sigma) */
    double terminal; /* then they are stretched so that the last becomes this; 0: they are not */
};

/* factor from the key that the class calls it by, or instead, where that is above 0; terminal from
   shift_terminal. Missing: 1 and 0. */
enum wf_status wf_shift_read(const struct wf_json *config, const char *key, double instead,
                             struct wf_shift *shift, struct wf_error *err);
double wf_shift_apply(const struct wf_shift *shift, double sigma);
/* 1 - (1 - sigma) / ((1 - last) / (1 - terminal)) */
void wf_shift_stretch(const struct wf_shift *shift, double *sigma, int count);

#endif
