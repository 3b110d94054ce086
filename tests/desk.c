#include "tests/desk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

void desk_open(struct desk *desk, const char *word)
{
    snprintf(desk->folder, sizeof desk->folder, "/tmp/weft-%s-XXXXXX", word);
    assert_non_null(mkdtemp(desk->folder));
    desk->mem = wf_mem_open();
    assert_non_null(desk->mem);
}

void desk_close(struct desk *desk)
{
    char command[128];
    assert_int_equal(wf_mem_live_all(desk->mem), 0);
    wf_mem_close(&desk->mem);
    snprintf(command, sizeof command, "rm -rf %s", desk->folder);
    assert_int_equal(system(command), 0);
}

const char *desk_fixture(struct desk *desk, const char *format, ...)
{
    const char *source = getenv("WEFT_SOURCE_DIR");
    const int used =
        snprintf(desk->path, sizeof desk->path, "%s/tests/fixtures/", source ? source : ".");
    va_list args;
    va_start(args, format);
    vsnprintf(desk->path + used, sizeof desk->path - (size_t)used, format, args);
    va_end(args);
    return desk->path;
}
