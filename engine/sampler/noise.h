/* The noise that a diffusion network was trained at: one sigma a training timestep. */
#ifndef WEFT_ENGINE_SAMPLER_NOISE_H
#define WEFT_ENGINE_SAMPLER_NOISE_H

#include "io/json.h"
#include "kernels/base/mem.h"

/* sigma[t] = sqrt((1 - a) / a), a = (1 - beta_0) .. (1 - beta_t), t = 0..count-1; the
   values are float32's, above 0, and rise, but for the last with rescale_betas_zero_snr: 4096. The
   betas are as the file says: trained_betas, or beta_schedule (linear, scaled_linear,
   squaredcos_cap_v2) from beta_start to beta_end, moved by rescale_betas_zero_snr. count:
   num_train_timesteps. *sigma is the caller's to wf_free. WF_REFUSED for betas that are not known
   or leave a sigma 0 or infinite. */
enum wf_status wf_noise_read(const struct wf_json *config, int64_t count, struct wf_mem *mem,
                             double **sigma, struct wf_error *err);

#endif
