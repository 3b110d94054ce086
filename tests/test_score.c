/* io/video/score: clips whose scores are known by hand, and random ones against a second way that
   has the whole clip before it. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "io/video/score.h"
#include "kernels/base/rng.h"

#define EDGES(...)                                                                                 \
    {                                                                                              \
        (const int64_t[]){__VA_ARGS__}, sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)         \
    }

struct scores {
    double seam, chunk_edge;
};

/* Feeds count frames of data; as many bytes of frames may be held as one has. */
static struct scores score_clip(const struct wf_score_config *config, const float *data,
                                int64_t count)
{
    struct wf_error err = {.text = ""};
    struct wf_score *score;
    struct wf_mem *mem = wf_mem_open();
    assert_non_null(mem);
    if (wf_score_open(config, mem, &score, &err) != WF_OK)
        fail_msg("%s", err.text);
    const size_t samples = (size_t)(config->width * config->height * 3);
    assert_int_equal(wf_mem_live(mem, WF_MEM_FRAMES),
                     config->frames.count ? samples * sizeof(float) : 0);
    /* A copy that is gone after the call: no frame is read later. */
    float *frame = malloc(samples * sizeof *frame);
    assert_non_null(frame);
    for (int64_t t = 0; t < count; t++) {
        memcpy(frame, data + (size_t)t * samples, samples * sizeof *frame);
        assert_int_equal(wf_score_frame(score, frame, &err), WF_OK);
        memset(frame, 0xff, samples * sizeof *frame);
    }
    free(frame);
    const struct scores s = {wf_score_seam(score), wf_score_chunk_edge(score)};
    wf_score_close(&score);
    assert_null(score);
    assert_int_equal(wf_mem_live_all(mem), 0);
    wf_mem_close(&mem);
    return s;
}

/* A frame of one row, the same value in each channel. */
static void grey(float *frame, const float *values, int64_t count)
{
    for (int64_t i = 0; i < count * 3; i++)
        frame[i] = values[i / 3];
}

static bool near(double a, double b)
{
    return fabs(a - b) <= 1e-12 * fmax(fabs(a), fabs(b));
}

/* --- by hand -------------------------------------------------------------------------------------
 */

static void a_step_shows(void **state)
{
    (void)state;
    static const float line[6] = {0, 0.125f, 0.25f, 0.75f, 0.875f, 1};
    float frame[6 * 3];
    grey(frame, line, 6);
    /* Across 0.5, beside 0.125 and 0.125. */
    const struct wf_score_config wide = {.width = 6, .height = 1, .columns = EDGES(3)};
    assert_true(score_clip(&wide, frame, 1).seam == 4);
    const struct wf_score_config high = {.width = 1, .height = 6, .rows = EDGES(3)};
    assert_true(score_clip(&high, frame, 1).seam == 4);
    assert_true(isnan(score_clip(&high, frame, 1).chunk_edge));
    /* Elsewhere nothing does: across 0.125, beside 0.125 and 0.5; then at the ends, with one side.
     */
    const struct wf_score_config two = {.width = 6, .height = 1, .columns = EDGES(2)};
    assert_true(near(score_clip(&two, frame, 1).seam, 0.125 / 0.3125));
    const struct wf_score_config first = {.width = 6, .height = 1, .columns = EDGES(1)};
    assert_true(score_clip(&first, frame, 1).seam == 1);
    const struct wf_score_config last = {.width = 6, .height = 1, .columns = EDGES(5)};
    assert_true(score_clip(&last, frame, 1).seam == 1);
    /* Both: the mean of all, not of the scores. */
    const struct wf_score_config both = {.width = 6, .height = 1, .columns = EDGES(1, 3)};
    assert_true(near(score_clip(&both, frame, 1).seam, 0.3125 / 0.125));
}

/* Columns step by 1 in rows of 4, with an edge each second: both axes count by their samples. */
static void both_axes_are_one_mean(void **state)
{
    (void)state;
    float frame[2][4][3] = {{{0}}};
    for (int y = 0; y < 2; y++)
        for (int x = 0; x < 4; x++)
            for (int c = 0; c < 3; c++)
                frame[y][x][c] = (x >= 2 ? 0.5f : 0) + (x == 3 ? 0.125f : 0) + (y ? 0.25f : 0);
    const struct wf_score_config config = {
        .width = 4, .height = 2, .columns = EDGES(2), .rows = EDGES(1)};
    /* Two pixels of 0.5 and four of 0.25 across; two of 0 and two of 0.125 beside; no other row. */
    assert_true(near(score_clip(&config, frame[0][0], 1).seam, (2. / 6) / (0.25 / 4)));
}

static void a_jump_in_time_shows(void **state)
{
    (void)state;
    static const float line[8] = {0, 0.125f, 0.25f, 0.5f, 0.625f, 0.75f, 0.75f, 0.75f};
    float clip[8 * 3];
    grey(clip, line, 8);
    struct wf_score_config config = {.width = 1, .height = 1, .frames = EDGES(3)};
    assert_true(score_clip(&config, clip, 8).chunk_edge == 2);
    assert_true(isnan(score_clip(&config, clip, 8).seam));
    assert_true(isnan(score_clip(&config, clip, 3).chunk_edge)); /* the clip ends before it */
    assert_true(score_clip(&config, clip, 4).chunk_edge == 2);   /* or with it: one side */
    config.frames = (struct wf_edges)EDGES(1);
    assert_true(score_clip(&config, clip, 8).chunk_edge == 1);
    config.frames = (struct wf_edges)EDGES(7); /* the clip stands still */
    assert_true(score_clip(&config, clip, 8).chunk_edge == 1);
    config.frames = (struct wf_edges)EDGES(3, 1000, INT64_MAX - 1);
    assert_true(score_clip(&config, clip, 8).chunk_edge == 2);
    /* Chunks of two frames: what is beside two edges counts for both. */
    config.frames = (struct wf_edges)EDGES(2, 4);
    assert_true(near(score_clip(&config, clip, 8).chunk_edge, 0.125 / 0.1875));
    assert_true(isnan(score_clip(&config, clip, 0).chunk_edge));
}

static void ends_of_the_scale(void **state)
{
    (void)state;
    static const float step[4] = {0.25f, 0.25f, 0.5f, 0.5f}, flat[4] = {0.5f, 0.5f, 0.5f, 0.5f};
    float frame[4 * 3];
    const struct wf_score_config none = {.width = 4, .height = 1};
    const struct wf_score_config wide = {.width = 4, .height = 1, .columns = EDGES(2)};
    const struct wf_score_config late = {.width = 1, .height = 1, .frames = EDGES(2)};
    const struct wf_score_config pair = {.width = 2, .height = 2, .columns = EDGES(1)};
    grey(frame, flat, 4);
    assert_true(score_clip(&wide, frame, 1).seam == 1);
    assert_true(score_clip(&late, frame, 4).chunk_edge == 1);
    grey(frame, step, 4);
    assert_true(isnan(score_clip(&none, frame, 1).seam));
    assert_true(isnan(score_clip(&none, frame, 1).chunk_edge));
    assert_true(score_clip(&wide, frame, 1).seam == INFINITY);
    assert_true(score_clip(&late, frame, 4).chunk_edge == INFINITY);
    assert_true(isnan(score_clip(&pair, frame, 1).seam)); /* nothing to either side */
    assert_true(isnan(score_clip(&wide, frame, 0).seam)); /* no frame yet */
}

/* --- the second way ------------------------------------------------------------------------------
 */

struct clip {
    int64_t frames, height, width;
    const float *data;
};

/* Sum of |x[p+1]-x[p]| over a plane that stands across axis (0 frames, 1 rows, 2 columns); count
   grows by its samples. Outside the clip nothing. */
static double change(const struct clip *clip, int axis, int64_t p, double *count)
{
    const int64_t dim[4] = {clip->frames, clip->height, clip->width, 3};
    double sum = 0;
    if (p < 0 || p + 1 >= dim[axis])
        return 0;
    for (int64_t i = 0; i < dim[0] * dim[1] * dim[2] * 3; i++) {
        const int64_t at[3] = {i / 3 / dim[2] / dim[1], i / 3 / dim[2] % dim[1], i / 3 % dim[2]};
        const int64_t step = axis == 0 ? dim[1] * dim[2] * 3 : axis == 1 ? dim[2] * 3 : 3;
        if (at[axis] == p) {
            sum += fabs((double)clip->data[i + step] - (double)clip->data[i]);
            ++*count;
        }
    }
    return sum;
}

static void tally(const struct clip *clip, int axis, const struct wf_edges *edges, double sum[2],
                  double count[2])
{
    for (int64_t i = 0; i < edges->count; i++) {
        const int64_t p = edges->at[i] - 1;
        const double before = count[0];
        sum[0] += change(clip, axis, p, &count[0]);
        if (count[0] > before) { /* the clip has that edge */
            sum[1] += change(clip, axis, p - 1, &count[1]);
            sum[1] += change(clip, axis, p + 1, &count[1]);
        }
    }
}

static int64_t below(struct wf_rng *rng, int64_t limit)
{
    return (int64_t)wf_rng_u32(rng) % limit;
}

/* Some of 1 .. end - 1. */
static struct wf_edges random_edges(struct wf_rng *rng, int64_t room[16], int64_t end)
{
    struct wf_edges edges = {room, 0};
    const int64_t often = 1 + below(rng, 4);
    for (int64_t at = 1; at < end; at++) {
        if (below(rng, 4) < often)
            room[edges.count++] = at;
    }
    return edges;
}

static void expect_score(double ours, const double sum[2], const double count[2])
{
    if (count[0] == 0 || count[1] == 0)
        assert_true(isnan(ours));
    else if (!near(ours, sum[0] / count[0] / (sum[1] / count[1])))
        fail_msg("%.17g, the second way %.17g", ours, sum[0] / count[0] / (sum[1] / count[1]));
}

static void random_clips(void **state)
{
    (void)state;
    struct wf_rng rng;
    wf_rng_seed(&rng, 99);
    for (int n = 0; n < 400; n++) {
        static float data[12 * 10 * 10 * 3];
        int64_t columns[16], rows[16], frames[16];
        const struct clip clip = {1 + below(&rng, 12), 1 + below(&rng, 10), 1 + below(&rng, 10),
                                  data};
        for (int64_t i = 0; i < clip.frames * clip.height * clip.width * 3; i++)
            data[i] = (float)(wf_rng_u32(&rng) >> 8) * 0x1p-24f;
        const struct wf_score_config config = {.width = clip.width,
                                               .height = clip.height,
                                               .columns = random_edges(&rng, columns, clip.width),
                                               .rows = random_edges(&rng, rows, clip.height),
                                               .frames =
                                                   random_edges(&rng, frames, clip.frames + 3)};
        const struct scores s = score_clip(&config, data, clip.frames);
        double sum[2] = {0, 0}, count[2] = {0, 0}, time_sum[2] = {0, 0}, time_count[2] = {0, 0};
        tally(&clip, 2, &config.columns, sum, count);
        tally(&clip, 1, &config.rows, sum, count);
        expect_score(s.seam, sum, count);
        tally(&clip, 0, &config.frames, time_sum, time_count);
        expect_score(s.chunk_edge, time_sum, time_count);
    }
}

/* --- what can go wrong ---------------------------------------------------------------------------
 */

static void every_allocation_may_fail(void **state)
{
    (void)state;
    const struct wf_score_config config = {
        .width = 8, .height = 8, .columns = EDGES(4), .rows = EDGES(4), .frames = EDGES(4, 8)};
    struct wf_mem *mem = wf_mem_open();
    struct wf_score *score;
    struct wf_error err;
    assert_non_null(mem);
    long nth = 1;
    for (;; nth++) {
        wf_mem_fail_at(mem, nth);
        const enum wf_status status = wf_score_open(&config, mem, &score, &err);
        wf_mem_fail_at(mem, 0);
        if (status == WF_OK)
            break;
        assert_int_equal(status, WF_FAILED);
        assert_null(score);
        assert_int_equal(wf_mem_live_all(mem), 0);
    }
    assert_int_equal(nth, 6); /* five did */
    wf_score_close(&score);
    wf_score_close(&score);
    wf_mem_close(&mem);
}

static void expect_refused(const struct wf_score_config *config, const char *text)
{
    struct wf_mem *mem = wf_mem_open();
    struct wf_score *score;
    struct wf_error err;
    assert_non_null(mem);
    assert_int_equal(wf_score_open(config, mem, &score, &err), WF_REFUSED);
    assert_null(score);
    assert_string_equal(err.text, text);
    assert_int_equal(wf_mem_live_all(mem), 0);
    wf_mem_close(&mem);
}

static void what_cannot_be_is_refused(void **state)
{
    (void)state;
    struct wf_score_config c = {.width = 8, .height = 6};
    c.columns = (struct wf_edges)EDGES(0, 4);
    expect_refused(&c, "score: an edge at column 0 is not within 1..7");
    c.columns = (struct wf_edges)EDGES(4, 8);
    expect_refused(&c, "score: an edge at column 8 is not within 1..7");
    c.columns = (struct wf_edges)EDGES(4);
    c.rows = (struct wf_edges)EDGES(4, 4);
    expect_refused(&c, "score: the edge at row 4 comes after that at 4; list each once, the lowest "
                       "first");
    c.rows = (struct wf_edges)EDGES(6);
    expect_refused(&c, "score: an edge at row 6 is not within 1..5");
    c.rows = (struct wf_edges){NULL, 0};
    c.frames = (struct wf_edges)EDGES(5, 9, 8);
    expect_refused(&c, "score: the edge at frame 8 comes after that at 9; list each once, the "
                       "lowest first");
    c.frames = (struct wf_edges)EDGES(0);
    expect_refused(&c, "score: an edge at frame 0 is not within 1..9223372036854775806");
    c = (struct wf_score_config){.width = 0, .height = 6};
    expect_refused(&c, "score: a frame of 0x6 is not possible");
    c = (struct wf_score_config){.width = INT64_MAX, .height = INT64_MAX};
    expect_refused(&c, "score: a frame of 9223372036854775807x9223372036854775807 is not possible");
    c = (struct wf_score_config){.width = INT64_MAX / 8, .height = 1};
    expect_refused(&c, "score: a frame of 1152921504606846975x1 is not possible");
}

/* Frames of 2x1; the last value of the third one is not finite. */
static void expect_not_finite(struct wf_score_config config, float value)
{
    float frame[2 * 3] = {0};
    struct wf_mem *mem = wf_mem_open();
    struct wf_score *score;
    struct wf_error err;
    assert_non_null(mem);
    config.width = 2;
    config.height = 1;
    assert_int_equal(wf_score_open(&config, mem, &score, &err), WF_OK);
    assert_int_equal(wf_score_frame(score, frame, &err), WF_OK);
    assert_int_equal(wf_score_frame(score, frame, &err), WF_OK);
    frame[5] = value;
    assert_int_equal(wf_score_frame(score, frame, &err), WF_FAILED);
    assert_string_equal(err.text, "score: frame 2, or the one before, is not finite");
    assert_true(isnan(wf_score_seam(score)) && isnan(wf_score_chunk_edge(score)));
    wf_score_close(&score);
    wf_mem_close(&mem);
}

static void not_a_number_is_an_error(void **state)
{
    (void)state;
    const struct wf_score_config seam = {.columns = EDGES(1)}, edge = {.frames = EDGES(2)};
    const struct wf_score_config beside = {.frames = EDGES(1)};
    const struct wf_score_config later = {.frames = EDGES(3)};
    expect_not_finite(seam, NAN);
    expect_not_finite(seam, INFINITY);
    expect_not_finite(edge, NAN);
    expect_not_finite(beside, -INFINITY);
    expect_not_finite(later, NAN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_step_shows),
        cmocka_unit_test(both_axes_are_one_mean),
        cmocka_unit_test(a_jump_in_time_shows),
        cmocka_unit_test(ends_of_the_scale),
        cmocka_unit_test(random_clips),
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(what_cannot_be_is_refused),
        cmocka_unit_test(not_a_number_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
