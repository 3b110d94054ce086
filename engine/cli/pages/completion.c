/* Bash's completion of weft. Paths are left to readline, which knows quotes and tildes. */
#include <stdio.h>
#include <string.h>

#include "engine/cli/option.h"
#include "engine/cli/pages/pages.h"

/* A list with bars or commas, with spaces. */
static void put_words(const char *list)
{
    for (; *list; list++) {
        if (*list != ',')
            putchar(*list == '|' ? ' ' : *list);
    }
}

/* The shell's commands for what an option takes: words, or readline's name for paths, @ for those
   behind one; nothing where only the user knows. */
static void put_value(const struct cli_option *s)
{
    if (s->kind == CHOICE || s->kind == FORMAT) {
        fputs("words='", stdout);
        put_words(s->kind == CHOICE ? s->argument : weft_output_formats());
        fputs("' ", stdout);
    } else if (s->kind == PROMPT) {
        fputs("paths=@ ", stdout);
    } else if (strcmp(s->argument, "FILE") == 0 || strcmp(s->argument, "CLIP") == 0) {
        fputs("paths=default ", stdout);
    } else if (strcmp(s->argument, "DIR") == 0) {
        fputs("paths=dirnames ", stdout);
    }
}

static void put_options(const struct cli_verb *verb)
{
    int count;
    const struct cli_option *options = cli_options(&count);
    fputs("        options='", stdout);
    for (int i = 0; i < count; i++) {
        if (options[i].verbs & verb->bit)
            printf("--%s ", options[i].name);
    }
    puts("'\n        case $option in");
    for (int i = 0; i < count; i++) {
        const struct cli_option *s = &options[i];
        if (!(s->verbs & verb->bit) || cli_is_flag(s))
            continue;
        fputs("        ", stdout);
        if (s->letter)
            printf("-%c | ", s->letter);
        printf("--%s) takes=value ", s->name);
        put_value(s);
        puts(";;");
    }
    puts("        esac");
}

/* Where the word is no option's: the verb's own. */
static void put_word_kinds(const struct cli_verb *verb)
{
    fputs("        own='", stdout);
    for (int i = 0; i < CLI_WORDS - 1 && verb->word[i].name; i++)
        printf("%s ", verb->word[i].folder ? "dirnames" : "default");
    puts("'");
}

static const char head[] = "# bash completion of weft, made from its tables of verbs and options\n"
                           "\n"
                           "# What weft VERB has, and what option takes there.\n"
                           "_weft_table() {\n"
                           "    local verb=$1 option=$2\n"
                           "    takes='' words='' paths=''\n"
                           "    case $verb in\n";

static const char tail[] =
    "    esac\n"
    "}\n"
    "\n"
    "# The first of the verb's own words that is not there yet: how it is completed.\n"
    "_weft_own() {\n"
    "    local i takes words paths options own\n"
    "    local -a left\n"
    "    _weft_table \"$verb\" && left=($own)\n"
    "    for ((i = 2; i < COMP_CWORD; i++)); do\n"
    "        if [[ ${COMP_WORDS[i]} == -* ]]; then\n"
    "            _weft_table \"$verb\" \"${COMP_WORDS[i]}\"\n"
    "            [[ -z $takes ]] || ((i++))\n"
    "            [[ ${COMP_WORDS[i]} != [=@] ]] || ((i++))\n"
    "        else\n"
    "            left=(\"${left[@]:1}\")\n"
    "        fi\n"
    "    done\n"
    "    paths_own=${left[0]}\n"
    "}\n"
    "\n"
    "_weft() {\n"
    "    local verb=${COMP_WORDS[1]} cur=${COMP_WORDS[COMP_CWORD]} option=\n"
    "    local takes words paths options own paths_own name\n"
    "    local -a names\n"
    "    COMPREPLY=()\n"
    "    if ((COMP_CWORD == 1)); then\n"
    "        _weft_table ''\n"
    "        COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
    "        return\n"
    "    fi\n"
    "    # --option=value is three words, and @file is two\n"
    "    if ((COMP_CWORD > 2)); then option=${COMP_WORDS[COMP_CWORD - 1]}; fi\n"
    "    if [[ $cur == = ]]; then\n"
    "        cur=\n"
    "    elif [[ $option == [=@] ]]; then\n"
    "        cur=${option#=}$cur\n"
    "        option=${COMP_WORDS[COMP_CWORD - 2]}\n"
    "    fi\n"
    "    _weft_table \"$verb\" \"$option\" || return\n"
    "    if [[ -z $takes ]]; then\n"
    "        _weft_own\n"
    "        if [[ $cur != -* ]]; then paths=$paths_own; fi\n"
    "        if [[ -z $paths ]]; then words=$options; fi\n"
    "    fi\n"
    "    if [[ $paths == @ ]]; then\n"
    "        [[ $cur == @* ]] || return\n"
    "        mapfile -t names < <(compgen -f -- \"${cur#@}\")\n"
    "        for name in \"${names[@]}\"; do\n"
    "            printf -v name '@%q' \"$name\"\n"
    "            COMPREPLY+=(\"$name\")\n"
    "        done\n"
    "    elif [[ -n $paths ]]; then\n"
    "        compopt -o \"$paths\"\n"
    "    else\n"
    "        COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
    "    fi\n"
    "}\n"
    "complete -F _weft weft\n";

void pages_completion(void)
{
    int count;
    const struct cli_verb *verbs = cli_verbs(&count);
    fputs(head, stdout);
    for (int i = 0; i < count; i++) {
        printf("    %s)\n", verbs[i].name);
        put_options(&verbs[i]);
        put_word_kinds(&verbs[i]);
        puts("        ;;");
    }
    fputs("    *)\n        words='", stdout);
    for (int i = 0; i < count; i++)
        printf("%s ", verbs[i].name);
    puts("--help --version'\n        return 1\n        ;;");
    fputs(tail, stdout);
}
