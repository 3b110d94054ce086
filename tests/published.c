#include "tests/published.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

static char folder[] = "/tmp/weft-published-XXXXXX";
static bool is_made;

int published_make(const char *model)
{
    char command[1024];
    const char *source = getenv("WEFT_SOURCE_DIR");
    if (!is_made && !mkdtemp(folder))
        return EXIT_FAILURE;
    is_made = true;
    snprintf(command, sizeof command,
             "python3 '%s/tests/oracle/sparse.py' --model %s --out '%s/%s' >'%s/path-%s'",
             source ? source : ".", model, folder, model, folder, model);
    const int status = system(command);
    const int code = WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_FAILURE;
    if (code != 127 && code != PUBLISHED_SKIPPED) /* 127, says the shell: there is no python3 */
        return code;
    puts("skipped: it needs python3, and a file system with sparse files");
    return PUBLISHED_SKIPPED;
}

void published_path(const char *model, const char *component, char path[512])
{
    char name[64], line[384] = "";
    snprintf(name, sizeof name, "%s/path-%s", folder, model);
    FILE *file = fopen(name, "r");
    if (file) {
        if (fgets(line, sizeof line, file))
            line[strcspn(line, "\n")] = '\0';
        fclose(file);
    }
    snprintf(path, 512, "%s/%s", line, component);
}

int published_end(int code)
{
    char command[64];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return !is_made || system(command) == 0 ? code : EXIT_FAILURE;
}
