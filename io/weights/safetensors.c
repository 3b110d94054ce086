#include "io/weights/safetensors.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/file.h"

enum { LENGTH_BYTES = 8, MAX_HEADER_BYTES = 100 * 1000 * 1000 };

struct wf_st_file {
    char *path, *names; /* names: one NUL-terminated name after the other */
    int fd;
    struct stat opened;           /* what the file was then */
    struct wf_st_tensor *tensors; /* the ones in use, then the ones left out; each sorted by name */
    int used, all;
};

/* One tensor while the header is read; its range lies within the data, which starts after the
   header. */
struct entry {
    struct wf_st_tensor tensor;
    bool used;
};

/* The header while it is read. */
struct header {
    struct wf_st_file *file;
    json_t *root;
    uint64_t data, data_bytes; /* where the data starts in the file, and how long it is */
    struct entry *entries;
    struct wf_error *err;
};

static const struct {
    const char *name;
    unsigned bits;
    bool used;
    enum wf_dtype dtype;
} types[] = {
    {"F32", 32, true, WF_F32},         {"F16", 16, true, WF_F16},
    {"BF16", 16, true, WF_BF16},       {"U8", 8, true, WF_U8},
    {"I32", 32, true, WF_I32},         {"F64", 64, true, WF_F32},
    {"I64", 64, false, WF_F32},        {"U64", 64, false, WF_F32},
    {"C64", 64, false, WF_F32},        {"U32", 32, false, WF_F32},
    {"I16", 16, false, WF_F32},        {"U16", 16, false, WF_F32},
    {"I8", 8, false, WF_F32},          {"BOOL", 8, false, WF_F32},
    {"F8_E4M3", 8, false, WF_F32},     {"F8_E5M2", 8, false, WF_F32},
    {"F8_E8M0", 8, false, WF_F32},     {"F8_E4M3FNUZ", 8, false, WF_F32},
    {"F8_E5M2FNUZ", 8, false, WF_F32}, {"F6_E2M3", 6, false, WF_F32},
    {"F6_E3M2", 6, false, WF_F32},     {"F4", 4, false, WF_F32},
};

#define COUNT_OF(array) (sizeof(array) / sizeof(array)[0])

static enum wf_status damaged(const struct header *h, const char *name, const char *what)
{
    return wf_fail(h->err, WF_REFUSED, "%s: tensor %.120s: %s; download the file again",
                   h->file->path, name, what);
}

/* --- reading --- */

/* What is read from a file that has changed since it was opened is of no use. */
static enum wf_status check_same(const struct wf_st_file *file, struct wf_error *err)
{
    struct stat now;
    if (fstat(file->fd, &now) != 0)
        return wf_fail(err, WF_FAILED, "%s: %s; check the disk", file->path, strerror(errno));
    if (now.st_size < file->opened.st_size)
        return wf_fail(err, WF_FAILED, "%s: became shorter while it was in use; download it again",
                       file->path);
    if (now.st_size != file->opened.st_size || now.st_mtim.tv_sec != file->opened.st_mtim.tv_sec ||
        now.st_mtim.tv_nsec != file->opened.st_mtim.tv_nsec)
        return wf_fail(err, WF_FAILED, "%s: changed while it was in use; start again", file->path);
    return WF_OK;
}

static enum wf_status read_at(const struct wf_st_file *file, uint64_t at, void *dst, size_t bytes,
                              struct wf_error *err)
{
    unsigned char *next = dst;
    for (size_t done = 0; done < bytes;) {
        const ssize_t got = pread(file->fd, next + done, bytes - done, (off_t)(at + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return wf_fail(err, WF_FAILED, "%s: cannot be read (%s); check the disk", file->path,
                           strerror(errno));
        if (got == 0)
            break;
        done += (size_t)got;
        if (done == bytes)
            return check_same(file, err);
    }
    WF_TRY(check_same(file, err));
    return bytes ? wf_fail(err, WF_FAILED, "%s: ends early; check the disk", file->path) : WF_OK;
}

/* The sources of tensors; their context is the tensor. */

static enum wf_status read_values(void *context, uint64_t offset, void *dst, size_t bytes,
                                  struct wf_error *err)
{
    const struct wf_st_tensor *t = context;
    return read_at(t->file, t->begin + offset, dst, bytes, err);
}

/* F64 as F32, rounded to nearest as torch does. */
static enum wf_status read_doubles(void *context, uint64_t offset, void *dst, size_t bytes,
                                   struct wf_error *err)
{
    enum { PIECE = 1024 };
    const struct wf_st_tensor *t = context;
    const uint64_t first = offset / sizeof(float), count = bytes / sizeof(float);
    double piece[PIECE];
    for (uint64_t done = 0; done < count; done += PIECE) {
        const size_t n = count - done < PIECE ? (size_t)(count - done) : PIECE;
        WF_TRY(read_at(t->file, t->begin + (first + done) * sizeof *piece, piece, n * sizeof *piece,
                       err));
        for (size_t i = 0; i < n; i++) {
            const float value = (float)piece[i];
            memcpy((unsigned char *)dst + (done + i) * sizeof value, &value, sizeof value);
        }
    }
    return WF_OK;
}

/* --- the header --- */

static enum wf_status open_file(struct wf_st_file *file, struct wf_error *err)
{
    uint64_t bytes;
    WF_TRY(wf_file_open(file->path, &file->fd, &bytes, err));
    if (fstat(file->fd, &file->opened) != 0)
        return wf_fail(err, WF_REFUSED, "%s: %s; check the disk", file->path, strerror(errno));
    if (file->opened.st_size < LENGTH_BYTES + 2)
        return wf_fail(err, WF_REFUSED,
                       "%s: %llu bytes, too short for a safetensors file; download it again",
                       file->path, (unsigned long long)file->opened.st_size);
    return WF_OK;
}

/* The header's length, as its first eight bytes say. */
static enum wf_status read_length(const struct header *h, uint64_t *length)
{
    static const char lfs[] = "version https://git-lfs";
    const struct wf_st_file *file = h->file;
    const uint64_t file_bytes = (uint64_t)file->opened.st_size;
    unsigned char bytes[sizeof lfs - 1] = {0};
    WF_TRY(
        read_at(file, 0, bytes, file_bytes < sizeof bytes ? LENGTH_BYTES : sizeof bytes, h->err));
    *length = 0;
    for (int i = LENGTH_BYTES - 1; i >= 0; i--)
        *length = *length << 8 | bytes[i];
    if (memcmp(bytes, lfs, sizeof bytes) == 0)
        return wf_fail(h->err, WF_REFUSED,
                       "%s: a git-lfs pointer, not the weights; run `git lfs pull` in the folder",
                       file->path);
    if (*length > MAX_HEADER_BYTES || *length > file_bytes - LENGTH_BYTES)
        return wf_fail(h->err, WF_REFUSED,
                       "%s: a header of %llu bytes in a file of %llu: not a safetensors file, or "
                       "one that is cut short; download it again",
                       file->path, (unsigned long long)*length, (unsigned long long)file_bytes);
    return WF_OK;
}

static enum wf_status parse_json(struct header *h, const char *text, size_t length)
{
    json_error_t error;
    h->root = json_loadb(text, length, JSON_REJECT_DUPLICATES, &error);
    if (!h->root && json_error_code(&error) == json_error_out_of_memory)
        return wf_fail_memory(h->err, h->file->path, length);
    if (!json_is_object(h->root))
        return wf_fail(h->err, WF_REFUSED,
                       "%s: the safetensors header is not a JSON object (%s); download the file "
                       "again",
                       h->file->path, h->root ? "another value" : error.text);
    return WF_OK;
}

static enum wf_status parse_header(struct header *h, struct wf_mem *mem)
{
    uint64_t length;
    WF_TRY(read_length(h, &length));
    char *text = wf_alloc(mem, WF_MEM_MISC, (size_t)length + 1);
    if (!text)
        return wf_fail_memory(h->err, h->file->path, length);
    enum wf_status status = read_at(h->file, LENGTH_BYTES, text, (size_t)length, h->err);
    if (status == WF_OK)
        status = parse_json(h, text, (size_t)length);
    wf_free(text);
    h->data = LENGTH_BYTES + length;
    h->data_bytes = (uint64_t)h->file->opened.st_size - h->data;
    return status;
}

/* Reads "shape"; *count is the product of the dims. */
static enum wf_status read_shape(const struct header *h, const json_t *shape, struct entry *e,
                                 uint64_t *count)
{
    struct wf_st_tensor *t = &e->tensor;
    if (!json_is_array(shape) || json_array_size(shape) > WF_ST_MAX_RANK)
        return damaged(h, t->name, "\"shape\" is not an array of at most 8 numbers");
    t->rank = (int)json_array_size(shape);
    *count = 1;
    for (int i = 0; i < t->rank; i++) {
        const json_t *dim = json_array_get(shape, (size_t)i);
        if (!json_is_integer(dim) || json_integer_value(dim) < 0)
            return damaged(h, t->name, "\"shape\" holds what is not a whole number");
        t->dim[i] = json_integer_value(dim);
        if (__builtin_mul_overflow(*count, (uint64_t)t->dim[i], count) || *count > INT64_MAX)
            return damaged(h, t->name, "the product of its dims is too large");
    }
    return WF_OK;
}

static enum wf_status read_offsets(const struct header *h, const json_t *offsets, struct entry *e)
{
    const json_t *begin = json_array_get(offsets, 0), *end = json_array_get(offsets, 1);
    if (json_array_size(offsets) != 2 || !json_is_integer(begin) || !json_is_integer(end) ||
        json_integer_value(begin) < 0 || json_integer_value(end) < json_integer_value(begin))
        return damaged(h, e->tensor.name, "\"data_offsets\" is not a range");
    e->tensor.begin = (uint64_t)json_integer_value(begin);
    e->tensor.end = (uint64_t)json_integer_value(end);
    if (e->tensor.end > h->data_bytes)
        return wf_fail(h->err, WF_REFUSED,
                       "%s: tensor %.120s: ends at byte %llu of %llu: the file is cut short; "
                       "download it again",
                       h->file->path, e->tensor.name, (unsigned long long)e->tensor.end,
                       (unsigned long long)h->data_bytes);
    return WF_OK;
}

static enum wf_status read_type(const struct header *h, const json_t *dtype, struct entry *e,
                                unsigned *bits)
{
    const char *word = json_string_value(dtype);
    for (size_t i = 0; word && i < COUNT_OF(types); i++) {
        if (strcmp(word, types[i].name) == 0) {
            *bits = types[i].bits;
            e->used = types[i].used;
            e->tensor.type = types[i].name;
            e->tensor.dtype = types[i].dtype;
            return WF_OK;
        }
    }
    return wf_fail(h->err, WF_REFUSED,
                   "%s: tensor %.120s: unknown type %.40s; use weights in BF16, F16 or F32",
                   h->file->path, e->tensor.name, word ? word : "(none)");
}

static enum wf_status read_entry(const struct header *h, const json_t *value, struct entry *e)
{
    uint64_t count = 0, bits_all;
    unsigned bits = 0;
    if (!json_is_object(value))
        return damaged(h, e->tensor.name, "its entry is not a JSON object");
    WF_TRY(read_type(h, json_object_get(value, "dtype"), e, &bits));
    WF_TRY(read_shape(h, json_object_get(value, "shape"), e, &count));
    WF_TRY(read_offsets(h, json_object_get(value, "data_offsets"), e));
    if (__builtin_mul_overflow(count, (uint64_t)bits, &bits_all) || bits_all % 8 != 0 ||
        bits_all / 8 != e->tensor.end - e->tensor.begin)
        return damaged(h, e->tensor.name, "its byte range does not fit its type and shape");
    e->tensor.path = h->file->path;
    e->tensor.file = h->file;
    e->tensor.bytes = (size_t)count * wf_dtype_bytes(e->tensor.dtype);
    return WF_OK;
}

static enum wf_status read_entries(struct header *h, struct wf_mem *mem)
{
    struct wf_st_file *file = h->file;
    const size_t room = json_object_size(h->root);
    size_t name_bytes = 1;
    const char *name;
    json_t *value;
    json_object_foreach(h->root, name, value) name_bytes += strlen(name) + 1;
    file->names = wf_alloc(mem, WF_MEM_MISC, name_bytes);
    h->entries = wf_calloc(mem, WF_MEM_MISC, room + 1, sizeof *h->entries);
    if (!file->names || !h->entries)
        return wf_fail_memory(h->err, file->path, name_bytes + room * sizeof *h->entries);
    char *next = file->names;
    json_object_foreach(h->root, name, value)
    {
        if (strcmp(name, "__metadata__") == 0)
            continue;
        struct entry *e = &h->entries[file->all++];
        const size_t bytes = strlen(name) + 1;
        e->tensor.name = memcpy(next, name, bytes);
        next += bytes;
        WF_TRY(read_entry(h, value, e));
    }
    return WF_OK;
}

static int by_range(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    if (x->tensor.begin != y->tensor.begin)
        return x->tensor.begin < y->tensor.begin ? -1 : 1;
    return x->tensor.end < y->tensor.end ? -1 : x->tensor.end > y->tensor.end;
}

static int by_name(const void *a, const void *b)
{
    const struct wf_st_tensor *x = a, *y = b;
    return strcmp(x->name, y->name);
}

static enum wf_status check_overlap(const struct header *h)
{
    const int count = h->file->all;
    qsort(h->entries, (size_t)count, sizeof *h->entries, by_range);
    for (int i = 1; i < count; i++) {
        if (h->entries[i].tensor.begin < h->entries[i - 1].tensor.end)
            return damaged(h, h->entries[i].tensor.name, "its bytes are another tensor's too");
    }
    return WF_OK;
}

static enum wf_status build_index(struct header *h, struct wf_mem *mem)
{
    struct wf_st_file *file = h->file;
    file->tensors = wf_calloc(mem, WF_MEM_MISC, (size_t)file->all + 1, sizeof *file->tensors);
    if (!file->tensors)
        return wf_fail_memory(h->err, file->path, (size_t)file->all * sizeof *file->tensors);
    int left_out = file->all;
    for (int i = 0; i < file->all; i++) {
        const struct entry *e = &h->entries[i];
        file->tensors[e->used ? file->used++ : --left_out] = e->tensor;
    }
    qsort(file->tensors, (size_t)file->used, sizeof *file->tensors, by_name);
    qsort(file->tensors + file->used, (size_t)(file->all - file->used), sizeof *file->tensors,
          by_name);
    for (int i = 0; i < file->all; i++) {
        struct wf_st_tensor *t = &file->tensors[i];
        t->begin += h->data;
        t->end += h->data;
        if (i < file->used)
            t->source = (struct wf_source){
                .dtype = t->dtype,
                .bytes = t->bytes,
                .read = strcmp(t->type, "F64") == 0 ? read_doubles : read_values,
                .context = t,
            };
    }
    return WF_OK;
}

static enum wf_status read_file(struct header *h, struct wf_mem *mem)
{
    WF_TRY(open_file(h->file, h->err));
    WF_TRY(parse_header(h, mem));
    WF_TRY(read_entries(h, mem));
    WF_TRY(check_overlap(h));
    return build_index(h, mem);
}

enum wf_status wf_st_open(const char *path, struct wf_mem *mem, struct wf_st_file **file,
                          struct wf_error *err)
{
    *file = wf_calloc(mem, WF_MEM_MISC, 1, sizeof **file);
    if (*file)
        (*file)->fd = -1;
    if (!*file || !((*file)->path = wf_strdup(mem, path))) {
        wf_st_close(file);
        return wf_fail_memory(err, path, sizeof **file);
    }
    struct header h = {.file = *file, .err = err};
    const enum wf_status status = read_file(&h, mem);
    json_decref(h.root);
    wf_free(h.entries);
    if (status != WF_OK)
        wf_st_close(file);
    return status;
}

void wf_st_close(struct wf_st_file **file)
{
    struct wf_st_file *f = *file;
    if (!f)
        return;
    if (f->fd >= 0)
        close(f->fd);
    wf_free(f->tensors);
    wf_free(f->names);
    wf_free(f->path);
    wf_free(f);
    *file = NULL;
}

int wf_st_count(const struct wf_st_file *file)
{
    return file->used;
}

const struct wf_st_tensor *wf_st_at(const struct wf_st_file *file, int index)
{
    return &file->tensors[index];
}

const struct wf_st_tensor *wf_st_find(const struct wf_st_file *file, const char *name)
{
    const struct wf_st_tensor key = {.name = name};
    return bsearch(&key, file->tensors, (size_t)file->used, sizeof key, by_name);
}

const struct wf_st_tensor *wf_st_left_out(const struct wf_st_file *file, const char *name)
{
    const struct wf_st_tensor key = {.name = name};
    return bsearch(&key, file->tensors + file->used, (size_t)(file->all - file->used), sizeof key,
                   by_name);
}

enum wf_status wf_st_read_f32(const struct wf_st_tensor *t, struct wf_mem *mem, float **values,
                              struct wf_error *err)
{
    const size_t count = t->bytes / wf_dtype_bytes(t->dtype);
    *values = wf_alloc(mem, WF_MEM_CACHE, count * sizeof **values);
    if (!*values)
        return wf_fail_memory(err, t->path, count * sizeof **values);
    const enum wf_status status = wf_source_f32(&t->source, 0, count, *values, err);
    if (status == WF_OK)
        return WF_OK;
    wf_free(*values);
    *values = NULL;
    return status;
}

void wf_st_prefetch(const struct wf_st_tensor *t)
{
    (void)posix_fadvise(t->file->fd, (off_t)t->begin, (off_t)(t->end - t->begin),
                        POSIX_FADV_WILLNEED);
}
