/* What the files of engine/ share: the opaque structs of weft.h. */
#ifndef WEFT_ENGINE_ENGINE_H
#define WEFT_ENGINE_ENGINE_H

#include <stdatomic.h>
#include <stdbool.h>

#include "engine/folder.h"
#include "engine/weft.h"
#include "io/json.h"
#include "io/weights/residency.h"
#include "kernels/backend.h"
#include "kernels/base/arena.h"
#include "vae/vae.h"

struct wf_family;

/* A device, and the type of its products; "": what it is fast at. */
enum { WF_MAX_BACKENDS = 8, WF_PLACE_BYTES = 32 };
struct wf_place {
    char device[WF_PLACE_BYTES], dtype[WF_PLACE_BYTES];
};

/* What memory is counted on: the host's, and that of devices that have their own. */
enum wf_account { WF_HOST, WF_DEVICE, WF_ACCOUNTS };

struct weft_engine {
    struct wf_error err; /* of the last call that failed */
    struct wf_mem *mem;
    struct wf_mem *device_mem; /* of devices that have their own */
    struct wf_backend *backends[WF_MAX_BACKENDS];
    char devices[WF_MAX_BACKENDS][WF_PLACE_BYTES]; /* of the backends */
    int backend_count;
    struct wf_place place;                /* of a component that no map names */
    char device_map[256], dtype_map[256]; /* COMPONENT=VALUE,...; "" */
    int threads;                          /* asked for */
    bool profile;                         /* likewise */
    struct wf_policy policy; /* of weights; where it is chosen: until a model has one of its own */
    bool chooses;            /* it is chosen by the plan */
    size_t memory_limit;     /* bytes; 0: what is free */
    void (*log)(void *context, enum weft_log_level level, const char *line); /* NULL: none */
    void *log_context;
};

static inline struct wf_mem *wf_engine_account(const struct weft_engine *e, int account)
{
    return account == WF_HOST ? e->mem : e->device_mem;
}

/* "WHERE: WHAT" to the engine's log, on one line. In the thread that called weft. */
void wf_log(const struct weft_engine *engine, enum weft_log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* WF_REFUSED when a struct of the caller's has a field set that only a newer library knows. */
enum wf_status wf_check_reserved(const uint64_t *reserved, size_t count, const char *what,
                                 struct wf_error *err);
#define WF_CHECK_RESERVED(s, what, err)                                                            \
    wf_check_reserved((s)->reserved, sizeof(s)->reserved / sizeof *(s)->reserved, what, err)

enum { WF_MAX_COMPONENTS = 8, WF_PATH_BYTES = 4096 };

/* Defaults of a request: the family's, then what the folder's weft.json says. */
struct wf_defaults {
    int width, height, num_frames, steps, max_sequence_length;
    double guidance_scale;
    int fps_num, fps_den;
    /* Below 0 where the family does not take them. */
    int motion_bucket_id;
    double min_guidance_scale, max_guidance_scale, noise_aug_strength;
};

struct weft_model {
    struct weft_engine *engine;
    const struct wf_family *family;
    char folder[WF_PATH_BYTES];
    char variant[64];
    enum wf_folder kind;
    struct wf_json index;       /* model_index.json, or without one the VAE's config.json */
    const char *pipeline_class; /* of these: the pipeline's, or the VAE's */
    struct wf_defaults defaults;

    /* A twin runs the same model on another engine, to plan: it borrows what is only read, the
       index, checkpoints and tokenizer. NULL: not one. */
    const struct weft_model *twin_of;

    int open_jobs;
    bool has_policy; /* of its own, that was chosen */
    struct wf_policy policy;
    char chosen[192]; /* what was, and why */

    int places[WF_MAX_COMPONENTS]; /* the family's components' backends, by number */

    /* Opened when they are first needed. */
    struct wf_checkpoint *ckpts[WF_MAX_COMPONENTS];  /* by the family's components */
    struct wf_residency *weights[WF_MAX_COMPONENTS]; /* likewise */
    struct wf_vae *vae;
    void *pipeline; /* the family's: everything before the VAE */

    struct weft_model_info info;
    struct weft_component components[WF_MAX_COMPONENTS];
};

/* Opens what a job needs, if it is not open: the VAE, and the family's own parts. */
enum wf_status wf_model_open_vae(struct weft_model *model, struct wf_error *err);
enum wf_status wf_model_open_pipeline(struct weft_model *model, struct wf_error *err);
/* A component's number in the family's table, where it is. */
int wf_model_component(const struct weft_model *model, const char *name);
/* The number of what a component is a part of, or its own. */
int wf_model_whole(const struct weft_model *model, int component);
/* A component's weights, for what declares them: of the model's variant where the component has it,
   else of its plain files, as diffusers does. The model's; once. */
enum wf_status wf_model_weights(struct weft_model *model, const char *component,
                                struct wf_residency **weights, struct wf_error *err);
/* The components of a stage are not needed any more: the policy decides what of them goes. */
void wf_model_stage_end(struct weft_model *model, enum weft_stage stage);
/* A twin of a model for an engine; closed by weft_model_close, before the model. */
enum wf_status wf_model_open_twin(const struct weft_model *model, struct weft_engine *engine,
                                  struct weft_model **twin);
struct wf_policy wf_model_policy(const struct weft_model *model);
/* Nothing of the model is being computed. */
void wf_model_set_policy(struct weft_model *model, struct wf_policy policy);
/* The class that model_index.json gives a component, [library, class], or NULL; without one, the
   VAE's own. */
const char *wf_model_class(const struct weft_model *model, const char *component);
/* A component's folder; WF_REFUSED when the path is too long. */
enum wf_status wf_model_component_path(const struct weft_model *model, const char *name,
                                       char path[WF_PATH_BYTES], struct wf_error *err);
/* model->folder "/" name; likewise. */
enum wf_status wf_model_path(const struct weft_model *model, const char *name,
                             char path[WF_PATH_BYTES], struct wf_error *err);

#endif
