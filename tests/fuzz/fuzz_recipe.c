/* engine/recipe_read.c: the input is the text of a PNG. What is taken from it has the bounds of
   what the fields of weft.h can say. */
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "engine/weft.h"
#include "tests/fuzz/fuzz.h"

enum { MOST = 1 << 16 };

struct png {
    uint8_t *data;
    size_t size;
};

static void put(struct png *png, const void *bytes, size_t size)
{
    if (size)
        memcpy(png->data + png->size, bytes, size);
    png->size += size;
}

static void put_number(struct png *png, uint32_t number)
{
    const uint8_t bytes[4] = {(uint8_t)(number >> 24), (uint8_t)(number >> 16),
                              (uint8_t)(number >> 8), (uint8_t)number};
    put(png, bytes, sizeof bytes);
}

static void put_chunk(struct png *png, const char *kind, const void *head, size_t head_size,
                      const void *body, size_t body_size)
{
    put_number(png, (uint32_t)(head_size + body_size));
    const size_t from = png->size;
    put(png, kind, 4);
    put(png, head, head_size);
    put(png, body, body_size);
    put_number(png, (uint32_t)crc32(0, png->data + from, (uInt)(png->size - from)));
}

/* A head and the text alone: the pixels are not read. */
static const char *write_clip(const uint8_t *text, size_t size)
{
    static const uint8_t head[13] = {0, 0, 0, 1, 0, 0, 0, 1, 8, 2};
    struct png png = {.data = malloc(size + 256)};
    FUZZ_CHECK(png.data);
    put(&png, "\x89PNG\r\n\x1a\n", 8);
    put_chunk(&png, "IHDR", head, sizeof head, NULL, 0);
    put_chunk(&png, "iTXt", "weft\0\0\0\0", 9, text, size);
    put_chunk(&png, "IDAT", NULL, 0, NULL, 0);
    const char *path = fuzz_write("clip.png", png.data, png.size);
    free(png.data);
    return path;
}

static void check_request(const struct weft_recipe *recipe)
{
    struct weft_request r;
    weft_request_open(&r);
    weft_recipe_request(recipe, &r);
    FUZZ_CHECK(r.width >= 0 && r.height >= 0 && r.num_frames >= 0 && r.steps >= 0);
    FUZZ_CHECK(!r.fps_num == !r.fps_den && r.fps_num >= 0 && r.fps_den >= 0);
    FUZZ_CHECK(r.tiling <= WEFT_TILING_BLEND && r.fit <= WEFT_FIT_PAD && r.tile_width >= 0);
    FUZZ_CHECK(r.decode_chunk_size >= 0 && r.max_sequence_length >= 0);
    FUZZ_CHECK(r.guidance_scale == r.guidance_scale && r.flow_shift == r.flow_shift);
    FUZZ_CHECK(!r.image && !r.latents && !r.dump && !r.resume);
}

enum wf_status fuzz_parse(struct fuzz *f, const uint8_t *data, size_t size)
{
    struct weft_recipe *recipe = NULL;
    struct weft_settings settings;
    struct weft_output output;
    char message[512];
    if (f->starved || size > MOST)
        return WF_OK;
    const enum weft_status status =
        weft_recipe_open(write_clip(data, size), &recipe, message, sizeof message);
    FUZZ_CHECK(status == WEFT_OK || status == WEFT_REFUSED);
    FUZZ_CHECK((status == WEFT_OK) == !message[0] && !strchr(message, '\n'));
    if (status != WEFT_OK)
        return WF_OK;
    FUZZ_CHECK(strstr(weft_recipe_json(recipe), "weft"));
    check_request(recipe);
    weft_settings_defaults(&settings);
    weft_recipe_settings(recipe, &settings);
    FUZZ_CHECK(settings.threads >= 0);
    weft_output_defaults(&output);
    weft_recipe_output(recipe, &output);
    FUZZ_CHECK(!output.path && output.crf == output.crf);
    weft_recipe_close(&recipe);
    return WF_OK;
}
