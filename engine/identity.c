#include "engine/identity.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "engine/models/family.h"
#include "io/file.h"

enum { SAMPLE = 4096, PIECE = 1 << 16 };

static void write_hash(XXH128_hash_t value, char hash[WF_HASH_TEXT])
{
    snprintf(hash, WF_HASH_TEXT, "%016llx%016llx", (unsigned long long)value.high64,
             (unsigned long long)value.low64);
}

static XXH3_state_t *new_state(struct wf_error *err)
{
    XXH3_state_t *state = XXH3_createState();
    if (state)
        XXH3_128bits_reset(state);
    else
        wf_fail_memory(err, "hash", sizeof *state);
    return state;
}

/* As little-endian numbers of 64 bits behind one another. */
static void add_numbers(XXH3_state_t *state, const int64_t *numbers, int count)
{
    for (int i = 0; i < count; i++) {
        unsigned char bytes[8];
        for (int b = 0; b < 8; b++)
            bytes[b] = (unsigned char)((uint64_t)numbers[i] >> 8 * b);
        XXH3_128bits_update(state, bytes, sizeof bytes);
    }
}

static enum wf_status add_tensor(XXH3_state_t *state, const struct wf_st_tensor *t,
                                 struct wf_error *err)
{
    unsigned char sample[SAMPLE];
    const size_t bytes = t->source.bytes < SAMPLE ? (size_t)t->source.bytes : SAMPLE;
    XXH3_128bits_update(state, t->name, strlen(t->name) + 1);
    XXH3_128bits_update(state, t->type, strlen(t->type) + 1);
    add_numbers(state, t->dim, t->rank);
    WF_TRY(wf_source_read(&t->source, 0, sample, bytes, err));
    XXH3_128bits_update(state, sample, bytes);
    return WF_OK;
}

/* --- configuration --- */

/* Keys with a line in front are notes of the program that wrote the file, but for the class. */
static void drop_notes(json_t *object)
{
    const char *key;
    json_t *value;
    void *next;
    json_object_foreach_safe(object, next, key, value)
    {
        if (key[0] == '_' && strcmp(key, "_class_name") != 0)
            json_object_del(object, key);
    }
}

static enum wf_status add_json(XXH3_state_t *state, const struct wf_json *file,
                               struct wf_error *err)
{
    json_t *copy = json_copy(file->root);
    drop_notes(copy);
    char *text = json_dumps(copy, JSON_COMPACT | JSON_SORT_KEYS | JSON_REAL_PRECISION(17));
    json_decref(copy);
    if (!text)
        return wf_fail_memory(err, "hash", 0);
    XXH3_128bits_update(state, text, strlen(text) + 1);
    free(text);
    return WF_OK;
}

static enum wf_status add_file(XXH3_state_t *state, const char *path, struct wf_error *err)
{
    char hash[WF_HASH_TEXT];
    WF_TRY(wf_identity_of_file(path, hash, err));
    XXH3_128bits_update(state, hash, sizeof hash);
    return WF_OK;
}

/* One that the model need not have. */
static enum wf_status add_setting(XXH3_state_t *state, const struct weft_model *m, const char *name,
                                  struct wf_error *err)
{
    char path[WF_PATH_BYTES];
    struct wf_json file = {0};
    WF_TRY(wf_model_path(m, name, path, err));
    if (!wf_file_is_there(path))
        return WF_OK;
    WF_TRY(wf_json_open(path, &file, err));
    XXH3_128bits_update(state, name, strlen(name) + 1);
    const enum wf_status status = add_json(state, &file, err);
    wf_json_close(&file);
    return status;
}

/* Of the tokenizer the file that is read. */
static enum wf_status add_tokenizer(XXH3_state_t *state, const struct weft_model *m,
                                    struct wf_error *err)
{
    static const char *const names[] = {"tokenizer/spiece.model", "tokenizer/tokenizer.json"};
    char path[WF_PATH_BYTES];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        WF_TRY(wf_model_path(m, names[i], path, err));
        if (wf_file_is_there(path))
            return add_file(state, path, err);
    }
    return WF_OK;
}

/* What a pipeline's clips depend on beside its components. */
static enum wf_status add_settings(XXH3_state_t *state, const struct weft_model *m,
                                   struct wf_error *err)
{
    WF_TRY(add_setting(state, m, "scheduler/scheduler_config.json", err));
    WF_TRY(add_setting(state, m, "feature_extractor/preprocessor_config.json", err));
    return add_tokenizer(state, m, err);
}

static enum wf_status add_component(XXH3_state_t *state, const struct weft_model *m, int i,
                                    struct wf_error *err)
{
    const char *name = m->family->components[i].name;
    XXH3_128bits_update(state, name, strlen(name) + 1);
    WF_TRY(add_json(state, wf_checkpoint_config(m->ckpts[i]), err));
    for (int t = 0; t < wf_checkpoint_count(m->ckpts[i]); t++)
        WF_TRY(add_tensor(state, wf_checkpoint_at(m->ckpts[i], t), err));
    return WF_OK;
}

enum wf_status wf_identity_of_model(const struct weft_model *m, char hash[WF_HASH_TEXT],
                                    struct wf_error *err)
{
    XXH3_state_t *state = new_state(err);
    if (!state)
        return err->status;
    enum wf_status status = m->pipeline ? add_settings(state, m, err) : WF_OK;
    for (int i = 0; m->family->components[i].name && status == WF_OK; i++) {
        if (m->ckpts[i])
            status = add_component(state, m, i, err);
    }
    write_hash(XXH3_128bits_digest(state), hash);
    XXH3_freeState(state);
    return status;
}

static enum wf_status add_bytes(XXH3_state_t *state, int fd, const char *path, struct wf_error *err)
{
    unsigned char piece[PIECE];
    ssize_t got;
    while ((got = read(fd, piece, sizeof piece)) != 0) {
        if (got < 0 && errno != EINTR)
            return wf_fail(err, WF_REFUSED, "%s: cannot be read (%s); check the disk", path,
                           strerror(errno));
        if (got > 0)
            XXH3_128bits_update(state, piece, (size_t)got);
    }
    return WF_OK;
}

enum wf_status wf_identity_of_file(const char *path, char hash[WF_HASH_TEXT], struct wf_error *err)
{
    int fd;
    uint64_t bytes;
    WF_TRY(wf_file_open(path, &fd, &bytes, err));
    XXH3_state_t *state = new_state(err);
    const enum wf_status status = state ? add_bytes(state, fd, path, err) : err->status;
    close(fd);
    if (state)
        write_hash(XXH3_128bits_digest(state), hash);
    XXH3_freeState(state);
    return status;
}
