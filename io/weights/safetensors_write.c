#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/weights/safetensors.h"

static enum wf_status write_all(int fd, const char *path, const void *data, size_t bytes,
                                struct wf_error *err)
{
    const unsigned char *next = data;
    while (bytes > 0) {
        const ssize_t done = write(fd, next, bytes);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return wf_fail(err, WF_FAILED,
                           "%s: cannot be written (%s); make room or choose another "
                           "place",
                           path, strerror(done < 0 ? errno : ENOSPC));
        next += done;
        bytes -= (size_t)done;
    }
    return WF_OK;
}

/* The JSON of a file with one tensor; to be freed with free. NULL when memory is short or the name
   is not UTF-8. */
static char *header_text(const char *name, int rank, const int64_t *dims, uint64_t bytes)
{
    json_t *shape = json_array();
    for (int i = 0; i < rank; i++)
        json_array_append_new(shape, json_integer(dims[i]));
    json_t *root = json_pack("{s:{s:s,s:o,s:[I,I]}}", name, "dtype", "F32", "shape", shape,
                             "data_offsets", (json_int_t)0, (json_int_t)bytes);
    char *text = root ? json_dumps(root, JSON_COMPACT) : NULL;
    json_decref(root);
    return text;
}

static enum wf_status write_parts(int fd, const char *path, const char *text, const void *data,
                                  size_t bytes, struct wf_error *err)
{
    /* Spaces after the header make the data 8-byte aligned, as safetensors' own writer does. */
    const size_t text_bytes = strlen(text), padded = (text_bytes + 7) / 8 * 8;
    unsigned char length[8];
    for (int i = 0; i < 8; i++)
        length[i] = (unsigned char)(padded >> 8 * i & 0xff);
    WF_TRY(write_all(fd, path, length, sizeof length, err));
    WF_TRY(write_all(fd, path, text, text_bytes, err));
    WF_TRY(write_all(fd, path, "       ", padded - text_bytes, err));
    return write_all(fd, path, data, bytes, err);
}

static enum wf_status write_named(const char *path, const char *part, const char *text,
                                  const void *data, size_t bytes, struct wf_error *err)
{
    const int fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (fd < 0)
        return wf_fail(err, WF_FAILED, "%s: cannot be made (%s); choose another place", part,
                       strerror(errno));
    enum wf_status status = write_parts(fd, path, text, data, bytes, err);
    if (close(fd) != 0 && status == WF_OK)
        status = wf_fail(err, WF_FAILED,
                         "%s: cannot be written (%s); make room or choose another "
                         "place",
                         path, strerror(errno));
    if (status == WF_OK && rename(part, path) != 0)
        status = wf_fail(err, WF_FAILED, "%s: cannot be made (%s); choose another place", path,
                         strerror(errno));
    if (status != WF_OK)
        unlink(part);
    return status;
}

enum wf_status wf_st_write_f32(const char *path, const char *name, const float *data, int rank,
                               const int64_t *dims, struct wf_error *err)
{
    uint64_t bytes = sizeof *data;
    for (int i = 0; i < rank; i++) {
        if (dims[i] < 0 || __builtin_mul_overflow(bytes, (uint64_t)dims[i], &bytes) ||
            bytes > INT64_MAX)
            return wf_fail(err, WF_FAILED, "%s: size %lld of axis %d is not possible", path,
                           (long long)dims[i], i);
    }
    char *text = header_text(name, rank, dims, bytes), *part = NULL;
    enum wf_status status;
    if (!text || asprintf(&part, "%s.%ld.part", path, (long)getpid()) < 0) {
        part = NULL;
        status = wf_fail_memory(err, path, strlen(path) + strlen(name));
    } else {
        status = write_named(path, part, text, data, (size_t)bytes, err);
    }
    free(text);
    free(part);
    return status;
}
