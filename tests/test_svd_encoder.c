/* vae/svd_encoder: the mean of diffusers' latents on every device and under every policy, in f32
   where config.json asks for it, in three rooms; what does not fit is refused in words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "io/weights/safetensors.h"
#include "tests/component.h"
#include "vae/svd_encoder.h"

struct fixture {
    struct desk desk;
    struct component c;
    struct wf_svd_encoder *enc;
};

static const char *const names[] = {"svd_encoder_a", "svd_encoder_b"};
enum { MOST_BYTES = 1024 }; /* of a fixture's latents */

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    desk_open(&f->desk, "encoder");
    *state = f;
    return 0;
}

static void close_encoder(struct fixture *f)
{
    component_close(&f->c);
    wf_svd_encoder_close(&f->enc);
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    close_encoder(f);
    desk_close(&f->desk);
    free(f);
    return 0;
}

static enum wf_status open_folder(struct fixture *f, const char *folder,
                                  struct component_place place)
{
    WF_TRY(component_open(&f->desk, folder, "diffusion_pytorch_model", place, &f->c));
    return wf_svd_encoder_open(f->c.weights, f->desk.mem, &f->enc, &f->desk.err);
}

static void open_case(struct fixture *f, const char *name, struct component_place place)
{
    if (open_folder(f, desk_fixture(&f->desk, "%s/model", name), place) != WF_OK)
        fail_msg("%s", f->desk.err.text);
}

static const char *file_of(const char *name, const char *tensor)
{
    static char file[96];
    snprintf(file, sizeof file, "%s/expect/%s", name, tensor);
    return file;
}

static struct wf_tensor new_latents(struct fixture *f, const struct wf_tensor *image)
{
    struct wf_tensor out = {0};
    const int64_t scale = wf_svd_encoder_scale(f->enc);
    assert_int_equal(wf_tensor_new(&f->c.arena, WF_F32, &out, &f->desk.err,
                                   WF_DIMS(1, image->dim[1] / scale, image->dim[2] / scale,
                                           wf_svd_encoder_channels(f->enc))),
                     WF_OK);
    return out;
}

/* The case's picture's latents. */
static struct wf_tensor encode(struct fixture *f, const char *name)
{
    const struct wf_tensor image = component_input(&f->desk, &f->c, file_of(name, "image"));
    const struct wf_tensor out = new_latents(f, &image);
    if (wf_svd_encoder_encode(f->enc, image, out, &f->c.arena, &f->desk.err) != WF_OK)
        fail_msg("%s", f->desk.err.text);
    return out;
}

static double distance(struct fixture *f, const char *name, const char *device, const char *dtype)
{
    open_case(f, name, (struct component_place){device, dtype, WF_OFFLOAD_NONE});
    const struct wf_tensor out = encode(f, name);
    const double error = component_distance(&f->desk, &f->c, out, file_of(name, "latents"));
    print_message("%s %s %s: relative L2 %.2g\n", name, device, dtype, error);
    close_encoder(f);
    return error;
}

static void latents_are_diffusers(void **state)
{
    for (int i = 0; i < 2; i++) {
        assert_true(distance(*state, names[i], "ref", "f32") <= 1e-5);
        assert_true(distance(*state, names[i], "cpu", "f32") <= 1e-5);
    }
}

/* The first says force_upcast, the second does not. */
static void bf16_is_where_it_is_allowed(void **state)
{
    assert_true(distance(*state, names[0], "cpu", "bf16") <= 1e-5);
    const double error = distance(*state, names[1], "cpu", "bf16");
    assert_true(error > 1e-5 && error <= 2e-2);
}

static void policies_give_the_same_bits(void **state)
{
    struct fixture *f = *state;
    unsigned char first[MOST_BYTES];
    for (int i = 0; i < 2; i++) {
        size_t all = 0;
        for (int policy = WF_OFFLOAD_NONE; policy <= WF_OFFLOAD_SEQUENTIAL; policy++) {
            open_case(f, names[i],
                      (struct component_place){"cpu", "bf16", (enum wf_offload)policy});
            for (int again = 0; again < 2; again++) {
                const struct wf_tensor out = encode(f, names[i]);
                const size_t bytes = wf_tensor_bytes(&out), held = wf_residency_held(f->c.weights);
                assert_true(bytes <= sizeof first);
                if (policy == WF_OFFLOAD_NONE && !again)
                    memcpy(first, out.data, bytes);
                all = policy == WF_OFFLOAD_NONE ? held : all;
                assert_memory_equal(first, out.data, bytes);
                assert_true(held > 0 && (policy == WF_OFFLOAD_NONE || held < all));
                wf_residency_stage_end(f->c.weights);
                assert_true((wf_residency_held(f->c.weights) > 0) == (policy == WF_OFFLOAD_NONE));
            }
            close_encoder(f);
        }
    }
}

/* Three times the largest activation, and the attention's: here four of a sixteenth each. */
static void three_activations_are_held(void **state)
{
    struct fixture *f = *state;
    enum { HEIGHT = 96, WIDTH = 128, CHANNELS = 32 };
    static float picture[HEIGHT * WIDTH * 3];
    const size_t largest = HEIGHT * WIDTH * CHANNELS * sizeof(float);
    open_case(f, "svd_encoder_a", (struct component_place){"cpu", "f32", WF_OFFLOAD_NONE});
    const struct wf_tensor image = wf_tensor_of(picture, WF_F32, WF_DIMS(1, HEIGHT, WIDTH, 3));
    const struct wf_tensor out = new_latents(f, &image);
    assert_int_equal(wf_svd_encoder_encode(f->enc, image, out, &f->c.arena, &f->desk.err), WF_OK);
    print_message("%.2f activations\n", (double)f->c.arena.peak / (double)largest);
    assert_true(f->c.arena.peak < largest * 10 / 3);
    assert_int_equal(f->c.arena.live, (wf_tensor_bytes(&out) + 63) / 64 * 64); /* all is released */
}

static void bad_calls_are_refused(void **state)
{
    struct fixture *f = *state;
    open_case(f, "svd_encoder_a", (struct component_place){"cpu", "f32", WF_OFFLOAD_NONE});
    const struct wf_tensor good = component_input(&f->desk, &f->c, "svd_encoder_a/expect/image");
    const struct wf_tensor out = new_latents(f, &good);
    struct wf_tensor bad[5] = {good, good, good, good, good}, wrong[4] = {out, out, out, out};
    bad[0] = wf_tensor_slice(good, 1, 0, good.dim[1] - 2); /* not a multiple of 4 */
    bad[1] = wf_tensor_reshape(good, WF_DIMS(good.dim[1], good.dim[2], 3));
    bad[2] = wf_tensor_reshape(good, WF_DIMS(2, good.dim[1] / 2, good.dim[2], 3));
    bad[3].dtype = WF_BF16;
    bad[4].stride[1]++;
    for (int i = 0; i < 5; i++) {
        assert_int_equal(wf_svd_encoder_encode(f->enc, bad[i], out, &f->c.arena, &f->desk.err),
                         WF_FAILED);
        assert_non_null(strstr(f->desk.err.text, "multiples of 4"));
    }
    wrong[0] = wf_tensor_slice(out, 2, 0, out.dim[2] - 1);
    wrong[1] = wf_tensor_slice(out, 3, 0, out.dim[3] - 1);
    wrong[2] = wf_tensor_reshape(out, WF_DIMS(out.dim[1], out.dim[2], out.dim[3]));
    wrong[3].dtype = WF_BF16;
    for (int i = 0; i < 4; i++) {
        assert_int_equal(wf_svd_encoder_encode(f->enc, good, wrong[i], &f->c.arena, &f->desk.err),
                         WF_FAILED);
        assert_non_null(strstr(f->desk.err.text, "[1, 6, 10, 4]"));
    }
}

static void every_allocation_may_fail(void **state)
{
    struct fixture *f = *state;
    enum wf_status status = WF_FAILED;
    int nth = 1;
    for (; status != WF_OK; nth++) {
        const char *folder = desk_fixture(&f->desk, "svd_encoder_b/model");
        static float picture[4 * 6 * 3], values[2 * 3 * 3];
        const struct wf_tensor x = wf_tensor_of(picture, WF_F32, WF_DIMS(1, 4, 6, 3));
        const struct wf_tensor out = wf_tensor_of(values, WF_F32, WF_DIMS(1, 2, 3, 3));
        wf_mem_fail_at(f->desk.mem, nth);
        status = open_folder(f, folder, (struct component_place){"cpu", "bf16", WF_OFFLOAD_GROUP});
        if (status == WF_OK)
            status = wf_svd_encoder_encode(f->enc, x, out, &f->c.arena, &f->desk.err);
        wf_mem_fail_at(f->desk.mem, 0);
        if (status != WF_OK && (status != WF_FAILED || !strstr(f->desk.err.text, "memory")))
            fail_msg("allocation %d: status %d, %s", nth, (int)status, f->desk.err.text);
        close_encoder(f);
        assert_int_equal(wf_mem_live_all(f->desk.mem), 0);
        assert_true(nth < 1000);
    }
    assert_true(nth > 10);
}

/* --- files --- */

static void expect_refusal(struct fixture *f, const char *what, const char *word)
{
    const enum wf_status status =
        open_folder(f, f->desk.folder, (struct component_place){"ref", "f32", WF_OFFLOAD_NONE});
    if (status != WF_REFUSED || !strstr(f->desk.err.text, word))
        fail_msg("%s: status %d, %s", what, (int)status, f->desk.err.text);
    assert_null(f->enc);
    close_encoder(f);
}

static void bad_configurations_are_refused(void **state)
{
    static const char *const bad[][3] = {
        {"\"in_channels\"", "4", "in_channels is 4; expected 3"},
        {"\"in_channels\"", "\"rgb\"", "in_channels"},
        {"\"latent_channels\"", "0", "latent_channels"},
        {"\"latent_channels\"", "5", "encoder.conv_out.weight"},
        {"\"layers_per_block\"", "0", "layers_per_block"},
        {"\"layers_per_block\"", "2", "encoder.down_blocks.0.resnets.1.norm1.weight"},
        {"\"block_out_channels\"", "[32, 33, 32]", "block_out_channels"},
        {"\"block_out_channels\"", "[32, 64]", "down_block_types"},
        {"\"block_out_channels\"", "[32, 32, 32]", "encoder.down_blocks.1.resnets.0.norm2.weight"},
        {"\"block_out_channels\"", "[64, 64, 32]", "encoder.conv_in.weight"},
        {"\"down_block_types\"", "[\"DownEncoderBlock2D\"]", "down_block_types"},
        {"\"down_block_types\"",
         "[\"DownEncoderBlock2D\", \"AttnDownEncoderBlock2D\", \"DownEncoderBlock2D\"]",
         "AttnDownEncoderBlock2D"},
        {"\"down_block_types\"", "[1, 2, 3]", "down_block_types"},
        {"\"down_block_types\"", "{}", "down_block_types"},
        {"\"force_upcast\"", "\"yes\"", "force_upcast"},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        component_mend(&f->desk, "svd_encoder_a/model", "diffusion_pytorch_model", bad[i][0],
                       bad[i][1]);
        expect_refusal(f, bad[i][1], bad[i][2]);
    }
}

static void a_missing_tensor_is_named(void **state)
{
    struct fixture *f = *state;
    char path[128];
    static const float values[32 * 3 * 9];
    component_mend(&f->desk, "svd_encoder_a/model", "diffusion_pytorch_model", "\"in_channels\"",
                   "3");
    snprintf(path, sizeof path, "%s/diffusion_pytorch_model.safetensors", f->desk.folder);
    assert_int_equal(remove(path), 0);
    assert_int_equal(wf_st_write_f32(path, "encoder.conv_in.weight", values, 4,
                                     (const int64_t[]){32, 3, 3, 3}, f->desk.mem, &f->desk.err),
                     WF_OK);
    expect_refusal(f, "one tensor", "encoder.conv_in.bias [32]");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(latents_are_diffusers, setup, teardown),
        cmocka_unit_test_setup_teardown(bf16_is_where_it_is_allowed, setup, teardown),
        cmocka_unit_test_setup_teardown(policies_give_the_same_bits, setup, teardown),
        cmocka_unit_test_setup_teardown(three_activations_are_held, setup, teardown),
        cmocka_unit_test_setup_teardown(bad_calls_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(every_allocation_may_fail, setup, teardown),
        cmocka_unit_test_setup_teardown(bad_configurations_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(a_missing_tensor_is_named, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
