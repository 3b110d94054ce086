/* A linear map from a cell of latents to a colour: fitted to examples, and applied. Each VAE has
   its own; published factors hold for the models that they were made from alone. */
#ifndef WEFT_ENGINE_COLOURS_H
#define WEFT_ENGINE_COLOURS_H

#include <stdint.h>

#include "kernels/base/mem.h"
#include "kernels/base/status.h"

/* r, g, b = sum_c latent[c] weight[c][0..2] + weight[channels][0..2]; colours are 0..1. */
struct wf_colours {
    int64_t channels;
    double *weight; /* [channels + 1][3]; all 0 before wf_colours_solve */
    double *square; /* of the normal equations: [channels + 1][channels + 1], lower half */
    double *target; /* [channels + 1][3] */
    double *factor; /* of them with the ridge, likewise */
    double cells;   /* seen, by their weight */
};

enum wf_status wf_colours_open(int64_t channels, struct wf_mem *mem, struct wf_colours *colours,
                               struct wf_error *err);
void wf_colours_close(struct wf_colours *colours); /* zeroed or open */
/* An example: latent [channels] and the colour that it has. */
void wf_colours_add(struct wf_colours *colours, const float *latent, const double rgb[3]);
/* The examples so far weigh that share of what they did. */
void wf_colours_fade(struct wf_colours *colours, double share);
/* The least squares of all examples, which may go on after it, with a ridge so small that it shows
   only where they do not say enough. Examples that are not numbers give a map that gives none. */
void wf_colours_solve(struct wf_colours *colours);
/* The colour of a cell, 0..255; what is not a number is black. */
void wf_colours_apply(const struct wf_colours *colours, const float *latent, unsigned char rgb[3]);

#endif
