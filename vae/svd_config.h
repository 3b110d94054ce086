/* The configuration of Stable Video Diffusion's VAE, for both of its halves. */
#ifndef WEFT_VAE_SVD_CONFIG_H
#define WEFT_VAE_SVD_CONFIG_H

#include "io/json.h"

enum { WF_SVD_LEVELS = 8, WF_SVD_LAYERS = 8 /* at most */ };

/* Of the norms that see single frames. */
#define WF_SVD_SPATIAL_EPS 1e-6f

struct wf_svd_vae_config {
    int64_t latent_channels, layers;
    int64_t widths[WF_SVD_LEVELS]; /* of the encoder's levels, from the picture on */
    int levels;
    double scaling;    /* of latents */
    bool force_upcast; /* pictures are encoded in f32 */
};

/* Reads config.json of AutoencoderKLTemporalDecoder, the class's defaults where it does not say.
   WF_REFUSED names file and key of what is out of bounds or not supported. */
enum wf_status wf_svd_config_read(const struct wf_json *json, struct wf_svd_vae_config *c,
                                  struct wf_error *err);

#endif
