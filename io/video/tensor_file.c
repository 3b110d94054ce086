/* safetensors: one tensor `frames`, F32 [T,H,W,3], written frame by frame. Where the count is not
   known before, the header has room for any and is written again at the end. */
#include <stdio.h>
#include <string.h>

#include "io/video/driver.h"

enum { LENGTH_BYTES = 8, HEADER_ROOM = 256 };

struct tensor_file {
    struct wf_output *output;
    int height, width;
    size_t frame_bytes;
    int64_t announced, written; /* frames; announced 0: not known */
};

static const char file_format[] = "{\"frames\":{\"dtype\":\"F32\",\"shape\":[%lld,%d,%d,3],"
                                  "\"data_offsets\":[0,%lld]}}";

static enum wf_status data_bytes(const struct tensor_file *file, int64_t frames, int64_t *bytes,
                                 enum wf_status status, struct wf_error *err)
{
    if (!__builtin_mul_overflow(frames, (int64_t)file->frame_bytes, bytes))
        return WF_OK;
    return wf_fail(err, status, "output: %lld frames are too many for one tensor; choose fewer",
                   (long long)frames);
}

/* The length and the JSON behind it, padded with spaces to HEADER_ROOM in all. */
static enum wf_status write_header(struct tensor_file *file, int64_t frames, struct wf_error *err)
{
    unsigned char header[HEADER_ROOM];
    const uint64_t json_bytes = HEADER_ROOM - LENGTH_BYTES;
    int64_t bytes;
    WF_TRY(data_bytes(file, frames, &bytes, WF_FAILED, err));
    for (size_t i = 0; i < LENGTH_BYTES; i++)
        header[i] = (unsigned char)(json_bytes >> (8 * i));
    memset(header + LENGTH_BYTES, ' ', HEADER_ROOM - LENGTH_BYTES);
    const int used =
        snprintf((char *)header + LENGTH_BYTES, HEADER_ROOM - LENGTH_BYTES, file_format,
                 (long long)frames, file->height, file->width, (long long)bytes);
    header[LENGTH_BYTES + used] = ' '; /* over the terminating zero */
    return wf_output_write(file->output, header, HEADER_ROOM, err);
}

static enum wf_status file_open(const struct wf_sink_driver *driver,
                                const struct wf_sink_config *config, struct wf_output *output,
                                struct wf_mem *mem, void **state, struct wf_error *err)
{
    (void)driver;
    *state = NULL;
    if (!config->frames && !wf_output_seekable(output))
        return wf_fail(err, WF_REFUSED,
                       "output: safetensors in a pipe needs the count of frames "
                       "beforehand; write to a file");
    struct tensor_file *file = wf_calloc(mem, WF_MEM_MISC, 1, sizeof *file);
    if (!file)
        return wf_fail_memory(err, "output", sizeof *file);
    file->output = output;
    file->width = config->width;
    file->height = config->height;
    file->frame_bytes = (size_t)config->width * (size_t)config->height * 3 * sizeof(float);
    file->announced = config->frames;
    int64_t bytes;
    const enum wf_status status = data_bytes(file, file->announced, &bytes, WF_REFUSED, err);
    if (status != WF_OK)
        wf_free(file);
    else
        *state = file;
    return status;
}

static enum wf_status file_write(void *state, const void *frame, struct wf_error *err)
{
    struct tensor_file *file = state;
    if (file->written == 0)
        WF_TRY(write_header(file, file->announced, err));
    WF_TRY(wf_output_write(file->output, frame, file->frame_bytes, err));
    file->written++;
    return WF_OK;
}

static enum wf_status file_finish(void *state, struct wf_error *err)
{
    struct tensor_file *file = state;
    if (file->announced)
        return WF_OK;
    wf_output_seek(file->output, 0);
    return write_header(file, file->written, err);
}

static void file_close(void *state)
{
    wf_free(state);
}

const struct wf_sink_driver wf_sink_safetensors = {
    .name = "safetensors",
    .extensions = "safetensors",
    .form = WF_SINK_F32,
    .open = file_open,
    .write = file_write,
    .finish = file_finish,
    .close = file_close,
};
