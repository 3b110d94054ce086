#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "io/json.h"
#include "io/output.h"
#include "io/part.h"
#include "io/weights/safetensors.h"

/* The JSON of a file with one tensor; to be freed with free. NULL when memory is short or the name
   is not UTF-8. */
static char *header_text(const char *name, int rank, const int64_t *dims, uint64_t bytes)
{
    json_t *shape = json_array();
    for (int i = 0; i < rank; i++)
        shape = wf_json_plus(shape, json_integer(dims[i]));
    json_t *root = json_pack("{s:{s:s,s:o,s:[I,I]}}", name, "dtype", "F32", "shape", shape,
                             "data_offsets", (json_int_t)0, (json_int_t)bytes);
    char *text = root ? json_dumps(root, JSON_COMPACT) : NULL;
    json_decref(root);
    return text;
}

static enum wf_status write_parts(struct wf_output *out, const char *text, const void *data,
                                  size_t bytes, struct wf_error *err)
{
    /* Spaces after the header make the data 8-byte aligned, as safetensors' own writer does. */
    const size_t text_bytes = strlen(text), padded = (text_bytes + 7) / 8 * 8;
    unsigned char length[8];
    for (int i = 0; i < 8; i++)
        length[i] = (unsigned char)(padded >> 8 * i & 0xff);
    WF_TRY(wf_output_write(out, length, sizeof length, err));
    WF_TRY(wf_output_write(out, text, text_bytes, err));
    WF_TRY(wf_output_write(out, "       ", padded - text_bytes, err));
    return wf_output_write(out, data, bytes, err);
}

static enum wf_status write_file(const char *path, const char *text, const void *data, size_t bytes,
                                 struct wf_mem *mem, struct wf_error *err)
{
    struct wf_output *out;
    bool kept;
    wf_part_sweep(path, 0, 0);
    WF_TRY(wf_output_open(path, true, NULL, mem, &out, err));
    const enum wf_status status = write_parts(out, text, data, bytes, err);
    if (status == WF_OK)
        return wf_output_commit(&out, &kept, err);
    wf_output_discard(&out);
    return status;
}

enum wf_status wf_st_write_f32(const char *path, const char *name, const float *data, int rank,
                               const int64_t *dims, struct wf_mem *mem, struct wf_error *err)
{
    uint64_t bytes = sizeof *data;
    for (int i = 0; i < rank; i++) {
        if (dims[i] < 0 || __builtin_mul_overflow(bytes, (uint64_t)dims[i], &bytes) ||
            bytes > INT64_MAX)
            return wf_fail(err, WF_FAILED, "%s: size %lld of axis %d is not possible", path,
                           (long long)dims[i], i);
    }
    char *text = header_text(name, rank, dims, bytes);
    if (!text)
        return wf_fail_memory(err, path, strlen(path) + strlen(name));
    const enum wf_status status = write_file(path, text, data, (size_t)bytes, mem, err);
    free(text);
    return wf_fail_late(status, err);
}
