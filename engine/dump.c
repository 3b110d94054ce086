#include "engine/dump.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/latents.h"
#include "io/file.h"
#include "io/weights/safetensors.h"

enum { PATH_BYTES = 4096 };

/* The path of the i-th of all files that a dump writes; false after the last. */
static bool nth_path(const char *folder, const struct wf_family *family, int steps, int i,
                     char path[PATH_BYTES])
{
    static const char *const always[] = {"latents_initial", "latents"};
    const int fixed = (int)(sizeof always / sizeof *always);
    const char *name = i < fixed ? always[i] : NULL;
    int kinds = 0;
    while (kinds < WF_MAX_CONDITIONS && family->conditions[kinds].name)
        kinds++;
    if (i >= fixed && i < fixed + kinds)
        name = family->conditions[i - fixed].name;
    if (name)
        snprintf(path, PATH_BYTES, "%s/%s.safetensors", folder, name);
    else
        snprintf(path, PATH_BYTES, "%s/latents_step_%03d.safetensors", folder, i - fixed - kinds);
    return i < fixed + kinds + steps;
}

static enum wf_status check_folder(const char *folder, struct wf_error *err)
{
    struct stat info;
    char parent[PATH_BYTES];
    if (strlen(folder) > PATH_BYTES - 64 || !wf_path_parent(folder, parent, sizeof parent))
        return wf_fail(err, WF_REFUSED, "dump: the folder's name is too long");
    if (lstat(folder, &info) == 0) {
        if (stat(folder, &info) != 0 || !S_ISDIR(info.st_mode))
            return wf_fail(err, WF_REFUSED, "%s: this is not a folder; give --dump a folder",
                           folder);
        if (access(folder, W_OK | X_OK) != 0)
            return wf_fail(err, WF_REFUSED, "%s: %s; give --dump a folder that can be written to",
                           folder, strerror(errno));
        return WF_OK;
    }
    if (access(parent, W_OK | X_OK) != 0)
        return wf_fail(err, WF_REFUSED, "%s: %s; give --dump a folder that can be made", folder,
                       strerror(errno));
    return WF_OK;
}

enum wf_status wf_dump_check(const char *folder, const struct wf_family *family, int steps,
                             const struct wf_file_set *inputs, struct wf_error *err)
{
    char path[PATH_BYTES];
    struct stat info;
    WF_TRY(check_folder(folder, err));
    for (int i = 0; nth_path(folder, family, steps, i, path); i++) {
        if (lstat(path, &info) != 0)
            continue;
        if (stat(path, &info) != 0 || !S_ISREG(info.st_mode))
            return wf_fail(err, WF_REFUSED,
                           "%s: is no file, and the dump writes one of that name; remove it", path);
        if (wf_file_set_has(inputs, path))
            return wf_fail(err, WF_REFUSED,
                           "%s: is a file that this run reads; choose another folder for the dump",
                           path);
    }
    return WF_OK;
}

bool wf_dump_writes(const char *folder, const struct wf_family *family, int steps, const char *path)
{
    char written[PATH_BYTES];
    bool found = wf_file_same(folder, path);
    for (int i = 0; !found && nth_path(folder, family, steps, i, written); i++)
        found = wf_file_same(written, path);
    return found;
}

enum wf_status wf_dump_make(const char *folder, struct wf_error *err)
{
    if (mkdir(folder, 0777) != 0 && errno != EEXIST)
        return wf_fail(err, WF_FAILED, "%s: %s; give --dump a folder that can be made", folder,
                       strerror(errno));
    return WF_OK;
}

static enum wf_status write_file(const char *folder, const char *name, const char *tensor,
                                 const float *data, int rank, const int64_t *dims,
                                 struct wf_mem *mem, struct wf_error *err)
{
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s/%s.safetensors", folder, name);
    return wf_st_write_f32(path, tensor, data, rank, dims, mem, err);
}

enum wf_status wf_dump_latents(const char *folder, const char *name, struct wf_backend *be,
                               struct wf_tensor latents, bool frames_first, struct wf_arena *arena,
                               struct wf_error *err)
{
    int64_t dims[5];
    float *host = wf_alloc(be->mem, WF_MEM_MISC, wf_tensor_bytes(&latents));
    enum wf_status status = host ? wf_latents_download(be, host, latents, frames_first, arena)
                                 : wf_fail_memory(err, "dump", wf_tensor_bytes(&latents));
    wf_latents_file_dims(frames_first, latents.dim, dims);
    if (status == WF_OK && !be->is_plan)
        status = write_file(folder, name, "latents", host, 5, dims, be->mem, err);
    wf_free(host);
    return status;
}

/* Rows, and zeros behind them. */
static enum wf_status dump_rows(const char *folder, const char *name, struct wf_backend *be,
                                const struct wf_condition *c, struct wf_error *err)
{
    const int64_t rows = c->rows, width = c->value.dim[1];
    float *host = wf_calloc(be->mem, WF_MEM_MISC, (size_t)(rows * width), sizeof *host);
    enum wf_status status =
        host ? wf_download(be, host, c->value)
             : wf_fail_memory(err, "dump", (size_t)(rows * width) * sizeof *host);
    if (status == WF_OK && !be->is_plan)
        status = write_file(folder, name, name, host, WF_DIMS(1, rows, width), be->mem, err);
    wf_free(host);
    return status;
}

static enum wf_status dump_picture(const char *folder, const char *name, struct wf_backend *be,
                                   struct wf_tensor picture, struct wf_arena *arena,
                                   struct wf_error *err)
{
    const int64_t dims[] = {1, picture.dim[3], picture.dim[1], picture.dim[2]};
    float *host = wf_alloc(be->mem, WF_MEM_MISC, wf_tensor_bytes(&picture));
    enum wf_status status = host ? wf_latents_download(be, host, picture, true, arena)
                                 : wf_fail_memory(err, "dump", wf_tensor_bytes(&picture));
    if (status == WF_OK && !be->is_plan)
        status = write_file(folder, name, name, host, 4, dims, be->mem, err);
    wf_free(host);
    return status;
}

enum wf_status wf_dump_condition(const char *folder, const char *name, struct wf_backend *be,
                                 const struct wf_condition *condition, struct wf_arena *arena,
                                 struct wf_error *err)
{
    return condition->value.rank == 2
               ? dump_rows(folder, name, be, condition, err)
               : dump_picture(folder, name, be, condition->value, arena, err);
}
