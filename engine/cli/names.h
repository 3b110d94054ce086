/* The files of one clip among several. */
#ifndef WEFT_ENGINE_CLI_NAMES_H
#define WEFT_ENGINE_CLI_NAMES_H

#include "engine/cli/cli.h"

enum { CLI_PATH = 4096 };

struct cli_names {
    const char *output, *report, *dump, *preview; /* NULL: none */
    char room[4][CLI_PATH];
};

/* Those of a clip, from 0: where --num-videos was given the number stands in them. Of one clip,
   names without a number are taken as they are. */
enum weft_status cli_name_clip(const struct cli *cli, struct weft_engine *engine, int clip,
                               struct cli_names *names);
/* Whether an output is a file a frame, and its name a pattern of them. */
bool cli_names_frames(const struct cli *cli);

/* WEFT_REFUSED when two of the files of all clips are one, or one lies in the folder of a dump.
   Each clip can be named; frames: that it has. What is wrong it says itself, on standard error. */
enum weft_status cli_check_meeting(const struct cli *cli, struct weft_engine *engine,
                                   int64_t frames);

#endif
