#include "engine/place.h"

#include <stdio.h>
#include <string.h>

#include "engine/models/family.h"
#include "kernels/base/threads.h"

/* --- maps: COMPONENT=VALUE,... --- */

/* The next entry of a map from *at on, which moves behind it. False: it is no entry. */
static bool next_entry(const char **at, char name[WF_PLACE_BYTES], char value[WF_PLACE_BYTES])
{
    const size_t length = strcspn(*at, ","), name_length = strcspn(*at, "=,");
    const size_t value_length = length - name_length - (name_length < length);
    if (name_length == 0 || value_length == 0 || name_length >= WF_PLACE_BYTES ||
        value_length >= WF_PLACE_BYTES)
        return false;
    memcpy(name, *at, name_length);
    name[name_length] = '\0';
    memcpy(value, *at + name_length + 1, value_length);
    value[value_length] = '\0';
    *at += length;
    return *at[0] == '\0' || *++*at != '\0'; /* nothing stands behind a last comma */
}

/* The value of a component in a map; false, and value as it was: it is not named. */
static bool look_up(const char *map, const char *component, char value[WF_PLACE_BYTES])
{
    char name[WF_PLACE_BYTES], found[WF_PLACE_BYTES];
    while (*map && next_entry(&map, name, found)) {
        if (strcmp(name, component) == 0) {
            strcpy(value, found);
            return true;
        }
    }
    return false;
}

static enum wf_status check_map(const char *what, const char *map,
                                enum wf_status (*check)(const char *value, struct wf_error *err),
                                struct wf_error *err)
{
    char name[WF_PLACE_BYTES], value[WF_PLACE_BYTES], twice[WF_PLACE_BYTES];
    for (const char *at = map; *at;) {
        if (!next_entry(&at, name, value))
            return wf_fail(err, WF_REFUSED,
                           "%s: \"%.100s\" is no map; write COMPONENT=VALUE,COMPONENT=VALUE", what,
                           map);
        if (look_up(at, name, twice))
            return wf_fail(err, WF_REFUSED, "%s: %s is named twice; name it once", what, name);
        WF_TRY(check(value, err));
    }
    return WF_OK;
}

/* --- the engine's backends --- */

static void log_device(const struct weft_engine *e, const char *device, const struct wf_backend *be)
{
    const char *dtype = wf_backend_dtype(be);
    wf_log(e, WEFT_LOG_INFO, "device: %s%s%s, products in %s, %d threads", device,
           be->about[0] ? ", " : "", be->about, dtype, be->threads);
    const int granted = wf_thread_granted(be->threads);
    if (granted < be->threads)
        wf_log(
            e, WEFT_LOG_WARNING,
            "threads: OpenMP grants %d of %d here (OMP_THREAD_LIMIT, OMP_MAX_ACTIVE_LEVELS, or a "
            "parallel region around the call); %d are used",
            granted, be->threads, granted);
    if (!be->ops.is_fast(be, be->compute))
        wf_log(e, WEFT_LOG_WARNING,
               "dtype: this processor is not faster in %s; f32 is as fast and more exact", dtype);
}

/* The number of the backend of a place, opened if it is not. */
static enum wf_status open_place(struct weft_engine *e, const struct wf_place *place, int *index,
                                 struct wf_error *err)
{
    struct wf_backend *be;
    const char *dtype = place->dtype[0] ? place->dtype : NULL;
    for (*index = 0; *index < e->backend_count; ++*index) {
        if (strcmp(e->devices[*index], place->device) == 0 &&
            wf_backend_suits(e->backends[*index], dtype))
            return WF_OK;
    }
    if (*index == WF_MAX_BACKENDS)
        return wf_fail(err, WF_REFUSED, "device-map: more than %d devices and types; use fewer",
                       WF_MAX_BACKENDS);
    WF_TRY(wf_backend_open(place->device, dtype, e->threads, e->mem, e->device_mem, err, &be));
    be->err = &e->err;
    be->profiled = e->profile;
    strcpy(e->devices[*index], place->device);
    e->backends[*index] = be;
    e->backend_count++;
    log_device(e, place->device, be);
    return WF_OK;
}

static enum wf_status copy_setting(const char *what, const char *from, char *to, size_t bytes,
                                   struct wf_error *err)
{
    if (strlen(from) >= bytes)
        return wf_fail(err, WF_REFUSED, "%s: is too long; give at most %zu characters", what,
                       bytes - 1);
    strcpy(to, from);
    return WF_OK;
}

/* A GPU, where there is one that can be used. */
static void find_device(struct weft_engine *e)
{
    struct wf_error why = {.text = "device: there is no NVIDIA driver"};
    int first;
    strcpy(e->place.device, "cuda");
    if (wf_backend_has_driver("cuda") && open_place(e, &e->place, &first, &why) == WF_OK)
        return;
    wf_log(e, WEFT_LOG_INFO, "%s", why.text);
    strcpy(e->place.device, "cpu");
}

/* One type for all, or a map. */
static enum wf_status take_dtype(struct weft_engine *e, const char *dtype)
{
    if (strchr(dtype, '=')) {
        WF_TRY(copy_setting("dtype", dtype, e->dtype_map, sizeof e->dtype_map, &e->err));
        return check_map("dtype", e->dtype_map, wf_backend_check_dtype, &e->err);
    }
    if (!dtype[0])
        return WF_OK;
    WF_TRY(wf_backend_check_dtype(dtype, &e->err));
    strcpy(e->place.dtype, dtype);
    return WF_OK;
}

enum wf_status wf_engine_place(struct weft_engine *e, const struct weft_settings *s)
{
    int first;
    e->threads = s->threads;
    e->profile = s->profile != 0;
    WF_TRY(take_dtype(e, s->dtype ? s->dtype : ""));
    if (s->device_map)
        WF_TRY(copy_setting("device-map", s->device_map, e->device_map, sizeof e->device_map,
                            &e->err));
    WF_TRY(check_map("device-map", e->device_map, wf_backend_check_device, &e->err));
    if (!s->device) {
        find_device(e);
    } else {
        WF_TRY(wf_backend_check_device(s->device, &e->err));
        strcpy(e->place.device, s->device); /* what is known is short */
    }
    return e->dtype_map[0] || e->device_map[0] ? WF_OK : open_place(e, &e->place, &first, &e->err);
}

void wf_engine_close_backends(struct weft_engine *e)
{
    while (e->backend_count)
        wf_backend_close(&e->backends[--e->backend_count]);
}

/* --- a model's components --- */

static enum wf_status check_names(const struct weft_model *m, const char *what, const char *map,
                                  struct wf_error *err)
{
    char name[WF_PLACE_BYTES], value[WF_PLACE_BYTES], known[256] = "";
    const struct wf_component *components = m->family->components;
    for (const struct wf_component *c = components; c->name; c++) {
        const size_t used = strlen(known);
        if (c->base)
            snprintf(known + used, sizeof known - used, "%s%s", used ? ", " : "", c->name);
    }
    while (*map && next_entry(&map, name, value)) {
        const struct wf_component *c = components;
        while (c->name && !(c->base && strcmp(c->name, name) == 0))
            c++;
        if (!c->name)
            return wf_fail(err, WF_REFUSED, "%s: %s is no component that computes; these are: %s",
                           what, name, known);
    }
    return WF_OK;
}

enum wf_status wf_model_place(struct weft_model *m, struct wf_error *err)
{
    struct weft_engine *e = m->engine;
    WF_TRY(check_names(m, "device-map", e->device_map, err));
    WF_TRY(check_names(m, "dtype", e->dtype_map, err));
    for (int i = 0; m->family->components[i].name; i++) {
        const struct wf_component *c = &m->family->components[i];
        struct wf_place place = e->place;
        if (!c->base)
            continue;
        (void)look_up(e->device_map, c->name, place.device);
        (void)look_up(e->dtype_map, c->name, place.dtype);
        WF_TRY(open_place(e, &place, &m->places[i], err));
    }
    return WF_OK;
}

struct wf_backend *wf_model_backend(const struct weft_model *m, const char *component)
{
    return m->engine->backends[m->places[wf_model_whole(m, wf_model_component(m, component))]];
}

static void describe(const struct weft_model *m,
                     const char *(*of)(const struct weft_engine *e, int place),
                     char text[WF_PLACES_BYTES])
{
    const char *first = NULL;
    bool differ = false;
    size_t used = 0;
    for (int i = 0; m->family->components[i].name; i++) {
        const struct wf_component *c = &m->family->components[i];
        if (!c->base)
            continue;
        const char *value = of(m->engine, m->places[i]);
        differ |= first && strcmp(first, value) != 0;
        first = first ? first : value;
        if (used < WF_PLACES_BYTES)
            used += (size_t)snprintf(text + used, WF_PLACES_BYTES - used, "%s%s=%s",
                                     used ? "," : "", c->name, value);
    }
    if (!differ)
        snprintf(text, WF_PLACES_BYTES, "%s", first);
}

static const char *device_of(const struct weft_engine *e, int place)
{
    return e->devices[place];
}

static const char *dtype_of(const struct weft_engine *e, int place)
{
    return wf_backend_dtype(e->backends[place]);
}

void wf_model_devices(const struct weft_model *m, char text[WF_PLACES_BYTES])
{
    describe(m, device_of, text);
}

void wf_model_dtypes(const struct weft_model *m, char text[WF_PLACES_BYTES])
{
    describe(m, dtype_of, text);
}
