#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "engine/cli/cli.h"

static const char usage[] =
    "weft " WEFT_VERSION ": video generation from diffusers model folders\n"
    "\n"
    "  weft generate MODEL -p TEXT -o FILE [options]   text to video\n"
    "  weft decode   MODEL LATENTS -o FILE [options]   latents (safetensors) to video\n"
    "  weft compare  REFERENCE CLIP [options]          one clip against another\n"
    "  weft info     MODEL [--json]                    what a model folder holds\n"
    "  weft VERB --help                                the options of a verb\n"
    "  weft --version\n"
    "\n"
    "MODEL is a folder as the Hugging Face hub has it (with model_index.json); to decode, a VAE's\n"
    "own folder will do.\n"
    "Exit: 0 done, 1 failed while running, 2 refused before any compute, 3 compare found the clip\n"
    "below a threshold, 129 hung up, 130 interrupted, 143 terminated.\n";

/* libgomp reads its settings when it is loaded, before main, and by default a thread that waits for
   the others spins. On virtual or shared cores that costs more than the work itself (measured on
   two: 1.4 s of work took 13 s). So the program starts itself once more with waiting threads
   asleep, unless the user has said something else, or binds threads to cores: the first thread is
   bound before main, and what is started from it would have that one core for all. */
static void let_waiting_threads_sleep(char **argv)
{
    const char *bind = getenv("OMP_PROC_BIND");
    const bool bound =
        bind ? strcasecmp(bind, "false") != 0 : getenv("OMP_PLACES") || getenv("GOMP_CPU_AFFINITY");
    if (bound || getenv("OMP_WAIT_POLICY") || getenv("GOMP_SPINCOUNT"))
        return;
    if (setenv("OMP_WAIT_POLICY", "passive", 1) == 0)
        execv("/proc/self/exe", argv); /* where that fails, it is only slower */
}

/* A file that is opened takes the lowest free number: where one of the standard three is closed, it
   would become that one, and messages would land in it. So those are taken first, in the direction
   in which their use fails. */
static void occupy_descriptors(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF)
            (void)open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
    }
}

/* SVT-AV1 tells its version on standard error; oneDNN, where it is asked to, what it runs on
   standard output, amid the frames. */
static void keep_libraries_quiet(void)
{
    setenv("SVT_LOG", "0", 0);
    unsetenv("ONEDNN_VERBOSE");
    unsetenv("DNNL_VERBOSE");
}

static int run(struct cli *cli)
{
    switch (cli->verb) {
    case CLI_INFO:
        return cli_run_info(cli);
    case CLI_COMPARE:
        return cli_run_compare(cli);
    default:
        return cli_run_clip(cli);
    }
}

/* What --help and --version print. */
static int printed(void)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return CLI_OK;
    cli_say("standard output: the text could not be written");
    return CLI_FAILED;
}

static int run_verb(enum cli_verb verb, int argc, char **argv)
{
    struct cli cli;
    int code = cli_parse(&cli, verb, argc, argv);
    if (code == CLI_OK && cli.help) {
        cli_help(verb, cli.verbose);
        code = printed();
    } else if (code == CLI_OK)
        code = run(&cli);
    cli_close(&cli);
    return code;
}

int main(int argc, char **argv)
{
    occupy_descriptors();
    let_waiting_threads_sleep(argv);
    keep_libraries_quiet();
    static const struct {
        const char *name;
        enum cli_verb verb;
    } verbs[] = {{"generate", CLI_GENERATE},
                 {"decode", CLI_DECODE},
                 {"compare", CLI_COMPARE},
                 {"info", CLI_INFO}};
    const char *word = argc > 1 ? argv[1] : "";
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++) {
        if (strcmp(word, verbs[i].name) == 0)
            return run_verb(verbs[i].verb, argc - 1, argv + 1);
    }
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0) {
        fputs(usage, stdout);
        return printed();
    }
    if (strcmp(word, "--version") == 0) {
        printf("weft %s\n", weft_version());
        return printed();
    }
    if (argc < 2)
        cli_say(
            "usage: a verb is missing; use generate, decode, compare or info, or see weft --help");
    else
        cli_say(
            "usage: %s is not a verb; use generate, decode, compare or info, or see weft --help",
            word);
    return CLI_REFUSED;
}
