#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "engine/text/spiece.h"

/* Fields of ModelProto and NormalizerSpec in sentencepiece_model.proto. */
enum { MODEL_NORMALIZER = 3, NORMALIZER_CHARSMAP = 2 };

struct bytes {
    const unsigned char *data;
    size_t count;
};

static bool take_varint(struct bytes *in, uint64_t *value)
{
    *value = 0;
    for (unsigned shift = 0; shift < 64 && in->count > 0; shift += 7) {
        const unsigned char byte = *in->data++;
        in->count--;
        *value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            return true;
    }
    return false;
}

static bool take_bytes(struct bytes *in, uint64_t count, struct bytes *out)
{
    if (count > in->count)
        return false;
    *out = (struct bytes){in->data, (size_t)count};
    in->data += count;
    in->count -= (size_t)count;
    return true;
}

/* One field of a protobuf message; *value is empty for a field that is a number. */
static bool take_field(struct bytes *in, uint64_t *number, struct bytes *value)
{
    uint64_t tag, length;
    *value = (struct bytes){0};
    if (!take_varint(in, &tag))
        return false;
    *number = tag >> 3;
    switch (tag & 7) {
    case 0:
        return take_varint(in, &length);
    case 1:
        return take_bytes(in, 8, value);
    case 2:
        return take_varint(in, &length) && take_bytes(in, length, value);
    case 5:
        return take_bytes(in, 4, value);
    default:
        return false;
    }
}

static uint32_t load_u32(const unsigned char *data)
{
    return data[0] | (uint32_t)data[1] << 8 | (uint32_t)data[2] << 16 | (uint32_t)data[3] << 24;
}

/* A charsmap is the length of a double array (Darts) in bytes, the array, then replacements that
   end with a NUL each. A unit that is no value leads, at a position of its own, to units that
   differ from there in their low 8 bits; if it ends a key, the unit right there is the value: the
   place of a replacement. */
struct charsmap {
    const unsigned char *units;
    uint32_t count;
    size_t text_bytes;
};

static uint32_t unit_at(const struct charsmap *map, uint32_t index)
{
    return load_u32(map->units + (size_t)4 * index);
}

static bool unit_is_sound(const struct charsmap *map, uint32_t index)
{
    const uint32_t unit = unit_at(map, index);
    if (unit >> 31 && index > 0)
        return true; /* a value: looked at where it is led to. A search starts at unit 0. */
    const uint32_t next = index ^ ((unit >> 10) << ((unit & 1u << 9) >> 6));
    const bool ends_key = unit >> 8 & 1u;
    return (next | 0xffu) < map->count &&
           (!ends_key || (unit_at(map, next) & 0x7fffffffu) < map->text_bytes);
}

static bool charsmap_is_sound(struct bytes in)
{
    if (in.count == 0)
        return true;
    if (in.count < 5 || in.data[in.count - 1] != 0)
        return false;
    const uint32_t unit_bytes = load_u32(in.data);
    if (unit_bytes == 0 || unit_bytes % 4 != 0 || unit_bytes >= in.count - 4)
        return false;
    const struct charsmap map = {in.data + 4, unit_bytes / 4, in.count - 4 - unit_bytes};
    for (uint32_t i = 0; i < map.count; i++) {
        if (!unit_is_sound(&map, i))
            return false;
    }
    return true;
}

static bool normalizer_is_sound(struct bytes spec)
{
    while (spec.count > 0) {
        uint64_t number;
        struct bytes value;
        if (!take_field(&spec, &number, &value) ||
            (number == NORMALIZER_CHARSMAP && !charsmap_is_sound(value)))
            return false;
    }
    return true;
}

enum wf_status wf_spiece_check(const void *model, size_t bytes, const char *path,
                               struct wf_error *err)
{
    struct bytes in = {model, bytes};
    bool sound = bytes > 0;
    while (sound && in.count > 0) {
        uint64_t number;
        struct bytes value;
        sound = take_field(&in, &number, &value) &&
                (number != MODEL_NORMALIZER || normalizer_is_sound(value));
    }
    if (!sound)
        return wf_fail(err, WF_REFUSED,
                       "%s: not a SentencePiece model, or a damaged one; download the file again",
                       path);
    return WF_OK;
}
