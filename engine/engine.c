#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/engine.h"
#include "kernels/base/threads.h"

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
                  sizeof(struct weft_writer_info) == 168,
              "programs are built against these sizes: new fields take the room of reserved");
#endif

const char *weft_version(void)
{
    return WEFT_VERSION;
}

void weft_settings_defaults(struct weft_settings *settings)
{
    *settings = (struct weft_settings){.offload = WEFT_OFFLOAD_MODEL};
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
    const uint64_t reserved_int = (uint64_t)s->reserved_int;
    WF_TRY(WF_CHECK_RESERVED(s, "settings", err));
    WF_TRY(wf_check_reserved(&reserved_int, 1, "settings", err));
    if (s->threads < 0 || s->threads > 4096)
        return wf_fail(err, WF_REFUSED,
                       "threads: %d is not possible; choose 1 to 4096, or 0 for all", s->threads);
    if ((int)s->offload < WEFT_OFFLOAD_NONE || s->offload > WEFT_OFFLOAD_AUTO)
        return wf_fail(err, WF_REFUSED,
                       "offload: policy %d is not known; use none, model, group, sequential or "
                       "auto",
                       (int)s->offload);
    if (s->offload_blocks < 0 || (s->offload_blocks && s->offload != WEFT_OFFLOAD_GROUP))
        return wf_fail(err, WF_REFUSED,
                       "offload-blocks: %d blocks go with offload group alone; leave it away",
                       s->offload_blocks);
    return WF_OK;
}

/* "ref", the plain C that defines truth, is there for tests. */
static enum wf_status check_device(const char *device, struct wf_error *err)
{
    if (strcmp(device, "cpu") == 0 || strcmp(device, "ref") == 0)
        return WF_OK;
    if (strncmp(device, "cuda", 4) == 0)
        return wf_fail(err, WF_REFUSED, "device: this build has no CUDA backend; use --device cpu");
    return wf_fail(err, WF_REFUSED, "device: %s is not known; use cpu", device);
}

static void log_device(const struct weft_engine *e)
{
    const struct wf_backend *be = e->be;
    const char *dtype = be->compute == WF_BF16 ? "bf16" : "f32";
    wf_log(e, WEFT_LOG_INFO, "device: %s%s%s, products in %s, %d threads", e->device,
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

static enum wf_status open_engine(struct weft_engine *e, const struct weft_settings *s)
{
    const char *device = s->device ? s->device : "cpu";
    WF_TRY(check_settings(s, &e->err));
    WF_TRY(check_device(device, &e->err));
    strncpy(e->device, device, sizeof e->device - 1);
    e->chooses = s->offload == WEFT_OFFLOAD_AUTO;
    e->policy = (struct wf_policy){e->chooses ? WF_OFFLOAD_MODEL : (enum wf_offload)s->offload,
                                   s->offload_blocks};
    e->memory_limit = (size_t)s->memory_limit;
    e->log = s->log;
    e->log_context = s->log_context;
    e->mem = wf_mem_open();
    if (!e->mem)
        return wf_fail_memory(&e->err, "engine", 0);
    WF_TRY(wf_backend_open(device, s->dtype, s->threads, e->mem, &e->err, &e->be));
    log_device(e);
    return WF_OK;
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
    wf_backend_close(&(*engine)->be);
    wf_mem_close(&(*engine)->mem);
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
