/* vae/svd_vae: Stable Video Diffusion's decoder beside its pixels, which test_decode compares with
   diffusers': configurations that are refused, memory that runs out, bf16. */
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
#include "tests/component.h"
#include "vae/decode.h"
#include "vae/svd_vae.h"

/* A folder's VAE, open on the CPU. */
struct opened {
    struct wf_backend *be;
    struct wf_checkpoint *ckpt;
    struct wf_residency *weights;
    struct wf_vae *vae;
};

static enum wf_status open_folder(struct desk *desk, const char *folder, const char *dtype,
                                  struct opened *o)
{
    const struct wf_policy policy = {.offload = WF_OFFLOAD_NONE};
    *o = (struct opened){0};
    WF_TRY(wf_backend_open("cpu", dtype, 2, desk->mem, desk->mem, &desk->err, &o->be));
    WF_TRY(wf_checkpoint_open(folder, "diffusion_pytorch_model", NULL, desk->mem, &o->ckpt,
                              &desk->err));
    WF_TRY(wf_residency_open(policy, o->ckpt, o->be, desk->mem, &o->weights, &desk->err));
    return wf_vae_open(o->weights, desk->mem, &o->vae, &desk->err);
}

static void close_opened(struct opened *o)
{
    wf_residency_close(&o->weights);
    wf_vae_close(&o->vae);
    wf_checkpoint_close(&o->ckpt);
    wf_backend_close(&o->be);
}

/* --- configurations --- */

static void what_does_not_fit_is_refused_in_words(void **state)
{
    static const char *const bad[][3] = {
        {"\"latent_channels\"", "0", "latent_channels"},
        {"\"latent_channels\"", "1000000000000", "latent_channels"},
        {"\"latent_channels\"", "5", "decoder.conv_in.weight"},
        {"\"layers_per_block\"", "0", "layers_per_block"},
        {"\"layers_per_block\"", "9", "layers_per_block"},
        {"\"layers_per_block\"", "3", "decoder.up_blocks.0.resnets.3"},
        {"\"out_channels\"", "4", "out_channels"},
        {"\"scaling_factor\"", "0", "scaling_factor"},
        {"\"scaling_factor\"", "-0.2", "scaling_factor"},
        {"\"scaling_factor\"", "\"much\"", "scaling_factor"},
        {"\"block_out_channels\"", "[32, 33, 32, 32]", "block_out_channels"},
        {"\"block_out_channels\"", "[32, 0, 32, 32]", "block_out_channels"},
        {"\"block_out_channels\"", "[32, 32, 32, 32, 32, 32, 32, 32, 32]", "block_out_channels"},
        {"\"block_out_channels\"", "[32, 8192, 32, 32]", "decoder.up_blocks.2"},
        {"\"block_out_channels\"", "[64]", "decoder.conv_in.weight"},
    };
    struct desk desk;
    (void)state;
    desk_open(&desk, "svd");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct opened o;
        component_mend(&desk, "vae_svd/model", "diffusion_pytorch_model", bad[i][0], bad[i][1]);
        if (open_folder(&desk, desk.folder, "f32", &o) != WF_REFUSED)
            fail_msg("accepted: %s %s", bad[i][0], bad[i][1]);
        if (!strstr(desk.err.text, bad[i][2]))
            fail_msg("%s does not say %s", desk.err.text, bad[i][2]);
        close_opened(&o);
        assert_int_equal(wf_mem_live_all(desk.mem), 0);
    }
    desk_close(&desk);
}

/* --- decodes --- */

enum { FRAMES = 4, HEIGHT = 2, WIDTH = 3, SCALE = 8, CHANNELS = 4 };
enum { LATENTS = FRAMES * HEIGHT * WIDTH * CHANNELS };
enum { VALUES = HEIGHT * WIDTH * SCALE * SCALE * 3 }; /* of a frame */

static enum wf_status decode(struct desk *desk, const struct opened *o, struct wf_tensor z,
                             float *frames)
{
    struct wf_decoder *dec = NULL;
    const struct wf_decode_settings settings = {.chunk_size = 3,
                                                .chunk_overlap = 1,
                                                .tiling = WF_TILING_EXACT,
                                                .tile = {.height = 10, .width = 20}};
    const float *frame = NULL;
    enum wf_status status = wf_decoder_open(o->vae, z, &settings, 0, &dec, &desk->err);
    for (int i = 0; status == WF_OK; i++) {
        status = wf_decoder_next(dec, &frame, &desk->err);
        if (status != WF_OK || !frame)
            break;
        assert_true(i < FRAMES);
        memcpy(frames + i * VALUES, frame, VALUES * sizeof *frame);
    }
    if (dec)
        wf_decoder_close(&dec);
    return status;
}

/* The fixture, from its opening to its last frame. */
static enum wf_status run(struct desk *desk, const char *dtype, float *frames)
{
    struct opened o;
    struct wf_rng rng;
    static float values[LATENTS];
    const char *folder = desk_fixture(desk, "vae_svd/model");
    const struct wf_tensor z =
        wf_tensor_of(values, WF_F32, WF_DIMS(FRAMES, HEIGHT, WIDTH, CHANNELS));
    wf_rng_seed(&rng, 3);
    wf_rng_normal(&rng, values, LATENTS);
    enum wf_status status = open_folder(desk, folder, dtype, &o);
    if (status == WF_OK)
        status = decode(desk, &o, z, frames);
    close_opened(&o);
    return status;
}

static void every_allocation_may_fail(void **state)
{
    static float frames[FRAMES * VALUES];
    struct desk desk;
    enum wf_status status = WF_FAILED;
    long nth = 1;
    (void)state;
    desk_open(&desk, "svd");
    for (; status != WF_OK; nth += nth < 100 ? 1 : 7) {
        wf_mem_fail_at(desk.mem, nth);
        status = run(&desk, "bf16", frames);
        if (status != WF_OK && (status != WF_FAILED || !strstr(desk.err.text, "memory")))
            fail_msg("allocation %ld: status %d, %s", nth, (int)status, desk.err.text);
        assert_int_equal(wf_mem_live_all(desk.mem), 0);
    }
    assert_true(nth > 100);
    wf_mem_fail_at(desk.mem, 0);
    desk_close(&desk);
}

static void bf16_gives_the_clip(void **state)
{
    static float exact[FRAMES * VALUES], rounded[FRAMES * VALUES];
    struct desk desk;
    double squares = 0;
    (void)state;
    desk_open(&desk, "svd");
    assert_int_equal(run(&desk, "f32", exact), WF_OK);
    assert_int_equal(run(&desk, "bf16", rounded), WF_OK);
    for (int i = 0; i < FRAMES * VALUES; i++) {
        const double d = (double)rounded[i] - (double)exact[i];
        squares += d * d;
    }
    const double psnr = -10 * log10(squares / (FRAMES * VALUES));
    print_message("bf16: %.1f dB\n", psnr);
    assert_true(squares > 0 && psnr >= 45);
    desk_close(&desk);
}

/* The first stage feeds the convolution f32, however many channels the latents have. */
static void the_latents_are_not_rounded(void **state)
{
    struct desk desk;
    struct opened o;
    (void)state;
    desk_open(&desk, "svd");
    assert_int_equal(open_folder(&desk, desk_fixture(&desk, "vae_svd/model"), "bf16", &o), WF_OK);
    assert_true(((const struct wf_svd_vae *)o.vae)->stages[0].conv.weight.keep_f32);
    close_opened(&o);
    desk_close(&desk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_does_not_fit_is_refused_in_words),
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(bf16_gives_the_clip),
        cmocka_unit_test(the_latents_are_not_rounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
