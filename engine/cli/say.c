#include <stdarg.h>
#include <stdio.h>

#include "engine/cli/cli.h"

void cli_say(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("weft: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
}
