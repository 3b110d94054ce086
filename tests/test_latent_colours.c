/* The linear map from latents to colours: a known one is found again, and what is shown of it. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine/colours.h"
#include "kernels/base/rng.h"

enum { CHANNELS = 16, CELLS = 400 };

/* Weights of a channel, or behind the last the colour of latents that are 0. */
static double known(int channel, int k)
{
    return channel == CHANNELS ? 0.5 + 0.1 * k : 0.01 * ((channel * 7 + k * 5) % 11 - 5);
}

static void colour_of(const float *latent, double shift, double rgb[3])
{
    for (int k = 0; k < 3; k++) {
        rgb[k] = known(CHANNELS, k) + shift;
        for (int i = 0; i < CHANNELS; i++)
            rgb[k] += (double)latent[i] * known(i, k);
    }
}

static void add_cells(struct wf_colours *c, int channels_used, double shift)
{
    float latents[CELLS][CHANNELS];
    struct wf_rng rng;
    double rgb[3];
    wf_rng_seed(&rng, 1);
    wf_rng_normal(&rng, latents[0], (size_t)CELLS * CHANNELS);
    for (int i = 0; i < CELLS; i++) {
        for (int k = channels_used; k < CHANNELS; k++)
            latents[i][k] = 0;
        colour_of(latents[i], shift, rgb);
        wf_colours_add(c, latents[i], rgb);
    }
}

static double worst_weight(const struct wf_colours *c, int channels_used)
{
    double worst = 0;
    for (int i = 0; i <= CHANNELS; i++) {
        for (int k = 0; k < 3; k++) {
            const double want = i < channels_used || i == CHANNELS ? known(i, k) : 0;
            worst = fmax(worst, fabs(c->weight[i * 3 + k] - want));
        }
    }
    return worst;
}

static void a_known_map_is_found(void **state)
{
    struct wf_mem *mem = wf_mem_open();
    struct wf_error err;
    (void)state;
    for (int used = 0; used <= CHANNELS; used += 8) { /* those that are always 0 get no weight */
        struct wf_colours c;
        assert_int_equal(wf_colours_open(CHANNELS, mem, &c, &err), WF_OK);
        add_cells(&c, used, 0);
        wf_colours_solve(&c);
        assert_true(worst_weight(&c, used) < 1e-5);
        wf_colours_solve(&c); /* the examples are still there */
        assert_true(worst_weight(&c, used) < 1e-5);
        wf_colours_close(&c);
    }
    assert_int_equal(wf_mem_live_all(mem), 0);
    wf_mem_close(&mem);
}

static void earlier_examples_fade(void **state)
{
    struct wf_mem *mem = wf_mem_open();
    struct wf_colours c;
    struct wf_error err;
    (void)state;
    assert_int_equal(wf_colours_open(CHANNELS, mem, &c, &err), WF_OK);
    add_cells(&c, CHANNELS, 0.5);
    wf_colours_fade(&c, 0.25);
    add_cells(&c, CHANNELS, 0);
    wf_colours_solve(&c);
    assert_true(fabs(c.weight[CHANNELS * 3] - (known(CHANNELS, 0) + 0.5 * 0.2)) < 1e-5);
    wf_colours_close(&c);
    wf_mem_close(&mem);
}

static void colours_stay_within_bounds(void **state)
{
    static const float latents[][CHANNELS] = {{0}, {100}, {-100}, {NAN}, {INFINITY}};
    static const unsigned char want[][3] = {
        {128, 153, 179}, {0, 128, 255}, {255, 128, 0}, {0, 0, 0}, {0, 0, 255}};
    struct wf_mem *mem = wf_mem_open();
    struct wf_colours c;
    struct wf_error err;
    (void)state;
    assert_int_equal(wf_colours_open(CHANNELS, mem, &c, &err), WF_OK);
    for (int i = 0; i < 2; i++) { /* before any fit all is black */
        unsigned char rgb[3];
        wf_colours_apply(&c, latents[i], rgb);
        assert_true(rgb[0] == 0 && rgb[1] == 0 && rgb[2] == 0);
    }
    for (int k = 0; k < 3; k++) {
        c.weight[CHANNELS * 3 + k] = known(CHANNELS, k);
        c.weight[k] = k - 1;
    }
    c.weight[1] = 0;
    for (int i = 0; i < 5; i++) {
        unsigned char rgb[3];
        wf_colours_apply(&c, latents[i], rgb);
        for (int k = 0; k < 3; k++) {
            if (k != 1) /* 0 times infinity */
                assert_int_equal(rgb[k], want[i][k]);
        }
    }
    wf_colours_close(&c);
    wf_mem_close(&mem);
}

static void without_memory(void **state)
{
    struct wf_mem *mem = wf_mem_open();
    struct wf_colours c;
    struct wf_error err;
    (void)state;
    wf_mem_fail_at(mem, 1);
    assert_int_equal(wf_colours_open(CHANNELS, mem, &c, &err), WF_FAILED);
    wf_colours_close(&c);
    wf_mem_close(&mem);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_known_map_is_found),
        cmocka_unit_test(earlier_examples_fade),
        cmocka_unit_test(colours_stay_within_bounds),
        cmocka_unit_test(without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
