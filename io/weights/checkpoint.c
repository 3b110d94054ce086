#include "io/weights/checkpoint.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "io/file.h"

enum { PATH_BYTES = 4096 };

struct wf_checkpoint {
    struct wf_mem *mem;
    struct wf_json config;
    struct wf_st_file **files;
    int file_count;
    const struct wf_st_tensor **tensors; /* sorted by name */
    bool *asked;                         /* for each of them */
    int tensor_count;
};

/* What is being opened. */
struct source {
    const char *folder, *base, *variant; /* variant: NULL for none */
    struct wf_mem *mem;
    struct wf_error *err;
};

/* A line of an index file, and where it leads. */
struct placement {
    const char *tensor, *shard;
};

static enum wf_status join(const struct source *from, char *path, const char *name)
{
    const int length = snprintf(path, PATH_BYTES, "%s/%s", from->folder, name);
    if (length < 0 || length >= PATH_BYTES)
        return wf_fail(from->err, WF_REFUSED, "%s: path too long; use a shorter one", from->folder);
    return WF_OK;
}

/* A word that DIR's files of this base carry where a variant stands: "fp16". False when none do. */
static bool find_variant(const struct source *from, char *word, size_t word_bytes)
{
    static const char ending[] = ".safetensors";
    DIR *dir = opendir(from->folder);
    bool found = false;
    const size_t base = strlen(from->base), tail = sizeof ending - 1;
    for (const struct dirent *d; dir && !found && (d = readdir(dir));) {
        const size_t length = strlen(d->d_name);
        if (length <= base + 1 + tail || strncmp(d->d_name, from->base, base) != 0 ||
            d->d_name[base] != '.' || strcmp(d->d_name + length - tail, ending) != 0)
            continue;
        /* A shard of a variant is called BASE.fp16-00001-of-00002.safetensors. */
        const size_t rest = strcspn(d->d_name + base + 1, "-.");
        snprintf(word, word_bytes, "%.*s", (int)rest, d->d_name + base + 1);
        found = rest > 0;
    }
    if (dir)
        closedir(dir);
    return found;
}

bool wf_checkpoint_has_variant(const char *folder, const char *variant)
{
    DIR *dir = opendir(folder);
    bool found = false;
    for (const struct dirent *d; dir && !found && (d = readdir(dir));) {
        const char *dot = strchr(d->d_name, '.');
        found = dot && strncmp(dot + 1, variant, strlen(variant)) == 0;
    }
    if (dir)
        closedir(dir);
    return found;
}

static enum wf_status no_weights(const struct source *from, const char *single, const char *index)
{
    char word[64], pickled[PATH_BYTES], name[256];
    if (!from->variant && find_variant(from, word, sizeof word))
        return wf_fail(from->err, WF_REFUSED,
                       "%s: neither %s nor %s is there, but a variant is; add --variant %s",
                       from->folder, single, index, word);
    if (from->variant)
        return wf_fail(from->err, WF_REFUSED,
                       "%s: neither %s nor %s is there; name another --variant, or none",
                       from->folder, single, index);
    snprintf(name, sizeof name, "%s.bin",
             strcmp(from->base, "model") == 0 ? "pytorch_model" : from->base);
    WF_TRY(join(from, pickled, name));
    return wf_fail(from->err, WF_REFUSED,
                   wf_file_is_there(pickled)
                       ? "%s: neither %s nor %s is there, only pickled weights; convert "
                         "the folder to safetensors"
                       : "%s: neither %s nor %s is there; download the folder again",
                   from->folder, single, index);
}

static int by_name(const void *a, const void *b)
{
    const struct wf_st_tensor *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

static int by_shard(const void *a, const void *b)
{
    const struct placement *x = a, *y = b;
    const int order = strcmp(x->shard, y->shard);
    return order ? order : strcmp(x->tensor, y->tensor);
}

static enum wf_status room_for(struct wf_checkpoint *c, const struct source *from, size_t tensors,
                               size_t files)
{
    c->tensors = wf_calloc(c->mem, WF_MEM_MISC, tensors + 1, sizeof(const struct wf_st_tensor *));
    c->asked = wf_calloc(c->mem, WF_MEM_MISC, tensors + 1, sizeof *c->asked);
    c->files = wf_calloc(c->mem, WF_MEM_MISC, files + 1, sizeof(struct wf_st_file *));
    if (!c->tensors || !c->asked || !c->files)
        return wf_fail_memory(from->err, from->folder, (tensors + files) * sizeof(void *));
    return WF_OK;
}

static enum wf_status open_single(struct wf_checkpoint *c, const struct source *from,
                                  const char *path)
{
    struct wf_st_file *file;
    WF_TRY(wf_st_open(path, c->mem, &file, from->err));
    const int count = wf_st_count(file);
    const enum wf_status status = room_for(c, from, (size_t)count, 1);
    if (status != WF_OK) {
        wf_st_close(&file);
        return status;
    }
    c->files[c->file_count++] = file;
    for (int i = 0; i < count; i++)
        c->tensors[c->tensor_count++] = wf_st_at(file, i);
    return WF_OK;
}

/* Fills *lines (to be freed with wf_free) from the index's weight_map, sorted by shard. */
static enum wf_status read_map(const struct wf_json *index, const struct source *from,
                               struct placement **lines, size_t *count)
{
    const json_t *map = json_object_get(index->root, "weight_map");
    if (!json_is_object(map) || json_object_size(map) == 0)
        return wf_fail(from->err, WF_REFUSED,
                       "%s: no \"weight_map\" with tensors in it; download the file again",
                       index->path);
    *lines = wf_calloc(from->mem, WF_MEM_MISC, json_object_size(map), sizeof **lines);
    if (!*lines)
        return wf_fail_memory(from->err, index->path, json_object_size(map) * sizeof **lines);
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)map, name, value)
    {
        const char *shard = json_string_value(value);
        if (!shard || !*shard || *shard == '.' || strchr(shard, '/'))
            return wf_fail(from->err, WF_REFUSED,
                           "%s: tensor %.120s is said to lie in %.80s, which is no file of the "
                           "folder; download the file again",
                           index->path, name, shard ? shard : "(no name)");
        (*lines)[(*count)++] = (struct placement){name, shard};
    }
    qsort(*lines, *count, sizeof **lines, by_shard);
    return WF_OK;
}

static enum wf_status open_shard(struct wf_checkpoint *c, const struct source *from,
                                 const char *shard)
{
    char path[PATH_BYTES];
    WF_TRY(join(from, path, shard));
    if (!wf_file_is_there(path))
        return wf_fail(from->err, WF_REFUSED,
                       "%s: the index names this file, and it is not there; download the folder "
                       "again",
                       path);
    WF_TRY(wf_st_open(path, c->mem, &c->files[c->file_count], from->err));
    c->file_count++;
    return WF_OK;
}

static enum wf_status open_placed(struct wf_checkpoint *c, const struct source *from,
                                  const struct wf_json *index, const struct placement *lines,
                                  size_t count)
{
    size_t shards = 0;
    for (size_t i = 0; i < count; i++)
        shards += i == 0 || strcmp(lines[i].shard, lines[i - 1].shard) != 0;
    WF_TRY(room_for(c, from, count, shards));
    for (size_t i = 0; i < count; i++) {
        if (i == 0 || strcmp(lines[i].shard, lines[i - 1].shard) != 0)
            WF_TRY(open_shard(c, from, lines[i].shard));
        const struct wf_st_file *file = c->files[c->file_count - 1];
        const struct wf_st_tensor *tensor = wf_st_find(file, lines[i].tensor);
        if (tensor)
            c->tensors[c->tensor_count++] = tensor;
        else if (!wf_st_left_out(file, lines[i].tensor))
            return wf_fail(from->err, WF_REFUSED,
                           "%s: tensor %.120s is said to lie in %.80s and does not; download the "
                           "folder again",
                           index->path, lines[i].tensor, lines[i].shard);
    }
    qsort(c->tensors, (size_t)c->tensor_count, sizeof *c->tensors, by_name);
    return WF_OK;
}

static enum wf_status open_shards(struct wf_checkpoint *c, const struct source *from,
                                  const char *path)
{
    struct wf_json index;
    WF_TRY(wf_json_open(path, &index, from->err));
    struct placement *lines = NULL;
    size_t count = 0;
    enum wf_status status = read_map(&index, from, &lines, &count);
    if (status == WF_OK)
        status = open_placed(c, from, &index, lines, count);
    wf_free(lines);
    wf_json_close(&index);
    return status;
}

static enum wf_status open_weights(struct wf_checkpoint *c, const struct source *from)
{
    char single[256], index[256], single_path[PATH_BYTES], index_path[PATH_BYTES];
    const char *dot = from->variant ? "." : "", *word = from->variant ? from->variant : "";
    if (strchr(word, '/') || strlen(from->base) > 64 || strlen(word) > 64)
        return wf_fail(from->err, WF_REFUSED,
                       "--variant %.80s: not a variant; give a word such as "
                       "fp16",
                       word);
    snprintf(single, sizeof single, "%s%s%s.safetensors", from->base, dot, word);
    snprintf(index, sizeof index, "%s.safetensors.index%s%s.json", from->base, dot, word);
    WF_TRY(join(from, single_path, single));
    WF_TRY(join(from, index_path, index));
    /* Where a folder holds both, transformers takes the one file and diffusers the shards. */
    const bool shards_first = strcmp(from->base, "model") != 0;
    if (wf_file_is_there(index_path) && (shards_first || !wf_file_is_there(single_path)))
        return open_shards(c, from, index_path);
    if (wf_file_is_there(single_path))
        return open_single(c, from, single_path);
    return no_weights(from, single, index);
}

static enum wf_status open_all(struct wf_checkpoint *c, const struct source *from)
{
    char path[PATH_BYTES];
    struct stat st;
    if (stat(from->folder, &st) != 0 || !S_ISDIR(st.st_mode))
        return wf_fail(from->err, WF_REFUSED, "%s: no such folder; download the whole model folder",
                       from->folder);
    WF_TRY(join(from, path, "config.json"));
    WF_TRY(wf_json_open(path, &c->config, from->err));
    return open_weights(c, from);
}

enum wf_status wf_checkpoint_open(const char *folder, const char *base, const char *variant,
                                  struct wf_mem *mem, struct wf_checkpoint **ckpt,
                                  struct wf_error *err)
{
    const struct source from = {folder, base, variant && *variant ? variant : NULL, mem, err};
    *ckpt = wf_calloc(mem, WF_MEM_MISC, 1, sizeof **ckpt);
    if (!*ckpt)
        return wf_fail_memory(err, folder, sizeof **ckpt);
    (*ckpt)->mem = mem;
    const enum wf_status status = open_all(*ckpt, &from);
    if (status != WF_OK)
        wf_checkpoint_close(ckpt);
    return status;
}

void wf_checkpoint_close(struct wf_checkpoint **ckpt)
{
    struct wf_checkpoint *c = *ckpt;
    if (!c)
        return;
    for (int i = 0; i < c->file_count; i++)
        wf_st_close(&c->files[i]);
    wf_free(c->files);
    wf_free(c->tensors);
    wf_free(c->asked);
    wf_json_close(&c->config);
    wf_free(c);
    *ckpt = NULL;
}

const struct wf_json *wf_checkpoint_config(const struct wf_checkpoint *ckpt)
{
    return &ckpt->config;
}

const struct wf_st_tensor *wf_checkpoint_find(const struct wf_checkpoint *ckpt, const char *name)
{
    const struct wf_st_tensor key = {.name = name}, *wanted = &key;
    const struct wf_st_tensor **found =
        bsearch(&wanted, ckpt->tensors, (size_t)ckpt->tensor_count, sizeof *ckpt->tensors, by_name);
    if (!found)
        return NULL;
    ckpt->asked[found - ckpt->tensors] = true;
    return *found;
}

/* Whether a name begins with a word of a row. */
static bool begins_with_one(const char *name, const char *row)
{
    for (const char *word = row; word && *word;) {
        const size_t length = strcspn(word, " ");
        if (strncmp(name, word, length) == 0)
            return true;
        word += length + strspn(word + length, " ");
    }
    return false;
}

int wf_checkpoint_unasked(const struct wf_checkpoint *ckpt, const char *but, const char **first)
{
    int count = 0;
    *first = NULL;
    for (int i = 0; i < ckpt->tensor_count; i++) {
        if (ckpt->asked[i] || begins_with_one(ckpt->tensors[i]->name, but))
            continue;
        *first = *first ? *first : ckpt->tensors[i]->name;
        count++;
    }
    return count;
}

int wf_checkpoint_count(const struct wf_checkpoint *ckpt)
{
    return ckpt->tensor_count;
}

const struct wf_st_tensor *wf_checkpoint_at(const struct wf_checkpoint *ckpt, int index)
{
    return ckpt->tensors[index];
}

uint64_t wf_checkpoint_parameters(const struct wf_checkpoint *ckpt)
{
    uint64_t sum = 0;
    for (int i = 0; i < ckpt->tensor_count; i++)
        sum += ckpt->tensors[i]->bytes / wf_dtype_bytes(ckpt->tensors[i]->dtype);
    return sum;
}

uint64_t wf_checkpoint_bytes(const struct wf_checkpoint *ckpt)
{
    uint64_t sum = 0;
    for (int i = 0; i < ckpt->tensor_count; i++)
        sum += ckpt->tensors[i]->end - ckpt->tensors[i]->begin;
    return sum;
}

const struct wf_st_tensor *wf_checkpoint_left_out(const struct wf_checkpoint *ckpt,
                                                  const char *name)
{
    const struct wf_st_tensor *found = NULL;
    for (int i = 0; !found && i < ckpt->file_count; i++)
        found = wf_st_left_out(ckpt->files[i], name);
    return found;
}
