#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/place.h"

static_assert((int)WEFT_OK == (int)WF_OK && (int)WEFT_FAILED == (int)WF_FAILED &&
                  (int)WEFT_REFUSED == (int)WF_REFUSED && (int)WEFT_CANCELLED == (int)WF_CANCELLED,
              "a status crosses weft.h as it is");
static_assert((int)WEFT_OFFLOAD_NONE == (int)WF_OFFLOAD_NONE &&
                  (int)WEFT_OFFLOAD_MODEL == (int)WF_OFFLOAD_MODEL &&
                  (int)WEFT_OFFLOAD_GROUP == (int)WF_OFFLOAD_GROUP &&
                  (int)WEFT_OFFLOAD_SEQUENTIAL == (int)WF_OFFLOAD_SEQUENTIAL,
              "so does a policy");

#if UINTPTR_MAX == UINT64_MAX
static_assert(sizeof(struct weft_settings) == 104 && sizeof(struct weft_component) == 72 &&
                  sizeof(struct weft_model_info) == 152 && sizeof(struct weft_progress) == 64 &&
                  sizeof(struct weft_request) == 248 && sizeof(struct weft_job_info) == 104 &&
                  sizeof(struct weft_frame) == 56 && sizeof(struct weft_output) == 120 &&
                  sizeof(struct weft_writer_info) == 168 && sizeof(struct weft_stage_plan) == 104,
              "programs are built against these sizes: new fields take the room of reserved");
#endif

const char *weft_version(void)
{
    return WEFT_VERSION;
}

void weft_settings_defaults(struct weft_settings *settings)
{
    *settings = (struct weft_settings){.offload = WEFT_OFFLOAD_DEFAULT};
}

enum wf_status wf_check_reserved(const uint64_t *reserved, size_t count, const char *what,
                                 struct wf_error *err)
{
    for (size_t i = 0; i < count; i++) {
        if (reserved[i])
            return wf_fail(err, WF_REFUSED,
                           "%s: a field is set that weft %s does not know; fill the struct by its "
                           "defaults function, or use a newer library",
                           what, WEFT_VERSION);
    }
    return WF_OK;
}

static enum wf_status check_settings(const struct weft_settings *s, struct wf_error *err)
{
    WF_TRY(WF_CHECK_RESERVED(s, "settings", err));
    if (s->threads < 0 || s->threads > 4096)
        return wf_fail(err, WF_REFUSED,
                       "threads: %d is not possible; choose 1 to 4096, or 0 for all", s->threads);
    if ((int)s->offload < WEFT_OFFLOAD_NONE || s->offload > WEFT_OFFLOAD_DEFAULT)
        return wf_fail(err, WF_REFUSED,
                       "offload: policy %d is not known; use none, model, group, sequential or "
                       "auto",
                       (int)s->offload);
    if (s->offload_blocks < 0)
        return wf_fail(err, WF_REFUSED, "offload-blocks: %d is not possible; choose 1 or more",
                       s->offload_blocks);
    if (s->offload_blocks && s->offload != WEFT_OFFLOAD_GROUP)
        return wf_fail(err, WF_REFUSED,
                       "offload-blocks: %d blocks go with offload group alone; leave it away",
                       s->offload_blocks);
    if (s->device_map && s->device_map[0] && s->offload != WEFT_OFFLOAD_DEFAULT &&
        s->offload != WEFT_OFFLOAD_NONE)
        return wf_fail(err, WF_REFUSED,
                       "device-map: it keeps every component's weights on its device, and an "
                       "offload moves them; drop --offload to place them, or --device-map to "
                       "offload them");
    return WF_OK;
}

static enum weft_offload offload_of(const struct weft_settings *s)
{
    if (s->offload != WEFT_OFFLOAD_DEFAULT)
        return s->offload;
    if (s->device_map && s->device_map[0])
        return WEFT_OFFLOAD_NONE;
    return s->memory_limit ? WEFT_OFFLOAD_AUTO : WEFT_OFFLOAD_MODEL;
}

static enum wf_status open_engine(struct weft_engine *e, const struct weft_settings *s)
{
    WF_TRY(check_settings(s, &e->err));
    const enum weft_offload offload = offload_of(s);
    e->chooses = offload == WEFT_OFFLOAD_AUTO;
    e->policy = (struct wf_policy){e->chooses ? WF_OFFLOAD_MODEL : (enum wf_offload)offload,
                                   s->offload_blocks};
    e->memory_limit = (size_t)s->memory_limit;
    e->log = s->log;
    e->log_context = s->log_context;
    e->mem = wf_mem_open();
    e->device_mem = wf_mem_open();
    if (!e->mem || !e->device_mem)
        return wf_fail_memory(&e->err, "engine", 0);
    return wf_engine_place(e, s);
}

enum weft_status weft_engine_open(const struct weft_settings *settings, struct weft_engine **engine)
{
    struct weft_settings defaults;
    weft_settings_defaults(&defaults);
    *engine = calloc(1, sizeof **engine);
    if (!*engine)
        return WEFT_FAILED;
    return (enum weft_status)open_engine(*engine, settings ? settings : &defaults);
}

void weft_engine_close(struct weft_engine **engine)
{
    if (!*engine)
        return;
    wf_engine_close_backends(*engine);
    wf_mem_close(&(*engine)->mem);
    wf_mem_close(&(*engine)->device_mem);
    free(*engine);
    *engine = NULL;
}

const char *weft_engine_error(const struct weft_engine *engine)
{
    return engine ? engine->err.text : "engine: out of memory";
}

int weft_rate_from_double(double fps, int *num, int *den)
{
    if (!(fps > 0) || fps > 1000)
        return 0;
    const double whole = round(fps), ntsc = whole * 1000 / 1001;
    if (fps == whole) {
        *num = (int)whole;
        *den = 1;
    } else if (whole >= 24 && fabs(fps - ntsc) < 5e-3) { /* 23.976, 29.97, 59.94 */
        *num = (int)whole * 1000;
        *den = 1001;
    } else {
        *num = (int)round(fps * 1000);
        *den = 1000;
        for (int a = *num, b = *den;;) { /* Euclid: in lowest terms */
            const int rest = a % b;
            if (rest == 0) {
                *num /= b;
                *den /= b;
                break;
            }
            a = b;
            b = rest;
        }
    }
    return *num > 0;
}
