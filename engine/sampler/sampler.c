#include <math.h>
#include <stdio.h>
#include <string.h>

#include "engine/sampler/driver.h"

static const struct wf_sampler_driver *const drivers[] = {&wf_sampler_unipc, &wf_sampler_flow_euler,
                                                          &wf_sampler_euler_discrete};

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

enum wf_prediction wf_sampler_prediction(const struct wf_sampler *s)
{
    return s->prediction;
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

enum wf_status wf_sampler_choose(const struct wf_json *config, const char *key,
                                 const char *const *names, int *choice, struct wf_error *err)
{
    const char *name = names[*choice];
    char known[128];
    size_t used = 0;
    WF_TRY(wf_json_string(config, key, &name, err));
    for (int i = 0; names[i]; i++) {
        if (strcmp(names[i], name) == 0) {
            *choice = i;
            return WF_OK;
        }
        if (used < sizeof known)
            used += (size_t)snprintf(known + used, sizeof known - used, "%s%s", i ? ", " : "",
                                     names[i]);
    }
    return wf_fail(err, WF_REFUSED, "%s: %s is %.60s; weft knows %s", config->path, key, name,
                   known);
}

enum wf_status wf_sampler_open(const struct wf_json *config, const char *class_name,
                               double flow_shift, struct wf_mem *mem, struct wf_sampler **sampler,
                               struct wf_error *err)
{
    *sampler = NULL;
    const struct wf_sampler_driver *driver = NULL;
    WF_TRY(find_driver(config, class_name, &driver, err));
    struct wf_sampler *s = wf_calloc(mem, WF_MEM_MISC, 1, driver->bytes);
    if (!s)
        return wf_fail_memory(err, "sampler", driver->bytes);
    s->driver = driver;
    s->mem = mem;
    s->train_timesteps = 1000;
    enum wf_status status =
        wf_json_int(config, "num_train_timesteps", 1, 1000000, &s->train_timesteps, err);
    if (status == WF_OK)
        status = driver->configure(s, config, flow_shift, err);
    if (status != WF_OK) {
        wf_sampler_close(&s);
        return status;
    }
    *sampler = s;
    return WF_OK;
}

void wf_sampler_end(struct wf_sampler *s)
{
    if (s->driver->end)
        s->driver->end(s);
}

void wf_sampler_close(struct wf_sampler **sampler)
{
    struct wf_sampler *s = *sampler;
    if (!s)
        return;
    wf_sampler_end(s);
    if (s->driver->close)
        s->driver->close(s);
    wf_free(s);
    *sampler = NULL;
}

/* Of some numbers of steps a bound of the file and one of the timesteps are the wrong way round,
   the last training sigma lies below the one before it (see wf_noise_read), or a stretch divides by
   nothing. */
static enum wf_status check_tables(const struct wf_sampler *s, struct wf_error *err)
{
    for (int i = 0; i <= s->steps; i++) {
        if (!isfinite(s->sigma[i]) || s->sigma[i] < 0 ||
            (i < s->steps && !isfinite(s->timestep[i])))
            return wf_fail(err, WF_REFUSED,
                           "scheduler: of %d steps number %d has noise of %g; take another number "
                           "of steps, or mend scheduler_config.json",
                           s->steps, i + 1, (double)s->sigma[i]);
        if (i > 0 && i < s->steps && s->sigma[i] > s->sigma[i - 1])
            return wf_fail(err, WF_REFUSED,
                           "scheduler: %d steps make the noise rise from %g to %g; mend sigma_min, "
                           "sigma_max or the betas in scheduler_config.json",
                           s->steps, (double)s->sigma[i - 1], (double)s->sigma[i]);
    }
    return WF_OK;
}

enum wf_status wf_sampler_prepare(struct wf_sampler *s, int steps, struct wf_error *err)
{
    if (steps < 1 || steps > WF_SAMPLER_MAX_STEPS)
        return wf_fail(err, WF_REFUSED, "steps: %d is not possible; choose 1 to %d", steps,
                       WF_SAMPLER_MAX_STEPS);
    wf_sampler_end(s);
    s->steps = steps;
    WF_TRY(s->driver->tables(s, err));
    return check_tables(s, err);
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

double wf_sampler_init_sigma(const struct wf_sampler *s)
{
    return s->driver->init_sigma ? s->driver->init_sigma(s) : 1;
}

double wf_sampler_input_scale(const struct wf_sampler *s, int step)
{
    return s->driver->input_scale ? s->driver->input_scale(s, step) : 1;
}

int wf_sampler_kept(const struct wf_sampler *s, struct wf_tensor *tensors, int room)
{
    return s->driver->kept ? s->driver->kept(s, tensors, room) : 0;
}

enum wf_status wf_sampler_go_on(struct wf_sampler *s, struct wf_backend *be, int steps,
                                struct wf_tensor like)
{
    return s->driver->go_on ? s->driver->go_on(s, be, steps, like) : WF_OK;
}

enum wf_status wf_sampler_step(struct wf_sampler *s, struct wf_backend *be, int step,
                               struct wf_tensor prediction, struct wf_tensor latents)
{
    return s->driver->step(s, be, step, prediction, latents);
}

/* By what enum wf_prediction says of each. */
enum wf_status wf_sampler_estimate(const struct wf_sampler *s, struct wf_backend *be, int step,
                                   struct wf_tensor prediction, struct wf_tensor latents,
                                   struct wf_tensor clip)
{
    const double sigma = (double)s->sigma[step], square = sigma * sigma + 1;
    double of_latents = 1, of_prediction = -sigma;
    if (s->prediction == WF_PREDICT_V) {
        of_latents = 1 / square;
        of_prediction = -sigma / sqrt(square);
    } else if (s->prediction == WF_PREDICT_SAMPLE) {
        of_latents = 0;
        of_prediction = 1;
    }
    return wf_lincomb(be, &(struct wf_lincomb){.x = {latents, prediction},
                                               .c = {(float)of_latents, (float)of_prediction},
                                               .terms = 2,
                                               .y = clip});
}
