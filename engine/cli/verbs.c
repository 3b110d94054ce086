/* The verbs: all that the program, its help, its manual page and its completion know of them. */
#include <string.h>

#include "engine/cli/cli.h"

static const struct cli_verb verbs[] = {
    {"generate",
     CLI_GENERATE,
     {{"MODEL", "model folder", true}},
     "-p TEXT -o FILE [options]",
     "-p TEXT | -i IMAGE -o FILE [options]",
     "text to video",
     cli_run_clip},
    {"decode",
     CLI_DECODE,
     {{"MODEL", "model folder", true}, {"LATENTS", "latents file", false}},
     "-o FILE [options]",
     "-o FILE [options]",
     "latents (safetensors) to video",
     cli_run_clip},
    {"compare",
     CLI_COMPARE,
     {{"REFERENCE", "reference", false}, {"CLIP", "clip to compare", false}},
     "[options]",
     "[options]",
     "one clip against another",
     cli_run_compare},
    {"info",
     CLI_INFO,
     {{"MODEL|CLIP", "model folder or clip", false}},
     "[--json]",
     "[options]",
     "what a model folder holds, or how a clip was made",
     cli_run_info},
};

const struct cli_verb *cli_verbs(int *count)
{
    *count = sizeof verbs / sizeof *verbs;
    return verbs;
}

const struct cli_verb *cli_find_verb(const char *name)
{
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++) {
        if (strcmp(verbs[i].name, name) == 0)
            return &verbs[i];
    }
    return NULL;
}
