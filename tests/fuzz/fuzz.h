/* What the fuzz targets share. A target hands one input to one parser; fuzz.c does that twice, the
   second time with an allocation that fails, and checks what is true of every parser: it accepts or
   refuses, or memory was short; its message is one line; it gives back what it took. */
#ifndef WEFT_TESTS_FUZZ_FUZZ_H
#define WEFT_TESTS_FUZZ_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/base/mem.h"
#include "kernels/base/status.h"

struct fuzz {
    struct wf_mem *mem;
    struct wf_error err;
    bool starved; /* an allocation fails */
};

/* The target's own: parses, checks what was accepted, gives everything back; the parser's status.
 */
enum wf_status fuzz_parse(struct fuzz *f, const uint8_t *data, size_t size);

/* Ends the program, naming the place, unless the condition holds. */
#define FUZZ_CHECK(condition) ((condition) ? (void)0 : fuzz_fail(__FILE__, __LINE__, #condition))
_Noreturn void fuzz_fail(const char *file, int line, const char *condition);

/* Whether a call succeeded; ends the program where neither that nor a refusal in one line, nor
   short memory, came of it. */
bool fuzz_succeeded(const struct fuzz *f, enum wf_status status);

/* The input as a text of its own size, to be freed with free: what follows its first NUL is left
   out. */
char *fuzz_text(const uint8_t *data, size_t size);

/* A path in a folder of this process, which goes when it ends; valid until the next but three. */
const char *fuzz_path(const char *name);
/* The same, and a file is there; of the input's parts between NULs the one with that number. */
const char *fuzz_write(const char *name, const void *data, size_t size);
const char *fuzz_write_part(const char *name, const uint8_t *data, size_t size, int part);
void fuzz_folder(const char *name);

/* The input's part with that number, between NULs; empty where there are fewer. */
const uint8_t *fuzz_part(const uint8_t *data, size_t size, int part, size_t *bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
