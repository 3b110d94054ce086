#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "engine/cli/cli.h"

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

/* What --help and --version print. */
static int printed(void)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return CLI_OK;
    cli_say("standard output: the text could not be written");
    return CLI_FAILED;
}

static int run_verb(const struct cli_verb *verb, int argc, char **argv)
{
    struct cli cli;
    int code = cli_parse(&cli, verb, argc, argv);
    if (code == CLI_OK && cli.help) {
        cli_help(verb, cli.verbose);
        code = printed();
    } else if (code == CLI_OK) {
        code = verb->run(&cli);
    }
    cli_close(&cli);
    return code;
}

int main(int argc, char **argv)
{
    occupy_descriptors();
    let_waiting_threads_sleep(argv);
    keep_libraries_quiet();
    const char *word = argc > 1 ? argv[1] : "";
    const struct cli_verb *verb = cli_find_verb(word);
    if (verb)
        return run_verb(verb, argc - 1, argv + 1);
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0) {
        cli_usage();
        return printed();
    }
    if (strcmp(word, "--version") == 0) {
        printf("weft %s\n", weft_version());
        return printed();
    }
    char names[CLI_NAMES];
    cli_verb_names(names);
    if (argc < 2)
        cli_say("usage: a verb is missing; use %s, or see weft --help", names);
    else
        cli_say("usage: %s is not a verb; use %s, or see weft --help", word, names);
    return CLI_REFUSED;
}
