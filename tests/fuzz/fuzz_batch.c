/* engine/cli/batch.c: the input is a file of requests. Each that is taken is a whole one, and what
   is refused is told. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/cli/run.h"
#include "tests/fuzz/fuzz.h"

/* --- in the place of what makes the clips --- */

bool cli_interrupted(void)
{
    return false;
}

enum weft_status cli_check_prompt(struct cli_run *r)
{
    (void)r;
    return WEFT_OK;
}

int cli_exit_code(const struct cli_run *r, enum weft_status status)
{
    (void)r, (void)status;
    return CLI_REFUSED;
}

int cli_run_request(struct cli_run *r)
{
    const struct cli *cli = r->cli;
    FUZZ_CHECK(cli->output.path && !cli->jobs && cli->request.width >= 0);
    FUZZ_CHECK(!cli->request.fps_num == !cli->request.fps_den);
    return CLI_OK;
}

/* What --like names is not read: clips are another parser's affair. */
int cli_take_recipe(struct cli *cli)
{
    (void)cli;
    return CLI_OK;
}

/* --- the target --- */

/* @FILE would read what the input names. */
static void keep_files_away(char *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (text[i] == '@' || text[i] == '\\')
            text[i] = '_';
    }
}

static void check_lines(const char *said, size_t bytes)
{
    for (const char *line = said; line < said + bytes; line = strchr(line, '\n') + 1)
        FUZZ_CHECK(strncmp(line, "weft: ", 6) == 0 && strchr(line, '\n'));
}

static void run(const char *path)
{
    char *words[] = {(char *)(uintptr_t) "generate", (char *)(uintptr_t) "model",
                     (char *)(uintptr_t) "--jobs", (char *)(uintptr_t)path, NULL};
    static const struct cli_verb generate = {.bit = CLI_GENERATE, .word = {{"A", "first", true}}};
    struct cli cli;
    FUZZ_CHECK(cli_parse(&cli, &generate, 4, words) == CLI_OK);
    struct cli_run batch = {.cli = &cli};
    const int code = cli_run_batch(&batch);
    FUZZ_CHECK(code == CLI_OK || code == CLI_FAILED || code == CLI_REFUSED);
    cli_close(&cli);
}

enum wf_status fuzz_parse(struct fuzz *f, const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1), *said = NULL;
    size_t bytes = 0;
    if (!f->starved) {
        FILE *real = stderr, *caught = open_memstream(&said, &bytes);
        FUZZ_CHECK(text && caught);
        if (size)
            memcpy(text, data, size);
        keep_files_away(text, size);
        const char *path = fuzz_write("jobs.jsonl", text, size);
        stderr = caught;
        run(path);
        stderr = real;
        FUZZ_CHECK(fclose(caught) == 0);
        check_lines(said, bytes);
    }
    free(said);
    free(text);
    return WF_OK;
}
