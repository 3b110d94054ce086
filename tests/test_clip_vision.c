/* engine/encoders: CLIP's vision tower gives transformers' embeddings on every device and under
   every policy; what does not fit is refused in words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/encoders/clip_normalisation.h"
#include "engine/encoders/clip_vision.h"
#include "io/weights/safetensors.h"
#include "tests/component.h"

struct fixture {
    struct desk desk;
    struct component c;
    struct wf_clip_vision *enc;
};

static const char *const names[] = {"clip_vision_a", "clip_vision_b"};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    desk_open(&f->desk, "clip");
    *state = f;
    return 0;
}

static void close_encoder(struct fixture *f)
{
    component_close(&f->c);
    wf_clip_vision_close(&f->enc);
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
    WF_TRY(component_open(&f->desk, folder, "model", place, &f->c));
    return wf_clip_vision_open(f->c.weights, f->desk.mem, &f->enc, &f->desk.err);
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

static struct wf_tensor new_output(struct fixture *f)
{
    struct wf_tensor out = {0};
    assert_int_equal(wf_tensor_new(&f->c.arena, WF_F32, &out, &f->desk.err,
                                   WF_DIMS(1, wf_clip_vision_width(f->enc))),
                     WF_OK);
    return out;
}

/* The case's picture's embedding. */
static struct wf_tensor encode(struct fixture *f, const char *name)
{
    const struct wf_tensor pixels = component_input(&f->desk, &f->c, file_of(name, "pixels")),
                           out = new_output(f);
    assert_int_equal(pixels.dim[0], wf_clip_vision_size(f->enc));
    if (wf_clip_vision_encode(f->enc, pixels, out, &f->c.arena, &f->desk.err) != WF_OK)
        fail_msg("%s", f->desk.err.text);
    return out;
}

static double distance(struct fixture *f, const char *name, const char *device, const char *dtype)
{
    open_case(f, name, (struct component_place){device, dtype, WF_OFFLOAD_NONE});
    const struct wf_tensor out = encode(f, name);
    const double error = component_distance(&f->desk, &f->c, out, file_of(name, "image_embeds"));
    print_message("%s %s %s: relative L2 %.2g\n", name, device, dtype, error);
    close_encoder(f);
    return error;
}

static void embeddings_are_transformers(void **state)
{
    for (int i = 0; i < 2; i++) {
        assert_true(distance(*state, names[i], "ref", "f32") <= 1e-5);
        assert_true(distance(*state, names[i], "cpu", "f32") <= 1e-5);
    }
}

/* The second is wide enough for it to make a difference. */
static void bf16_is_near(void **state)
{
    assert_true(distance(*state, names[0], "cpu", "bf16") <= 2e-2);
    const double error = distance(*state, names[1], "cpu", "bf16");
    assert_true(error > 1e-5 && error <= 2e-2);
}

static void policies_give_the_same_bits(void **state)
{
    struct fixture *f = *state;
    unsigned char first[128 * sizeof(float)];
    for (int i = 0; i < 2; i++) {
        for (int policy = WF_OFFLOAD_NONE; policy <= WF_OFFLOAD_SEQUENTIAL; policy++) {
            open_case(f, names[i],
                      (struct component_place){"cpu", "bf16", (enum wf_offload)policy});
            for (int again = 0; again < 2; again++) {
                const struct wf_tensor out = encode(f, names[i]);
                const size_t bytes = wf_tensor_bytes(&out);
                assert_true(bytes <= sizeof first);
                if (policy == WF_OFFLOAD_NONE && !again)
                    memcpy(first, out.data, bytes);
                assert_memory_equal(first, out.data, bytes);
                wf_residency_stage_end(f->c.weights);
                assert_true((wf_residency_held(f->c.weights) > 0) == (policy == WF_OFFLOAD_NONE));
            }
            close_encoder(f);
        }
    }
}

/* Where weights are given back at all, a layer is given back before the next is loaded. */
static void one_layer_is_held_at_a_time(void **state)
{
    struct fixture *f = *state;
    size_t all = 0;
    for (int policy = WF_OFFLOAD_NONE; policy <= WF_OFFLOAD_SEQUENTIAL; policy++) {
        open_case(f, "clip_vision_a",
                  (struct component_place){"ref", "f32", (enum wf_offload)policy});
        (void)encode(f, "clip_vision_a");
        const size_t held = wf_residency_held(f->c.weights);
        all = policy == WF_OFFLOAD_NONE ? held : all;
        assert_true(held > 0 && (policy == WF_OFFLOAD_NONE || 2 * held < all));
        close_encoder(f);
    }
}

static void bad_calls_are_refused(void **state)
{
    struct fixture *f = *state;
    open_case(f, "clip_vision_a", (struct component_place){"cpu", "f32", WF_OFFLOAD_NONE});
    const struct wf_tensor good = component_input(&f->desk, &f->c, "clip_vision_a/expect/pixels");
    const struct wf_tensor out = new_output(f);
    struct wf_tensor bad[5] = {good, good, good, good, good}, wrong[3] = {out, out, out};
    bad[0] = wf_tensor_slice(good, 0, 0, good.dim[0] - 1);
    bad[1] = wf_tensor_reshape(good, WF_DIMS(1, good.dim[0], good.dim[1], good.dim[2]));
    bad[2] = wf_tensor_reshape(good, WF_DIMS(3, good.dim[0], good.dim[1]));
    bad[3].dtype = WF_BF16;
    bad[4].stride[0]++;
    for (int i = 0; i < 5; i++) {
        assert_int_equal(wf_clip_vision_encode(f->enc, bad[i], out, &f->c.arena, &f->desk.err),
                         WF_FAILED);
        assert_non_null(strstr(f->desk.err.text, "[28, 28, 3]"));
    }
    wrong[0] = wf_tensor_slice(out, 1, 0, out.dim[1] - 1);
    wrong[1] = wf_tensor_reshape(out, WF_DIMS(out.dim[1]));
    wrong[2].dtype = WF_BF16;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(wf_clip_vision_encode(f->enc, good, wrong[i], &f->c.arena, &f->desk.err),
                         WF_FAILED);
        assert_non_null(strstr(f->desk.err.text, "[1, 24]"));
    }
}

static void every_allocation_may_fail(void **state)
{
    struct fixture *f = *state;
    enum wf_status status = WF_FAILED;
    int nth = 1;
    for (; status != WF_OK; nth++) {
        const char *folder = desk_fixture(&f->desk, "clip_vision_b/model");
        static float pixels[14 * 14 * 3], values[20];
        const struct wf_tensor x = wf_tensor_of(pixels, WF_F32, WF_DIMS(14, 14, 3));
        const struct wf_tensor out = wf_tensor_of(values, WF_F32, WF_DIMS(1, 20));
        wf_mem_fail_at(f->desk.mem, nth);
        status = open_folder(f, folder, (struct component_place){"cpu", "bf16", WF_OFFLOAD_GROUP});
        if (status == WF_OK)
            status = wf_clip_vision_encode(f->enc, x, out, &f->c.arena, &f->desk.err);
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
        {"\"hidden_size\"", "0", "hidden_size"},
        {"\"hidden_size\"", "1000000000000", "hidden_size"},
        {"\"hidden_size\"", "\"wide\"", "hidden_size"},
        {"\"hidden_size\"", "30", "num_attention_heads 4 does not divide"},
        {"\"hidden_size\"", "36", "vision_model.embeddings.class_embedding"},
        {"\"intermediate_size\"", "-1", "intermediate_size"},
        {"\"intermediate_size\"", "45", "mlp.fc1.weight"},
        {"\"projection_dim\"", "0", "projection_dim"},
        {"\"projection_dim\"", "23", "visual_projection.weight"},
        {"\"num_hidden_layers\"", "0", "num_hidden_layers"},
        {"\"num_hidden_layers\"", "4", "vision_model.encoder.layers.3.layer_norm1.weight"},
        {"\"num_hidden_layers\"", "1025", "num_hidden_layers"},
        {"\"num_attention_heads\"", "0", "num_attention_heads"},
        {"\"num_attention_heads\"", "3", "num_attention_heads 3 does not divide"},
        {"\"num_channels\"", "4", "num_channels is 4; expected 3"},
        {"\"image_size\"", "0", "image_size"},
        {"\"image_size\"", "100000", "image_size"},
        {"\"image_size\"", "6", "patch_size is 7"},
        {"\"image_size\"", "21", "position_embedding.weight"},
        {"\"patch_size\"", "0", "patch_size"},
        {"\"patch_size\"", "29", "patch_size is 29"},
        {"\"layer_norm_eps\"", "-1e-5", "layer_norm_eps"},
        {"\"hidden_act\"", "\"quick_gelu\"", "hidden_act \"quick_gelu\""},
        {"\"hidden_act\"", "null", "hidden_act \"quick_gelu\""}, /* the class's default */
        {"\"hidden_act\"", "\"silu\"", "hidden_act \"silu\""},
        {"\"hidden_act\"", "1", "hidden_act"},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        component_mend(&f->desk, "clip_vision_a/model", "model", bad[i][0], bad[i][1]);
        expect_refusal(f, bad[i][1], bad[i][2]);
    }
}

static void a_missing_tensor_is_named(void **state)
{
    struct fixture *f = *state;
    char path[128];
    const float one[32] = {0};
    component_mend(&f->desk, "clip_vision_a/model", "model", "\"projection_dim\"", "24");
    snprintf(path, sizeof path, "%s/model.safetensors", f->desk.folder);
    assert_int_equal(remove(path), 0);
    assert_int_equal(wf_st_write_f32(path, "vision_model.embeddings.class_embedding", one, 1,
                                     (const int64_t[]){32}, f->desk.mem, &f->desk.err),
                     WF_OK);
    expect_refusal(f, "one tensor", "vision_model.embeddings.position_embedding.weight [17, 32]");
}

static enum wf_status read_numbers(struct fixture *f, const char *text,
                                   struct wf_clip_normalisation *out)
{
    char path[128];
    snprintf(path, sizeof path, "%s/preprocessor_config.json", f->desk.folder);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
    return wf_clip_normalisation_read(path, out, &f->desk.err);
}

static void normalisation_is_read(void **state)
{
    static const char *const bad[][2] = {
        {"{\"image_mean\":[1,2]}", "image_mean"},
        {"{\"image_mean\":[]}", "image_mean"},
        {"{\"image_mean\":[1,2,3,4]}", "image_mean"},
        {"{\"image_mean\":0.5}", "image_mean"},
        {"{\"image_mean\":null}", "image_mean"},
        {"{\"image_mean\":[1e39,0,0]}", "image_mean"},
        {"{\"image_std\":[1,0,1]}", "image_std"},
        {"{\"image_std\":[1,-1,1]}", "image_std"},
        {"{\"image_std\":[1,1e-60,1]}", "image_std"},
        {"{\"image_std\":[1,\"1\",1]}", "image_std"},
        {"[]", "object"},
    };
    struct fixture *f = *state;
    struct wf_clip_normalisation n;
    assert_int_equal(read_numbers(f, "{}", &n), WF_OK);
    assert_true(n.mean[0] == 0.48145466f && n.mean[1] == 0.4578275f && n.mean[2] == 0.40821073f);
    assert_true(n.std[0] == 0.26862954f && n.std[1] == 0.26130258f && n.std[2] == 0.27577711f);
    assert_int_equal(read_numbers(f, "{\"image_std\":[1,2,3.5],\"image_mean\":[0,-0.5,0.25]}", &n),
                     WF_OK);
    assert_true(n.mean[0] == 0 && n.mean[1] == -0.5f && n.mean[2] == 0.25f);
    assert_true(n.std[0] == 1 && n.std[1] == 2 && n.std[2] == 3.5f);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(read_numbers(f, bad[i][0], &n), WF_REFUSED);
        if (!strstr(f->desk.err.text, bad[i][1]))
            fail_msg("%s: %s", bad[i][0], f->desk.err.text);
    }
    assert_int_equal(wf_clip_normalisation_read("/nowhere.json", &n, &f->desk.err), WF_REFUSED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(embeddings_are_transformers, setup, teardown),
        cmocka_unit_test_setup_teardown(bf16_is_near, setup, teardown),
        cmocka_unit_test_setup_teardown(policies_give_the_same_bits, setup, teardown),
        cmocka_unit_test_setup_teardown(one_layer_is_held_at_a_time, setup, teardown),
        cmocka_unit_test_setup_teardown(bad_calls_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(every_allocation_may_fail, setup, teardown),
        cmocka_unit_test_setup_teardown(bad_configurations_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(a_missing_tensor_is_named, setup, teardown),
        cmocka_unit_test_setup_teardown(normalisation_is_read, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
