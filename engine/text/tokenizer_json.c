/* tokenizer.json -> SentencePiece model. transformers 5 writes that file alone; its Unigram
   tokenizer holds what a SentencePiece model holds, under other names. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/text/spiece.h"
#include "io/json.h"

/* Numbers of sentencepiece_model.proto. */
enum {
    MODEL_PIECE = 1,
    MODEL_TRAINER = 2,
    MODEL_NORMALIZER = 3,
    PIECE_TEXT = 1,
    PIECE_SCORE = 2,
    PIECE_TYPE = 3,
    TRAINER_MODEL_TYPE = 3,
    TRAINER_BYTE_FALLBACK = 35,
    TRAINER_UNK_ID = 40,
    NORMALIZER_CHARSMAP = 2,
    NORMALIZER_DUMMY_PREFIX = 3,
    NORMALIZER_REMOVE_SPACES = 4,
};
enum { MODEL_TYPE_UNIGRAM = 1 };
enum piece_type { PIECE_NORMAL = 1, PIECE_UNKNOWN = 2, PIECE_CONTROL = 3, PIECE_BYTE = 6 };
enum { WIRE_VARINT = 0, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };
enum { MOST_BYTES_OF_A_FIELD = 32, BYTE_PIECES = 256 };

/* A protobuf message while it is written; room is known before. */
struct message {
    unsigned char *data;
    size_t count;
};

/* What tokenizer.json says. */
struct unigram {
    const char *path;
    const json_t *vocab;  /* array of [piece, score] */
    const json_t *added;  /* array of objects with id and special, or NULL */
    const char *charsmap; /* base64, or NULL */
    int64_t unknown;
    bool byte_fallback, prefix;
    struct wf_mem *mem;
    struct wf_error *err;
};

static enum wf_status refuse(const struct unigram *u, const char *what)
{
    return wf_fail(u->err, WF_REFUSED,
                   "%s: %s; put the model's spiece.model beside it, or download the folder again",
                   u->path, what);
}

static void put_varint(struct message *m, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        m->data[m->count++] = (unsigned char)(value | 0x80);
    m->data[m->count++] = (unsigned char)value;
}

static void put_number(struct message *m, uint64_t field, uint64_t value)
{
    put_varint(m, field << 3 | WIRE_VARINT);
    put_varint(m, value);
}

static void put_float(struct message *m, uint64_t field, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    put_varint(m, field << 3 | WIRE_FIXED32);
    for (int i = 0; i < 4; i++)
        m->data[m->count++] = (unsigned char)(bits >> 8 * i & 0xff);
}

static void put_bytes(struct message *m, uint64_t field, const void *bytes, size_t count)
{
    put_varint(m, field << 3 | WIRE_BYTES);
    put_varint(m, count);
    if (count)
        memcpy(m->data + m->count, bytes, count);
    m->count += count;
}

/* Adds what one normalizer, or one of a sequence, does. White space at the ends and runs of it are
   SentencePiece's own business. */
static enum wf_status read_normalizer(struct unigram *u, const json_t *normalizer)
{
    const char *type = json_string_value(json_object_get(normalizer, "type"));
    if (!type || strcmp(type, "Strip") == 0)
        return WF_OK;
    if (strcmp(type, "Precompiled") == 0) {
        u->charsmap = json_string_value(json_object_get(normalizer, "precompiled_charsmap"));
        return WF_OK;
    }
    if (strcmp(type, "Replace") == 0) {
        const json_t *pattern = json_object_get(normalizer, "pattern");
        const char *regex = json_string_value(json_object_get(pattern, "Regex"));
        if (regex && strcmp(regex, " {2,}") == 0)
            return WF_OK;
    }
    if (strcmp(type, "Sequence") == 0) {
        const json_t *list = json_object_get(normalizer, "normalizers");
        for (size_t i = 0; i < json_array_size(list); i++)
            WF_TRY(read_normalizer(u, json_array_get(list, i)));
        return WF_OK;
    }
    return refuse(u, "its normalizer is of a kind that is not known");
}

static enum wf_status read_pre_tokenizer(struct unigram *u, const json_t *pre)
{
    const char *type = json_string_value(json_object_get(pre, "type"));
    if (!type || strcmp(type, "WhitespaceSplit") == 0)
        return WF_OK;
    if (strcmp(type, "Metaspace") == 0) {
        const char *scheme = json_string_value(json_object_get(pre, "prepend_scheme"));
        const json_t *old = json_object_get(pre, "add_prefix_space");
        u->prefix = scheme ? strcmp(scheme, "never") != 0 : !json_is_false(old);
        return WF_OK;
    }
    if (strcmp(type, "Sequence") == 0) {
        const json_t *list = json_object_get(pre, "pretokenizers");
        for (size_t i = 0; i < json_array_size(list); i++)
            WF_TRY(read_pre_tokenizer(u, json_array_get(list, i)));
        return WF_OK;
    }
    return refuse(u, "its pre-tokenizer is of a kind that is not known");
}

/* Decodes base64; false when text is not that. out has room for 3/4 of its length. */
static bool decode_base64(const char *text, unsigned char *out, size_t *count)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t length = strlen(text);
    if (length % 4 != 0)
        return false;
    for (int padding = 0; padding < 2 && length > 0 && text[length - 1] == '='; padding++)
        length--;
    uint32_t bits = 0;
    *count = 0;
    for (size_t i = 0; i < length; i++) {
        const char *digit = strchr(digits, text[i]);
        if (!digit)
            return false;
        bits = bits << 6 | (uint32_t)(digit - digits);
        if (i % 4 != 0)
            out[(*count)++] = (unsigned char)(bits >> (6 - 2 * (i % 4)) & 0xff);
    }
    return true;
}

static bool is_byte_piece(const char *text)
{
    unsigned value;
    char again[8];
    if (sscanf(text, "<0x%2X>", &value) != 1)
        return false;
    snprintf(again, sizeof again, "<0x%02X>", value);
    return strcmp(text, again) == 0;
}

/* Names that SentencePiece itself gives to its control pieces. */
static bool is_control_piece(const char *text)
{
    return strcmp(text, "<pad>") == 0 || strcmp(text, "<s>") == 0 || strcmp(text, "</s>") == 0;
}

static enum wf_status read_piece(const struct unigram *u, size_t id, const char **text,
                                 double *score)
{
    const json_t *pair = json_array_get(u->vocab, id);
    *text = json_string_value(json_array_get(pair, 0));
    const json_t *number = json_array_get(pair, 1);
    *score = json_number_value(number);
    if (!*text || !**text || !json_is_number(number))
        return refuse(u, "its vocabulary holds what is not a piece with a score");
    return WF_OK;
}

/* Fills types, one a piece, and adds up the bytes of all pieces. */
static enum wf_status classify(struct unigram *u, unsigned char *types, size_t *text_bytes)
{
    const size_t count = json_array_size(u->vocab);
    int byte_pieces = 0;
    for (size_t id = 0; id < count; id++) {
        const char *text;
        double score;
        WF_TRY(read_piece(u, id, &text, &score));
        *text_bytes += strlen(text);
        byte_pieces += is_byte_piece(text);
        types[id] = is_control_piece(text) ? PIECE_CONTROL : PIECE_NORMAL;
        if (u->byte_fallback && is_byte_piece(text))
            types[id] = PIECE_BYTE;
    }
    if (u->byte_fallback && byte_pieces != BYTE_PIECES)
        return refuse(u, "its vocabulary has byte_fallback without the 256 byte pieces");
    for (size_t i = 0; i < json_array_size(u->added); i++) {
        const json_t *token = json_array_get(u->added, i);
        const json_int_t id = json_integer_value(json_object_get(token, "id"));
        if (json_is_true(json_object_get(token, "special")) && id >= 0 && (size_t)id < count)
            types[id] = PIECE_CONTROL;
    }
    types[u->unknown] = PIECE_UNKNOWN;
    return WF_OK;
}

static enum wf_status put_pieces(const struct unigram *u, const unsigned char *types,
                                 struct message *model, struct message *scratch)
{
    for (size_t id = 0; id < json_array_size(u->vocab); id++) {
        const char *text;
        double score;
        WF_TRY(read_piece(u, id, &text, &score));
        scratch->count = 0;
        put_bytes(scratch, PIECE_TEXT, text, strlen(text));
        put_float(scratch, PIECE_SCORE, (float)score);
        put_number(scratch, PIECE_TYPE, types[id]);
        put_bytes(model, MODEL_PIECE, scratch->data, scratch->count);
    }
    return WF_OK;
}

static enum wf_status put_specs(const struct unigram *u, struct message *model,
                                struct message *scratch, unsigned char *charsmap)
{
    size_t charsmap_bytes = 0;
    if (u->charsmap && !decode_base64(u->charsmap, charsmap, &charsmap_bytes))
        return refuse(u, "its precompiled_charsmap is not base64");
    scratch->count = 0;
    put_number(scratch, TRAINER_MODEL_TYPE, MODEL_TYPE_UNIGRAM);
    put_number(scratch, TRAINER_BYTE_FALLBACK, u->byte_fallback);
    put_number(scratch, TRAINER_UNK_ID, (uint64_t)u->unknown);
    put_bytes(model, MODEL_TRAINER, scratch->data, scratch->count);
    scratch->count = 0;
    put_bytes(scratch, NORMALIZER_CHARSMAP, charsmap, charsmap_bytes);
    put_number(scratch, NORMALIZER_DUMMY_PREFIX, u->prefix);
    put_number(scratch, NORMALIZER_REMOVE_SPACES, 1);
    put_bytes(model, MODEL_NORMALIZER, scratch->data, scratch->count);
    return WF_OK;
}

static enum wf_status build(struct unigram *u, unsigned char *types, struct message *model)
{
    size_t room = MOST_BYTES_OF_A_FIELD * (json_array_size(u->vocab) + 8);
    WF_TRY(classify(u, types, &room));
    const size_t map_bytes = u->charsmap ? strlen(u->charsmap) : 0;
    room += map_bytes;
    /* Three parts: the model, a message inside of it, the charsmap. */
    unsigned char *memory = wf_alloc(u->mem, WF_MEM_MISC, 2 * room + map_bytes + 1);
    if (!memory)
        return wf_fail_memory(u->err, u->path, 2 * room + map_bytes);
    model->data = memory;
    struct message scratch = {memory + room, 0};
    WF_TRY(put_pieces(u, types, model, &scratch));
    return put_specs(u, model, &scratch, memory + 2 * room);
}

static enum wf_status read_json(const struct wf_json *json, struct unigram *u)
{
    const json_t *model = json_object_get(json->root, "model");
    const char *type = json_string_value(json_object_get(model, "type"));
    const json_t *unknown = json_object_get(model, "unk_id");
    u->vocab = json_object_get(model, "vocab");
    u->added = json_object_get(json->root, "added_tokens");
    u->unknown = json_integer_value(unknown);
    u->byte_fallback = json_is_true(json_object_get(model, "byte_fallback"));
    if (type && strcmp(type, "Unigram") != 0)
        return refuse(u, "its tokenizer is not a Unigram model");
    if (!json_is_array(u->vocab) || !json_is_integer(unknown) || u->unknown < 0 ||
        (uint64_t)u->unknown >= json_array_size(u->vocab))
        return refuse(u, "its tokenizer is not a Unigram model with a vocabulary and an unk_id");
    WF_TRY(read_normalizer(u, json_object_get(json->root, "normalizer")));
    return read_pre_tokenizer(u, json_object_get(json->root, "pre_tokenizer"));
}

enum wf_status wf_spiece_from_json(const char *path, struct wf_mem *mem, void **model,
                                   size_t *bytes, struct wf_error *err)
{
    struct wf_json json;
    struct unigram u = {.path = path, .mem = mem, .err = err};
    struct message message = {0};
    unsigned char *types = NULL;
    *model = NULL;
    WF_TRY(wf_json_open(path, &json, err));
    enum wf_status status = read_json(&json, &u);
    if (status == WF_OK && !(types = wf_calloc(mem, WF_MEM_MISC, json_array_size(u.vocab), 1)))
        status = wf_fail_memory(err, path, json_array_size(u.vocab));
    if (status == WF_OK)
        status = build(&u, types, &message);
    wf_free(types);
    wf_json_close(&json);
    if (status != WF_OK) {
        wf_free(message.data);
        return status;
    }
    *model = message.data;
    *bytes = message.count;
    return WF_OK;
}
