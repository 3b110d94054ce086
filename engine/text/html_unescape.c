#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "engine/text/text.h"
#include "engine/text/utf8.h"

struct entity {
    const char *name, *text;
};

static const struct entity entities[] = {
#include "engine/text/entities.inc"
};

/* Names that the standard has in small letters alone. */
static const struct entity capitals[] = {
#include "engine/text/entities_upper.inc"
};

enum { SHORTEST_NAME = 2, LONGEST_NAME = 32 }; /* the ';' included */

/* The bytes of a name, which need not end with a NUL. */
struct word {
    const char *text;
    size_t bytes;
};

static int compare(const void *key, const void *element)
{
    const struct word *word = key;
    const struct entity *entity = element;
    const int order = strncmp(word->text, entity->name, word->bytes);
    return order ? order : -(int)(entity->name[word->bytes] != '\0');
}

/* The entity with the longest name that text starts with, as the standard has it; or NULL. */
static const struct entity *find_entity(const char *text)
{
    for (size_t bytes = strnlen(text, LONGEST_NAME); bytes >= SHORTEST_NAME; bytes--) {
        const struct word word = {text, bytes};
        const struct entity *found =
            bsearch(&word, entities, sizeof entities / sizeof *entities, sizeof *entities, compare);
        if (found)
            return found;
    }
    return NULL;
}

/* What numbers 0x80 to 0x9f mean: Windows-1252, where that has a character. */
uint32_t wf_windows_1252(uint32_t number)
{
    static const uint16_t points[32] = {
        0x20ac, 0x0081, 0x201a, 0x0192, 0x201e, 0x2026, 0x2020, 0x2021, 0x02c6, 0x2030, 0x0160,
        0x2039, 0x0152, 0x008d, 0x017d, 0x008f, 0x0090, 0x2018, 0x2019, 0x201c, 0x201d, 0x2022,
        0x2013, 0x2014, 0x02dc, 0x2122, 0x0161, 0x203a, 0x0153, 0x009d, 0x017e, 0x0178,
    };
    return points[number - 0x80];
}

/* Numbers of control characters and of code points that will never be characters. */
static bool is_dropped(uint32_t number)
{
    return (number >= 0x1 && number <= 0x8) || number == 0xb || (number >= 0xe && number <= 0x1f) ||
           number == 0x7f || (number >= 0xfdd0 && number <= 0xfdef) || (number & 0xfffe) == 0xfffe;
}

/* Writes the character of a number; the count of its bytes, 0 for one that is dropped. */
static size_t write_number(char *out, uint32_t number)
{
    if (number >= 0x80 && number <= 0x9f)
        number = wf_windows_1252(number);
    else if (number == 0 || number > 0x10ffff || (number >= 0xd800 && number <= 0xdfff))
        number = 0xfffd;
    else if (is_dropped(number))
        return 0;
    return wf_utf8_write(out, number);
}

static int digit_of(char c, uint32_t base)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (base == 16 && c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (base == 16 && c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* text follows "&#". The bytes that the number takes, its ';' included; 0 where there is none. */
static size_t read_number(const char *text, uint32_t *number)
{
    const uint32_t base = *text == 'x' || *text == 'X' ? 16 : 10;
    const char *first = text + (base == 16), *c = first;
    *number = 0;
    for (int digit; (digit = digit_of(*c, base)) >= 0; c++) {
        if (*number <= 0x10ffff) /* stays above, however many digits follow */
            *number = *number * base + (uint32_t)digit;
    }
    if (c == first)
        return 0;
    return (size_t)(c - text) + (*c == ';');
}

/* Replaces the reference at *text, which starts with '&', and moves both pointers on. */
static void unescape_one(const char **text, char **out)
{
    uint32_t number;
    const char *c = *text + 1;
    const size_t bytes = *c == '#' ? read_number(c + 1, &number) : 0;
    const struct entity *entity = *c == '#' ? NULL : find_entity(c);
    if (bytes) {
        *out += write_number(*out, number);
        *text = c + 1 + bytes;
    } else if (entity) {
        *out = stpcpy(*out, entity->text);
        *text = c + strlen(entity->name);
    } else {
        *(*out)++ = '&';
        *text = c;
    }
}

enum wf_status wf_html_unescape(const char *text, struct wf_mem *mem, char **out,
                                struct wf_error *err)
{
    *out = NULL;
    if (!wf_utf8_valid(text))
        return wf_fail(err, WF_REFUSED, "prompt: not UTF-8 text; save it as UTF-8");
    /* No reference stands for more than twice its own bytes. */
    const size_t room = 2 * strlen(text) + 1;
    char *next = *out = wf_alloc(mem, WF_MEM_MISC, room);
    if (!next)
        return wf_fail_memory(err, "prompt", room);
    while (*text) {
        if (*text == '&')
            unescape_one(&text, &next);
        else
            *next++ = *text++;
    }
    *next = '\0';
    return WF_OK;
}

/* Of a reference "&...;" of length bytes: what it stands for in out; false where it is none. */
static bool read_whole(const char *text, size_t length, char *out)
{
    const struct word word = {text + 1, length - 1};
    uint32_t number;
    if (text[1] == '#') {
        if (read_number(text + 2, &number) != length - 2 || number == ';')
            return false;
        out[write_number(out, number)] = '\0';
        return true;
    }
    const struct entity *found =
        bsearch(&word, entities, sizeof entities / sizeof *entities, sizeof *entities, compare);
    if (!found)
        found =
            bsearch(&word, capitals, sizeof capitals / sizeof *capitals, sizeof *capitals, compare);
    if (found)
        strcpy(out, found->text);
    return found != NULL;
}

void wf_html_unescape_whole(char *out, const char *text)
{
    static const char letters[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    enum { LONGEST = 24 };
    char meaning[16];
    while (*text) {
        const size_t start = 1 + (text[1] == '#');
        const size_t count = *text == '&' ? strspn(text + start, letters) : 0;
        const size_t length = start + count + 1;
        if (count && count <= LONGEST && text[start + count] == ';' &&
            read_whole(text, length, meaning)) {
            out = stpcpy(out, meaning);
            text += length;
        } else {
            *out++ = *text++;
        }
    }
    *out = '\0';
}
