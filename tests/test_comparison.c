/* weft_compare as a library: its callback, its bounds, and what is left when memory is short. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/engine.h"

enum { WIDTH = 34, HEIGHT = 18, FRAMES = 6 };

static char folder[] = "/tmp/weft-comparison-XXXXXX";
static char reference[64], clip[64], report[64];

static void write_clip(const char *path, unsigned step)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    fprintf(file, "YUV4MPEG2 W%d H%d F16:1\n", WIDTH, HEIGHT);
    for (unsigned t = 0; t < FRAMES; t++) {
        fputs("FRAME\n", file);
        for (unsigned i = 0; i < WIDTH * HEIGHT * 3 / 2; i++)
            fputc((int)(16 + (i * 7 + t * 11) % 200 + step * (i % 5 == t)), file);
    }
    assert_int_equal(fclose(file), 0);
}

static int set_up(void **state)
{
    *state = mkdtemp(folder);
    snprintf(reference, sizeof reference, "%s/a.y4m", folder);
    snprintf(clip, sizeof clip, "%s/b.y4m", folder);
    snprintf(report, sizeof report, "%s/r.html", folder);
    write_clip(reference, 0);
    write_clip(clip, 9);
    return *state ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    remove(reference);
    remove(clip);
    remove(report);
    return rmdir(folder); /* nothing else is left in it */
}

static struct weft_engine *open_engine(void)
{
    struct weft_engine *engine = NULL;
    struct weft_settings settings;
    weft_settings_defaults(&settings);
    settings.device = "ref";
    assert_int_equal(weft_engine_open(&settings, &engine), WEFT_OK);
    return engine;
}

static struct weft_comparison asked(void)
{
    struct weft_comparison c;
    weft_comparison_defaults(&c);
    c.reference = reference;
    c.clip = clip;
    c.tile_width = c.tile_height = 16;
    c.decode_chunk_size = 2;
    return c;
}

struct seen {
    int64_t frames, stop;
    double least;
};

static int see(void *context, const struct weft_compared_frame *frame)
{
    struct seen *seen = context;
    assert_int_equal(frame->index, seen->frames);
    assert_true(frame->ssim < 1 || isinf(frame->psnr));
    seen->least = fmin(seen->least, frame->psnr);
    seen->frames++;
    return frame->index == seen->stop;
}

static void the_callback_sees_each_frame_and_may_stop(void **state)
{
    (void)state;
    struct weft_engine *engine = open_engine();
    struct weft_comparison c = asked();
    struct weft_comparison_result r;
    struct seen seen = {.stop = -1, .least = INFINITY};
    c.frame = see;
    c.frame_context = &seen;
    assert_int_equal(weft_compare(engine, &c, &r), WEFT_OK);
    assert_int_equal(seen.frames, FRAMES);
    assert_true(seen.least == r.min_psnr && r.max_abs == 9 && r.pass);
    assert_true(r.seam > 0 && r.chunk_edge > 0 && r.width == WIDTH && r.fps_num == 16);
    /* The last frame has no difference: its samples are of 5 kinds. */
    assert_true(r.psnr > r.min_psnr && isfinite(r.psnr));
    seen = (struct seen){.stop = 2};
    assert_int_equal(weft_compare(engine, &c, &r), WEFT_CANCELLED);
    assert_int_equal(seen.frames, 3);
    weft_engine_close(&engine);
}

static void what_is_not_possible_is_refused(void **state)
{
    (void)state;
    struct weft_engine *engine = open_engine();
    struct weft_comparison_result r;
    struct weft_comparison c = asked();
    c.clip = NULL;
    assert_int_equal(weft_compare(engine, &c, &r), WEFT_REFUSED);
    c = asked();
    c.min_psnr = NAN;
    assert_int_equal(weft_compare(engine, &c, &r), WEFT_REFUSED);
    c = asked();
    c.reserved[7] = 1;
    assert_int_equal(weft_compare(engine, &c, &r), WEFT_REFUSED);
    c = asked();
    c.tile_height = 0;
    assert_int_equal(weft_compare(engine, &c, &r), WEFT_REFUSED);
    weft_engine_close(&engine);
}

static void each_allocation_may_fail(void **state)
{
    (void)state;
    struct weft_engine *engine = open_engine();
    struct weft_comparison c = asked();
    struct weft_comparison_result r;
    c.report = report;
    const size_t live = wf_mem_live_all(engine->mem);
    enum weft_status status = WEFT_FAILED;
    long nth = 0;
    while (status != WEFT_OK) {
        wf_mem_fail_at(engine->mem, ++nth);
        status = weft_compare(engine, &c, &r);
        wf_mem_fail_at(engine->mem, 0);
        assert_true(status == WEFT_OK || status == WEFT_FAILED);
        assert_true(status == WEFT_OK || strstr(weft_engine_error(engine), "memory"));
        assert_int_equal(wf_mem_live_all(engine->mem), live);
        assert_int_equal(access(report, F_OK) == 0, status == WEFT_OK);
    }
    print_message("%ld allocations\n", nth - 1);
    assert_true(nth > 20);
    weft_engine_close(&engine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_callback_sees_each_frame_and_may_stop),
        cmocka_unit_test(what_is_not_possible_is_refused),
        cmocka_unit_test(each_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
