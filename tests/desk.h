/* What a test of the library's inside works with: a folder of its own, an account of its memory, a
   message. */
#ifndef WEFT_TESTS_DESK_H
#define WEFT_TESTS_DESK_H

#include "kernels/base/mem.h"
#include "kernels/base/status.h"

struct desk {
    char folder[64]; /* below /tmp */
    char path[512];  /* for a path at hand */
    struct wf_mem *mem;
    struct wf_error err;
};

/* word: of the folder's name. */
void desk_open(struct desk *desk, const char *word);
/* Removes the folder; fails the test when memory is still held. */
void desk_close(struct desk *desk);
/* A path below tests/fixtures, in desk->path. */
const char *desk_fixture(struct desk *desk, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
