#include <stdarg.h>
#include <stdio.h>
#include <string.h>

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

void cli_log(void *context, enum weft_log_level level, const char *line)
{
    struct cli *cli = context;
    if (cli->quiet || (level == WEFT_LOG_INFO && !cli->verbose))
        return;
    if (level == WEFT_LOG_INFO || cli->accepted) {
        cli_end_progress(cli);
        cli_say("%s", line);
        return;
    }
    const size_t used = strlen(cli->held), more = strlen(line);
    if (more + 2 <= sizeof cli->held - used)
        snprintf(cli->held + used, sizeof cli->held - used, "%s\n", line);
}

void cli_accept(struct cli *cli)
{
    cli->accepted = true;
    for (const char *line = cli->held; *line;) {
        const size_t length = strcspn(line, "\n");
        cli_say("%.*s", (int)length, line);
        line += length + 1;
    }
}
