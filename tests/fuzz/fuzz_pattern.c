/* io/pattern.c: each number gives a name of its own, which fits its room. */
#include <stdlib.h>
#include <string.h>

#include "io/file.h"
#include "io/pattern.h"
#include "tests/fuzz/fuzz.h"

static void check_names(const struct wf_pattern *p, const char *path)
{
    static const int64_t numbers[] = {0, 7, 12345, INT64_MAX};
    const size_t room = wf_pattern_room(p), folder = wf_path_folder(path);
    char *names[2] = {malloc(room), malloc(room)};
    FUZZ_CHECK(names[0] && names[1]);
    names[0][0] = '\0';
    for (int i = 0; i < 4; i++) {
        wf_pattern_name(p, numbers[i], names[1]);
        FUZZ_CHECK(strlen(names[1]) < room && strcmp(names[0], names[1]) != 0);
        FUZZ_CHECK(memcmp(names[1], path, folder) == 0);
        strcpy(names[0], names[1]);
    }
    free(names[0]);
    free(names[1]);
}

enum wf_status fuzz_parse(struct fuzz *f, const uint8_t *data, size_t size)
{
    static const enum wf_pattern_of kinds[] = {WF_PATTERN_FRAMES, WF_PATTERN_CLIPS,
                                               WF_PATTERN_CLIPS_FRAMES};
    char *path = fuzz_text(data, size);
    enum wf_status status = WF_OK;
    for (int i = 0; i < 3; i++) {
        struct wf_pattern pattern;
        status = wf_pattern_parse(path, kinds[i], f->mem, &pattern, &f->err);
        if (fuzz_succeeded(f, status))
            check_names(&pattern, path);
        wf_free(pattern.text);
    }
    free(path);
    return status;
}
