/* The values of options: from text, with the bounds of the table. */
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/cli/option.h"

static int refuse(const struct cli_option *s, const char *text)
{
    if (s->kind == CHOICE)
        cli_say("--%s: %s is not possible; choose %s", s->name, text, s->argument);
    else if (s->high > 0)
        cli_say("--%s: %s is not possible; choose %s from %.10g to %.10g", s->name, text,
                s->kind == INTEGER ? "a whole number" : "a number", s->low, s->high);
    else
        cli_say("--%s: %s is not possible; see --help", s->name, text);
    return CLI_REFUSED;
}

/* Not what strtod reads besides: white space, hexadecimal, nan and inf. */
static bool is_decimal(const char *text)
{
    return strspn(text, "+-.0123456789eE") == strlen(text);
}

static int parse_number(const struct cli_option *s, const char *text, double *value)
{
    char *end;
    errno = 0;
    *value = strtod(text, &end);
    const bool plain = end != text && !*end && is_decimal(text) && !errno;
    if (!plain || !isfinite(*value) || *value < s->low || *value > s->high ||
        (s->kind == INTEGER && *value != floor(*value)))
        return refuse(s, text);
    return CLI_OK;
}

static int parse_integer(const struct cli_option *s, const char *text, int *value)
{
    double number;
    if (strspn(text, "+-0123456789") != strlen(text))
        return refuse(s, text);
    if (parse_number(s, text, &number) != CLI_OK)
        return CLI_REFUSED;
    *value = (int)number;
    return CLI_OK;
}

static int parse_seed(const struct cli_option *s, const char *text, struct weft_request *request)
{
    char *end;
    errno = 0;
    const unsigned long long seed = strtoull(text, &end, 10);
    if (!isdigit((unsigned char)*text) || *end || errno) {
        cli_say("--%s: %s is not possible; choose a whole number from 0 to 18446744073709551615",
                s->name, text);
        return CLI_REFUSED;
    }
    request->seed = seed;
    request->random_seed = 0;
    return CLI_OK;
}

/* A number with a unit of bytes, or without. */
static int parse_size(const struct cli_option *s, const char *text, uint64_t *bytes)
{
    static const struct {
        const char *name;
        double bytes;
    } units[] = {{"", 1},          {"B", 1},
                 {"kB", 1e3},      {"KB", 1e3},
                 {"MB", 1e6},      {"GB", 1e9},
                 {"TB", 1e12},     {"K", 1024},
                 {"KiB", 1024},    {"M", 1 << 20},
                 {"MiB", 1 << 20}, {"G", 1 << 30},
                 {"GiB", 1 << 30}, {"TiB", 1099511627776.0}};
    char *unit;
    const double number = strtod(text, &unit);
    const size_t digits = (size_t)(unit - text);
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        const double size = number * units[i].bytes;
        if (digits && strspn(text, ".0123456789") == digits && size >= 1 && size < 9e18 &&
            strcmp(unit, units[i].name) == 0) {
            *bytes = (uint64_t)size;
            return CLI_OK;
        }
    }
    cli_say("--%s: %s is not possible; give bytes, or a number with MB, GB, MiB or GiB", s->name,
            text);
    return CLI_REFUSED;
}

/* WIDTHxHEIGHT, into two integers that lie in that order. */
static int parse_pair(const struct cli_option *s, const char *text, int pair[2])
{
    const char *at = text;
    long side[2] = {0};
    bool fits = true;
    for (int i = 0; i < 2 && fits; i++) {
        char *end;
        side[i] = strtol(at, &end, 10);
        fits = isdigit((unsigned char)*at) && *end == "x"[i] && (double)side[i] >= s->low &&
               (double)side[i] <= s->high;
        at = end + 1;
    }
    if (!fits) {
        cli_say("--%s: %s is not possible; give WIDTHxHEIGHT in pixels, each from %.10g to %.10g",
                s->name, text, s->low, s->high);
        return CLI_REFUSED;
    }
    pair[0] = (int)side[0];
    pair[1] = (int)side[1];
    return CLI_OK;
}

static int parse_rate(const struct cli_option *s, const char *text, struct weft_request *request)
{
    char *end;
    errno = 0;
    const char *slash = strchr(text, '/');
    if (slash) {
        const long num = strtol(text, &end, 10);
        const bool whole = end == slash && isdigit((unsigned char)*text);
        const long den = strtol(slash + 1, &end, 10);
        if (whole && !*end && isdigit((unsigned char)slash[1]) && !errno && num > 0 && den > 0 &&
            num <= 1000000 && den <= 1000000 && num * 1000 >= den && num <= den * 1000) {
            request->fps_num = (int)num;
            request->fps_den = (int)den;
            return CLI_OK;
        }
    } else {
        const double fps = strtod(text, &end);
        if (end != text && !*end && is_decimal(text) &&
            weft_rate_from_double(fps, &request->fps_num, &request->fps_den))
            return CLI_OK;
    }
    cli_say("--%s: %s is not possible; choose a rate such as 16, 23.976 or 30000/1001", s->name,
            text);
    return CLI_REFUSED;
}

static int parse_choice(const struct cli_option *s, const char *text, int *value)
{
    const size_t length = strlen(text);
    int index = 0;
    for (const char *word = s->argument; word; index++) {
        const char *bar = strchr(word, '|');
        const size_t size = bar ? (size_t)(bar - word) : strlen(word);
        if (size == length && strncmp(word, text, size) == 0) {
            *value = index;
            return CLI_OK;
        }
        word = bar ? bar + 1 : NULL;
    }
    return refuse(s, text);
}

/* A whole text file, at most 1 MiB. */
static char *read_file(const char *path)
{
    enum { MOST = 1 << 20 };
    FILE *file = fopen(path, "rb");
    if (!file) {
        cli_say("%s: %s; give @FILE a text file", path, strerror(errno));
        return NULL;
    }
    char *text = malloc(MOST + 1);
    const size_t size = text ? fread(text, 1, MOST + 1, file) : 0;
    const bool bad = !text || ferror(file) || size > MOST || memchr(text, 0, size);
    fclose(file);
    if (bad) {
        cli_say("%s: this is not a text of at most 1 MiB; give @FILE a text file", path);
        free(text);
        return NULL;
    }
    text[size] = '\0';
    return text;
}

static int parse_prompt(struct cli *cli, const struct cli_option *s, const char *text)
{
    const bool negative = s->offset == offsetof(struct cli, request.negative_prompt);
    char **owned = negative ? &cli->negative_text : &cli->prompt_text;
    const char *value = text;
    if (*text == '@') {
        free(*owned);
        value = *owned = read_file(text + 1);
        if (!value)
            return CLI_REFUSED;
        cli->read[negative] = text + 1;
    }
    *(const char **)(void *)((char *)cli + s->offset) = value;
    return CLI_OK;
}

int cli_set_value(struct cli *cli, const struct cli_option *s, const char *text)
{
    void *target = (char *)cli + s->offset;
    switch (s->kind) {
    case FLAG:
        *(bool *)target = true;
        return CLI_OK;
    case SWITCH:
        *(int *)target = 1;
        return CLI_OK;
    case TEXT:
    case FORMAT:
        if (!*text)
            return refuse(s, "an empty word");
        *(const char **)target = text;
        return CLI_OK;
    case PROMPT:
        return parse_prompt(cli, s, text);
    case INTEGER:
        return parse_integer(s, text, target);
    case NUMBER:
        return parse_number(s, text, target);
    case SEED:
        return parse_seed(s, text, &cli->request);
    case RATE:
        return parse_rate(s, text, &cli->request);
    case SIZE:
        return parse_size(s, text, target);
    case PAIR:
        return parse_pair(s, text, target);
    case CHOICE:
        return parse_choice(s, text, target);
    }
    return CLI_REFUSED;
}
