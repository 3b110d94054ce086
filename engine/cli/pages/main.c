/* A program of the build: weft_pages manual DATE | completion prints weft.1 or bash's completion.
 */
#include <stdio.h>
#include <string.h>

#include "engine/cli/pages/pages.h"

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "manual") == 0) {
        pages_manual(argv[2]);
    } else if (argc == 2 && strcmp(argv[1], "completion") == 0) {
        pages_completion();
    } else {
        fprintf(stderr, "usage: weft_pages manual DATE | completion\n");
        return 2;
    }
    if (fflush(stdout) == 0 && !ferror(stdout))
        return 0;
    perror("weft_pages: standard output");
    return 1;
}
