/* ftfy's fix_text without the repair of text that was decoded wrongly (fix_encoding=False): what
   Wan's training and most users of diffusers pass prompts through. The steps and their order are
   those of ftfy's fix_and_explain, repeated on each line until nothing changes. */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "engine/text/text.h"
#include "engine/text/utf8.h"

/* Once through the steps makes a text at most nine times as long: a reference doubles, a control
   character grows by half, NFC trebles. There is room for two such times; what would need more
   stays as it is. */
enum { ONCE = 9, ROOM = ONCE * ONCE };

static const struct width {
    uint32_t point;
    const char *text;
} widths[] = {
#include "engine/text/widths.inc"
};

static int by_point(const void *key, const void *element)
{
    const uint32_t point = *(const uint32_t *)key, other = ((const struct width *)element)->point;
    return point < other ? -1 : point > other;
}

/* uncurl_quotes and the single characters of fix_line_breaks. */
static uint32_t plain(uint32_t point)
{
    if (point == 0x2bc || (point >= 0x2018 && point <= 0x201b))
        return '\'';
    if (point >= 0x201c && point <= 0x201f)
        return '"';
    return point == '\r' || point == 0x2028 || point == 0x2029 ? '\n' : point;
}

static char *write_plain(char *out, const char *text)
{
    uint32_t point;
    for (size_t bytes; *text; text += bytes) {
        bytes = wf_utf8_read(text, &point);
        out += wf_utf8_write(out, plain(point));
    }
    return out;
}

/* fix_c1_controls, fix_latin_ligatures, fix_character_width, uncurl_quotes, fix_line_breaks: each
   character by itself. */
static void fix_characters(char *out, const char *text)
{
    uint32_t point;
    for (size_t bytes; *text; text += bytes) {
        bytes = wf_utf8_read(text, &point);
        if (point == '\r' && text[1] == '\n')
            continue;
        if (point >= 0x80 && point <= 0x9f)
            point = wf_windows_1252(point);
        const struct width *width =
            bsearch(&point, widths, sizeof widths / sizeof *widths, sizeof *widths, by_point);
        if (width)
            out = write_plain(out, width->text);
        else
            out += wf_utf8_write(out, plain(point));
    }
    *out = '\0';
}

/* remove_terminal_escapes: ESC [ numbers letter. The bytes of one, or 0. */
static size_t escape_at(const char *text)
{
    if (text[0] != '\033' || text[1] != '[')
        return 0;
    const size_t bytes = 2 + strspn(text + 2, "0123456789;");
    const char last = text[bytes];
    return (last >= 'a' && last <= 'z') || (last >= 'A' && last <= 'Z') ? bytes + 1 : 0;
}

static void remove_escapes(char *out, const char *text)
{
    while (*text) {
        const size_t bytes = escape_at(text);
        if (bytes)
            text += bytes;
        else
            *out++ = *text++;
    }
    *out = '\0';
}

static bool is_control(uint32_t point)
{
    return point < 0x09 || point == 0x0b || (point >= 0x0e && point < 0x20) || point == 0x7f ||
           (point >= 0x206a && point <= 0x206f) || point == 0xfeff ||
           (point >= 0xfff9 && point <= 0xfffc);
}

/* remove_control_chars; out may be text. */
static void remove_controls(char *out, const char *text)
{
    uint32_t point;
    for (size_t bytes; *text; text += bytes) {
        bytes = wf_utf8_read(text, &point);
        if (is_control(point))
            continue;
        memmove(out, text, bytes);
        out += bytes;
    }
    *out = '\0';
}

/* Once through the steps, from one buffer to the other and back. */
static enum wf_status fix_once(char *text, char *other, bool unescapes, struct wf_error *err)
{
    if (unescapes)
        wf_html_unescape_whole(other, text);
    else
        memmove(other, text, strlen(text) + 1);
    fix_characters(text, other);
    remove_escapes(other, text);
    remove_controls(other, other);
    utf8proc_uint8_t *composed = utf8proc_NFC((const utf8proc_uint8_t *)other);
    if (!composed)
        return wf_fail_memory(err, "prompt", strlen(other));
    strcpy(text, (const char *)composed);
    free(composed);
    return WF_OK;
}

/* One line of length bytes, its '\n' included; text has room for ROOM times as many, and gets the
   result. */
static enum wf_status fix_line(char *text, size_t length, bool unescapes, struct wf_mem *mem,
                               struct wf_error *err)
{
    enum { TIMES = 64 }; /* as often as anything was seen to change, and far more */
    const size_t room = ROOM * length + 1;
    char *buffer = wf_alloc(mem, WF_MEM_MISC, 3 * room);
    if (!buffer)
        return wf_fail_memory(err, "prompt", 3 * room);
    char *now = buffer, *before = buffer + room, *other = buffer + 2 * room;
    memcpy(now, text, length);
    now[length] = '\0';
    enum wf_status status = WF_OK;
    for (int i = 0; i < TIMES && status == WF_OK; i++) {
        strcpy(before, now);
        if (strlen(now) > (room - 1) / ONCE)
            break;
        status = fix_once(now, other, unescapes, err);
        if (strcmp(before, now) == 0)
            break;
    }
    strcpy(text, now);
    wf_free(buffer);
    return status;
}

enum wf_status wf_text_fix(const char *text, struct wf_mem *mem, char **out, struct wf_error *err)
{
    *out = NULL;
    if (!wf_utf8_valid(text))
        return wf_fail(err, WF_REFUSED, "prompt: not UTF-8 text; save it as UTF-8");
    const size_t room = ROOM * strlen(text) + 1;
    char *fixed = wf_alloc(mem, WF_MEM_MISC, room), *next = fixed;
    if (!fixed)
        return wf_fail_memory(err, "prompt", room);
    bool unescapes = true; /* until a line looks like HTML */
    enum wf_status status = WF_OK;
    *next = '\0';
    while (*text && status == WF_OK) {
        const size_t rest = strcspn(text, "\n"), length = rest + (text[rest] == '\n');
        unescapes = unescapes && !memchr(text, '<', length);
        memcpy(next, text, length);
        next[length] = '\0';
        status = fix_line(next, length, unescapes, mem, err);
        next += strlen(next);
        text += length;
    }
    if (status == WF_OK)
        *out = fixed;
    else
        wf_free(fixed);
    return status;
}
