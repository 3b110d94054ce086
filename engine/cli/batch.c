/* Many requests of one model: a file with a JSON object a line, whose keys are options. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "engine/cli/run.h"

enum { MOST_LINE = 1 << 20 };

/* "num_frames" as the command line has it. */
static void option_name(const char *key, char name[64])
{
    snprintf(name, 64, "%s", key);
    for (char *at = name; (at = strchr(at, '_'));)
        *at = '-';
}

/* A number as a text that lives as long as `texts`, for it may become a name; NULL when memory is
   short. */
static const char *number_text(const json_t *value, json_t *texts)
{
    char number[64];
    if (json_is_integer(value))
        snprintf(number, sizeof number, "%lld", (long long)json_integer_value(value));
    else
        snprintf(number, sizeof number, "%.17g", json_real_value(value));
    json_t *text = json_string(number);
    return json_array_append_new(texts, text) == 0 ? json_string_value(text) : NULL;
}

static int take(struct cli *cli, const char *key, const json_t *value, json_t *texts)
{
    char name[64];
    option_name(key, name);
    if (json_is_string(value))
        return cli_set(cli, name, json_string_value(value));
    if (json_is_number(value)) {
        const char *number = number_text(value, texts);
        if (number)
            return cli_set(cli, name, number);
        cli_say("%s: out of memory; end other programs", name);
        return CLI_FAILED;
    }
    if (json_is_true(value))
        return cli_set(cli, name, NULL);
    if (json_is_false(value) || json_is_null(value))
        return CLI_OK;
    cli_say("%s: a list or an object is no value of an option; give a text or a number", name);
    return CLI_REFUSED;
}

/* What stands on the command line holds for each request that says nothing else. */
static int take_all(struct cli *cli, const json_t *object, json_t *texts)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        const int code = take(cli, key, value, texts);
        if (code != CLI_OK)
            return code;
    }
    return cli_check(cli);
}

/* Standard output holds one clip. */
static int take_pipe(struct cli_run *batch, const struct cli *cli)
{
    const bool asks = cli->output.path && strcmp(cli->output.path, "-") == 0;
    if (asks && batch->piped) {
        cli_say("output: a request before has standard output; name a file");
        return CLI_REFUSED;
    }
    batch->piped |= asks;
    return CLI_OK;
}

static int run_request(struct cli_run *batch, const json_t *object)
{
    struct cli cli = *batch->cli;
    struct cli_run r = {.cli = &cli, .engine = batch->engine, .model = batch->model};
    cli.jobs = NULL;
    cli.batch = batch->cli->jobs;
    cli.prompt_text = cli.negative_text = NULL; /* its own, if any; the batch's stay */
    cli.recipe = NULL;
    json_t *texts = json_array();
    int code = take_all(&cli, object, texts);
    if (code == CLI_OK)
        code = take_pipe(batch, &cli);
    if (code == CLI_OK && cli_check_prompt(&r) != WEFT_OK)
        code = cli_exit_code(&r, WEFT_REFUSED);
    if (code == CLI_OK)
        code = cli_run_request(&r);
    cli_close(&cli);
    json_decref(texts);
    return code;
}

static int run_line(struct cli_run *batch, int number, const char *line, size_t bytes)
{
    json_error_t error;
    json_t *object = json_loadb(line, bytes, JSON_REJECT_DUPLICATES, &error);
    int code = CLI_REFUSED;
    if (json_is_object(object))
        code = run_request(batch, object);
    else
        cli_say("%s: line %d is no JSON object (%s); write one request a line", batch->cli->jobs,
                number, object ? "another value" : error.text);
    json_decref(object);
    if (code != CLI_OK && !cli_interrupted())
        cli_say("%s: line %d failed; the others go on", batch->cli->jobs, number);
    return code;
}

/* The bytes of the next line; 0 at the end, more than MOST_LINE for one that is too long. */
static size_t read_line(FILE *file, char *line)
{
    size_t bytes = 0;
    for (int c; bytes <= MOST_LINE && (c = getc(file)) != EOF;) {
        line[bytes++] = (char)c;
        if (c == '\n')
            break;
    }
    line[bytes] = '\0';
    return bytes;
}

/* All lines; how many failed. A signal ends it: its code is in *stopped. */
static int run_lines(struct cli_run *batch, FILE *file, char *line, int *stopped)
{
    const char *path = batch->cli->jobs;
    int failed = 0;
    size_t bytes;
    for (int number = 1; !*stopped && (bytes = read_line(file, line)); number++) {
        if (bytes > MOST_LINE) { /* it may have no end */
            cli_say(
                "%s: line %d is longer than a request can be (1 MiB); this one and what follows "
                "it was left out",
                path, number);
            return failed + 1;
        }
        if (strspn(line, " \t\r\n") == bytes)
            continue;
        const int code = run_line(batch, number, line, bytes);
        failed += code != CLI_OK;
        *stopped = cli_interrupted() ? code : 0;
    }
    if (!ferror(file))
        return failed;
    cli_say("%s: cannot be read to its end (%s); the rest was left out", path, strerror(errno));
    return failed + 1;
}

static FILE *open_requests(const char *path)
{
    struct stat info;
    FILE *file = fopen(path, "rb");
    if (file && fstat(fileno(file), &info) == 0 && S_ISDIR(info.st_mode)) {
        fclose(file);
        file = NULL;
        errno = EISDIR;
    }
    if (!file)
        cli_say("%s: %s; give --jobs a file of requests", path, strerror(errno));
    return file;
}

int cli_run_batch(struct cli_run *batch)
{
    int stopped = 0, failed = 1;
    FILE *file = open_requests(batch->cli->jobs);
    if (!file)
        return CLI_REFUSED;
    cli_accept(batch->cli);
    char *line = malloc(MOST_LINE + 2);
    if (line)
        failed = run_lines(batch, file, line, &stopped);
    else
        cli_say("%s: out of memory; end other programs", batch->cli->jobs);
    free(line);
    fclose(file);
    return stopped ? stopped : failed ? CLI_FAILED : CLI_OK;
}
