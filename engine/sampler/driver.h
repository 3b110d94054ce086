/* Inside the samplers: what they share, and the table that names them. */
#ifndef WEFT_ENGINE_SAMPLER_DRIVER_H
#define WEFT_ENGINE_SAMPLER_DRIVER_H

#include "engine/sampler/sampler.h"

enum { WF_SAMPLER_MAX_STEPS = 1000 };

struct wf_sampler_driver {
    const char *class_name; /* diffusers' */
    const char *keys;       /* the arguments that it takes from the file, in a row */
    size_t bytes;           /* of its own struct, which begins with a struct wf_sampler */
    /* Reads the class's own settings into a zeroed struct, of which the base is filled; refuses
       those that are not known. flow_shift: wf_sampler_open's. */
    enum wf_status (*configure)(struct wf_sampler *s, const struct wf_json *config,
                                double flow_shift, struct wf_error *err);
    /* Fills sigma[0..steps] and timestep[0..steps-1], which are checked behind it, and forgets the
       steps before. */
    enum wf_status (*tables)(struct wf_sampler *s, struct wf_error *err);
    /* As in sampler.h. NULL: 1. */
    double (*init_sigma)(const struct wf_sampler *s);
    double (*input_scale)(const struct wf_sampler *s, int step);
    enum wf_status (*step)(struct wf_sampler *s, struct wf_backend *be, int step,
                           struct wf_tensor prediction, struct wf_tensor latents);
    /* As in sampler.h. NULL: it keeps no step. */
    int (*kept)(const struct wf_sampler *s, struct wf_tensor *tensors, int room);
    enum wf_status (*go_on)(struct wf_sampler *s, struct wf_backend *be, int steps,
                            struct wf_tensor like);
    void (*end)(struct wf_sampler *s);   /* wf_sampler_end; NULL: it keeps no step */
    void (*close)(struct wf_sampler *s); /* what configure allocated; NULL: nothing */
};

/* The base of every solver's own struct, which is known in the solver's file alone. */
struct wf_sampler {
    const struct wf_sampler_driver *driver;
    struct wf_mem *mem;
    int64_t train_timesteps; /* num_train_timesteps, 1 to a million */
    enum wf_prediction prediction;
    int steps;
    float sigma[WF_SAMPLER_MAX_STEPS + 1];
    double timestep[WF_SAMPLER_MAX_STEPS];
};

extern const struct wf_sampler_driver wf_sampler_unipc, wf_sampler_flow_euler,
    wf_sampler_euler_discrete;

/* A switch of the file that must be off (or missing), because what it does is not built. */
enum wf_status wf_sampler_must_be_off(const struct wf_json *config, const char *key,
                                      struct wf_error *err);
/* A word of the file, of those in names (NULL behind the last): its index, left as it is where the
   key is missing. */
enum wf_status wf_sampler_choose(const struct wf_json *config, const char *key,
                                 const char *const *names, int *choice, struct wf_error *err);

#endif
