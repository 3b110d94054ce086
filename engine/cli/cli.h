/* The program: what was asked for on the command line, and the verbs that do it. Of the engine it
   uses weft.h alone. */
#ifndef WEFT_ENGINE_CLI_CLI_H
#define WEFT_ENGINE_CLI_CLI_H

#include <jansson.h>
#include <stdbool.h>

#include "engine/weft.h"

/* Verbs in the table of options. */
#define CLI_GENERATE 1u
#define CLI_DECODE 2u
#define CLI_INFO 4u
#define CLI_COMPARE 8u

enum cli_progress {
    CLI_PROGRESS_AUTO,
    CLI_PROGRESS_BAR,
    CLI_PROGRESS_PLAIN,
    CLI_PROGRESS_JSON,
    CLI_PROGRESS_NONE
};

/* Words that are no options: one more than any verb takes. */
enum { CLI_WORDS = 3 };

struct cli;

struct cli_verb {
    const char *name;
    unsigned bit; /* CLI_GENERATE, ... */
    struct {
        const char *name, *noun; /* in the help, in a message; NULL behind the last */
        bool folder;             /* else a file */
    } word[CLI_WORDS - 1];
    const char *brief, *synopsis; /* what follows the words in the help of all verbs, in its own */
    const char *summary;
    int (*run)(struct cli *cli); /* the exit code */
};

struct cli {
    const struct cli_verb *verb;
    const char *word[CLI_WORDS];
    int words;
    const char *model, *latents; /* of these; latents of decode */
    const char *variant;
    struct weft_settings settings;
    struct weft_request request; /* 0 or below 0 where nothing was said */
    struct weft_output output;
    const char *report;
    struct weft_comparison comparison; /* of compare, with its clips */
    const char *like;                  /* a clip whose recipe is taken; NULL: none */
    const char *jobs;                  /* a file of requests, one a line; NULL: none */
    struct weft_recipe *recipe;
    int num_videos;        /* 0: nothing was said */
    int clip;              /* that is being made, from 0 */
    bool checking;         /* later clips, before the first: what is logged comes again */
    int offload, progress; /* index of the choice; CLI_PROGRESS_* */
    bool quiet, verbose, json, plan, help;
    char *prompt_text, *negative_text; /* of @FILE; freed by cli_close */
    const char *read[2];               /* these files, or NULL; the second the negative one's */
    const char *keep[5];               /* those, like and the batch's file, for output.keep */
    const char *batch;                 /* the file that this request is from; NULL: none */
    bool accepted;                     /* the request: from then on warnings are shown at once */
    /* The warnings so far, each with a line feed. Before that they are held back, since a refusal
       says one line; in later clips none of them is said again. */
    char held[2048];
    double began; /* of a comparison, on a clock of its own */
    int unheld;   /* warnings that had no room there */
};

/* Exit codes. */
enum { CLI_OK = 0, CLI_FAILED = 1, CLI_REFUSED = 2, CLI_BELOW = 3 };

/* Fills *cli from the arguments behind the verb. CLI_REFUSED after one line on standard error. */
int cli_parse(struct cli *cli, const struct cli_verb *verb, int argc, char **argv);
void cli_close(struct cli *cli);
/* Takes an option by its name, as the command line has it. value NULL: none, as only a flag can do
   without; of a flag it is not looked at. CLI_REFUSED after one line on standard error. */
int cli_set(struct cli *cli, const char *name, const char *value);
/* Whether the request is complete; after it has been set up, by whatever. */
int cli_check(struct cli *cli);
/* Fills in what was not said from the clip of --like. */
int cli_take_recipe(struct cli *cli);

/* The table of verbs, and the one of a name; NULL: there is none. */
const struct cli_verb *cli_verbs(int *count);
const struct cli_verb *cli_find_verb(const char *name);
/* "generate, ... or info" */
enum { CLI_NAMES = 128 };
const char *cli_verb_names(char room[CLI_NAMES]);
/* On standard output: of the program, and of a verb's options, the rare ones too. */
void cli_usage(void);
void cli_help(const struct cli_verb *verb, bool all);

/* One line on standard error: "weft: ...". */
void cli_say(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The same, or with --progress json an object whose key is kind: "error", "warning", "info". */
void cli_tell(const struct cli *cli, const char *kind, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* A JSON string; bytes that are no UTF-8 become U+FFFD. */
json_t *cli_json_text(const char *text);

/* How many clips are made. */
static inline int cli_clips(const struct cli *cli)
{
    return cli->num_videos ? cli->num_videos : 1;
}
/* Whether the output is of the format null. */
bool cli_drops_frames(const struct cli *cli);
/* "clip 2/4" and what follows it where several are made, else "". */
enum { CLI_LABEL = 32 };
const char *cli_label(const struct cli *cli, const char *follows, char label[CLI_LABEL]);

int cli_run_clip(struct cli *cli); /* generate and decode; the exit code */
int cli_run_info(struct cli *cli);
int cli_run_compare(struct cli *cli);

/* Shows the engine's lines as cli->quiet and cli->verbose say; context is the cli. */
void cli_log(void *context, enum weft_log_level level, const char *line);
/* Shows what was held back. */
void cli_accept(struct cli *cli);

/* Shows progress as cli->progress says; context is the cli. */
void cli_show_progress(void *context, const struct weft_progress *progress);
/* The bar while a clip's last frames are written; nothing without one. */
void cli_show_writing(const struct cli *cli);
/* The bar of a comparison, which has no other form: for weft_comparison.frame; context is the cli.
   It counts from cli_begin_progress on. */
void cli_show_compared(const struct cli *cli, const struct weft_compared_frame *frame);
void cli_begin_progress(struct cli *cli);
/* Ends a bar's line, so that a message can follow. */
void cli_end_progress(const struct cli *cli);

#endif
