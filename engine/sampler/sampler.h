/* The sampler: sigmas, timesteps and the step from one latents to the next, as diffusers'
   schedulers configure and compute them. */
#ifndef WEFT_ENGINE_SAMPLER_SAMPLER_H
#define WEFT_ENGINE_SAMPLER_SAMPLER_H

#include "io/json.h"
#include "kernels/backend.h"

struct wf_sampler;

/* config: scheduler_config.json. class_name: what model_index.json says; it comes before the
   file's, as in diffusers, and reads of the file what it knows; NULL: the file's. flow_shift above
   0 takes the place of the file's. WF_REFUSED, in words, for a class or a setting that is not
   known. */
enum wf_status wf_sampler_open(const struct wf_json *config, const char *class_name,
                               double flow_shift, struct wf_mem *mem, struct wf_sampler **sampler,
                               struct wf_error *err);
const char *wf_sampler_class(const struct wf_sampler *sampler);
/* The keys of the file that the class does not take, in a row; how many bytes. */
size_t wf_sampler_unused(const struct wf_sampler *sampler, const struct wf_json *config, char *out,
                         size_t room);
void wf_sampler_close(struct wf_sampler **sampler);

/* Computes the tables for a number of steps, 1 or more, and begins anew. */
enum wf_status wf_sampler_prepare(struct wf_sampler *sampler, int steps, struct wf_error *err);
int wf_sampler_steps(const struct wf_sampler *sampler);
/* What the network is given at a step, on the training scale (0..1000). */
double wf_sampler_timestep(const struct wf_sampler *sampler, int step);
/* One more value than there are steps: the last is where the clip arrives. */
float wf_sampler_sigma(const struct wf_sampler *sampler, int step);

/* latents <- the latents after this step; velocity is what the network predicted at them. Both are
   dense f32 of the same dims, on the backend. Steps come in order from 0; the sampler keeps what it
   needs of the earlier ones, on the same backend. */
enum wf_status wf_sampler_step(struct wf_sampler *sampler, struct wf_backend *be, int step,
                               struct wf_tensor velocity, struct wf_tensor latents);
/* Gives back what was kept of earlier steps. The backend is still open. */
void wf_sampler_end(struct wf_sampler *sampler);

#endif
