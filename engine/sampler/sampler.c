#include <stdio.h>
#include <string.h>

#include "engine/sampler/driver.h"

static const struct wf_sampler_driver *const drivers[] = {&wf_sampler_unipc,
                                                          &wf_sampler_flow_euler};

/* "A, B" */
static void known_names(char *out, size_t room)
{
    size_t used = 0;
    for (size_t i = 0; i < sizeof drivers / sizeof *drivers && used < room; i++)
        used += (size_t)snprintf(out + used, room - used, "%s%s", i ? ", " : "",
                                 drivers[i]->class_name);
}

static enum wf_status find_driver(const struct wf_json *config, const char *class_name,
                                  const struct wf_sampler_driver **driver, struct wf_error *err)
{
    const char *name = class_name;
    char known[256];
    if (!name)
        WF_TRY(wf_json_require(config, "_class_name", err));
    if (!name)
        WF_TRY(wf_json_string(config, "_class_name", &name, err));
    for (size_t i = 0; i < sizeof drivers / sizeof *drivers; i++) {
        if (strcmp(drivers[i]->class_name, name) == 0) {
            *driver = drivers[i];
            return WF_OK;
        }
    }
    known_names(known, sizeof known);
    return wf_fail(err, WF_REFUSED, "%s: scheduler %.80s is not known; weft knows %s", config->path,
                   name, known);
}

size_t wf_sampler_unused(const struct wf_sampler *s, const struct wf_json *config, char *out,
                         size_t room)
{
    const char *key;
    json_t *value;
    size_t used = 0;
    out[0] = '\0';
    json_object_foreach(config->root, key, value)
    {
        if (key[0] != '_' && key[0] != '\0' && !wf_json_key_in(s->driver->keys, key) && used < room)
            used += (size_t)snprintf(out + used, room - used, "%s%.60s", used ? ", " : "", key);
    }
    return used;
}

const char *wf_sampler_class(const struct wf_sampler *s)
{
    return s->driver->class_name;
}

enum wf_status wf_sampler_must_be_off(const struct wf_json *config, const char *key,
                                      struct wf_error *err)
{
    bool on = false;
    WF_TRY(wf_json_bool(config, key, &on, err));
    if (on)
        return wf_fail(err, WF_REFUSED,
                       "%s: %s is on, which weft does not support; set it to false", config->path,
                       key);
    return WF_OK;
}

static enum wf_status configure(struct wf_sampler *s, const struct wf_json *config,
                                double flow_shift, struct wf_error *err)
{
    WF_TRY(wf_json_int(config, "num_train_timesteps", 1, 1000000, &s->train_timesteps, err));
    WF_TRY(wf_json_double(config, "shift_terminal", 0, 1, &s->shift_terminal, err));
    if (s->shift_terminal >= 1)
        return wf_fail(err, WF_REFUSED, "%s: shift_terminal is 1; it must be below 1",
                       config->path);
    WF_TRY(s->driver->configure(s, config, err));
    if (flow_shift > 0)
        s->shift = flow_shift;
    return WF_OK;
}

enum wf_status wf_sampler_open(const struct wf_json *config, const char *class_name,
                               double flow_shift, struct wf_mem *mem, struct wf_sampler **sampler,
                               struct wf_error *err)
{
    *sampler = NULL;
    const struct wf_sampler_driver *driver = NULL;
    WF_TRY(find_driver(config, class_name, &driver, err));
    struct wf_sampler *s = wf_calloc(mem, WF_MEM_MISC, 1, sizeof *s);
    if (!s)
        return wf_fail_memory(err, "sampler", sizeof *s);
    s->driver = driver;
    s->mem = mem;
    s->train_timesteps = 1000;
    s->shift = 1;
    s->order = 1;
    const enum wf_status status = configure(s, config, flow_shift, err);
    if (status != WF_OK) {
        wf_sampler_close(&s);
        return status;
    }
    *sampler = s;
    return WF_OK;
}

void wf_sampler_end(struct wf_sampler *s)
{
    for (size_t i = 0; i < sizeof s->kept / sizeof *s->kept; i++) {
        if (s->kept[i].data)
            s->be->ops.give(s->be, s->kept[i].data);
        s->kept[i] = (struct wf_tensor){0};
    }
    s->be = NULL;
}

void wf_sampler_close(struct wf_sampler **sampler)
{
    if (!*sampler)
        return;
    wf_sampler_end(*sampler);
    wf_free(*sampler);
    *sampler = NULL;
}

enum wf_status wf_sampler_prepare(struct wf_sampler *s, int steps, struct wf_error *err)
{
    if (steps < 1 || steps > WF_SAMPLER_MAX_STEPS)
        return wf_fail(err, WF_REFUSED, "steps: %d is not possible; choose 1 to %d", steps,
                       WF_SAMPLER_MAX_STEPS);
    wf_sampler_end(s);
    s->steps = steps;
    s->last_order = 0;
    s->driver->tables(s);
    return WF_OK;
}

int wf_sampler_steps(const struct wf_sampler *s)
{
    return s->steps;
}

double wf_sampler_timestep(const struct wf_sampler *s, int step)
{
    return s->timestep[step];
}

float wf_sampler_sigma(const struct wf_sampler *s, int step)
{
    return s->sigma[step];
}

void wf_sampler_stretch(double *sigma, int count, double terminal)
{
    const double factor = (1 - sigma[count - 1]) / (1 - terminal);
    for (int i = 0; i < count; i++)
        sigma[i] = 1 - (1 - sigma[i]) / factor;
}

static enum wf_status keep_buffers(struct wf_sampler *s, struct wf_backend *be,
                                   const struct wf_tensor *like)
{
    if (s->be)
        return WF_OK;
    const int count = s->driver->kept ? s->driver->kept + (int)s->order - 1 : 0;
    const size_t bytes = wf_tensor_bytes(like);
    s->be = be;
    for (int i = 0; i < count; i++) {
        void *data = be->ops.take(be, WF_MEM_CACHE, bytes);
        if (!data)
            return wf_fail_memory(be->err, "sampler", bytes);
        s->kept[i] = wf_tensor_of(data, like->dtype, like->rank, like->dim);
    }
    return WF_OK;
}

enum wf_status wf_sampler_step(struct wf_sampler *s, struct wf_backend *be, int step,
                               struct wf_tensor velocity, struct wf_tensor latents)
{
    WF_TRY(keep_buffers(s, be, &latents));
    return s->driver->step(s, be, step, velocity, latents);
}
