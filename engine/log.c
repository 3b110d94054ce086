#include <stdarg.h>
#include <stdio.h>

#include "engine/engine.h"

void wf_log(const struct weft_engine *engine, enum weft_log_level level, const char *format, ...)
{
    char line[1536]; /* room for a path and what is said of it */
    if (!engine->log)
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    for (char *c = line; *c; c++) { /* names come from files: the message stays one line */
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '?';
    }
    engine->log(engine->log_context, level, line);
}
