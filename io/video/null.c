/* Frames that go nowhere: for benchmarks. */
#include "io/video/driver.h"

static enum wf_status null_open(const struct wf_sink_driver *driver,
                                const struct wf_sink_config *config, struct wf_output *output,
                                struct wf_mem *mem, void **state, struct wf_error *err)
{
    (void)driver, (void)config, (void)output, (void)mem, (void)err;
    *state = NULL;
    return WF_OK;
}

static enum wf_status null_write(void *state, const void *frame, struct wf_error *err)
{
    (void)state, (void)frame, (void)err;
    return WF_OK;
}

static enum wf_status null_finish(void *state, struct wf_error *err)
{
    (void)state, (void)err;
    return WF_OK;
}

static void null_close(void *state)
{
    (void)state;
}

const struct wf_sink_driver wf_sink_null = {
    .name = "null",
    .extensions = "",
    .form = WF_SINK_RGB24,
    .flags = WF_SINK_NOWHERE,
    .open = null_open,
    .write = null_write,
    .finish = null_finish,
    .close = null_close,
};
