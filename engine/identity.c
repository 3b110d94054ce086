#include "engine/identity.h"

#include <errno.h>
#include <stdio.h>
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

static enum wf_status add_component(XXH3_state_t *state, const struct weft_model *m, int i,
                                    struct wf_error *err)
{
    const char *name = m->family->components[i].name;
    XXH3_128bits_update(state, name, strlen(name) + 1);
    for (int t = 0; t < wf_checkpoint_count(m->ckpts[i]); t++)
        WF_TRY(add_tensor(state, wf_checkpoint_at(m->ckpts[i], t), err));
    return WF_OK;
}

enum wf_status wf_identity_of_model(const struct weft_model *m, char hash[WF_HASH_TEXT],
                                    struct wf_error *err)
{
    enum wf_status status = WF_OK;
    XXH3_state_t *state = new_state(err);
    if (!state)
        return err->status;
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
