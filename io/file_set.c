/* Which file a path leads to. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/file.h"

enum { PATH = 4096, DEPTH = 4 }; /* folders in folders that are looked into */

int wf_file_above_standard(int fd)
{
    if (fd < 0 || fd > STDERR_FILENO)
        return fd;
    const int higher = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    const int error = errno;
    close(fd);
    errno = error;
    return higher;
}

static bool is_same(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

size_t wf_path_folder(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? (size_t)(slash - path) + 1 : 0;
}

bool wf_path_copy_folder(const char *path, char *folder, size_t room)
{
    const size_t length = wf_path_folder(path);
    if (length + 2 > room)
        return false;
    memcpy(folder, path, length);
    strcpy(folder + length, length ? "" : ".");
    return true;
}

bool wf_path_parent(const char *folder, char *parent, size_t room)
{
    size_t length = strlen(folder);
    while (length > 1 && folder[length - 1] == '/')
        length--;
    while (length > 0 && folder[length - 1] != '/')
        length--;
    if ((length ? length : 1) >= room)
        return false;
    memcpy(parent, length ? folder : ".", length ? length : 1);
    parent[length ? length : 1] = '\0';
    return true;
}

/* The folder of a path, and the file's name in it. */
static bool look_at_folder(const char *path, struct stat *folder, const char **name)
{
    char copy[PATH];
    *name = path + wf_path_folder(path);
    return wf_path_copy_folder(path, copy, sizeof copy) && stat(copy, folder) == 0;
}

/* "-" is standard output, wherever it leads. */
static bool look_at(const char *path, struct stat *info)
{
    return (strcmp(path, "-") == 0 ? fstat(STDOUT_FILENO, info) : stat(path, info)) == 0;
}

bool wf_file_same(const char *a, const char *b)
{
    struct stat info[2];
    const char *name[2];
    if (strcmp(a, "-") == 0 && strcmp(b, "-") == 0)
        return true;
    const bool there = look_at(a, &info[0]);
    if (there != look_at(b, &info[1]))
        return false;
    if (there)
        return !S_ISCHR(info[0].st_mode) && is_same(&info[0], &info[1]);
    return look_at_folder(a, &info[0], &name[0]) && look_at_folder(b, &info[1], &name[1]) &&
           is_same(&info[0], &info[1]) && strcmp(name[0], name[1]) == 0;
}

/* --- sets --- */

enum wf_status wf_file_set_add_id(struct wf_file_set *set, struct wf_file_id id, struct wf_mem *mem,
                                  struct wf_error *err)
{
    if (set->count == set->room) {
        const size_t room = set->room ? 2 * set->room : 64;
        struct wf_file_id *ids = wf_calloc(mem, WF_MEM_MISC, room, sizeof *ids);
        if (!ids)
            return wf_fail_memory(err, "files", room * sizeof *ids);
        if (set->count)
            memcpy(ids, set->ids, set->count * sizeof *ids);
        wf_free(set->ids);
        set->ids = ids;
        set->room = room;
    }
    set->ids[set->count++] = id;
    return WF_OK;
}

/* A folder, or a file of a kind that a model's folder consists of: a clip that was made in there is
   none of the model. */
static bool is_of_a_model(const struct dirent *d)
{
    const char *end = strrchr(d->d_name, '.');
    if (d->d_name[0] == '.')
        return false;
    return d->d_type != DT_REG ||
           (end && (strcmp(end, ".json") == 0 || strcmp(end, ".model") == 0 ||
                    strcmp(end, ".safetensors") == 0));
}

static enum wf_status add_path(struct wf_file_set *set, const char *path, int depth,
                               struct wf_mem *mem, struct wf_error *err)
{
    struct stat info;
    if (stat(path, &info) != 0)
        return WF_OK;
    if (S_ISREG(info.st_mode))
        return wf_file_set_add_id(set, (struct wf_file_id){info.st_dev, info.st_ino}, mem, err);
    DIR *dir = S_ISDIR(info.st_mode) && depth ? opendir(path) : NULL;
    enum wf_status status = WF_OK;
    for (const struct dirent *d; dir && status == WF_OK && (d = readdir(dir));) {
        char below[PATH];
        if (is_of_a_model(d) &&
            snprintf(below, sizeof below, "%s/%s", path, d->d_name) < (int)sizeof below)
            status = add_path(set, below, depth - 1, mem, err);
    }
    if (dir)
        closedir(dir);
    return status;
}

enum wf_status wf_file_set_add(struct wf_file_set *set, const char *path, struct wf_mem *mem,
                               struct wf_error *err)
{
    return add_path(set, path, DEPTH, mem, err);
}

bool wf_file_set_has(const struct wf_file_set *set, const char *path)
{
    struct stat info;
    if (!set || set->count == 0 || stat(path, &info) != 0)
        return false;
    for (size_t i = 0; i < set->count; i++) {
        if (set->ids[i].device == info.st_dev && set->ids[i].inode == info.st_ino)
            return true;
    }
    return false;
}
