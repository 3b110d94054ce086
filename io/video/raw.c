/* rawvideo: rgb24, frame after frame, nothing else. */
#include <string.h>

#include "io/video/driver.h"

struct raw {
    struct wf_output *output;
    size_t frame_bytes;
};

static enum wf_status raw_open(const struct wf_sink_driver *driver,
                               const struct wf_sink_config *config, struct wf_output *output,
                               struct wf_mem *mem, void **state, struct wf_error *err)
{
    (void)driver;
    struct raw *raw = *state = wf_calloc(mem, WF_MEM_MISC, 1, sizeof *raw);
    if (!raw)
        return wf_fail_memory(err, "output", sizeof *raw);
    raw->output = output;
    raw->frame_bytes = (size_t)config->width * (size_t)config->height * 3;
    return WF_OK;
}

static enum wf_status raw_write(void *state, const void *frame, struct wf_error *err)
{
    const struct raw *raw = state;
    return wf_output_write(raw->output, frame, raw->frame_bytes, err);
}

static enum wf_status raw_finish(void *state, struct wf_error *err)
{
    (void)state, (void)err;
    return WF_OK;
}

static void raw_count(const void *state, struct wf_sink_stats *stats)
{
    (void)state;
    strcpy(stats->pix_fmt, "rgb24");
}

static void raw_close(void *state)
{
    wf_free(state);
}

const struct wf_sink_driver wf_sink_rawvideo = {
    .name = "rawvideo",
    .extensions = "rgb raw",
    .form = WF_SINK_RGB24,
    .pix_fmts = {"rgb24"},
    .open = raw_open,
    .write = raw_write,
    .finish = raw_finish,
    .count = raw_count,
    .close = raw_close,
};
