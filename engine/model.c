#include <stdio.h>
#include <string.h>

#include "engine/folder.h"
#include "engine/models/family.h"
#include "engine/place.h"
#include "io/file.h"

enum wf_status wf_model_path(const struct weft_model *model, const char *name,
                             char path[WF_PATH_BYTES], struct wf_error *err)
{
    const int used = snprintf(path, WF_PATH_BYTES, "%s/%s", model->folder, name);
    if (used < 0 || used >= WF_PATH_BYTES)
        return wf_fail(err, WF_REFUSED, "model: the path is too long; move the folder");
    return WF_OK;
}

enum wf_status wf_model_component_path(const struct weft_model *model, const char *name,
                                       char path[WF_PATH_BYTES], struct wf_error *err)
{
    if (model->kind != WF_FOLDER_PART || strcmp(name, "vae") != 0)
        return wf_model_path(model, name, path, err);
    strcpy(path, model->folder);
    return WF_OK;
}

static enum wf_status refuse_class(const struct weft_model *model, const char *name,
                                   struct wf_error *err)
{
    char known[256];
    if (model->kind == WF_FOLDER_MODEL) {
        wf_family_names(known, sizeof known);
        return wf_fail(err, WF_REFUSED, "%s: pipeline %s is not supported; weft knows %s",
                       model->index.path, name, known);
    }
    if (model->kind == WF_FOLDER_PART && wf_folder_is_below_model(model->folder))
        return wf_fail(err, WF_REFUSED, "%s: this is one part of a model; give the folder above it",
                       model->folder);
    wf_vae_names(known, sizeof known);
    return wf_fail(err, WF_REFUSED,
                   "%s: %s is no VAE that weft knows (%s); give the folder of a diffusers model",
                   model->index.path, name, known);
}

/* By the pipeline's class, or where there is none the VAE's. */
static enum wf_status find_family(struct weft_model *model, struct wf_error *err)
{
    const char *name = NULL;
    if (model->kind != WF_FOLDER_PART) /* text encoders do not say it */
        WF_TRY(wf_json_require(&model->index, "_class_name", err));
    WF_TRY(wf_json_string(&model->index, "_class_name", &name, err));
    name = name ? name : "this";
    model->pipeline_class = name;
    model->family =
        model->kind == WF_FOLDER_MODEL ? wf_family_find(name) : wf_family_find_vae(name);
    return model->family ? WF_OK : refuse_class(model, name, err);
}

static enum wf_status read_int(const struct wf_json *json, const char *key, int high, int *out,
                               struct wf_error *err)
{
    int64_t value = *out;
    WF_TRY(wf_json_int(json, key, 1, high, &value, err));
    *out = (int)value;
    return WF_OK;
}

/* A number that a family may not take. */
static enum wf_status read_number(const struct wf_json *json, const struct wf_family *family,
                                  unsigned takes, const char *key, double high, double *out,
                                  struct wf_error *err)
{
    if (!(family->takes & takes) && wf_json_is_there(json, key))
        return wf_fail(err, WF_REFUSED, "%s: a %s model does not take %s; remove the key",
                       json->path, family->name, key);
    return wf_json_double(json, key, 0, high, out, err);
}

static enum wf_status read_guidance(const struct wf_json *json, const struct wf_family *f,
                                    struct wf_defaults *d, struct wf_error *err)
{
    double bucket = d->motion_bucket_id;
    WF_TRY(
        read_number(json, f, WEFT_TAKES_GUIDANCE, "guidance_scale", 1000, &d->guidance_scale, err));
    WF_TRY(read_number(json, f, WEFT_TAKES_GUIDANCE_RANGE, "min_guidance_scale", 1000,
                       &d->min_guidance_scale, err));
    WF_TRY(read_number(json, f, WEFT_TAKES_GUIDANCE_RANGE, "max_guidance_scale", 1000,
                       &d->max_guidance_scale, err));
    WF_TRY(read_number(json, f, WEFT_TAKES_MOTION, "noise_aug_strength", 1000,
                       &d->noise_aug_strength, err));
    WF_TRY(read_number(json, f, WEFT_TAKES_MOTION, "motion_bucket_id", 1e6, &bucket, err));
    d->motion_bucket_id = (int)bucket;
    return WF_OK;
}

static enum wf_status read_settings(const struct wf_json *json, const struct wf_family *family,
                                    struct wf_defaults *d, struct wf_error *err)
{
    double fps = 0;
    WF_TRY(read_int(json, "width", 16384, &d->width, err));
    WF_TRY(read_int(json, "height", 16384, &d->height, err));
    WF_TRY(read_int(json, "num_frames", 100000, &d->num_frames, err));
    WF_TRY(read_int(json, "steps", 1000, &d->steps, err));
    WF_TRY(read_guidance(json, family, d, err));
    WF_TRY(wf_json_double(json, "fps", 0, 1000, &fps, err));
    if (fps != 0 && !weft_rate_from_double(fps, &d->fps_num, &d->fps_den))
        return wf_fail(err, WF_REFUSED, "%s: fps %g is not possible; give 0.001 to 1000",
                       json->path, fps);
    return WF_OK;
}

/* weft.json is optional: a small model says there what it was trained for. */
static enum wf_status read_defaults(struct weft_model *model, struct wf_error *err)
{
    char path[WF_PATH_BYTES];
    struct wf_json json = {0};
    model->defaults = model->family->defaults;
    if (model->family->read_defaults && model->kind == WF_FOLDER_MODEL)
        WF_TRY(model->family->read_defaults(model, &model->defaults, err));
    WF_TRY(wf_model_path(model, "weft.json", path, err));
    if (!wf_file_is_there(path))
        return WF_OK;
    WF_TRY(wf_json_open(path, &json, err));
    const enum wf_status status = read_settings(&json, model->family, &model->defaults, err);
    if (status == WF_OK)
        wf_log(model->engine, WEFT_LOG_INFO, "%s: its defaults come before the family's", path);
    wf_json_close(&json);
    return status;
}

/* A variant that no component has is a slip of the pen. */
static enum wf_status check_variant(const struct weft_model *model, struct wf_error *err)
{
    char path[WF_PATH_BYTES];
    if (!model->variant[0])
        return WF_OK;
    for (const struct wf_component *c = model->family->components; c->name; c++) {
        WF_TRY(wf_model_component_path(model, c->name, path, err));
        if (c->base && wf_checkpoint_has_variant(path, model->variant))
            return WF_OK;
    }
    return wf_fail(err, WF_REFUSED,
                   "%s: no component has weights of the variant %s; leave --variant out",
                   model->folder, model->variant);
}

static enum wf_status open_model(struct weft_model *model, const char *folder, const char *variant,
                                 struct wf_error *err)
{
    static const char *const indexes[] = {[WF_FOLDER_MODEL] = "model_index.json",
                                          [WF_FOLDER_WITH_VAE] = "vae/config.json",
                                          [WF_FOLDER_PART] = "config.json"};
    char path[WF_PATH_BYTES];
    WF_TRY(wf_check_folder(folder, &model->kind, err));
    if (strlen(folder) >= sizeof model->folder ||
        (variant && strlen(variant) >= sizeof model->variant))
        return wf_fail(err, WF_REFUSED, "model: the folder's or the variant's name is too long");
    strcpy(model->folder, folder);
    strcpy(model->variant, variant ? variant : "");
    WF_TRY(wf_model_path(model, indexes[model->kind], path, err));
    WF_TRY(wf_json_open(path, &model->index, err));
    WF_TRY(find_family(model, err));
    wf_log(model->engine, WEFT_LOG_INFO, "%s: %s, family %s", folder, model->pipeline_class,
           model->family->name);
    WF_TRY(check_variant(model, err));
    WF_TRY(wf_model_place(model, err));
    return read_defaults(model, err);
}

enum weft_status weft_model_open(struct weft_engine *engine, const char *folder,
                                 const char *variant, struct weft_model **model)
{
    *model = NULL;
    struct weft_model *m = wf_calloc(engine->mem, WF_MEM_MISC, 1, sizeof *m);
    if (!m)
        return (enum weft_status)wf_fail_memory(&engine->err, "model", sizeof *m);
    m->engine = engine;
    const enum wf_status status = open_model(m, folder, variant, &engine->err);
    if (status == WF_OK)
        *model = m;
    else
        weft_model_close(&m);
    return (enum weft_status)status;
}

int wf_model_component(const struct weft_model *m, const char *name)
{
    int i = 0;
    while (strcmp(m->family->components[i].name, name) != 0)
        i++;
    return i;
}

int wf_model_whole(const struct weft_model *m, int i)
{
    const char *whole = m->family->components[i].part_of;
    return whole ? wf_model_component(m, whole) : i;
}

/* Of all components, or of all but the VAE. They go before what declared them. */
static void close_weights(struct weft_model *m, bool all)
{
    const int vae = wf_model_component(m, "vae");
    for (int i = 0; i < WF_MAX_COMPONENTS; i++) {
        if (all || i != vae)
            wf_residency_close(&m->weights[i]);
    }
}

void weft_model_close(struct weft_model **model)
{
    struct weft_model *m = *model;
    if (!m)
        return;
    if (m->family)
        close_weights(m, true);
    if (m->pipeline)
        m->family->close(m->pipeline);
    wf_vae_close(&m->vae);
    for (int i = 0; !m->twin_of && i < WF_MAX_COMPONENTS; i++)
        wf_checkpoint_close(&m->ckpts[i]);
    if (!m->twin_of)
        wf_json_close(&m->index);
    wf_free(m);
    *model = NULL;
}

/* The variant that a component's files are taken in: NULL for the plain ones. */
static enum wf_status open_files(const struct weft_model *m, const char *component,
                                 const char *base, struct wf_checkpoint **ckpt,
                                 struct wf_error *err)
{
    char path[WF_PATH_BYTES];
    WF_TRY(wf_model_component_path(m, component, path, err));
    const bool has = m->variant[0] && wf_checkpoint_has_variant(path, m->variant);
    if (m->variant[0] && !has)
        wf_log(m->engine, WEFT_LOG_INFO, "%s: has no variant %s; its plain files are used",
               component, m->variant);
    return wf_checkpoint_open(path, base, has ? m->variant : NULL, m->engine->mem, ckpt, err);
}

static void log_component(const struct weft_model *m, const char *component,
                          const struct wf_checkpoint *ckpt)
{
    const struct wf_json *config = wf_checkpoint_config(ckpt);
    const char *key, *keys = NULL;
    json_t *value;
    wf_log(m->engine, WEFT_LOG_INFO, "%s: %d tensors, %llu parameters, %llu bytes", component,
           wf_checkpoint_count(ckpt), (unsigned long long)wf_checkpoint_parameters(ckpt),
           (unsigned long long)wf_checkpoint_bytes(ckpt));
    for (const struct wf_component *c = m->family->components; c->name; c++)
        keys = strcmp(c->name, component) == 0 ? c->keys : keys;
    json_object_foreach(config->root, key, value)
    {
        if (keys && key[0] != '_' && key[0] != '\0' && !wf_json_key_in(keys, key))
            wf_log(m->engine, WEFT_LOG_WARNING, "%s: key %.100s is not known and is skipped",
                   config->path, key);
    }
}

static enum wf_status open_checkpoint(struct weft_model *m, int i, struct wf_error *err)
{
    const struct wf_component *c = &m->family->components[i];
    if (m->ckpts[i])
        return WF_OK;
    WF_TRY(open_files(m, c->name, c->base, &m->ckpts[i], err));
    log_component(m, c->name, m->ckpts[i]);
    return WF_OK;
}

enum wf_status wf_model_weights(struct weft_model *m, const char *component,
                                struct wf_residency **weights, struct wf_error *err)
{
    const int i = wf_model_component(m, component), files = wf_model_whole(m, i);
    WF_TRY(open_checkpoint(m, files, err));
    WF_TRY(wf_residency_open(wf_model_policy(m), m->ckpts[files], wf_model_backend(m, component),
                             m->engine->mem, &m->weights[i], err));
    *weights = m->weights[i];
    return WF_OK;
}

void wf_model_stage_end(struct weft_model *m, enum weft_stage stage)
{
    for (int i = 0; m->family->components[i].name; i++) {
        if (m->weights[i] && m->family->components[i].stage == stage)
            wf_residency_stage_end(m->weights[i]);
    }
}

/* More tensors than the configuration asks for: it may be another model's. */
static void warn_of_unread(const struct weft_model *m, int i)
{
    const struct wf_component *c = &m->family->components[i];
    const char *first;
    if (m->twin_of || !m->weights[i] || c->part_of)
        return;
    const int count = wf_checkpoint_unasked(m->ckpts[i], c->unread, &first);
    if (count)
        wf_log(m->engine, WEFT_LOG_WARNING,
               "%s: %d of its tensors are not used, %.120s is one; config.json and weights may not "
               "belong together",
               c->name, count, first);
}

/* A twin begins with the weights that are there. */
static enum wf_status mirror_weights(struct weft_model *m, struct wf_error *err)
{
    for (int i = 0; m->twin_of && i < WF_MAX_COMPONENTS; i++) {
        if (m->weights[i] && m->twin_of->weights[i])
            WF_TRY(wf_residency_mirror(m->weights[i], m->twin_of->weights[i], err));
    }
    return WF_OK;
}

enum wf_status wf_model_open_twin(const struct weft_model *model, struct weft_engine *engine,
                                  struct weft_model **twin)
{
    *twin = wf_calloc(engine->mem, WF_MEM_MISC, 1, sizeof **twin);
    if (!*twin)
        return wf_fail_memory(&engine->err, "model", sizeof **twin);
    **twin = *model;
    (*twin)->engine = engine;
    (*twin)->twin_of = model;
    (*twin)->has_policy = false;
    (*twin)->vae = NULL;
    (*twin)->pipeline = NULL;
    memset((*twin)->weights, 0, sizeof(*twin)->weights);
    return WF_OK;
}

struct wf_policy wf_model_policy(const struct weft_model *m)
{
    return m->has_policy ? m->policy : m->engine->policy;
}

void wf_model_set_policy(struct weft_model *m, struct wf_policy policy)
{
    m->has_policy = true;
    m->policy = policy;
    for (int i = 0; i < WF_MAX_COMPONENTS; i++) {
        if (m->weights[i])
            wf_residency_set_policy(m->weights[i], policy);
    }
}

enum wf_status wf_model_open_vae(struct weft_model *m, struct wf_error *err)
{
    struct wf_residency *weights;
    if (m->vae)
        return WF_OK;
    WF_TRY(wf_model_weights(m, "vae", &weights, err));
    const enum wf_status status = wf_vae_open(weights, m->engine->mem, &m->vae, err);
    if (status != WF_OK) {
        wf_residency_close(&m->weights[wf_model_component(m, "vae")]);
        return status;
    }
    warn_of_unread(m, wf_model_component(m, "vae"));
    return mirror_weights(m, err);
}

enum wf_status wf_model_open_pipeline(struct weft_model *m, struct wf_error *err)
{
    if (m->pipeline)
        return WF_OK;
    if (m->kind != WF_FOLDER_MODEL)
        return wf_fail(err, WF_REFUSED,
                       "%s: the VAE is but one part of a model, and weft decode alone works with "
                       "it; to generate, give a folder that has model_index.json",
                       m->folder);
    const enum wf_status status = m->family->open(m, &m->pipeline, err);
    if (status != WF_OK) {
        close_weights(m, false);
        return status;
    }
    for (int i = 0; m->family->components[i].name; i++) {
        if (i != wf_model_component(m, "vae"))
            warn_of_unread(m, i);
    }
    return mirror_weights(m, err);
}

const char *wf_model_class(const struct weft_model *m, const char *component)
{
    if (m->kind != WF_FOLDER_MODEL)
        return strcmp(component, "vae") == 0 ? m->pipeline_class : NULL;
    return json_string_value(json_array_get(json_object_get(m->index.root, component), 1));
}

static void describe_component(struct weft_model *m, int i)
{
    struct weft_component *c = &m->components[m->info.component_count++];
    const struct wf_checkpoint *ckpt = m->ckpts[i];
    c->name = m->family->components[i].name;
    const char *class_name = wf_model_class(m, c->name);
    c->class_name = class_name ? class_name : "";
    if (!ckpt)
        return;
    c->parameters = wf_checkpoint_parameters(ckpt);
    c->bytes = wf_checkpoint_bytes(ckpt);
    c->tensors = wf_checkpoint_count(ckpt);
    m->info.parameters += c->parameters;
    m->info.bytes += c->bytes;
}

static enum wf_status describe(struct weft_model *m, struct wf_error *err)
{
    const struct wf_defaults *d = &m->defaults;
    const bool whole = m->kind == WF_FOLDER_MODEL;
    WF_TRY(whole ? wf_model_open_pipeline(m, err) : wf_model_open_vae(m, err));
    m->info = (struct weft_model_info){.family = m->family->name,
                                       .pipeline = m->pipeline_class,
                                       .components = m->components,
                                       .width = d->width,
                                       .height = d->height,
                                       .num_frames = d->num_frames,
                                       .steps = d->steps,
                                       .max_sequence_length = d->max_sequence_length,
                                       .guidance_scale = d->guidance_scale,
                                       .fps_num = d->fps_num,
                                       .fps_den = d->fps_den,
                                       .takes = m->family->takes,
                                       .motion_bucket_id = d->motion_bucket_id,
                                       .min_guidance_scale = d->min_guidance_scale,
                                       .max_guidance_scale = d->max_guidance_scale,
                                       .noise_aug_strength = d->noise_aug_strength};
    for (int i = 0; m->family->components[i].name; i++) {
        if ((whole || m->ckpts[i]) && !m->family->components[i].part_of)
            describe_component(m, i);
    }
    return WF_OK;
}

enum weft_status weft_model_describe(struct weft_model *model, const struct weft_model_info **info)
{
    const enum wf_status status = describe(model, &model->engine->err);
    *info = status == WF_OK ? &model->info : NULL;
    return (enum weft_status)status;
}

void weft_request_open(struct weft_request *request)
{
    *request = (struct weft_request){.guidance_scale = -1,
                                     .random_seed = 1,
                                     .motion_bucket_id = -1,
                                     .min_guidance_scale = -1,
                                     .max_guidance_scale = -1,
                                     .noise_aug_strength = -1,
                                     .chunk_overlap = -1,
                                     .tile_overlap_width = -1,
                                     .tile_overlap_height = -1};
}

void weft_request_defaults(const struct weft_model *model, struct weft_request *request)
{
    const struct wf_defaults *d = &model->defaults;
    *request = (struct weft_request){.width = d->width,
                                     .height = d->height,
                                     .num_frames = d->num_frames,
                                     .steps = d->steps,
                                     .guidance_scale = d->guidance_scale,
                                     .max_sequence_length = d->max_sequence_length,
                                     .fps_num = d->fps_num,
                                     .fps_den = d->fps_den,
                                     .random_seed = 1,
                                     .motion_bucket_id = d->motion_bucket_id,
                                     .min_guidance_scale = d->min_guidance_scale,
                                     .max_guidance_scale = d->max_guidance_scale,
                                     .noise_aug_strength = d->noise_aug_strength,
                                     .chunk_overlap = -1,
                                     .tile_overlap_width = -1,
                                     .tile_overlap_height = -1};
}
