#include "engine/kept.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "io/output.h"

enum { PIECE = 1 << 20 }; /* bytes that are on their way at a time */

struct wf_kept_out {
    struct wf_output *file;
    XXH3_state_t sum;
    unsigned char piece[PIECE];
};

struct wf_kept_in {
    int fd;
    uint64_t at, end; /* of the content */
    char *path;
    XXH3_state_t sum;
    unsigned char piece[PIECE];
};

/* Pieces of a dense tensor: *offset elements were done. False after the last. */
static bool next_piece(struct wf_tensor t, int64_t *offset, struct wf_tensor *piece)
{
    const int64_t count = wf_tensor_count(&t), left = count - *offset;
    const int64_t most = PIECE / (int64_t)wf_dtype_bytes(t.dtype);
    if (!left)
        return false;
    *piece =
        wf_tensor_slice(wf_tensor_reshape(t, 1, &count), 0, *offset, left < most ? left : most);
    *offset += piece->dim[0];
    return true;
}

/* --- writing --- */

enum wf_status wf_kept_create(const char *path, const struct wf_kept_kind *kind,
                              const struct wf_file_set *inputs, struct wf_mem *mem,
                              struct wf_kept_out **out, struct wf_error *err)
{
    *out = NULL;
    struct wf_kept_out *o = wf_alloc(mem, WF_MEM_MISC, sizeof *o);
    if (!o)
        return wf_fail_memory(err, "resume", sizeof *o);
    o->file = NULL;
    XXH3_128bits_reset(&o->sum);
    enum wf_status status = wf_output_open(path, true, inputs, mem, &o->file, err);
    if (status == WF_OK)
        status = wf_kept_write(o, kind, sizeof *kind, err);
    if (status == WF_OK)
        *out = o;
    else
        wf_kept_discard(&o);
    return status;
}

enum wf_status wf_kept_write(struct wf_kept_out *o, const void *data, size_t bytes,
                             struct wf_error *err)
{
    XXH3_128bits_update(&o->sum, data, bytes);
    return wf_output_write(o->file, data, bytes, err);
}

enum wf_status wf_kept_write_tensor(struct wf_kept_out *o, struct wf_backend *be,
                                    struct wf_tensor t, struct wf_error *err)
{
    struct wf_tensor piece;
    for (int64_t offset = 0; next_piece(t, &offset, &piece);) {
        WF_TRY(wf_download(be, o->piece, piece));
        WF_TRY(wf_kept_write(o, o->piece, wf_tensor_bytes(&piece), err));
    }
    return WF_OK;
}

enum wf_status wf_kept_commit(struct wf_kept_out **out, struct wf_error *err)
{
    struct wf_kept_out *o = *out;
    XXH128_canonical_t sum;
    bool kept;
    XXH128_canonicalFromHash(&sum, XXH3_128bits_digest(&o->sum));
    enum wf_status status = wf_output_write(o->file, &sum, sizeof sum, err);
    if (status == WF_OK)
        status = wf_output_commit(&o->file, &kept, err);
    wf_kept_discard(out);
    return status;
}

void wf_kept_discard(struct wf_kept_out **out)
{
    if (!*out)
        return;
    wf_output_discard(&(*out)->file);
    wf_free(*out);
    *out = NULL;
}

/* --- reading --- */

static enum wf_status read_at(const struct wf_kept_in *in, uint64_t at, void *data, size_t bytes,
                              struct wf_error *err)
{
    for (size_t done = 0; done < bytes;) {
        const ssize_t n = pread(in->fd, (char *)data + done, bytes - done, (off_t)(at + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return wf_fail(err, WF_FAILED, "%s: %s; use another folder", in->path,
                           n < 0 ? strerror(errno) : "it became shorter while it was read");
        done += (size_t)n;
    }
    return WF_OK;
}

static enum wf_status fail_damaged(const struct wf_kept_in *in, struct wf_error *err)
{
    return wf_fail(err, WF_REFUSED, "%s: damaged, not whole, or of another request", in->path);
}

/* The kind, and the checksum over all before it. */
static enum wf_status check_whole(struct wf_kept_in *in, const struct wf_kept_kind *kind,
                                  struct wf_error *err)
{
    struct wf_kept_kind found;
    XXH128_canonical_t sum, is;
    WF_TRY(read_at(in, 0, &found, sizeof found, err));
    if (memcmp(kind, &found, sizeof found) != 0)
        return fail_damaged(in, err);
    XXH3_128bits_reset(&in->sum);
    for (uint64_t at = 0; at < in->end;) {
        const size_t bytes = in->end - at < PIECE ? (size_t)(in->end - at) : PIECE;
        WF_TRY(read_at(in, at, in->piece, bytes, err));
        XXH3_128bits_update(&in->sum, in->piece, bytes);
        at += bytes;
    }
    XXH128_canonicalFromHash(&is, XXH3_128bits_digest(&in->sum));
    WF_TRY(read_at(in, in->end, &sum, sizeof sum, err));
    return memcmp(&sum, &is, sizeof sum) == 0 ? WF_OK : fail_damaged(in, err);
}

static enum wf_status open_kept(struct wf_kept_in *in, const struct wf_kept_kind *kind,
                                uint64_t most, struct wf_error *err)
{
    uint64_t bytes = 0;
    WF_TRY(wf_file_open(in->path, &in->fd, &bytes, err));
    const uint64_t around = sizeof *kind + sizeof(XXH128_canonical_t);
    if (bytes < around || bytes - around > most)
        return fail_damaged(in, err);
    in->at = sizeof *kind;
    in->end = bytes - sizeof(XXH128_canonical_t);
    return check_whole(in, kind, err);
}

enum wf_status wf_kept_open(const char *path, const struct wf_kept_kind *kind, uint64_t most,
                            struct wf_mem *mem, struct wf_kept_in **out, struct wf_error *err)
{
    *out = NULL;
    struct wf_kept_in *in = wf_alloc(mem, WF_MEM_MISC, sizeof *in);
    if (!in)
        return wf_fail_memory(err, "resume", sizeof *in);
    in->fd = -1;
    in->path = wf_strdup(mem, path);
    const enum wf_status status =
        in->path ? open_kept(in, kind, most, err) : wf_fail_memory(err, "resume", strlen(path) + 1);
    if (status == WF_OK)
        *out = in;
    else
        wf_kept_close(&in);
    return status;
}

uint64_t wf_kept_left(const struct wf_kept_in *in)
{
    return in->end - in->at;
}

enum wf_status wf_kept_read(struct wf_kept_in *in, void *data, size_t bytes, struct wf_error *err)
{
    if (bytes > wf_kept_left(in))
        return wf_fail(err, WF_FAILED, "%s: it is of another size; use another folder", in->path);
    WF_TRY(read_at(in, in->at, data, bytes, err));
    in->at += bytes;
    return WF_OK;
}

enum wf_status wf_kept_read_tensor(struct wf_kept_in *in, struct wf_backend *be, struct wf_tensor t,
                                   struct wf_error *err)
{
    struct wf_tensor piece;
    for (int64_t offset = 0; next_piece(t, &offset, &piece);) {
        WF_TRY(wf_kept_read(in, in->piece, wf_tensor_bytes(&piece), err));
        WF_TRY(wf_upload(be, piece, in->piece));
    }
    return WF_OK;
}

void wf_kept_close(struct wf_kept_in **in)
{
    if (!*in)
        return;
    if ((*in)->fd >= 0)
        close((*in)->fd);
    wf_free((*in)->path);
    wf_free(*in);
    *in = NULL;
}
