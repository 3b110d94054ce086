#include "io/output.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/part.h"

enum {
    SHOWN_PATH = 200, /* of a long path, so that the message keeps its room */
    POLL_MS = 100,
};

struct wf_output {
    int fd;
    char *path;   /* as messages name it */
    char *target; /* the file to become; NULL: written as it stands */
    char *temporary;
    bool overwrite, in_pieces;
    int failure; /* errno of the first write that failed */
    atomic_bool abandoned;
    int64_t position, size;
};

static const char *shown(const char *path)
{
    const size_t length = strlen(path);
    return length > SHOWN_PATH ? path + length - SHOWN_PATH : path;
}

static enum wf_status refuse_errno(const char *path, int error, struct wf_error *err)
{
    const char *what = strerror(error), *remedy = "choose another output";
    if (error == ENOENT || error == ENOTDIR) {
        what = "its folder does not exist";
        remedy = "create the folder first, or choose another";
    } else if (error == EACCES || error == EPERM || error == EROFS) {
        what = "no permission to write there";
        remedy = "choose another folder";
    } else if (error == ENOSPC) {
        what = "the disk is full";
        remedy = "free some space, or choose another disk";
    }
    return wf_fail(err, WF_REFUSED, "%s: %s; %s", shown(path), what, remedy);
}

/* --- opening --- */

static enum wf_status open_stdout(struct wf_output *out, struct wf_error *err)
{
    if (isatty(STDOUT_FILENO))
        return wf_fail(err, WF_REFUSED,
                       "standard output: is a terminal; send it to a file or a pipe");
    const int flags = fcntl(STDOUT_FILENO, F_GETFL);
    if (flags >= 0 && (flags & O_ACCMODE) == O_RDONLY)
        return wf_fail(err, WF_REFUSED,
                       "standard output: is closed, or cannot be written; open it, or name a file");
    out->fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3); /* its own, so that close can be checked */
    if (out->fd < 0)
        return wf_fail(err, WF_REFUSED, "standard output: %s; open it, or name a file",
                       strerror(errno));
    return WF_OK;
}

static enum wf_status open_special(struct wf_output *out, struct wf_error *err)
{
    out->fd = wf_file_above_standard(open(out->path, O_WRONLY | O_CLOEXEC | O_NOCTTY));
    if (out->fd < 0 && errno == EINTR)
        return wf_fail(err, WF_CANCELLED, "%s: interrupted while no program read it; start again",
                       shown(out->path));
    return out->fd < 0 ? refuse_errno(out->path, errno, err) : WF_OK;
}

static enum wf_status open_temporary(struct wf_output *out, struct wf_mem *mem,
                                     struct wf_error *err)
{
    const size_t length = strlen(out->target), room = length + WF_PART_ROOM;
    if (length == 0 || out->target[length - 1] == '/')
        return wf_fail(err, WF_REFUSED, "%s: names a folder, not a file; add a file name",
                       shown(out->path));
    out->temporary = wf_alloc(mem, WF_MEM_MISC, room);
    if (!out->temporary)
        return wf_fail_memory(err, "output", room);
    out->fd = wf_part_open(out->target, out->temporary, room);
    if (out->fd >= 0)
        return WF_OK;
    const int error = errno;
    wf_free(out->temporary); /* not ours: must not be removed */
    out->temporary = NULL;
    return refuse_errno(out->path, error, err);
}

/* The file behind a link is the one to replace. */
static enum wf_status existing_target(struct wf_output *out, const struct wf_file_set *inputs,
                                      struct wf_mem *mem, struct wf_error *err)
{
    if (wf_file_set_has(inputs, out->path))
        return wf_fail(err, WF_REFUSED, "%s: is a file that this run reads; choose another output",
                       shown(out->path));
    if (!out->overwrite)
        return wf_fail(err, WF_REFUSED, "%s: exists; choose another name or add --overwrite",
                       shown(out->path));
    if (access(out->path, W_OK) != 0)
        return refuse_errno(out->path, errno, err);
    char *real = realpath(out->path, NULL);
    if (!real)
        return refuse_errno(out->path, errno, err);
    out->target = wf_strdup(mem, real);
    free(real);
    if (out->target && strcmp(out->target, out->path) != 0) /* parts lie beside the file itself */
        wf_part_sweep(out->target, 0, 0);
    return out->target ? WF_OK : wf_fail_memory(err, "output", PATH_MAX);
}

static enum wf_status open_path(struct wf_output *out, const struct wf_file_set *inputs,
                                struct wf_mem *mem, struct wf_error *err)
{
    struct stat info;
    if (stat(out->path, &info) == 0) {
        if (S_ISDIR(info.st_mode))
            return wf_fail(err, WF_REFUSED, "%s: is a folder; add a file name", shown(out->path));
        if (!S_ISREG(info.st_mode))
            return open_special(out, err);
        WF_TRY(existing_target(out, inputs, mem, err));
        return open_temporary(out, mem, err);
    }
    if (errno != ENOENT)
        return refuse_errno(out->path, errno, err);
    if (lstat(out->path, &info) == 0)
        return wf_fail(err, WF_REFUSED,
                       "%s: is a link to a file that does not exist; choose another name",
                       shown(out->path));
    out->target = wf_strdup(mem, out->path);
    if (!out->target)
        return wf_fail_memory(err, "output", strlen(out->path) + 1);
    return open_temporary(out, mem, err);
}

enum wf_status wf_output_open(const char *path, bool overwrite, const struct wf_file_set *inputs,
                              struct wf_mem *mem, struct wf_output **result, struct wf_error *err)
{
    *result = NULL;
    struct wf_output *out = wf_calloc(mem, WF_MEM_MISC, 1, sizeof *out);
    if (!out)
        return wf_fail_memory(err, "output", sizeof *out);
    const bool is_stdout = strcmp(path, "-") == 0;
    out->fd = -1;
    out->overwrite = overwrite;
    out->path = wf_strdup(mem, is_stdout ? "standard output" : path);
    enum wf_status status = out->path ? WF_OK : wf_fail_memory(err, "output", strlen(path) + 1);
    if (status == WF_OK)
        status = is_stdout ? open_stdout(out, err) : open_path(out, inputs, mem, err);
    if (status != WF_OK) {
        wf_output_discard(&out);
        return status;
    }
    struct stat info;
    out->in_pieces = fstat(out->fd, &info) != 0 || !S_ISREG(info.st_mode);
    *result = out;
    return WF_OK;
}

/* --- bytes --- */

bool wf_output_seekable(const struct wf_output *out)
{
    return out->temporary != NULL;
}

/* A pipe that is ready takes PIPE_BUF bytes at once: so no write sleeps in the kernel, where
   wf_output_abandon could not reach it. The descriptor may be shared: O_NONBLOCK would change it
   for others. */
static ssize_t write_piece(struct wf_output *out, const unsigned char *data, size_t bytes)
{
    for (;;) {
        struct pollfd poll_fd = {.fd = out->fd, .events = POLLOUT};
        if (atomic_load(&out->abandoned)) {
            errno = ECANCELED;
            return -1;
        }
        const int ready = poll(&poll_fd, 1, POLL_MS);
        if (ready > 0)
            return write(out->fd, data, bytes < PIPE_BUF ? bytes : PIPE_BUF);
        if (ready < 0)
            return -1;
    }
}

static ssize_t write_some(struct wf_output *out, const unsigned char *data, size_t bytes)
{
    if (out->temporary)
        return pwrite(out->fd, data, bytes, (off_t)out->position);
    return out->in_pieces ? write_piece(out, data, bytes) : write(out->fd, data, bytes);
}

enum wf_status wf_output_write(struct wf_output *out, const void *data, size_t bytes,
                               struct wf_error *err)
{
    const unsigned char *next = data;
    if (atomic_load(&out->abandoned) && !out->failure)
        out->failure = ECANCELED;
    while (bytes && !out->failure) {
        const ssize_t n = write_some(out, next, bytes);
        if (n < 0) {
            if (errno != EINTR && errno != EAGAIN)
                out->failure = errno;
            continue;
        }
        next += n;
        bytes -= (size_t)n;
        out->position += n;
        if (out->position > out->size)
            out->size = out->position;
    }
    return wf_output_status(out, err);
}

enum wf_status wf_output_status(const struct wf_output *out, struct wf_error *err)
{
    if (!out->failure)
        return WF_OK;
    if (out->failure == ECANCELED)
        return wf_fail(err, WF_CANCELLED, "%s: given up; start again", shown(out->path));
    if (out->failure == EPIPE)
        return wf_fail(err, WF_FAILED,
                       "output: broken pipe; what read %s has ended before the clip did",
                       shown(out->path));
    const bool full = out->failure == ENOSPC || out->failure == EDQUOT;
    return wf_fail(err, WF_FAILED, "%s: cannot be written: %s; %s", shown(out->path),
                   strerror(out->failure),
                   full ? "free some space, or choose another disk" : "choose another output");
}

void wf_output_seek(struct wf_output *out, int64_t position)
{
    out->position = position;
}

int64_t wf_output_size(const struct wf_output *out)
{
    return out->size;
}

int64_t wf_output_position(const struct wf_output *out)
{
    return out->position;
}

int64_t wf_output_read(struct wf_output *out, int64_t position, void *data, size_t bytes)
{
    ssize_t n;
    do
        n = pread(out->fd, data, bytes, (off_t)position);
    while (n < 0 && errno == EINTR);
    if (n < 0 && !out->failure)
        out->failure = errno;
    if (n == 0 && position < out->size && !out->failure)
        out->failure = EIO; /* somebody made it shorter */
    return out->failure ? -1 : n;
}

void wf_output_abandon(struct wf_output *out)
{
    atomic_store(&out->abandoned, true);
}

/* --- the end --- */

/* A whole file is never thrown away for want of its name. */
static enum wf_status keep_elsewhere(struct wf_output *out, int error, struct wf_error *err)
{
    char kept[PATH_MAX];
    const char *why = error == EEXIST ? "another file came under this name" : strerror(error);
    if (!wf_part_keep(out->temporary, out->target, kept, sizeof kept))
        return wf_fail(err, WF_FAILED, "%s: cannot be given its name: %s; choose another output",
                       shown(out->path), why);
    wf_free(out->temporary);
    out->temporary = NULL;
    return wf_fail(err, WF_FAILED, "%s: %s; what was made is kept as %s", shown(out->path), why,
                   shown(kept));
}

/* Where late errors of network disks and quotas appear. */
static enum wf_status close_checked(struct wf_output *out, struct wf_error *err)
{
    WF_TRY(wf_output_status(out, err));
    const int closed = close(out->fd);
    out->fd = -1;
    if (closed != 0 && errno != EINTR)
        out->failure = errno;
    return wf_output_status(out, err);
}

static enum wf_status give_name(struct wf_output *out, struct wf_error *err)
{
    if (!out->temporary)
        return WF_OK;
    if (wf_part_rename(out->temporary, out->target, out->overwrite) != 0)
        return keep_elsewhere(out, errno, err);
    wf_free(out->temporary);
    out->temporary = NULL;
    return WF_OK;
}

enum wf_status wf_output_commit(struct wf_output **out, bool *kept, struct wf_error *err)
{
    /* Another descriptor keeps the lock, so that nobody takes the part for one left behind. */
    const int lock = (*out)->temporary ? fcntl((*out)->fd, F_DUPFD_CLOEXEC, 3) : -1;
    enum wf_status status = close_checked(*out, err);
    if (status == WF_OK)
        status = give_name(*out, err);
    if (lock >= 0)
        close(lock);
    *kept = status == WF_OK || ((*out)->target && !(*out)->temporary);
    wf_output_discard(out);
    return status;
}

void wf_output_discard(struct wf_output **out)
{
    struct wf_output *o = *out;
    if (!o)
        return;
    if (o->temporary) /* while it is locked */
        unlink(o->temporary);
    if (o->fd >= 0)
        close(o->fd);
    wf_free(o->temporary);
    wf_free(o->target);
    wf_free(o->path);
    wf_free(o);
    *out = NULL;
}

enum wf_status wf_output_put(const char *path, const void *data, size_t bytes,
                             const struct wf_file_set *inputs, struct wf_mem *mem,
                             struct wf_error *err)
{
    struct wf_output *out;
    bool kept;
    WF_TRY(wf_output_open(path, true, inputs, mem, &out, err));
    enum wf_status status = wf_output_write(out, data, bytes, err);
    if (status == WF_OK)
        status = wf_output_commit(&out, &kept, err);
    wf_output_discard(&out);
    return status;
}
