/* The sampler: sigmas, timesteps and the step from one latents to the next, as diffusers'
   schedulers configure and compute them. */
#ifndef WEFT_ENGINE_SAMPLER_SAMPLER_H
#define WEFT_ENGINE_SAMPLER_SAMPLER_H

#include "io/json.h"
#include "kernels/backend.h"

struct wf_sampler;

/* What the network is taken to give at x = latents, noise of deviation sigma in them. */
enum wf_prediction {
    WF_PREDICT_FLOW,    /* the velocity noise - clip, where x = (1 - sigma) clip + sigma noise */
    WF_PREDICT_V,       /* (noise - sigma clip) / sqrt(sigma^2 + 1), where x = clip + sigma noise */
    WF_PREDICT_EPSILON, /* the noise, likewise */
    WF_PREDICT_SAMPLE   /* the clip, likewise */
};

/* config: scheduler_config.json. class_name: what model_index.json says; it comes before the
   file's, as in diffusers, and reads of the file what it knows; NULL: the file's. flow_shift above
   0 takes the place of the file's. WF_REFUSED, in words, for a class or a setting that is not
   known, and for a flow_shift where the class has none. */
enum wf_status wf_sampler_open(const struct wf_json *config, const char *class_name,
                               double flow_shift, struct wf_mem *mem, struct wf_sampler **sampler,
                               struct wf_error *err);
const char *wf_sampler_class(const struct wf_sampler *sampler);
/* For a family to refuse what its network does not give. */
enum wf_prediction wf_sampler_prediction(const struct wf_sampler *sampler);
/* The keys of the file that the class does not take, in a row; how many bytes. */
size_t wf_sampler_unused(const struct wf_sampler *sampler, const struct wf_json *config, char *out,
                         size_t room);
void wf_sampler_close(struct wf_sampler **sampler);

/* Computes the tables for a number of steps, 1 or more, and begins anew. WF_REFUSED for a number
   that is not possible, and for settings that make a sigma rise or no number. */
enum wf_status wf_sampler_prepare(struct wf_sampler *sampler, int steps, struct wf_error *err);

/* Of the tables; a step is 0 or more and below wf_sampler_steps. */
int wf_sampler_steps(const struct wf_sampler *sampler);
/* What the network is told of the noise at a step, in the class's own measure: 0..1000 where the
   training counted so, ln(sigma) / 4 (below 0 too) where timestep_type is continuous. */
double wf_sampler_timestep(const struct wf_sampler *sampler, int step);
/* The noise's deviation. One more value than there are steps: the last is where the clip arrives.
 */
float wf_sampler_sigma(const struct wf_sampler *sampler, int step);
/* What noise of deviation 1 is multiplied by to become the first latents. Flow: 1. Euler: the
   largest sigma, or sqrt(sigma^2 + 1) with the spacing leading, as init_noise_sigma in diffusers.
 */
double wf_sampler_init_sigma(const struct wf_sampler *sampler);
/* The network is given the latents times this. Flow: 1. Euler: 1 / sqrt(sigma^2 + 1), as
   scale_model_input in diffusers. */
double wf_sampler_input_scale(const struct wf_sampler *sampler, int step);

/* latents <- the latents after this step; prediction is what the network gave at them, of the kind
   that wf_sampler_prediction says. Both are dense f32 of the same dims, any, on the backend. Steps
   come in order from 0; the sampler keeps what it needs of the earlier ones, on the same backend.
   WF_FAILED for memory that is short, and what the backend says. */
enum wf_status wf_sampler_step(struct wf_sampler *sampler, struct wf_backend *be, int step,
                               struct wf_tensor prediction, struct wf_tensor latents);
/* clip <- what the prediction says of the clip, at the latents before that step: of the same dims,
   on the backend. */
enum wf_status wf_sampler_estimate(const struct wf_sampler *sampler, struct wf_backend *be,
                                   int step, struct wf_tensor prediction, struct wf_tensor latents,
                                   struct wf_tensor clip);
/* What is kept of the steps so far, for a state that can be gone on from: into tensors, of at most
   `room`; how many. Theirs are the latents' dims and type; the sampler's, valid until the next
   call. */
int wf_sampler_kept(const struct wf_sampler *sampler, struct wf_tensor *tensors, int room);
/* After wf_sampler_prepare: as if so many steps were done, but for the values of what is kept,
   which the caller then puts there. like: the latents. */
enum wf_status wf_sampler_go_on(struct wf_sampler *sampler, struct wf_backend *be, int steps,
                                struct wf_tensor like);
/* Gives back what was kept of earlier steps. The backend is still open. */
void wf_sampler_end(struct wf_sampler *sampler);

#endif
