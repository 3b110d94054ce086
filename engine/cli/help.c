/* What --help prints. */
#include <stdio.h>

#include "engine/cli/option.h"

static const char *words_of(const struct cli_verb *verb, char room[64])
{
    const char *second = verb->word[1].name;
    snprintf(room, 64, "%s%s%s", verb->word[0].name, second ? " " : "", second ? second : "");
    return room;
}

void cli_usage(void)
{
    int count;
    char words[64], line[128];
    const struct cli_verb *verbs = cli_verbs(&count);
    printf("weft %s: video generation from diffusers model folders\n\n", weft_version());
    for (int i = 0; i < count; i++) {
        snprintf(line, sizeof line, "%s %s", words_of(&verbs[i], words), verbs[i].brief);
        printf("  weft %-8s %-33s %s\n", verbs[i].name, line, verbs[i].summary);
    }
    printf("  weft %-42s %s\n", "VERB --help", "the options of a verb");
    fputs("  weft --version\n"
          "\n"
          "MODEL is a folder as the Hugging Face hub has it (with model_index.json); to decode, a "
          "VAE's\n"
          "own folder will do.\n"
          "Exit: 0 done, 1 failed while running, 2 refused before any compute, 3 compare found the "
          "clip\n"
          "below a threshold, 129 hung up, 130 interrupted, 143 terminated.\n",
          stdout);
}

const char *cli_verb_names(char room[CLI_NAMES])
{
    int count, used = 0;
    const struct cli_verb *verbs = cli_verbs(&count);
    for (int i = 0; i < count && used < CLI_NAMES; i++)
        used += snprintf(room + used, (size_t)(CLI_NAMES - used), "%s%s",
                         i == 0           ? ""
                         : i == count - 1 ? " or "
                                          : ", ",
                         verbs[i].name);
    return room;
}

static void print_option(const struct cli_option *s)
{
    char left[64];
    const char letter[] = {'-', (char)s->letter, ' ', '\0'};
    snprintf(left, sizeof left, "%s--%s%s%s", s->letter ? letter : "", s->name,
             s->argument ? " " : "", s->argument ? s->argument : "");
    printf("  %-36s %s\n", left, cli_option_help(s));
}

void cli_help(const struct cli_verb *verb, bool all)
{
    int count;
    char words[64];
    const struct cli_option *options = cli_options(&count);
    const char *heading = NULL;
    bool more = false;
    printf("weft %s %s %s\n", verb->name, words_of(verb, words), verb->synopsis);
    for (int i = 0; i < count; i++) {
        const struct cli_option *s = &options[i];
        heading = s->group ? s->group : heading;
        if (!(s->verbs & verb->bit) || !cli_option_help(s))
            continue;
        if (s->verbs & CLI_RARE && !all) {
            more = true;
            continue;
        }
        if (heading)
            printf("%s\n", heading);
        heading = NULL;
        print_option(s);
    }
    if (more)
        printf("What is rarely needed: --help --verbose\n");
}
