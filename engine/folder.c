#include "engine/folder.h"

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "io/file.h"

enum { PATH = 4096 };

static bool holds(const char *folder, const char *name)
{
    char path[PATH];
    return snprintf(path, sizeof path, "%s/%s", folder, name) < (int)sizeof path &&
           wf_file_is_there(path);
}

static bool ends_with(const char *text, const char *end)
{
    const size_t length = strlen(text), tail = strlen(end);
    return length >= tail && strcmp(text + length - tail, end) == 0;
}

/* "ORGANISATION/NAME", as the hub names its models. */
static bool is_hub_name(const char *text)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                  "-_.";
    const size_t first = strspn(text, letters);
    const char *name = text + first + 1;
    return first && text[0] != '.' && text[first] == '/' && name[0] && name[0] != '.' &&
           !name[strspn(name, letters)];
}

static enum wf_status refuse_missing(const char *folder, int error, struct wf_error *err)
{
    if (error == ENOENT && is_hub_name(folder))
        return wf_fail(err, WF_REFUSED,
                       "%s: there is no such folder; if it is a model of the Hugging Face hub, "
                       "download it: hf download %s --local-dir %s",
                       folder, folder, strchr(folder, '/') + 1);
    return wf_fail(err, WF_REFUSED,
                   "%s: %s; give the folder of a diffusers model (it holds model_index.json)",
                   folder, strerror(error));
}

/* The first entry of a folder, by name, that a rule takes; its path in found. */
static bool find_entry(const char *folder, bool (*takes)(const char *path, const char *name),
                       char found[PATH])
{
    DIR *dir = opendir(folder);
    char path[PATH];
    found[0] = '\0';
    for (const struct dirent *d; dir && (d = readdir(dir));) {
        if (d->d_name[0] == '.' ||
            snprintf(path, sizeof path, "%s/%s", folder, d->d_name) >= (int)sizeof path)
            continue;
        if (takes(path, d->d_name) && (!found[0] || strcmp(path, found) < 0))
            strcpy(found, path);
    }
    if (dir)
        closedir(dir);
    return found[0] != '\0';
}

static bool is_model(const char *path, const char *name)
{
    (void)name;
    return holds(path, "model_index.json");
}

static bool is_cached_model(const char *path, const char *name)
{
    return strncmp(name, "models--", 8) == 0 && holds(path, "snapshots");
}

static bool is_original(const char *path, const char *name)
{
    (void)path;
    return ends_with(name, ".pth");
}

/* Of a folder of the hub's cache, models--ORGANISATION--NAME: what its main branch is, or any. */
static bool find_snapshot(const char *folder, char found[PATH])
{
    char path[PATH], commit[64] = "";
    snprintf(path, sizeof path, "%s/refs/main", folder);
    FILE *file = fopen(path, "re");
    if (file) {
        const size_t bytes = fread(commit, 1, sizeof commit - 1, file);
        commit[bytes] = '\0';
        commit[strspn(commit, "0123456789abcdef")] = '\0';
        fclose(file);
    }
    if (commit[0] && snprintf(found, PATH, "%s/snapshots/%s", folder, commit) < PATH &&
        is_model(found, NULL))
        return true;
    return snprintf(path, sizeof path, "%s/snapshots", folder) < (int)sizeof path &&
           find_entry(path, is_model, found);
}

/* What only looks like a component's folder, or like nothing that is known. */
static enum wf_status check_part(const char *folder, struct wf_error *err)
{
    char found[PATH], inner[PATH];
    if (find_snapshot(folder, found) ||
        (find_entry(folder, is_cached_model, inner) && find_snapshot(inner, found)))
        return wf_fail(err, WF_REFUSED,
                       "%s: this is the hub's cache, not the model's folder; give %s", folder,
                       found);
    if (find_entry(folder, is_model, found))
        return wf_fail(err, WF_REFUSED, "%s: holds no model_index.json, but %s does; give that one",
                       folder, found);
    if (find_entry(folder, is_original, found))
        return wf_fail(
            err, WF_REFUSED,
            "%s: this is a model in its authors' own layout (%s); download the one whose "
            "name ends in -Diffusers",
            folder, strrchr(found, '/') + 1);
    if (holds(folder, "config.json"))
        return WF_OK;
    return wf_fail(err, WF_REFUSED,
                   "%s: there is no model_index.json in it; give the folder of a diffusers model",
                   folder);
}

bool wf_folder_is_below_model(const char *folder)
{
    char above[PATH];
    return snprintf(above, sizeof above, "%s/..", folder) < (int)sizeof above &&
           is_model(above, NULL);
}

enum wf_status wf_check_folder(const char *folder, enum wf_folder *kind, struct wf_error *err)
{
    struct stat info;
    if (stat(folder, &info) != 0)
        return refuse_missing(folder, errno, err);
    if (!S_ISDIR(info.st_mode))
        return wf_fail(err, WF_REFUSED,
                       "%s: this is a file, not a folder; give the folder of a diffusers model (it "
                       "holds model_index.json and a folder for each part)",
                       folder);
    *kind = is_model(folder, NULL)             ? WF_FOLDER_MODEL
            : holds(folder, "vae/config.json") ? WF_FOLDER_WITH_VAE
                                               : WF_FOLDER_PART;
    return *kind == WF_FOLDER_PART ? check_part(folder, err) : WF_OK;
}
