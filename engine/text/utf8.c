#include "engine/text/utf8.h"

size_t wf_utf8_read(const char *text, uint32_t *point)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    const unsigned char *bytes = (const unsigned char *)text;
    if (bytes[0] < 0x80) {
        *point = bytes[0];
        return 1;
    }
    size_t count;
    uint32_t value;
    if (bytes[0] >= 0xc0 && bytes[0] < 0xe0) {
        count = 2;
        value = bytes[0] & 0x1fu;
    } else if (bytes[0] >= 0xe0 && bytes[0] < 0xf0) {
        count = 3;
        value = bytes[0] & 0x0fu;
    } else if (bytes[0] >= 0xf0 && bytes[0] < 0xf8) {
        count = 4;
        value = bytes[0] & 0x07u;
    } else {
        return 0;
    }
    for (size_t i = 1; i < count; i++) {
        if ((bytes[i] & 0xc0u) != 0x80u) /* the NUL at the end, too */
            return 0;
        value = value << 6 | (bytes[i] & 0x3fu);
    }
    if (value < least[count] || value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff))
        return 0;
    *point = value;
    return count;
}

size_t wf_utf8_write(char text[4], uint32_t point)
{
    static const unsigned char lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
    const size_t count = point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    if (count == 1) {
        text[0] = (char)point;
        return 1;
    }
    for (size_t i = count - 1; i > 0; i--) {
        text[i] = (char)(0x80u | (point & 0x3fu));
        point >>= 6;
    }
    text[0] = (char)(lead[count] | point);
    return count;
}

bool wf_utf8_valid(const char *text)
{
    while (*text) {
        uint32_t point;
        const size_t bytes = wf_utf8_read(text, &point);
        if (!bytes)
            return false;
        text += bytes;
    }
    return true;
}
