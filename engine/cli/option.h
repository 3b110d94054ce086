/* The table of options, for those that read it. */
#ifndef WEFT_ENGINE_CLI_OPTION_H
#define WEFT_ENGINE_CLI_OPTION_H

#include <stddef.h>

#include "engine/cli/cli.h"

enum cli_kind {
    FLAG,   /* a bool */
    SWITCH, /* an int of weft.h that 1 switches on */
    TEXT,
    PROMPT, /* a text, or @FILE */
    FORMAT, /* a text; weft_output_formats says what it can be */
    INTEGER,
    NUMBER,
    SEED,
    RATE,
    SIZE,
    PAIR,
    CHOICE, /* an int: the index of one of the argument's words */
};

/* Beside the verbs of an option: the short help leaves it out. */
#define CLI_RARE 0x100u

enum { CLI_NOT_GIVEN = -1 };

struct cli_option {
    const char *group; /* a heading of the help, above the first of its options */
    const char *name;
    int letter; /* 0: none */
    enum cli_kind kind;
    unsigned verbs; /* bits of those that have it; and CLI_RARE */
    size_t offset;  /* of the target in struct cli */
    double low, high;
    const char *argument; /* CHOICE: the words, with | between; FILE, CLIP and DIR are paths */
    const char *help;     /* NULL: another name of the option before that has the same target */
};

const struct cli_option *cli_options(int *count);

static inline bool cli_is_flag(const struct cli_option *s)
{
    return s->kind == FLAG || s->kind == SWITCH;
}
/* What it means. */
static inline const char *cli_option_help(const struct cli_option *s)
{
    return s->kind == FORMAT ? weft_output_formats() : s->help;
}

/* Takes an option's text; CLI_REFUSED after one line on standard error. */
int cli_set_value(struct cli *cli, const struct cli_option *s, const char *text);

/* Likewise: the words that the verb wants, and no more; what a batch says for all. */
int cli_check_words(struct cli *cli);
int cli_check_jobs(const struct cli *cli);

#endif
