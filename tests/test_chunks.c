/* temporal/chunks: ranges, shared frames and weights, against what they are by hand and against a
   second, slow way to find them. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/base/rng.h"
#include "temporal/chunks.h"

static struct wf_chunks chunks_of(int64_t frames, int64_t size, int64_t overlap)
{
    struct wf_chunks chunks;
    struct wf_error err = {.text = ""};
    if (wf_chunks_init(&chunks, frames, size, overlap, &err) != WF_OK)
        fail_msg("%lld frames, %lld, %lld: %s", (long long)frames, (long long)size,
                 (long long)overlap, err.text);
    return chunks;
}

static void expect_chunk(const struct wf_chunks *chunks, int64_t i, int64_t first, int64_t count,
                         int64_t shared, int64_t final)
{
    const struct wf_chunk c = wf_chunks_range(chunks, i);
    assert_int_equal(c.first, first);
    assert_int_equal(c.count, count);
    assert_int_equal(wf_chunks_shared(chunks, i), shared);
    assert_int_equal(wf_chunks_final(chunks, i), final);
}

/* --- by hand -------------------------------------------------------------------------------------
 */

static void without_overlap_as_diffusers(void **state)
{
    (void)state;
    const struct wf_chunks c = chunks_of(14, 4, 0);
    assert_int_equal(c.count, 4);
    expect_chunk(&c, 0, 0, 4, 0, 4);
    expect_chunk(&c, 1, 4, 4, 0, 8);
    expect_chunk(&c, 2, 8, 4, 0, 12);
    expect_chunk(&c, 3, 12, 2, 0, 14);
    assert_true(wf_chunks_weight(&c, 1, 0) == 1);
    const struct wf_chunks even = chunks_of(12, 4, 0);
    assert_int_equal(even.count, 3);
    expect_chunk(&even, 2, 8, 4, 0, 12);
}

static void with_overlap_all_are_full(void **state)
{
    (void)state;
    const struct wf_chunks fits = chunks_of(14, 5, 2);
    assert_int_equal(fits.count, 4);
    expect_chunk(&fits, 0, 0, 5, 0, 3);
    expect_chunk(&fits, 1, 3, 5, 2, 6);
    expect_chunk(&fits, 2, 6, 5, 2, 9);
    expect_chunk(&fits, 3, 9, 5, 2, 14);
    const struct wf_chunks shifted = chunks_of(12, 5, 2); /* the last would start at 9 */
    assert_int_equal(shifted.count, 4);
    expect_chunk(&shifted, 2, 6, 5, 2, 7);
    expect_chunk(&shifted, 3, 7, 5, 4, 12);
    const struct wf_chunks thrice = chunks_of(6, 4, 3); /* a frame in more than two chunks */
    assert_int_equal(thrice.count, 3);
    expect_chunk(&thrice, 0, 0, 4, 0, 1);
    expect_chunk(&thrice, 1, 1, 4, 3, 2);
    expect_chunk(&thrice, 2, 2, 4, 3, 6);
}

static void a_short_clip_is_one_chunk(void **state)
{
    (void)state;
    for (int64_t overlap = 0; overlap < 8; overlap += 3) {
        for (int64_t frames = 1; frames <= 8; frames++) {
            const struct wf_chunks c = chunks_of(frames, 8, overlap);
            assert_int_equal(c.count, 1);
            expect_chunk(&c, 0, 0, frames, 0, frames);
            assert_true(wf_chunks_weight(&c, 0, 0) == 1);
        }
        assert_int_equal(chunks_of(9, 8, overlap).count, 2);
    }
}

static void weights_rise_over_the_shared_frames(void **state)
{
    (void)state;
    const struct wf_chunks c = chunks_of(12, 5, 2);
    static const double two[5] = {0.25, 0.75, 1, 1, 1}, four[5] = {0.125, 0.375, 0.625, 0.875, 1};
    for (int64_t j = 0; j < 5; j++) {
        assert_true(wf_chunks_weight(&c, 0, j) == 1);
        assert_true(wf_chunks_weight(&c, 1, j) == two[j]);
        assert_true(wf_chunks_weight(&c, 2, j) == two[j]);
        assert_true(wf_chunks_weight(&c, 3, j) == four[j]);
    }
}

/* --- the second way ------------------------------------------------------------------------------
 */

/* Walks the clip as one would with a pencil; chunk[i] is where the i-th starts. Returns how many.
 */
static int64_t walk(int64_t frames, int64_t size, int64_t overlap, int64_t first[64],
                    int64_t end[64])
{
    int64_t count = 0, start = 0;
    for (;; start += size - overlap, count++) {
        assert_true(count < 64);
        int64_t from = start, to = start + size;
        while (to > frames) {
            to--;
            from -= overlap > 0 && from > 0;
        }
        first[count] = from;
        end[count] = to;
        if (to == frames)
            return count + 1;
    }
}

static void check_clip(int64_t frames, int64_t size, int64_t overlap)
{
    int64_t first[64], end[64], decoded = 0;
    const struct wf_chunks c = chunks_of(frames, size, overlap);
    const int64_t count = walk(frames, size, overlap, first, end);
    assert_int_equal(c.count, count);
    for (int64_t i = 0; i < count; i++) {
        int64_t shared = 0, final = frames;
        for (int64_t t = first[i]; t < end[i]; t++)
            shared += t < decoded;
        for (int64_t later = i + 1; later < count; later++)
            final = first[later] < final ? first[later] : final;
        expect_chunk(&c, i, first[i], end[i] - first[i], shared, final);
        assert_true(final >= first[i] && final <= end[i]);
        for (int64_t j = 0; j < end[i] - first[i]; j++) {
            const double w = wf_chunks_weight(&c, i, j);
            if (first[i] + j >= decoded)
                assert_true(w == 1);
            else
                assert_true(w > 0 && w < 1 &&
                            fabs(w - (2. * (double)j + 1) / (2. * (double)shared)) < 1e-15);
        }
        decoded = end[i];
    }
    assert_int_equal(decoded, frames);
}

static void every_small_clip(void **state)
{
    (void)state;
    for (int64_t frames = 1; frames <= 30; frames++)
        for (int64_t size = 1; size <= 32; size++)
            for (int64_t overlap = 0; overlap < size; overlap++)
                check_clip(frames, size, overlap);
}

static void random_clips(void **state)
{
    (void)state;
    struct wf_rng rng;
    wf_rng_seed(&rng, 13);
    for (int n = 0; n < 2000; n++) {
        const int64_t size = 1 + wf_rng_u32(&rng) % 400, overlap = wf_rng_u32(&rng) % size;
        const int64_t stride = size - overlap;
        check_clip(1 + wf_rng_u32(&rng) % (60 * stride), size, overlap);
    }
}

/* --- bounds --------------------------------------------------------------------------------------
 */

static void long_clips_do_not_overflow(void **state)
{
    (void)state;
    const int64_t most = INT64_MAX;
    struct wf_chunks c = chunks_of(most, 1, 0);
    assert_int_equal(c.count, most);
    expect_chunk(&c, most - 1, most - 1, 1, 0, most);
    c = chunks_of(most, most, most - 1);
    assert_int_equal(c.count, 1);
    expect_chunk(&c, 0, 0, most, 0, most);
    c = chunks_of(most, most - 1, most - 2);
    assert_int_equal(c.count, 2);
    expect_chunk(&c, 1, 1, most - 1, most - 2, most);
    const double last = wf_chunks_weight(&c, 1, most - 3), begin = wf_chunks_weight(&c, 1, 0);
    assert_true(last > 0.999 && last < 1 && begin > 0 && begin < 1e-18);
    c = chunks_of(most, most / 2 + 2, 1); /* the end of a third would be above INT64_MAX */
    assert_int_equal(c.count, 2);
    expect_chunk(&c, 1, most - (most / 2 + 2), most / 2 + 2, 2 * (most / 2 + 2 - most / 2) - 1,
                 most);
    c = chunks_of(most, 4, 2);
    expect_chunk(&c, c.count - 1, most - 4, 4, 3, most);
    expect_chunk(&c, c.count - 2, most - 5, 4, 2, most - 4);
}

static void expect_refused(int64_t size, int64_t overlap, const char *text)
{
    struct wf_chunks chunks;
    struct wf_error err;
    assert_int_equal(wf_chunks_init(&chunks, 20, size, overlap, &err), WF_REFUSED);
    assert_int_equal(err.status, WF_REFUSED);
    assert_string_equal(err.text, text);
    assert_int_equal(wf_chunks_init(&chunks, 20, size, overlap, NULL), WF_REFUSED);
}

static void what_cannot_be_is_refused(void **state)
{
    (void)state;
    expect_refused(0, 0, "decode-chunk-size: 0 is below 1 frame; the nearest is 1");
    expect_refused(INT64_MIN, 0,
                   "decode-chunk-size: -9223372036854775808 is below 1 frame; the nearest is 1");
    expect_refused(5, -1, "chunk-overlap: -1 is below 0 frames; the nearest is 0");
    expect_refused(5, 5, "chunk-overlap: 5 is not below the chunk of 5 frames; the nearest is 4");
    expect_refused(5, INT64_MAX,
                   "chunk-overlap: 9223372036854775807 is not below the chunk of 5 frames; the "
                   "nearest is 4");
    expect_refused(1, 1, "chunk-overlap: 1 is not below the chunk of 1 frame; the nearest is 0");
    struct wf_chunks chunks;
    struct wf_error err;
    assert_int_equal(wf_chunks_init(&chunks, 0, 5, 1, &err), WF_FAILED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_overlap_as_diffusers),
        cmocka_unit_test(with_overlap_all_are_full),
        cmocka_unit_test(a_short_clip_is_one_chunk),
        cmocka_unit_test(weights_rise_over_the_shared_frames),
        cmocka_unit_test(every_small_clip),
        cmocka_unit_test(random_clips),
        cmocka_unit_test(long_clips_do_not_overflow),
        cmocka_unit_test(what_cannot_be_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
