#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATHS = 4, PATH_BYTES = 512 };

_Noreturn void fuzz_fail(const char *file, int line, const char *condition)
{
    fprintf(stderr, "%s:%d: not so: %s\n", file, line, condition);
    abort();
}

bool fuzz_succeeded(const struct fuzz *f, enum wf_status status)
{
    if (status == WF_OK)
        return true;
    const size_t length = strnlen(f->err.text, sizeof f->err.text);
    FUZZ_CHECK(f->err.status == status && length > 0 && length < sizeof f->err.text);
    for (const char *c = f->err.text; *c; c++)
        FUZZ_CHECK((unsigned char)*c >= ' ' && *c != 0x7f);
    FUZZ_CHECK(status == WF_REFUSED ||
               (status == WF_FAILED && strstr(f->err.text, "out of memory")));
    return false;
}

char *fuzz_text(const uint8_t *data, size_t size)
{
    size_t bytes;
    const uint8_t *first = fuzz_part(data, size, 0, &bytes);
    char *text = malloc(bytes + 1);
    FUZZ_CHECK(text);
    if (bytes)
        memcpy(text, first, bytes);
    text[bytes] = '\0';
    return text;
}

const uint8_t *fuzz_part(const uint8_t *data, size_t size, int part, size_t *bytes)
{
    const uint8_t *end = size ? memchr(data, 0, size) : NULL;
    *bytes = end ? (size_t)(end - data) : size;
    if (part == 0)
        return data;
    if (end)
        return fuzz_part(end + 1, size - *bytes - 1, part - 1, bytes);
    *bytes = 0;
    return data;
}

/* --- files --- */

static const char *own_folder(void);

static void remove_folder(void)
{
    char command[PATH_BYTES + 16];
    snprintf(command, sizeof command, "rm -rf '%s'", own_folder());
    if (system(command) != 0)
        fprintf(stderr, "%s: cannot be removed\n", own_folder());
}

/* Below TMPDIR; another process that was forked has another. */
static const char *own_folder(void)
{
    static char folder[PATH_BYTES / 2];
    if (!folder[0]) {
        const char *above = getenv("TMPDIR");
        snprintf(folder, sizeof folder, "%s/weft-fuzz-XXXXXX", above ? above : "/tmp");
        FUZZ_CHECK(mkdtemp(folder));
        atexit(remove_folder);
    }
    return folder;
}

const char *fuzz_path(const char *name)
{
    static char paths[PATHS][PATH_BYTES];
    static int next;
    char *path = paths[next++ % PATHS];
    snprintf(path, PATH_BYTES, "%s/%s", own_folder(), name);
    return path;
}

void fuzz_folder(const char *name)
{
    (void)mkdir(fuzz_path(name), 0700);
}

const char *fuzz_write(const char *name, const void *data, size_t size)
{
    const char *path = fuzz_path(name);
    FILE *file = fopen(path, "wb");
    FUZZ_CHECK(file);
    FUZZ_CHECK(size == 0 || fwrite(data, 1, size, file) == size);
    FUZZ_CHECK(fclose(file) == 0);
    return path;
}

const char *fuzz_write_part(const char *name, const uint8_t *data, size_t size, int part)
{
    size_t bytes;
    const uint8_t *first = fuzz_part(data, size, part, &bytes);
    return fuzz_write(name, first, bytes);
}

/* --- one input --- */

static void parse_with(long fails, const uint8_t *data, size_t size)
{
    struct fuzz f = {.mem = wf_mem_open(), .starved = fails > 0};
    FUZZ_CHECK(f.mem);
    wf_mem_fail_at(f.mem, fails);
    (void)fuzz_succeeded(&f, fuzz_parse(&f, data, size));
    FUZZ_CHECK(wf_mem_live_all(f.mem) == 0);
    wf_mem_close(&f.mem);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum { ALLOCATIONS = 16 };
    unsigned sum = 0;
    for (size_t i = 0; i < size; i++)
        sum = sum * 31 + data[i];
    parse_with(0, data, size);
    parse_with(1 + (sum >> 16) % ALLOCATIONS, data, size);
    return 0;
}
