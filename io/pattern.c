#include "io/pattern.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "io/file.h"

enum { DIGITS = 20 }; /* of a number at most */

static const struct {
    int numbers;
    const char *say, *like; /* like: what a name could have before its extension */
} kinds[] = {
    [WF_PATTERN_FRAMES] = {1, "one %d (or %05d) for the number of the frame", "-%05d"},
    [WF_PATTERN_CLIPS] = {1, "one %d (or %02d) for the number of the clip", "-%02d"},
    [WF_PATTERN_CLIPS_FRAMES] =
        {2, "two %d (or %02d), for the number of the clip and then of the frame", "-%02d-%05d"},
};

static enum wf_status refuse(const char *base, enum wf_pattern_of of, struct wf_error *err)
{
    const char *dot = strrchr(base, '.');
    const int stem = (int)(dot && dot != base ? (size_t)(dot - base) : strlen(base));
    if (strchr(base, '%') || stem > 100)
        return wf_fail(err, WF_REFUSED,
                       "%.200s: must hold %s, and no other %% but %%%%; write it like clip%s%.20s",
                       base, kinds[of].say, kinds[of].like, dot ? dot : "");
    return wf_fail(err, WF_REFUSED, "%.200s: must hold %s; write it like %.*s%s%.20s", base,
                   kinds[of].say, stem, base, kinds[of].like, base + stem);
}

/* Bytes of what begins with a %: a number, or %%; 0 where it is neither. */
static size_t conversion(const char *percent, int *digits)
{
    const char *end = percent + 1;
    *digits = 0;
    if (*end == '%')
        return 2;
    for (int seen = 0; *end >= '0' && *end <= '9' && seen < 2; end++, seen++)
        *digits = 10 * *digits + (*end - '0');
    return *end == 'd' && *digits <= DIGITS ? (size_t)(end - percent) + 1 : 0;
}

/* Copies the file's own name behind the `used` bytes of p->text, a %% as one % where undo says so,
   and notes its first number. The count of numbers, or -1. */
static int scan(const char *base, size_t used, bool undo, struct wf_pattern *p)
{
    int numbers = 0, digits = 0;
    for (size_t length; *base; base += length) {
        const bool percent = *base == '%';
        length = percent ? conversion(base, &digits) : 1;
        if (length == 0)
            return -1;
        if (percent && base[1] != '%' && numbers++ == 0)
            *p = (struct wf_pattern){p->text, used, used + length, digits};
        const size_t kept = percent && base[1] == '%' && undo ? 1 : length;
        memcpy(p->text + used, base, kept);
        used += kept;
    }
    p->text[used] = '\0';
    return numbers;
}

enum wf_status wf_pattern_parse(const char *path, enum wf_pattern_of of, struct wf_mem *mem,
                                struct wf_pattern *pattern, struct wf_error *err)
{
    const size_t folder = wf_path_folder(path);
    *pattern = (struct wf_pattern){.text = wf_strdup(mem, path)};
    if (!pattern->text)
        return wf_fail_memory(err, "output", strlen(path) + 1);
    if (scan(path + folder, folder, of != WF_PATTERN_CLIPS_FRAMES, pattern) == kinds[of].numbers)
        return WF_OK;
    wf_free(pattern->text);
    pattern->text = NULL;
    return refuse(path + folder, of, err);
}

size_t wf_pattern_room(const struct wf_pattern *pattern)
{
    return strlen(pattern->text) + DIGITS + 1;
}

void wf_pattern_name(const struct wf_pattern *pattern, int64_t number, char *name)
{
    char digits[DIGITS + 4];
    const int n = snprintf(digits, sizeof digits, "%0*lld", pattern->digits, (long long)number);
    const size_t length = n > 0 ? (size_t)n : 0;
    memcpy(name, pattern->text, pattern->at);
    memcpy(name + pattern->at, digits, length);
    strcpy(name + pattern->at + length, pattern->text + pattern->end);
}
