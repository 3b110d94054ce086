/* engine/cli/options.c, value.c, check.c: the command line, its words between line feeds, the verb
   by the first byte. A refusal is one line on standard error, anything else none. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/cli/cli.h"
#include "tests/fuzz/fuzz.h"

enum { MOST_WORDS = 32 };

/* What --like names is not read: clips are another parser's affair. */
int cli_take_recipe(struct cli *cli)
{
    (void)cli;
    return CLI_OK;
}

/* @FILE reads what lies beside a.txt and nothing else: no path leads away from there. */
static void keep_files_here(char *text)
{
    bool file = false;
    for (; *text; text++) {
        file = *text != '\n' && (file || *text == '@');
        if (file && *text == '/')
            *text = '_';
    }
}

static int split(char *text, char **words)
{
    int count = 0;
    words[count++] = (char *)(uintptr_t) "verb";
    for (char *end; text && count < MOST_WORDS; text = end) {
        end = strchr(text, '\n');
        if (end)
            *end++ = '\0';
        words[count++] = text;
    }
    words[count] = NULL;
    return count;
}

static void check_message(int code, const char *said, size_t bytes)
{
    FUZZ_CHECK(code == CLI_OK || code == CLI_REFUSED);
    if (code == CLI_OK)
        FUZZ_CHECK(bytes == 0);
    else
        FUZZ_CHECK(bytes > 7 && strncmp(said, "weft: ", 6) == 0 &&
                   strchr(said, '\n') == said + bytes - 1);
}

static void check_values(const struct cli *cli)
{
    const struct weft_request *r = &cli->request;
    FUZZ_CHECK(cli->model && (cli->verb->bit != CLI_DECODE || cli->latents));
    FUZZ_CHECK(r->width >= 0 && r->height >= 0 && r->num_frames >= 0 && r->steps >= 0);
    FUZZ_CHECK(r->guidance_scale <= 1000 && cli->num_videos >= 0 && cli->num_videos <= 10000);
    FUZZ_CHECK(!r->fps_num || (r->fps_num > 0 && r->fps_den > 0));
    FUZZ_CHECK(!r->prompt || strlen(r->prompt) <= 1 << 20);
    FUZZ_CHECK(cli->settings.threads >= 0 && cli->progress >= CLI_PROGRESS_AUTO &&
               cli->progress <= CLI_PROGRESS_NONE);
}

static void parse(const struct cli_verb *verb, int count, char **words)
{
    struct cli cli;
    char *said = NULL;
    size_t bytes = 0;
    FILE *real = stderr, *caught = open_memstream(&said, &bytes);
    FUZZ_CHECK(caught);
    stderr = caught;
    const int code = cli_parse(&cli, verb, count, words);
    stderr = real;
    FUZZ_CHECK(fclose(caught) == 0);
    check_message(code, said, bytes);
    if (code == CLI_OK && !cli.help)
        check_values(&cli);
    cli_close(&cli);
    free(said);
}

enum wf_status fuzz_parse(struct fuzz *f, const uint8_t *data, size_t size)
{
    static const struct cli_verb verbs[] = {
        {.bit = CLI_GENERATE, .word = {{"A", "first", true}}},
        {.bit = CLI_DECODE, .word = {{"A", "first", true}, {"B", "second", false}}},
        {.bit = CLI_INFO, .word = {{"A", "first", true}}},
        {.bit = CLI_COMPARE, .word = {{"A", "first", false}, {"B", "second", false}}}};
    if (size < 1 || f->starved)
        return WF_OK;
    char *words[MOST_WORDS + 1], *text = fuzz_text(data + 1, size - 1);
    const int here = open(".", O_RDONLY | O_DIRECTORY);
    fuzz_write_part("a.txt", data + 1, size - 1, 1); /* what stands behind a NUL */
    FUZZ_CHECK(here >= 0 && chdir(fuzz_path(".")) == 0);
    keep_files_here(text);
    parse(&verbs[data[0] % 4], split(text, words), words);
    FUZZ_CHECK(fchdir(here) == 0 && close(here) == 0);
    free(text);
    return WF_OK;
}
