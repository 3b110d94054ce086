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

/* The folder that a folder lies in. */
static void parent_of(const char *folder, char out[PATH_BYTES])
{
    snprintf(out, PATH_BYTES, "%s", folder);
    size_t length = strlen(out);
    while (length > 1 && out[length - 1] == '/')
        out[--length] = '\0';
    char *slash = strrchr(out, '/');
    if (!slash)
        strcpy(out, ".");
    else
        slash[slash == out] = '\0';
}

enum wf_status wf_dump_check(const char *folder, struct wf_error *err)
{
    struct stat info;
    char parent[PATH_BYTES];
    if (strlen(folder) > PATH_BYTES - 64)
        return wf_fail(err, WF_REFUSED, "dump: the folder's name is too long");
    if (stat(folder, &info) == 0) {
        if (!S_ISDIR(info.st_mode))
            return wf_fail(err, WF_REFUSED, "%s: this is not a folder; give --dump a folder",
                           folder);
        if (access(folder, W_OK | X_OK) != 0)
            return wf_fail(err, WF_REFUSED, "%s: %s; give --dump a folder that can be written to",
                           folder, strerror(errno));
        return WF_OK;
    }
    parent_of(folder, parent);
    if (access(parent, W_OK | X_OK) != 0)
        return wf_fail(err, WF_REFUSED, "%s: %s; give --dump a folder that can be made", folder,
                       strerror(errno));
    return WF_OK;
}

bool wf_dump_writes(const char *folder, const char *path)
{
    static const char *const names[] = {"prompt_embeds", "negative_prompt_embeds",
                                        "latents_initial", "latents"};
    const char *base = path + wf_path_folder(path);
    char name[PATH_BYTES];
    int step = 0, end = 0;
    bool is_name =
        sscanf(base, "latents_step_%d.safetensors%n", &step, &end) == 1 && end > 0 && !base[end];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(name, sizeof name, "%s.safetensors", names[i]);
        is_name |= strcmp(name, base) == 0;
    }
    snprintf(name, sizeof name, "%s/%s", folder, base);
    return is_name && wf_file_same(name, path);
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
                               struct wf_tensor latents, struct wf_arena *arena,
                               struct wf_error *err)
{
    const int64_t *d = latents.dim;
    float *host = wf_alloc(be->mem, WF_MEM_MISC, wf_tensor_bytes(&latents));
    enum wf_status status = host ? wf_latents_download(be, host, latents, arena)
                                 : wf_fail_memory(err, "dump", wf_tensor_bytes(&latents));
    if (status == WF_OK)
        status = write_file(folder, name, "latents", host, WF_DIMS(1, d[3], d[0], d[1], d[2]),
                            be->mem, err);
    wf_free(host);
    return status;
}

enum wf_status wf_dump_embeds(const char *folder, const char *name, struct wf_backend *be,
                              struct wf_tensor embeds, int64_t rows, struct wf_error *err)
{
    const int64_t width = embeds.dim[1];
    float *host = wf_calloc(be->mem, WF_MEM_MISC, (size_t)(rows * width), sizeof *host);
    enum wf_status status =
        host ? wf_download(be, host, embeds)
             : wf_fail_memory(err, "dump", (size_t)(rows * width) * sizeof *host);
    if (status == WF_OK)
        status = write_file(folder, name, name, host, WF_DIMS(1, rows, width), be->mem, err);
    wf_free(host);
    return status;
}
