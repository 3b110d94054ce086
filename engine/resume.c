#include "engine/resume.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "engine/recipe.h"
#include "engine/resume_folder.h"
#include "io/output.h"
#include "io/part.h"

static const size_t most_request = (size_t)64 << 20;

/* --- files --- */

enum wf_status wf_resume_path(const struct weft_job *job, const char *name, int64_t number,
                              char path[WF_RESUME_PATH], struct wf_error *err)
{
    char suffix[24] = "";
    if (number >= 0)
        snprintf(suffix, sizeof suffix, "-%05lld", (long long)number);
    const int used = snprintf(path, WF_RESUME_PATH, "%s/%s%s", job->request.resume, name, suffix);
    return used > 0 && used < WF_RESUME_PATH
               ? WF_OK
               : wf_fail(err, WF_REFUSED, "resume: the folder's name is too long");
}

void wf_resume_remove(const struct weft_job *job, const char *name, int64_t number)
{
    char path[WF_RESUME_PATH];
    struct wf_error ignored = {0};
    if (wf_resume_path(job, name, number, path, &ignored) == WF_OK)
        (void)unlink(path);
}

static struct wf_kept_kind kind_of(const struct weft_job *job, const char *name)
{
    struct wf_kept_kind kind = {0};
    snprintf(kind.name, sizeof kind.name, "weft %s", name);
    memcpy(kind.owner, job->resume->owner, sizeof kind.owner);
    return kind;
}

enum wf_status wf_resume_open(const struct weft_job *job, const char *name, int64_t number,
                              uint64_t most, struct wf_kept_in **in, struct wf_error *err)
{
    char path[WF_RESUME_PATH];
    const struct wf_kept_kind kind = kind_of(job, name);
    struct wf_error why = {0};
    *in = NULL;
    WF_TRY(wf_resume_path(job, name, number, path, err));
    if (access(path, F_OK) != 0 ||
        wf_kept_open(path, &kind, most, job->model->engine->mem, in, &why) == WF_OK)
        return WF_OK;
    wf_log(job->model->engine, WEFT_LOG_WARNING, "%s; what came before it is taken", why.text);
    return WF_OK;
}

enum wf_status wf_resume_create(const struct weft_job *job, const char *name, int64_t number,
                                struct wf_kept_out **out, struct wf_error *err)
{
    char path[WF_RESUME_PATH];
    const struct wf_kept_kind kind = kind_of(job, name);
    struct stat info;
    WF_TRY(wf_resume_path(job, name, number, path, err));
    if (stat(path, &info) == 0 && !S_ISREG(info.st_mode)) /* a pipe would wait for its reader */
        return wf_fail(err, WF_FAILED, "%s: this is not a file; give --resume another folder",
                       path);
    const enum wf_status status =
        wf_kept_create(path, &kind, &job->inputs, job->model->engine->mem, out, err);
    return wf_fail_late(status, err);
}

enum wf_status wf_resume_keep(const struct weft_job *job, const char *name, int64_t number,
                              enum wf_status (*write)(const struct weft_job *job,
                                                      struct wf_kept_out *out,
                                                      struct wf_error *err),
                              struct wf_error *err)
{
    struct wf_kept_out *out;
    WF_TRY(wf_resume_create(job, name, number, &out, err));
    enum wf_status status = write(job, out, err);
    if (status == WF_OK)
        status = wf_kept_commit(&out, err);
    wf_kept_discard(&out);
    if (status == WF_OK && number > WF_RESUME_STATES)
        wf_resume_remove(job, name, number - WF_RESUME_STATES);
    return status;
}

/* The number in a file's name, or 0. */
static int64_t number_in(const char *file, const char *name)
{
    const size_t length = strlen(name);
    char spelled[64];
    int number = 0;
    if (strncmp(file, name, length) != 0 || sscanf(file + length, "-%9d", &number) != 1)
        return 0;
    snprintf(spelled, sizeof spelled, "%s-%05d", name, number);
    return number > 0 && strcmp(file, spelled) == 0 ? number : 0;
}

int64_t wf_resume_newest(const struct weft_job *job, const char *name, int64_t below)
{
    int64_t newest = 0;
    DIR *dir = opendir(job->request.resume);
    for (const struct dirent *d; dir && (d = readdir(dir));) {
        const int64_t number = number_in(d->d_name, name);
        newest = number < below && number > newest ? number : newest;
    }
    if (dir)
        closedir(dir);
    return newest;
}

/* --- the request --- */

/* A model is told by its hash, whatever its folder is called. */
static bool same_model(const json_t *before, const json_t *now)
{
    const json_t *a = json_object_get(json_object_get(before, "model"), "hash");
    const json_t *b = json_object_get(json_object_get(now, "model"), "hash");
    return a && json_equal(a, b);
}

/* Keys that may differ: names, and what `auto` took for the memory that was free, and no pixel
   depends on. */
static bool may_differ(const char *key, const json_t *before, const json_t *now)
{
    if (strcmp(key, "model") == 0)
        return same_model(before, now);
    const char *a = json_string_value(json_object_get(before, "tiling"));
    const char *b = json_string_value(json_object_get(now, "tiling"));
    const bool exact = a && b && strcmp(a, "blend") != 0 && strcmp(b, "blend") != 0;
    return exact && (strcmp(key, "tiling") == 0 || strcmp(key, "tile_size") == 0);
}

/* A key whose values differ, or NULL. */
static const char *changed_key(const json_t *before, const json_t *now)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)now, key, value)
    {
        if (!json_equal(value, json_object_get(before, key)) && !may_differ(key, before, now))
            return key;
    }
    json_object_foreach((json_t *)(uintptr_t)before, key, value)
    {
        if (!json_object_get(now, key) && !may_differ(key, before, now))
            return key;
    }
    return NULL;
}

static void take_seed(struct weft_job *job, const json_t *before)
{
    const char *seed = json_string_value(json_object_get(before, "seed"));
    if (!job->request.random_seed || !seed)
        return;
    job->seed = strtoull(seed, NULL, 10);
    job->request.random_seed = 0;
    wf_generator_seed(&job->generator, job->be, job->noise_of_gpu, job->seed);
}

/* The clip says what the run before it chose. */
static void take_tiling(struct weft_job *job, const json_t *before)
{
    const char *tiling = json_string_value(json_object_get(before, "tiling"));
    const char *tile = json_string_value(json_object_get(before, "tile_size"));
    snprintf(job->noted_tiling, sizeof job->noted_tiling, "%s", tiling ? tiling : "");
    snprintf(job->noted_tile, sizeof job->noted_tile, "%s", tile ? tile : "");
}

static enum wf_status compare(struct weft_job *job, const json_t *before, struct wf_error *err)
{
    char *text = NULL;
    take_seed(job, before);
    WF_TRY(wf_recipe_text(job, NULL, &text, err));
    json_t *now = json_loads(text, 0, NULL);
    free(text);
    if (!now)
        return wf_fail_memory(err, "resume", 0);
    const char *key = changed_key(before, now);
    char changed[64] = "";
    if (key)
        snprintf(changed, sizeof changed, "%s", key);
    json_decref(now);
    if (!changed[0]) {
        take_tiling(job, before);
        return WF_OK;
    }
    return wf_fail(err, WF_REFUSED,
                   "%s: it holds the state of another request: %s differs; take the same request, "
                   "or another folder",
                   job->request.resume, changed);
}

/* Whether two paths lead to one folder. */
static bool same_folder(const char *a, const char *b)
{
    struct stat left, right;
    return stat(a, &left) == 0 && stat(b, &right) == 0 && left.st_dev == right.st_dev &&
           left.st_ino == right.st_ino;
}

/* In the model's folder or in one of its, a request would be taken for a file of the model. */
static enum wf_status check_folder(const struct weft_job *job, struct wf_error *err)
{
    const char *folder = job->request.resume, *model = job->model->folder;
    char above[WF_RESUME_PATH];
    struct stat info;
    const bool there = stat(folder, &info) == 0;
    if (there && !S_ISDIR(info.st_mode))
        return wf_fail(err, WF_REFUSED, "%s: this is not a folder; give --resume a folder", folder);
    if (there)
        WF_TRY(wf_resume_path(job, "..", -1, above, err));
    else if (!wf_path_parent(folder, above, sizeof above))
        return wf_fail(err, WF_REFUSED, "resume: the folder's name is too long");
    if (access(there ? folder : above, W_OK | X_OK) != 0)
        return wf_fail(err, WF_REFUSED, "%s: %s; give --resume a folder that can be written to",
                       folder, strerror(errno));
    if (same_folder(folder, model) || same_folder(above, model))
        return wf_fail(err, WF_REFUSED,
                       "%s: lies among the model's files; give --resume another folder", folder);
    return WF_OK;
}

bool wf_resume_writes(const struct weft_job *job, const char *path)
{
    static const char *const names[] = {"request.json", "output", "state-", "frames-", "decoder-"};
    char folder[WF_RESUME_PATH];
    const char *name = path + wf_path_folder(path);
    if (!job->request.resume || !wf_path_copy_folder(path, folder, sizeof folder) ||
        !same_folder(folder, job->request.resume))
        return false;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strncmp(name, names[i], strlen(names[i])) == 0)
            return true;
    }
    return false;
}

enum wf_status wf_resume_check(struct weft_job *job, struct wf_error *err)
{
    char path[WF_RESUME_PATH], *text = NULL;
    size_t bytes;
    WF_TRY(check_folder(job, err));
    WF_TRY(wf_resume_path(job, "request.json", -1, path, err));
    if (access(path, F_OK) != 0)
        return WF_OK;
    WF_TRY(wf_file_read(path, most_request, &text, &bytes, err));
    json_t *before = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    free(text);
    const enum wf_status status =
        json_is_object(before)
            ? compare(job, before, err)
            : wf_fail(err, WF_REFUSED, "%s: damaged; give --resume another folder", path);
    json_decref(before);
    return status;
}

/* The checksum of what of a request may not differ. */
static enum wf_status find_owner(struct weft_job *job, const char *request, struct wf_error *err)
{
    XXH128_canonical_t sum;
    json_t *root = json_loads(request, 0, NULL);
    const char *tiling = json_string_value(json_object_get(root, "tiling"));
    if (tiling && strcmp(tiling, "blend") != 0) { /* as in may_differ */
        json_object_del(root, "tiling");
        json_object_del(root, "tile_size");
    }
    json_object_del(json_object_get(root, "model"), "name");
    char *text = json_dumps(root, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(root);
    if (!text)
        return wf_fail_memory(err, "resume", strlen(request));
    XXH128_canonicalFromHash(&sum, XXH3_128bits(text, strlen(text)));
    memcpy(job->resume->owner, &sum, sizeof sum);
    free(text);
    return WF_OK;
}

static enum wf_status write_text(const struct weft_job *job, const char *name, const char *text,
                                 struct wf_error *err)
{
    char path[WF_RESUME_PATH];
    WF_TRY(wf_resume_path(job, name, -1, path, err));
    return wf_output_put(path, text, strlen(text), &job->inputs, job->model->engine->mem, err);
}

static enum wf_status note_request(struct weft_job *job, struct wf_error *err)
{
    char *text = NULL;
    WF_TRY(wf_recipe_text(job, NULL, &text, err));
    enum wf_status status = find_owner(job, text, err);
    if (status == WF_OK)
        status = write_text(job, "request.json", text, err);
    free(text);
    return status;
}

/* --- pictures --- */

bool wf_resume_wrote(const struct weft_job *job, const char *output)
{
    char path[WF_RESUME_PATH], *noted = NULL;
    size_t bytes;
    struct wf_error ignored = {0};
    if (!job->request.resume || !output || !strchr(output, '%') ||
        wf_resume_path(job, "output", -1, path, &ignored) != WF_OK ||
        wf_file_read(path, WF_PATH_BYTES, &noted, &bytes, &ignored) != WF_OK)
        return false;
    const bool same = strcmp(noted, output) == 0;
    free(noted);
    return same;
}

enum wf_status wf_resume_note_output(const struct weft_job *job, const char *output,
                                     struct wf_error *err)
{
    const bool pictures = output && strchr(output, '%');
    return job->resume && pictures ? write_text(job, "output", output, err) : WF_OK;
}

/* --- the folder --- */

/* Two runs in one folder would take each other's state. Where a file system knows no locks, there
   is none. */
static enum wf_status lock(struct wf_resume *r, const char *folder, struct wf_error *err)
{
    if (mkdir(folder, 0777) != 0 && errno != EEXIST)
        return wf_fail(err, WF_REFUSED, "%s: %s; give --resume a folder that can be made", folder,
                       strerror(errno));
    r->folder = wf_file_above_standard(open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (r->folder < 0)
        return wf_fail(err, WF_REFUSED, "%s: %s; give --resume another folder", folder,
                       strerror(errno));
    if (flock(r->folder, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
        return wf_fail(err, WF_REFUSED,
                       "%s: another run is going on there; wait for it, or take another folder",
                       folder);
    return WF_OK;
}

/* What a run that was killed left half written. */
static void sweep(const struct weft_job *job)
{
    static const char *const series[] = {"state-", "frames-", "decoder-"};
    char path[WF_RESUME_PATH];
    struct wf_error ignored = {0};
    for (size_t i = 0; i < sizeof series / sizeof *series; i++) {
        if (wf_resume_path(job, series[i], -1, path, &ignored) == WF_OK)
            wf_part_sweep(path, strlen(path), strlen(path));
    }
    if (wf_resume_path(job, "request.json", -1, path, &ignored) == WF_OK)
        wf_part_sweep(path, 0, 0);
}

enum wf_status wf_resume_begin(struct weft_job *job, struct wf_error *err)
{
    job->resume = wf_calloc(job->model->engine->mem, WF_MEM_MISC, 1, sizeof *job->resume);
    if (!job->resume)
        return wf_fail_memory(err, "resume", sizeof *job->resume);
    job->resume->folder = -1;
    WF_TRY(lock(job->resume, job->request.resume, err));
    sweep(job);
    WF_TRY(note_request(job, err));
    return wf_resume_find_state(job, err);
}

void wf_resume_close(struct wf_resume **resume)
{
    struct wf_resume *r = *resume;
    if (!r)
        return;
    wf_kept_close(&r->state);
    wf_kept_close(&r->clip);
    wf_kept_discard(&r->frames);
    wf_free(r->frame);
    if (r->folder >= 0)
        close(r->folder);
    wf_free(r);
    *resume = NULL;
}
