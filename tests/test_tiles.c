/* vae/tiles: windows by hand, random ones against a second way to find them, and diffusers' own in
   tests/fixtures/vectors/tiles.json, blended frames included. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "kernels/base/rng.h"
#include "vae/tiles.h"

static struct wf_size size_of(int64_t height, int64_t width)
{
    return (struct wf_size){height, width};
}

static struct wf_size times(struct wf_size size, int64_t scale)
{
    return size_of(size.height * scale, size.width * scale);
}

static struct wf_tiles exact_of(struct wf_size frame, struct wf_size tile)
{
    struct wf_tiles tiles;
    struct wf_error err;
    assert_int_equal(wf_tiles_exact(&tiles, frame, tile, &err), WF_OK);
    return tiles;
}

/* All in latents. */
static struct wf_tiles blend_of(struct wf_size frame, struct wf_size tile, struct wf_size overlap,
                                int64_t scale)
{
    struct wf_tiles tiles;
    struct wf_error err;
    assert_int_equal(
        wf_tiles_blend(&tiles, frame, times(tile, scale), times(overlap, scale), scale, &err),
        WF_OK);
    return tiles;
}

static void expect_tile(struct wf_tile tile, int64_t top, int64_t left, int64_t height,
                        int64_t width)
{
    assert_int_equal(tile.top, top);
    assert_int_equal(tile.left, left);
    assert_int_equal(tile.height, height);
    assert_int_equal(tile.width, width);
}

/* --- by hand -------------------------------------------------------------------------------------
 */

static void exact_tiles_need_not_divide(void **state)
{
    (void)state;
    const struct wf_tiles t = exact_of(size_of(10, 7), size_of(4, 5));
    static const struct wf_tile expected[6] = {{0, 0, 4, 5}, {0, 5, 4, 2}, {4, 0, 4, 5},
                                               {4, 5, 4, 2}, {8, 0, 2, 5}, {8, 5, 2, 2}};
    assert_true(t.rows == 3 && t.columns == 2 && t.count == 6);
    for (int64_t i = 0; i < 6; i++) {
        const struct wf_tile e = expected[i];
        expect_tile(wf_tiles_at(&t, i), e.top, e.left, e.height, e.width);
        expect_tile(wf_tiles_kept(&t, i), e.top, e.left, e.height, e.width);
        const struct wf_size ramp = wf_tiles_ramp(&t, i);
        assert_true(ramp.height == 0 && ramp.width == 0);
    }
    const struct wf_tiles whole = exact_of(size_of(10, 7), size_of(10, 1000));
    assert_int_equal(whole.count, 1);
    expect_tile(wf_tiles_at(&whole, 0), 0, 0, 10, 7);
}

/* 14 latent rows in tiles of 8 that start every 6: the last is 2 high and blended whole. */
static void the_redundant_tile_is_there(void **state)
{
    (void)state;
    const struct wf_tiles t = blend_of(size_of(14, 8), size_of(8, 8), size_of(2, 2), 8);
    assert_true(t.rows == 3 && t.columns == 2 && t.count == 6);
    expect_tile(wf_tiles_at(&t, 0), 0, 0, 8, 8);
    expect_tile(wf_tiles_at(&t, 1), 0, 6, 8, 2);
    expect_tile(wf_tiles_at(&t, 2), 6, 0, 8, 8);
    expect_tile(wf_tiles_at(&t, 5), 12, 6, 2, 2);
    expect_tile(wf_tiles_kept(&t, 0), 0, 0, 6, 6);
    expect_tile(wf_tiles_kept(&t, 2), 6, 0, 6, 6);
    expect_tile(wf_tiles_kept(&t, 5), 12, 6, 2, 2);
    expect_tile(wf_tile_scaled(wf_tiles_kept(&t, 5), 8), 96, 48, 16, 16);
    static const struct wf_size ramps[6] = {{0, 0}, {0, 2}, {2, 0}, {2, 2}, {2, 0}, {2, 2}};
    for (int64_t i = 0; i < 6; i++) {
        const struct wf_size ramp = wf_tiles_ramp(&t, i);
        assert_true(ramp.height == ramps[i].height && ramp.width == ramps[i].width);
    }
}

static void small_frames_are_one_tile(void **state)
{
    (void)state;
    static const struct wf_size frames[3] = {{8, 6}, {8, 1}, {7, 5}};
    for (int i = 0; i < 3; i++) {
        const struct wf_tiles t = blend_of(frames[i], size_of(8, 6), size_of(3, 2), 8);
        assert_int_equal(t.count, 1);
        expect_tile(wf_tiles_at(&t, 0), 0, 0, frames[i].height, frames[i].width);
        expect_tile(wf_tiles_kept(&t, 0), 0, 0, frames[i].height, frames[i].width);
    }
    assert_int_equal(blend_of(size_of(9, 1), size_of(8, 6), size_of(3, 2), 8).count, 2);
    assert_int_equal(blend_of(size_of(1, 7), size_of(8, 6), size_of(3, 2), 8).count, 2);
}

static void wan_as_diffusers_sets_it(void **state)
{
    (void)state;
    struct wf_tiles t; /* 832x480 */
    assert_int_equal(
        wf_tiles_blend(&t, size_of(60, 104), size_of(256, 256), size_of(64, 64), 8, NULL), WF_OK);
    assert_true(t.rows == 3 && t.columns == 5 && t.count == 15);
    assert_true(t.tile.height == 32 && t.stride.height == 24 && t.stride.width == 24);
    expect_tile(wf_tiles_at(&t, 14), 48, 96, 12, 8);
    assert_true(wf_tiles_ramp(&t, 14).height == 8 && wf_tiles_ramp(&t, 14).width == 8);
}

static void ramps_begin_at_nothing(void **state)
{
    (void)state;
    float above[2][3] = {{1, 2, 3}, {4, 5, 6}}, tile[3][3] = {{9, 9, 9}, {8, 8, 8}, {7, 7, 7}};
    const float expected[3][3] = {{1, 2, 3}, {6, 6.5f, 7}, {7, 7, 7}};
    assert_true(wf_tile_weight(0, 4) == 0 && wf_tile_weight(3, 4) == 0.75);
    wf_tile_blend(wf_tensor_of(above, WF_F32, WF_DIMS(2, 3)),
                  wf_tensor_of(tile, WF_F32, WF_DIMS(3, 3)), 0);
    assert_memory_equal(tile, expected, sizeof tile);
    /* The same columns, each in a picture of its own with other strides. */
    float left[3][2] = {{1, 4}, {2, 5}, {3, 6}}, wide[3][3] = {{9, 8, 7}, {9, 8, 7}, {9, 8, 7}};
    wf_tile_blend(wf_tensor_of(left, WF_F32, WF_DIMS(3, 2)),
                  wf_tensor_of(wide, WF_F32, WF_DIMS(3, 3)), 1);
    for (int y = 0; y < 3; y++)
        for (int x = 0; x < 3; x++)
            assert_true(wide[y][x] == expected[x][y]);
}

/* --- the second way ------------------------------------------------------------------------------
 */

/* Along one axis, sample by sample: the i-th tile of stride and size over frame samples. */
static void walk(int64_t frame, int64_t size, int64_t stride, int64_t i, int64_t *first,
                 int64_t *count, int64_t *kept, int64_t *shared)
{
    *first = *count = *kept = *shared = 0;
    for (int64_t x = 0; x < frame; x++) {
        const bool in = x >= i * stride && x < i * stride + size;
        *first += x < i * stride;
        *count += in;
        *kept += in && x / stride == i;
        *shared += in && i > 0 && x < (i - 1) * stride + size;
    }
}

static void check_tiles(const struct wf_tiles *t, bool tiled)
{
    const struct wf_size stride = tiled ? t->stride : t->frame;
    unsigned char *seen = calloc((size_t)(t->frame.height * t->frame.width), 1);
    assert_non_null(seen);
    for (int64_t i = 0; i < t->count; i++) {
        const struct wf_tile at = wf_tiles_at(t, i), kept = wf_tiles_kept(t, i);
        const struct wf_size ramp = wf_tiles_ramp(t, i);
        int64_t first, count, own, shared;
        walk(t->frame.height, t->tile.height, stride.height, i / t->columns, &first, &count, &own,
             &shared);
        assert_true(at.top == first && at.height == count && at.height > 0);
        assert_true(kept.top == first && kept.height == own && ramp.height == shared);
        walk(t->frame.width, t->tile.width, stride.width, i % t->columns, &first, &count, &own,
             &shared);
        assert_true(at.left == first && at.width == count && at.width > 0);
        assert_true(kept.left == first && kept.width == own && ramp.width == shared);
        for (int64_t y = kept.top; y < kept.top + kept.height; y++)
            for (int64_t x = kept.left; x < kept.left + kept.width; x++)
                seen[y * t->frame.width + x]++;
    }
    for (int64_t i = 0; i < t->frame.height * t->frame.width; i++)
        assert_int_equal(seen[i], 1);
    free(seen);
}

static int64_t below(struct wf_rng *rng, int64_t limit)
{
    return (int64_t)wf_rng_u32(rng) % limit;
}

static void random_tiles(void **state)
{
    (void)state;
    struct wf_rng rng;
    wf_rng_seed(&rng, 21);
    for (int n = 0; n < 3000; n++) {
        const struct wf_size frame = size_of(1 + below(&rng, 24), 1 + below(&rng, 24));
        const struct wf_size tile = size_of(1 + below(&rng, 26), 1 + below(&rng, 26));
        const struct wf_size overlap = size_of(below(&rng, tile.height), below(&rng, tile.width));
        const struct wf_tiles exact = exact_of(frame, tile);
        check_tiles(&exact, true);
        const struct wf_tiles blend = blend_of(frame, tile, overlap, 1 + below(&rng, 16));
        const bool tiled = frame.height > tile.height || frame.width > tile.width;
        assert_true((blend.count > 1) == tiled);
        check_tiles(&blend, tiled);
    }
}

/* --- diffusers -----------------------------------------------------------------------------------
 */

static struct wf_size size_at(const json_t *entry, const char *key)
{
    const json_t *pair = json_object_get(entry, key);
    assert_int_equal(json_array_size(pair), 2);
    return size_of(json_integer_value(json_array_get(pair, 0)),
                   json_integer_value(json_array_get(pair, 1)));
}

static void check_windows(const struct wf_tiles *t, const json_t *windows)
{
    assert_int_equal(json_array_size(windows), t->count);
    for (int64_t i = 0; i < t->count; i++) {
        int top, left, height, width;
        assert_int_equal(json_unpack(json_array_get(windows, (size_t)i), "[i,i,i,i]", &top, &left,
                                     &height, &width),
                         0);
        expect_tile(wf_tiles_at(t, i), top, left, height, width);
    }
}

/* A decoded tile, as vectors_tiles.py has it; the caller frees its data. */
static struct wf_tensor decoded(const struct wf_tiles *t, int64_t i, int64_t scale)
{
    const struct wf_tile pixels = wf_tile_scaled(wf_tiles_at(t, i), scale);
    float *data = malloc((size_t)(pixels.height * pixels.width) * sizeof *data);
    assert_non_null(data);
    for (int64_t y = 0; y < pixels.height; y++)
        for (int64_t x = 0; x < pixels.width; x++)
            data[y * pixels.width + x] = (float)((i * 37 + y * 11 + x * 7) % 61 - 30) / 32;
    return wf_tensor_of(data, WF_F32, WF_DIMS(pixels.height, pixels.width));
}

static void blend_with(struct wf_tensor before, struct wf_tensor tile, int axis, int64_t extent)
{
    if (extent > 0)
        wf_tile_blend(wf_tensor_slice(before, axis, before.dim[axis] - extent, extent), tile, axis);
}

/* Compares what is kept of a tile with the frame that diffusers made. */
static void check_kept(const struct wf_tiles *t, int64_t i, struct wf_tensor tile, int64_t scale,
                       const json_t *frame)
{
    const struct wf_tile kept = wf_tile_scaled(wf_tiles_kept(t, i), scale);
    for (int64_t y = 0; y < kept.height; y++) {
        for (int64_t x = 0; x < kept.width; x++) {
            const int64_t at = (kept.top + y) * t->frame.width * scale + kept.left + x;
            const double theirs = json_number_value(json_array_get(frame, (size_t)at));
            const double ours = (double)((const float *)tile.data)[y * tile.stride[0] + x];
            if (!(fabs(ours - theirs) <= 2e-7))
                fail_msg("tile %lld, row %lld, column %lld: %.9g, diffusers %.9g", (long long)i,
                         (long long)y, (long long)x, ours, theirs);
        }
    }
}

static void check_case(const json_t *entry, int64_t scale)
{
    const struct wf_tiles t = blend_of(size_at(entry, "latents"), size_at(entry, "tile"),
                                       size_at(entry, "overlap"), scale);
    const json_t *frame = json_object_get(entry, "frame");
    check_windows(&t, json_object_get(entry, "windows"));
    assert_int_equal(json_array_size(frame), t.frame.height * t.frame.width * scale * scale);
    struct wf_tensor *tile = calloc((size_t)t.count, sizeof *tile);
    assert_non_null(tile);
    for (int64_t i = 0; i < t.count; i++) {
        const struct wf_size ramp = wf_tiles_ramp(&t, i);
        tile[i] = decoded(&t, i, scale);
        blend_with(tile[i >= t.columns ? i - t.columns : i], tile[i], 0, ramp.height * scale);
        blend_with(tile[i > 0 ? i - 1 : i], tile[i], 1, ramp.width * scale);
        check_kept(&t, i, tile[i], scale, frame);
    }
    for (int64_t i = 0; i < t.count; i++)
        free(tile[i].data);
    free(tile);
}

static void frames_as_diffusers(void **state)
{
    (void)state;
    char path[4096];
    const char *source = getenv("WEFT_SOURCE_DIR");
    snprintf(path, sizeof path, "%s/tests/fixtures/vectors/tiles.json", source ? source : ".");
    json_t *vectors = json_load_file(path, 0, NULL);
    assert_non_null(vectors);
    const json_t *cases = json_object_get(vectors, "cases");
    assert_true(json_array_size(cases) > 0);
    for (size_t i = 0; i < json_array_size(cases); i++)
        check_case(json_array_get(cases, i), json_integer_value(json_object_get(vectors, "scale")));
    json_decref(vectors);
}

/* --- bounds --------------------------------------------------------------------------------------
 */

static void large_frames_do_not_overflow(void **state)
{
    (void)state;
    const int64_t most = INT64_MAX;
    struct wf_tiles t = exact_of(size_of(most, 1), size_of(1, most));
    assert_int_equal(t.count, most);
    expect_tile(wf_tiles_at(&t, most - 1), most - 1, 0, 1, 1);
    t = exact_of(size_of(most, most), size_of(most - 1, most - 1));
    assert_int_equal(t.count, 4);
    expect_tile(wf_tiles_at(&t, 3), most - 1, most - 1, 1, 1);
    struct wf_error err;
    assert_int_equal(
        wf_tiles_exact(&t, size_of(INT64_C(1) << 40, INT64_C(1) << 40), size_of(8, 8), &err),
        WF_REFUSED);
    assert_non_null(strstr(err.text, "too many"));
    assert_int_equal(wf_tiles_exact(&t, size_of(0, 8), size_of(8, 8), &err), WF_FAILED);
    assert_int_equal(wf_tiles_blend(&t, size_of(8, -1), size_of(8, 8), size_of(0, 0), 8, &err),
                     WF_FAILED);
    assert_int_equal(wf_tiles_blend(&t, size_of(8, 8), size_of(8, 8), size_of(0, 0), 0, &err),
                     WF_FAILED);
}

static void what_cannot_be_is_refused(void **state)
{
    (void)state;
    static const struct {
        struct wf_size tile, overlap;
        const char *text;
    } cases[] = {
        {{8, 0}, {0, 0}, "tile-size: width 0 is below 8 pixels; the nearest is 8"},
        {{INT64_MIN, 8},
         {0, 0},
         "tile-size: height -9223372036854775808 is below 8 pixels; "
         "the nearest is 8"},
        {{100, 96},
         {0, 0},
         "tile-size: height 100 is not a multiple of 8 pixels; the nearest is "
         "104"},
        {{96, 99}, {0, 0}, "tile-size: width 99 is not a multiple of 8 pixels; the nearest is 96"},
        {{INT64_MAX, 8},
         {0, 0},
         "tile-size: height 9223372036854775807 is not a multiple of 8 "
         "pixels; the nearest is 9223372036854775800"},
        {{96, 96}, {-1, 0}, "tile-overlap: height -1 is below 0 pixels; the nearest is 0"},
        {{96, 96},
         {96, 0},
         "tile-overlap: height 96 is not below the tile's 96 pixels; the "
         "nearest is 88"},
        {{96, 96},
         {0, INT64_MAX},
         "tile-overlap: width 9223372036854775807 is not below the "
         "tile's 96 pixels; the nearest is 88"},
        {{96, 96},
         {0, 35},
         "tile-overlap: width 35 is not a multiple of 8 pixels; the nearest is "
         "32"},
        {{96, 96},
         {0, 95},
         "tile-overlap: width 95 is not a multiple of 8 pixels; the nearest is "
         "88"},
    };
    struct wf_tiles t;
    struct wf_error err;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(
            wf_tiles_blend(&t, size_of(60, 104), cases[i].tile, cases[i].overlap, 8, &err),
            WF_REFUSED);
        assert_string_equal(err.text, cases[i].text);
    }
    assert_int_equal(wf_tiles_exact(&t, size_of(60, 104), size_of(0, 5), &err), WF_REFUSED);
    assert_string_equal(err.text, "tile-size: height 0 is below 1 pixel; the nearest is 1");
    assert_int_equal(wf_tiles_blend(&t, size_of(60, 104), size_of(1, 1), size_of(1, 0), 1, &err),
                     WF_REFUSED);
    assert_string_equal(err.text, "tile-overlap: height 1 is not below the tile's 1 pixel; the "
                                  "nearest is 0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exact_tiles_need_not_divide),
        cmocka_unit_test(the_redundant_tile_is_there),
        cmocka_unit_test(small_frames_are_one_tile),
        cmocka_unit_test(wan_as_diffusers_sets_it),
        cmocka_unit_test(ramps_begin_at_nothing),
        cmocka_unit_test(random_tiles),
        cmocka_unit_test(frames_as_diffusers),
        cmocka_unit_test(large_frames_do_not_overflow),
        cmocka_unit_test(what_cannot_be_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
