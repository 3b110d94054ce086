#include "engine/resume.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "engine/recipe.h"
#include "io/output.h"

enum { PATH_BYTES = WF_PATH_BYTES + 32, MOST_TENSORS = 8, KEPT_STATES = 2 };

static const size_t most_state = (size_t)1 << 40, most_request = (size_t)8 << 20;

/* A file of a state: this, the latents, what the sampler keeps, and the checksum of all before. */
struct head {
    char magic[16];
    uint64_t steps, tensors, bytes; /* of each tensor */
};

static const char magic[16] = "weft state 1";

struct wf_resume_state {
    struct head head;
    unsigned char *data; /* the whole file */
};

static enum wf_status path_of(const struct weft_job *job, const char *name, char path[PATH_BYTES],
                              struct wf_error *err)
{
    const int used = snprintf(path, PATH_BYTES, "%s/%s", job->request.resume, name);
    return used > 0 && used < PATH_BYTES
               ? WF_OK
               : wf_fail(err, WF_REFUSED, "resume: the folder's name is too long");
}

static enum wf_status state_path(const struct weft_job *job, int64_t steps, char path[PATH_BYTES],
                                 struct wf_error *err)
{
    char name[32];
    snprintf(name, sizeof name, "state-%04lld", (long long)steps);
    return path_of(job, name, path, err);
}

/* --- the request --- */

/* Keys that may differ: what `auto` took for the memory that was free, and no pixel depends on. */
static bool may_differ(const char *key, const json_t *before, const json_t *now)
{
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
    if (!changed[0])
        return WF_OK;
    return wf_fail(err, WF_REFUSED,
                   "%s: it holds the state of another request: %s differs; take the same request, "
                   "or another folder",
                   job->request.resume, changed);
}

static enum wf_status check_folder(const char *folder, struct wf_error *err)
{
    struct stat info;
    if (stat(folder, &info) == 0 && !S_ISDIR(info.st_mode))
        return wf_fail(err, WF_REFUSED, "%s: this is not a folder; give --resume a folder", folder);
    return WF_OK;
}

enum wf_status wf_resume_check(struct weft_job *job, struct wf_error *err)
{
    char path[PATH_BYTES], *text = NULL;
    size_t bytes;
    WF_TRY(check_folder(job->request.resume, err));
    WF_TRY(path_of(job, "request.json", path, err));
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

static enum wf_status write_whole(const struct weft_job *job, const char *path, const void *data,
                                  size_t bytes, struct wf_error *err)
{
    struct wf_output *out;
    bool kept;
    WF_TRY(wf_output_open(path, true, &job->inputs, job->model->engine->mem, &out, err));
    const enum wf_status status = wf_output_write(out, data, bytes, err);
    if (status == WF_OK)
        return wf_output_commit(&out, &kept, err);
    wf_output_discard(&out);
    return status;
}

static enum wf_status note_request(const struct weft_job *job, struct wf_error *err)
{
    char path[PATH_BYTES], *text = NULL;
    WF_TRY(path_of(job, "request.json", path, err));
    WF_TRY(wf_recipe_text(job, NULL, &text, err));
    const enum wf_status status = write_whole(job, path, text, strlen(text), err);
    free(text);
    return status;
}

/* --- finding a state --- */

static bool is_whole(const struct weft_job *job, const unsigned char *data, size_t bytes)
{
    struct head h;
    XXH128_canonical_t sum;
    if (bytes < sizeof h + sizeof sum)
        return false;
    memcpy(&h, data, sizeof h);
    const size_t body = bytes - sizeof h - sizeof sum;
    XXH128_canonicalFromHash(&sum, XXH3_128bits(data, bytes - sizeof sum));
    return memcmp(h.magic, magic, sizeof magic) == 0 && h.steps >= 1 &&
           h.steps <= (uint64_t)job->request.steps && h.tensors >= 1 && h.tensors <= MOST_TENSORS &&
           h.bytes == body / h.tensors && body % h.tensors == 0 &&
           memcmp(&sum, data + bytes - sizeof sum, sizeof sum) == 0;
}

static enum wf_status read_state(struct weft_job *job, int64_t steps, struct wf_error *err)
{
    char path[PATH_BYTES], *data = NULL;
    size_t bytes = 0;
    struct wf_error why = {0};
    WF_TRY(state_path(job, steps, path, err));
    if (wf_file_read(path, most_state, &data, &bytes, &why) == WF_OK &&
        is_whole(job, (unsigned char *)data, bytes)) {
        struct wf_resume_state *s = wf_calloc(job->model->engine->mem, WF_MEM_CACHE, 1, sizeof *s);
        if (s) {
            memcpy(&s->head, data, sizeof s->head);
            s->data = (unsigned char *)data;
            job->resumed = s;
            job->steps_done = (int)s->head.steps;
            return WF_OK;
        }
        free(data);
        return wf_fail_memory(err, "resume", sizeof *s);
    }
    free(data);
    wf_log(job->model->engine, WEFT_LOG_WARNING,
           "%s: damaged or not whole; the step before is taken", path);
    return WF_OK;
}

/* The number of a state's file, or 0. */
static int64_t state_number(const char *name)
{
    int number = 0, end = 0;
    return sscanf(name, "state-%9d%n", &number, &end) == 1 && !name[end] && number > 0 ? number : 0;
}

/* The largest number below `below`; 0: there is none. */
static int64_t newest_state(const char *folder, int64_t below)
{
    int64_t newest = 0;
    DIR *dir = opendir(folder);
    for (const struct dirent *d; dir && (d = readdir(dir));) {
        const int64_t number = state_number(d->d_name);
        newest = number < below && number > newest ? number : newest;
    }
    if (dir)
        closedir(dir);
    return newest;
}

enum wf_status wf_resume_begin(struct weft_job *job, struct wf_error *err)
{
    const char *folder = job->request.resume;
    if (mkdir(folder, 0777) != 0 && errno != EEXIST)
        return wf_fail(err, WF_FAILED, "%s: %s; give --resume a folder that can be made", folder,
                       strerror(errno));
    WF_TRY(note_request(job, err));
    for (int64_t n = INT64_MAX; !job->resumed && (n = newest_state(folder, n)) > 0;)
        WF_TRY(read_state(job, n, err));
    if (job->resumed)
        wf_log(job->model->engine, WEFT_LOG_INFO, "resume: %d of %d steps are there",
               job->steps_done, job->request.steps);
    return WF_OK;
}

void wf_resume_close(struct wf_resume_state **state)
{
    if (!*state)
        return;
    free((*state)->data);
    wf_free(*state);
    *state = NULL;
}

/* --- loading and saving --- */

/* The latents, then what the sampler keeps. */
static int tensors_of(const struct weft_job *job, struct wf_tensor tensors[MOST_TENSORS])
{
    tensors[0] = job->latents;
    return 1 + wf_sampler_kept(job->sampler, tensors + 1, MOST_TENSORS - 1);
}

static enum wf_status load(struct weft_job *job, const struct wf_resume_state *s,
                           struct wf_error *err)
{
    struct wf_tensor tensors[MOST_TENSORS];
    WF_TRY(wf_sampler_go_on(job->sampler, job->be, job->steps_done, job->latents));
    const int count = tensors_of(job, tensors);
    if ((uint64_t)count != s->head.tensors || s->head.bytes != wf_tensor_bytes(&job->latents))
        return wf_fail(err, WF_FAILED, "%s: its state is of another size; use another folder",
                       job->request.resume);
    for (int i = 0; i < count; i++)
        WF_TRY(wf_upload(job->be, tensors[i],
                         s->data + sizeof s->head + (size_t)i * (size_t)s->head.bytes));
    return WF_OK;
}

enum wf_status wf_resume_load(struct weft_job *job, struct wf_error *err)
{
    const enum wf_status status = load(job, job->resumed, err);
    wf_resume_close(&job->resumed);
    return status;
}

static enum wf_status write_state(struct weft_job *job, unsigned char *file, size_t bytes,
                                  const struct wf_tensor *tensors, int count, struct wf_error *err)
{
    char path[PATH_BYTES];
    XXH128_canonical_t sum;
    struct head h = {.steps = (uint64_t)job->steps_done,
                     .tensors = (uint64_t)count,
                     .bytes = wf_tensor_bytes(&tensors[0])};
    memcpy(h.magic, magic, sizeof magic);
    memcpy(file, &h, sizeof h);
    for (int i = 0; i < count; i++)
        WF_TRY(wf_download(job->be, file + sizeof h + (size_t)i * (size_t)h.bytes, tensors[i]));
    XXH128_canonicalFromHash(&sum, XXH3_128bits(file, bytes - sizeof sum));
    memcpy(file + bytes - sizeof sum, &sum, sizeof sum);
    WF_TRY(state_path(job, job->steps_done, path, err));
    WF_TRY(write_whole(job, path, file, bytes, err));
    if (job->steps_done > KEPT_STATES &&
        state_path(job, job->steps_done - KEPT_STATES, path, err) == WF_OK)
        (void)unlink(path);
    return WF_OK;
}

enum wf_status wf_resume_save(struct weft_job *job, struct wf_error *err)
{
    struct wf_tensor tensors[MOST_TENSORS];
    const int count = tensors_of(job, tensors);
    const size_t bytes = sizeof(struct head) + (size_t)count * wf_tensor_bytes(&tensors[0]) +
                         sizeof(XXH128_canonical_t);
    unsigned char *file = wf_alloc(job->be->mem, WF_MEM_CACHE, bytes);
    if (!file)
        return wf_fail_memory(err, "resume", bytes);
    const enum wf_status status = write_state(job, file, bytes, tensors, count, err);
    wf_free(file);
    return status;
}
