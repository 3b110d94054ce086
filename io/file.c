#include "io/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool wf_file_is_there(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 || (errno != ENOENT && errno != ENOTDIR);
}

enum wf_status wf_file_open(const char *path, int *fd, uint64_t *bytes, struct wf_error *err)
{
    /* Without O_NONBLOCK the opening of a named pipe would wait for a writer. */
    const int opened = wf_file_above_standard(open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (opened < 0 && (errno == EMFILE || errno == ENFILE))
        return wf_fail(err, WF_REFUSED, "%s: too many files are open; raise the limit (ulimit -n)",
                       path);
    if (opened < 0)
        return wf_fail(err, WF_REFUSED, "%s: cannot be opened (%s); check the path", path,
                       strerror(errno));
    struct stat st;
    if (fstat(opened, &st) != 0 || !S_ISREG(st.st_mode)) {
        close(opened);
        return wf_fail(err, WF_REFUSED, "%s: not a regular file; check the path", path);
    }
    *fd = opened;
    *bytes = (uint64_t)st.st_size;
    return WF_OK;
}

static enum wf_status read_whole(int fd, const char *path, char *data, size_t bytes,
                                 struct wf_error *err)
{
    for (size_t done = 0; done < bytes;) {
        const ssize_t got = read(fd, data + done, bytes - done);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return wf_fail(err, WF_REFUSED, "%s: cannot be read (%s); check the disk", path,
                           strerror(errno));
        if (got == 0)
            return wf_fail(err, WF_REFUSED, "%s: became shorter while it was read; try again",
                           path);
        done += (size_t)got;
    }
    data[bytes] = '\0';
    return WF_OK;
}

enum wf_status wf_file_read(const char *path, size_t limit, char **data, size_t *bytes,
                            struct wf_error *err)
{
    *data = NULL;
    int fd;
    uint64_t size;
    WF_TRY(wf_file_open(path, &fd, &size, err));
    enum wf_status status = WF_OK;
    char *text = NULL;
    if (size > limit)
        status = wf_fail(err, WF_REFUSED,
                         "%s: %llu bytes, more than the %zu expected of it; "
                         "check that it is the right file",
                         path, (unsigned long long)size, limit);
    if (status == WF_OK && !(text = malloc((size_t)size + 1)))
        status = wf_fail_memory(err, path, size + 1);
    if (status == WF_OK)
        status = read_whole(fd, path, text, (size_t)size, err);
    close(fd);
    if (status != WF_OK) {
        free(text);
        return status;
    }
    *data = text;
    *bytes = (size_t)size;
    return WF_OK;
}
