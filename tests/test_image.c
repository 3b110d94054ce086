/* io/image: pictures, sizes and the image encoder's view against Pillow and diffusers
   (tests/fixtures/image), damaged files, short memory. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "io/file.h"
#include "io/image.h"
#include "tests/desk.h"

struct fixture {
    struct desk desk;
    json_t *cases;
    char *expect; /* what cases point into */
    size_t expected;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    desk_open(&f->desk, "image");
    f->cases = json_load_file(desk_fixture(&f->desk, "image/cases.json"), 0, NULL);
    assert_non_null(f->cases);
    assert_int_equal(wf_file_read(desk_fixture(&f->desk, "image/expect.bin"), 1 << 20, &f->expect,
                                  &f->expected, &f->desk.err),
                     WF_OK);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    desk_close(&f->desk);
    json_decref(f->cases);
    free(f->expect);
    free(f);
    return 0;
}

static const json_t *cases_of(const struct fixture *f, const char *kind)
{
    const json_t *cases = json_object_get(f->cases, kind);
    assert_true(json_array_size(cases) > 0);
    return cases;
}

static int get(const json_t *object, const char *key)
{
    assert_true(json_is_integer(json_object_get(object, key)));
    return (int)json_integer_value(json_object_get(object, key));
}

/* The four numbers of "sizes": from width, height to width, height. */
static void get_sizes(const json_t *object, int size[4])
{
    for (size_t i = 0; i < 4; i++)
        size[i] = (int)json_integer_value(json_array_get(json_object_get(object, "sizes"), i));
}

static const void *expected_at(const struct fixture *f, const json_t *object, size_t bytes)
{
    const size_t at = (size_t)get(object, "at");
    assert_true(at + bytes <= f->expected);
    return f->expect + at;
}

/* As make_image.py makes it. */
static uint8_t pattern_at(uint32_t x, uint32_t y, uint32_t c)
{
    uint32_t noise = x * 374761393 + y * 668265263 + c * 974634777 + 1;
    noise = (noise ^ noise >> 13) * 1274126177;
    noise ^= noise >> 16;
    if ((noise >> 12 & 15) == 1)
        return 255;
    if ((noise >> 8 & 15) == 0)
        return 0;
    return (uint8_t)((((x * (3 + c) + y * (5 + c)) & 255) * 3 >> 2) + (noise & 63));
}

static struct wf_image make_pattern(struct desk *desk, int width, int height)
{
    struct wf_image image = {.width = width, .height = height};
    image.rgb = wf_alloc(desk->mem, WF_MEM_FRAMES, 3 * (size_t)width * (size_t)height);
    assert_non_null(image.rgb);
    uint8_t *out = image.rgb;
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++)
            for (int c = 0; c < 3; c++)
                *out++ = pattern_at((uint32_t)x, (uint32_t)y, (uint32_t)c);
    return image;
}

static enum wf_status read_fixture(struct desk *desk, const char *name, struct wf_image *image)
{
    return wf_image_read(desk_fixture(desk, "image/%s", name), desk->mem, image, &desk->err);
}

/* --- as Pillow and diffusers --- */

static void pictures_as_pillow(void **state)
{
    struct fixture *f = *state;
    const json_t *cases = cases_of(f, "pictures");
    int wrong = 0;
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *c = json_array_get(cases, i);
        const char *name = json_string_value(json_object_get(c, "file"));
        const int width = get(c, "width"), height = get(c, "height");
        const size_t bytes = 3 * (size_t)width * (size_t)height;
        const void *expected = expected_at(f, c, bytes);
        struct wf_image image;
        if (read_fixture(&f->desk, name, &image) != WF_OK) {
            print_error("%s\n", f->desk.err.text);
            wrong++;
        } else if (image.width != width || image.height != height ||
                   memcmp(image.rgb, expected, bytes) != 0) {
            print_error("%s: %dx%d, other pixels than Pillow's\n", name, image.width, image.height);
            wrong++;
        }
        wf_image_close(&image);
        wf_image_close(&image);
    }
    assert_int_equal(wrong, 0);
}

static enum wf_image_fit fit_of(const json_t *object)
{
    static const char *names[] = {
        [WF_FIT_STRETCH] = "stretch", [WF_FIT_CROP] = "crop", [WF_FIT_PAD] = "pad"};
    const char *name = json_string_value(json_object_get(object, "fit"));
    for (int fit = 0; fit < 3; fit++)
        if (strcmp(names[fit], name) == 0)
            return (enum wf_image_fit)fit;
    fail_msg("no such fit: %s", name);
    return WF_FIT_STRETCH;
}

static void sizes_as_pillow(void **state)
{
    struct fixture *f = *state;
    const json_t *cases = cases_of(f, "resize");
    int wrong = 0;
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *c = json_array_get(cases, i);
        int size[4];
        get_sizes(c, size);
        const size_t bytes = 3 * (size_t)size[2] * (size_t)size[3];
        struct wf_image from = make_pattern(&f->desk, size[0], size[1]), to;
        assert_int_equal(
            wf_image_resize(&from, size[2], size[3], fit_of(c), f->desk.mem, &to, &f->desk.err),
            WF_OK);
        if (memcmp(to.rgb, expected_at(f, c, bytes), bytes) != 0) {
            print_error("%s %dx%d to %dx%d: other pixels than Pillow's\n",
                        json_string_value(json_object_get(c, "fit")), size[0], size[1], size[2],
                        size[3]);
            wrong++;
        }
        wf_image_close(&from);
        wf_image_close(&to);
    }
    assert_int_equal(wrong, 0);
}

/* The largest difference at every step-th row and column. */
static float distance(const float *out, int width, int height, int step, const char *expected)
{
    float worst = 0;
    for (int y = 0; y < height; y += step)
        for (int x = 0; x < width; x += step)
            for (int c = 0; c < 3; c++, expected += sizeof(float)) {
                float value;
                memcpy(&value, expected, sizeof value);
                worst = fmaxf(worst, fabsf(out[3 * (y * width + x) + c] - value));
            }
    return worst;
}

static void antialias_as_diffusers(void **state)
{
    struct fixture *f = *state;
    const json_t *cases = cases_of(f, "antialias");
    float worst = 0;
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *c = json_array_get(cases, i);
        int size[4];
        get_sizes(c, size);
        const int step = get(c, "step");
        const int kept = 3 * ((size[2] - 1) / step + 1) * ((size[3] - 1) / step + 1);
        struct wf_image from = make_pattern(&f->desk, size[0], size[1]);
        float *out = malloc(3 * (size_t)size[2] * (size_t)size[3] * sizeof *out);
        assert_non_null(out);
        assert_int_equal(
            wf_image_antialias(&from, size[2], size[3], out, f->desk.mem, &f->desk.err), WF_OK);
        const float d =
            distance(out, size[2], size[3], step, expected_at(f, c, (size_t)kept * sizeof(float)));
        if (!(d <= 2e-6F))
            print_error("%dx%d to %dx%d: %g from diffusers\n", size[0], size[1], size[2], size[3],
                        (double)d);
        worst = fmaxf(worst, d);
        wf_image_close(&from);
        free(out);
    }
    assert_true(worst <= 2e-6F);
}

/* --- what is refused --- */

static void expect_refused(struct desk *desk, const char *path, const char *word)
{
    struct wf_image image;
    assert_int_equal(wf_image_read(path, desk->mem, &image, &desk->err), WF_REFUSED);
    assert_null(image.rgb);
    assert_int_equal(image.width, 0);
    assert_memory_equal(desk->err.text, path, strlen(path));
    assert_non_null(strstr(desk->err.text, "; "));
    if (!strstr(desk->err.text, word))
        fail_msg("\"%s\" lacks \"%s\"", desk->err.text, word);
}

static void what_is_no_picture_is_refused(void **state)
{
    struct fixture *f = *state;
    char path[128];
    expect_refused(&f->desk, f->desk.folder, "not a regular file");
    snprintf(path, sizeof path, "%s/pipe", f->desk.folder);
    assert_int_equal(mkfifo(path, 0600), 0);
    expect_refused(&f->desk, path, "not a regular file");
    snprintf(path, sizeof path, "%s/none", f->desk.folder);
    expect_refused(&f->desk, path, "cannot be opened");
    snprintf(path, sizeof path, "%s/empty", f->desk.folder);
    fclose(fopen(path, "wb"));
    expect_refused(&f->desk, path, "empty");
}

static void what_is_beyond_bounds_is_refused(void **state)
{
    struct fixture *f = *state;
    static const char *const files[][2] = {
        {"picture.gif", "not a PNG or JPEG; convert it"},
        {"wide.png", "a picture of 32769x1, where"},
        {"many.png", "a picture of 20000x20000, where"},
        {"wide.jpg", "a picture of 32769x5, where"},
        {"many.jpg", "a picture of 20000x20000, where"},
        {"flat.jpg", "cannot be read as JPEG"},
        {"deep.jpg", "Unsupported JPEG data precision 12"},
        {"scans.jpg", "more than 500 scans"},
        {"extra.jpg", "extraneous bytes"},
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char path[512];
        snprintf(path, sizeof path, "%s", desk_fixture(&f->desk, "image/%s", files[i][0]));
        expect_refused(&f->desk, path, files[i][1]);
    }
}

static void impossible_sizes_are_refused(void **state)
{
    struct fixture *f = *state;
    static const int sizes[][2] = {{0, 5}, {5, -1}, {32769, 1}, {1, 32769}, {20000, 20000}};
    struct wf_image from = make_pattern(&f->desk, 3, 2), to;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        float none;
        const int width = sizes[i][0], height = sizes[i][1];
        assert_int_equal(
            wf_image_resize(&from, width, height, WF_FIT_CROP, f->desk.mem, &to, &f->desk.err),
            WF_REFUSED);
        assert_null(to.rgb);
        assert_int_equal(wf_image_antialias(&from, width, height, &none, f->desk.mem, &f->desk.err),
                         WF_REFUSED);
    }
    wf_image_close(&from);
}

/* The widest picture cropped to the highest: scaled it would have 2^45 pixels. */
static void only_what_is_seen_is_computed(void **state)
{
    struct fixture *f = *state;
    struct wf_image from = make_pattern(&f->desk, WF_IMAGE_SIDE, 1), to;
    assert_int_equal(
        wf_image_resize(&from, 1, WF_IMAGE_SIDE, WF_FIT_CROP, f->desk.mem, &to, &f->desk.err),
        WF_OK);
    assert_memory_equal(to.rgb, to.rgb + 3, 3 * (WF_IMAGE_SIDE - 1));
    wf_image_close(&to);
    assert_int_equal(
        wf_image_resize(&from, 1, WF_IMAGE_SIDE, WF_FIT_PAD, f->desk.mem, &to, &f->desk.err),
        WF_OK);
    wf_image_close(&to);
    wf_image_close(&from);
}

/* --- damaged files --- */

static const char *const samples[] = {
    "interlaced_6_16.png", "key_palette_8.png", "ignored.png",         "xmp_packed.png",
    "turned_6.png",        "profile.png",       "progressive_420.jpg", "ycck.jpg",
    "restart.jpg",         "turned_6_be.jpg",   "xmp_without_exif.jpg"};

enum { SAMPLES = sizeof samples / sizeof *samples };

/* A file in memory, to be written again and again. */
static int open_scratch(char *path, size_t room)
{
    const int fd = memfd_create("picture", MFD_CLOEXEC);
    assert_true(fd >= 0);
    snprintf(path, room, "/proc/self/fd/%d", fd);
    return fd;
}

static void write_bytes(int fd, const char *data, size_t bytes)
{
    assert_int_equal(ftruncate(fd, 0), 0);
    assert_int_equal(pwrite(fd, data, bytes, 0), bytes);
}

static char *read_sample(struct desk *desk, int sample, size_t *bytes)
{
    char *data;
    assert_int_equal(wf_file_read(desk_fixture(desk, "image/%s", samples[sample]), 1 << 20, &data,
                                  bytes, &desk->err),
                     WF_OK);
    return data;
}

/* Wherever it ends before its end. */
static void cut_files_are_refused(void **state)
{
    struct fixture *f = *state;
    char path[64];
    const int fd = open_scratch(path, sizeof path);
    for (int i = 0; i < SAMPLES; i++) {
        size_t bytes;
        char *data = read_sample(&f->desk, i, &bytes);
        for (size_t n = 0; n < bytes; n++) {
            write_bytes(fd, data, n);
            expect_refused(&f->desk, path, n == 0 ? "empty" : n < 3 ? "not a PNG or JPEG" : "");
        }
        free(data);
    }
    close(fd);
}

/* A text that says that it has 2 GB, of which a few bytes are there. */
static void lengths_that_are_claimed_take_no_memory(void **state)
{
    static const char head[] =
        "\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\0\1\0\0\0\1\x08\2\0\0\0\x90\x77\x53\xde"
        "\x77\x20\x70\x72tEXtComment";
    struct fixture *f = *state;
    char path[64];
    const int fd = open_scratch(path, sizeof path);
    write_bytes(fd, head, sizeof head);
    wf_mem_peak_reset(f->desk.mem);
    expect_refused(&f->desk, path, "a text or EXIF of more than 8 MiB");
    assert_true(wf_mem_peak(f->desk.mem) < 1 << 20);
    close(fd);
}

/* Wherever a bit is another: no crash, no leak, one line of message; a PNG has checksums. */
static void changed_files_are_read_or_refused(void **state)
{
    struct fixture *f = *state;
    char path[64];
    const int fd = open_scratch(path, sizeof path);
    for (int i = 0; i < SAMPLES; i++) {
        size_t bytes;
        char *data = read_sample(&f->desk, i, &bytes);
        for (size_t n = 0; n < 2 * bytes; n++) {
            const char was = data[n / 2];
            data[n / 2] = (char)(n % 2 ? was ^ 1 << n / 2 % 8 : ~was);
            write_bytes(fd, data, bytes);
            data[n / 2] = was;
            struct wf_image image;
            const enum wf_status status = wf_image_read(path, f->desk.mem, &image, &f->desk.err);
            assert_true(status == WF_REFUSED || (status == WF_OK && data[1] != 'P'));
            wf_image_close(&image);
            assert_int_equal(wf_mem_live_all(f->desk.mem), 0);
        }
        free(data);
    }
    close(fd);
}

/* --- short memory --- */

typedef enum wf_status attempt(struct desk *desk, int number, const struct wf_image *from);

static enum wf_status try_reading(struct desk *desk, int number, const struct wf_image *from)
{
    (void)from;
    struct wf_image image;
    const enum wf_status status = read_fixture(desk, samples[number], &image);
    assert_true((status == WF_OK) == (image.rgb != NULL));
    wf_image_close(&image);
    return status;
}

static enum wf_status try_resizing(struct desk *desk, int number, const struct wf_image *from)
{
    struct wf_image to;
    const enum wf_status status =
        wf_image_resize(from, 9, 8, (enum wf_image_fit)number, desk->mem, &to, &desk->err);
    assert_true((status == WF_OK) == (to.rgb != NULL));
    wf_image_close(&to);
    return status;
}

static enum wf_status try_antialias(struct desk *desk, int number, const struct wf_image *from)
{
    (void)number;
    float out[8 * 9 * 3];
    return wf_image_antialias(from, 9, 8, out, desk->mem, &desk->err);
}

/* The nth allocation fails, until there is none. */
static void starve(struct desk *desk, attempt *try, int number, const struct wf_image *from,
                   long least)
{
    const size_t before = wf_mem_live_all(desk->mem);
    enum wf_status status = WF_FAILED;
    long nth = 0;
    while (status != WF_OK) {
        wf_mem_fail_at(desk->mem, ++nth);
        status = try(desk, number, from);
        wf_mem_fail_at(desk->mem, 0);
        assert_int_equal(wf_mem_live_all(desk->mem), before);
        assert_true(status == WF_OK || status == WF_FAILED);
        if (status != WF_OK)
            assert_non_null(strstr(desk->err.text, "out of memory"));
        assert_true(nth < 200);
    }
    assert_true(nth > least);
}

static void every_allocation_may_fail(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < SAMPLES; i++)
        starve(&f->desk, try_reading, i, NULL, strstr(samples[i], ".png") ? 5 : 1);
    struct wf_image from = make_pattern(&f->desk, 30, 20);
    for (int fit = WF_FIT_STRETCH; fit <= WF_FIT_PAD; fit++)
        starve(&f->desk, try_resizing, fit, &from, 7);
    starve(&f->desk, try_antialias, 0, &from, 8);
    wf_image_close(&from);
}

/* Bytes that are alive at the most while a picture is brought to its sizes; blank: of one that was
   only measured. */
static size_t peak_of(struct fixture *f, const char *path, bool blank, int *width)
{
    static float out[3 * 24 * 24];
    struct wf_image from, to;
    assert_int_equal(
        (blank ? wf_image_measure : wf_image_read)(path, f->desk.mem, &from, &f->desk.err), WF_OK);
    assert_int_equal(from.blank, blank);
    *width = from.width;
    wf_mem_peak_reset(f->desk.mem);
    assert_int_equal(wf_image_resize(&from, 40, 24, WF_FIT_CROP, f->desk.mem, &to, &f->desk.err),
                     WF_OK);
    assert_int_equal(to.blank, blank);
    wf_image_close(&to);
    assert_int_equal(wf_image_antialias(&from, 24, 24, out, f->desk.mem, &f->desk.err), WF_OK);
    const size_t peak = wf_mem_peak(f->desk.mem);
    wf_image_close(&from);
    return peak;
}

static void a_plan_takes_the_memory_of_the_run(void **state)
{
    static const char *const names[] = {"svd_a/image.jpg", "svd_b/image.png"};
    struct fixture *f = *state;
    for (int i = 0; i < 2; i++) {
        int width, planned;
        char path[512];
        snprintf(path, sizeof path, "%s", desk_fixture(&f->desk, "%s", names[i]));
        const size_t peak = peak_of(f, path, false, &width);
        assert_int_equal(peak_of(f, path, true, &planned), peak);
        assert_int_equal(planned, width);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(pictures_as_pillow, setup, teardown),
        cmocka_unit_test_setup_teardown(sizes_as_pillow, setup, teardown),
        cmocka_unit_test_setup_teardown(antialias_as_diffusers, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_no_picture_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_beyond_bounds_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(impossible_sizes_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(only_what_is_seen_is_computed, setup, teardown),
        cmocka_unit_test_setup_teardown(cut_files_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(lengths_that_are_claimed_take_no_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(changed_files_are_read_or_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(every_allocation_may_fail, setup, teardown),
        cmocka_unit_test_setup_teardown(a_plan_takes_the_memory_of_the_run, setup, teardown),
    };
    return cmocka_run_group_tests_name("image", tests, NULL, NULL);
}
