/* What the program says on standard error. */
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <utf8proc.h>

#include "engine/cli/cli.h"

/* One line, whatever the texts hold that are named in it. */
static void say(const char *format, va_list args)
{
    char text[8192];
    vsnprintf(text, sizeof text, format, args);
    for (char *c = text; *c; c++)
        *c = (unsigned char)*c < ' ' || *c == 0x7f ? '?' : *c;
    fprintf(stderr, "weft: %s\n", text);
}

void cli_say(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    say(format, args);
    va_end(args);
}

static void say_json(const char *kind, const char *format, va_list args)
{
    char text[2048];
    vsnprintf(text, sizeof text, format, args);
    json_t *object = json_pack("{s:o}", kind, cli_json_text(text));
    if (object)
        json_dumpf(object, stderr, JSON_COMPACT);
    fputc('\n', stderr);
    json_decref(object);
}

void cli_tell(const struct cli *cli, const char *kind, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (cli->progress == CLI_PROGRESS_JSON)
        say_json(kind, format, args);
    else
        say(format, args);
    va_end(args);
}

json_t *cli_json_text(const char *text)
{
    enum { UNKNOWN = 0xfffd };
    char valid[8192];
    size_t used = 0;
    while (*text && used + 4 < sizeof valid) {
        utf8proc_int32_t point;
        const utf8proc_ssize_t bytes = utf8proc_iterate((const utf8proc_uint8_t *)text, -1, &point);
        used += (size_t)utf8proc_encode_char(bytes > 0 ? point : UNKNOWN,
                                             (utf8proc_uint8_t *)valid + used);
        text += bytes > 0 ? bytes : 1;
    }
    return json_stringn(valid, used);
}

const char *cli_label(const struct cli *cli, const char *follows, char label[CLI_LABEL])
{
    label[0] = '\0';
    if (cli_clips(cli) > 1)
        snprintf(label, CLI_LABEL, "clip %d/%d%s", cli->clip + 1, cli_clips(cli), follows);
    return label;
}

/* Whether a warning came already; notes it where it did not, as far as there is room. */
static bool is_known(struct cli *cli, const char *line)
{
    const size_t used = strlen(cli->held), more = strlen(line);
    for (const char *next = cli->held; (next = strstr(next, line)) != NULL; next++) {
        if (next[more] == '\n' && (next == cli->held || next[-1] == '\n'))
            return true;
    }
    if (more + 2 <= sizeof cli->held - used)
        snprintf(cli->held + used, sizeof cli->held - used, "%s\n", line);
    else
        cli->unheld++;
    return false;
}

void cli_log(void *context, enum weft_log_level level, const char *line)
{
    struct cli *cli = context;
    if (cli->quiet || cli->checking || (level == WEFT_LOG_INFO && !cli->verbose))
        return;
    if (level == WEFT_LOG_WARNING && is_known(cli, line) && cli->clip > 0)
        return;
    if (level == WEFT_LOG_INFO || cli->accepted) {
        cli_end_progress(cli);
        cli_tell(cli, level == WEFT_LOG_INFO ? "info" : "warning", "%s", line);
    }
}

void cli_accept(struct cli *cli)
{
    if (cli->accepted) /* for an earlier clip */
        return;
    cli->accepted = true;
    for (const char *line = cli->held; *line;) {
        const size_t length = strcspn(line, "\n");
        cli_tell(cli, "warning", "%.*s", (int)length, line);
        line += length + 1;
    }
    if (cli->unheld)
        cli_tell(cli, "warning", "and %d warnings more", cli->unheld);
}
