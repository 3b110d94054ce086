/* temporal/svd_unet beside its numbers, which test_parity compares with diffusers': configurations
   that are refused, memory that runs out, runs in turns, what is given back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/base/rng.h"
#include "temporal/svd_unet.h"
#include "tests/component.h"

enum { FRAMES = 3, HEIGHT = 5, WIDTH = 6, CHANNELS = 4, CROSS = 16 };
enum { POSITIONS = HEIGHT * WIDTH * CHANNELS, LATENTS = FRAMES * POSITIONS };

struct fixture {
    struct desk desk;
    struct component c;
    struct wf_svd_unet *unet;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    desk_open(&f->desk, "unet");
    *state = f;
    return 0;
}

static void close_unet(struct fixture *f)
{
    component_close(&f->c);
    wf_svd_unet_close(&f->unet);
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    close_unet(f);
    desk_close(&f->desk);
    free(f);
    return 0;
}

static enum wf_status open_folder(struct fixture *f, const char *folder, const char *dtype,
                                  enum wf_offload offload)
{
    const struct component_place place = {"cpu", dtype, offload};
    WF_TRY(component_open(&f->desk, folder, "diffusion_pytorch_model", place, &f->c));
    return wf_svd_unet_open(f->c.weights, f->desk.mem, &f->unet, &f->desk.err);
}

static enum wf_status open_fixture(struct fixture *f, const char *dtype, enum wf_offload offload)
{
    return open_folder(f, desk_fixture(&f->desk, "svd_a/model/unet"), dtype, offload);
}

/* --- configurations --- */

static void what_does_not_fit_is_refused_in_words(void **state)
{
    static const char *const bad[][3] = {
        {"\"block_out_channels\"", "[]", "block_out_channels"},
        {"\"block_out_channels\"", "[32, 33, 32]", "block_out_channels"},
        {"\"block_out_channels\"", "[32, 64, 64]", "down_blocks.2"},
        {"\"block_out_channels\"", "[32, 64, 32, 32]", "layers_per_block"},
        {"\"block_out_channels\"", "[1, 1, 1, 1, 1, 1, 1, 1, 1]", "block_out_channels"},
        {"\"layers_per_block\"", "[1, 1]", "layers_per_block"},
        {"\"layers_per_block\"", "[1, 2, 1]", "down_blocks.1.resnets.1"},
        {"\"layers_per_block\"", "[1, 99, 1]", "layers_per_block"},
        {"\"num_attention_heads\"", "[4, 3, 1]", "num_attention_heads"},
        {"\"num_attention_heads\"", "[0, 2, 1]", "num_attention_heads"},
        {"\"num_attention_heads\"", "\"two\"", "num_attention_heads"},
        {"\"transformer_layers_per_block\"", "2", "transformer_blocks.1"},
        {"\"transformer_layers_per_block\"", "[[1], [1], [1]]", "transformer_layers_per_block"},
        {"\"cross_attention_dim\"", "[16, 16, 8]", "cross_attention_dim"},
        {"\"cross_attention_dim\"", "17", "attn2"},
        {"\"in_channels\"", "4", "in_channels"},
        {"\"in_channels\"", "9", "conv_in.weight"},
        {"\"out_channels\"", "3", "conv_out.weight"},
        {"\"addition_time_embed_dim\"", "15", "projection_class_embeddings_input_dim"},
        {"\"num_frames\"", "0", "num_frames"},
        {"\"down_block_types\"", "[\"DownBlock3D\", \"DownBlock3D\", \"DownBlock3D\"]",
         "down_block_types"},
        {"\"down_block_types\"", "[\"DownBlockSpatioTemporal\"]", "down_block_types"},
        {"\"up_block_types\"", "[1, 2, 3]", "up_block_types"},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        component_mend(&f->desk, "svd_a/model/unet", "diffusion_pytorch_model", bad[i][0],
                       bad[i][1]);
        if (open_folder(f, f->desk.folder, "f32", WF_OFFLOAD_NONE) != WF_REFUSED)
            fail_msg("accepted: %s %s", bad[i][0], bad[i][1]);
        if (!strstr(f->desk.err.text, bad[i][2]))
            fail_msg("%s does not say %s", f->desk.err.text, bad[i][2]);
        close_unet(f);
        assert_int_equal(wf_mem_live_all(f->desk.mem), 0);
    }
}

/* --- runs --- */

/* What a run is given, and what it gives. */
struct clip {
    struct wf_svd_run *run;
    struct wf_pool pool;
    float embeds[CROSS], image[POSITIONS], latents[LATENTS], with[LATENTS], without[LATENTS];
};

static void fill(struct clip *c, uint64_t seed)
{
    struct wf_rng rng;
    wf_rng_seed(&rng, seed);
    wf_rng_normal(&rng, c->embeds, CROSS);
    wf_rng_normal(&rng, c->image, POSITIONS);
    wf_rng_normal(&rng, c->latents, LATENTS);
}

static enum wf_status begin(struct fixture *f, struct clip *c)
{
    const double ids[] = {6, 127, 0.02};
    wf_pool_init(&c->pool, wf_backend_source(f->c.be));
    WF_TRY(wf_svd_run_open(f->unet, 2, &c->run, &f->desk.err));
    return wf_svd_set_condition(c->run, wf_tensor_of(c->embeds, WF_F32, WF_DIMS(1, CROSS)),
                                wf_tensor_of(c->image, WF_F32, WF_DIMS(1, HEIGHT, WIDTH, CHANNELS)),
                                ids, &f->desk.err);
}

static enum wf_status forward(struct fixture *f, struct clip *c, double timestep)
{
    const int64_t dims[] = {FRAMES, HEIGHT, WIDTH, CHANNELS};
    const struct wf_tensor prediction[] = {wf_tensor_of(c->with, WF_F32, 4, dims),
                                           wf_tensor_of(c->without, WF_F32, 4, dims)};
    return wf_svd_forward(c->run, wf_tensor_of(c->latents, WF_F32, 4, dims), timestep, prediction,
                          &c->pool, &f->desk.err);
}

static void end(struct clip *c)
{
    wf_svd_run_close(&c->run);
    wf_pool_close(&c->pool);
}

/* Two steps of a clip of its own. */
static enum wf_status run(struct fixture *f, struct clip *c, uint64_t seed)
{
    memset(c, 0, sizeof *c);
    fill(c, seed);
    enum wf_status status = begin(f, c);
    for (int i = 0; i < 2 && status == WF_OK; i++)
        status = forward(f, c, 1.5 - i);
    return status;
}

static void policies_give_the_same_bits(void **state)
{
    struct fixture *f = *state;
    static struct clip want, have;
    for (int offload = WF_OFFLOAD_NONE; offload <= WF_OFFLOAD_SEQUENTIAL; offload++) {
        assert_int_equal(open_fixture(f, "bf16", (enum wf_offload)offload), WF_OK);
        assert_int_equal(run(f, &have, 1), WF_OK);
        if (offload == WF_OFFLOAD_NONE)
            want = have;
        assert_memory_equal(have.with, want.with, sizeof want.with);
        assert_memory_equal(have.without, want.without, sizeof want.without);
        assert_true(memcmp(have.with, have.without, sizeof have.with) != 0);
        end(&have);
        close_unet(f);
    }
}

static void all_is_given_back_and_found_again(void **state)
{
    struct fixture *f = *state;
    static struct clip first, again;
    assert_int_equal(open_fixture(f, "f32", WF_OFFLOAD_NONE), WF_OK);
    assert_int_equal(run(f, &first, 1), WF_OK);
    assert_null(first.pool.blocks);
    const size_t peak = first.pool.peak;
    fill(&again, 1);
    assert_int_equal(begin(f, &again), WF_OK);
    assert_true(wf_pool_reserve(&again.pool, peak));
    const size_t held = wf_mem_live(f->desk.mem, WF_MEM_ACTIVATIONS);
    assert_int_equal(forward(f, &again, 1.5), WF_OK);
    assert_int_equal(forward(f, &again, 0.5), WF_OK);
    assert_int_equal(again.pool.peak, peak);
    assert_int_equal(wf_mem_live(f->desk.mem, WF_MEM_ACTIVATIONS), held);
    assert_memory_equal(again.with, first.with, sizeof first.with);
    end(&first);
    end(&again);
}

static void runs_in_turns_give_what_they_give_alone(void **state)
{
    struct fixture *f = *state;
    static struct clip alone[2], turns[2];
    assert_int_equal(open_fixture(f, "f32", WF_OFFLOAD_NONE), WF_OK);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(run(f, &alone[i], (uint64_t)i), WF_OK);
        end(&alone[i]);
        fill(&turns[i], (uint64_t)i);
        assert_int_equal(begin(f, &turns[i]), WF_OK);
    }
    for (int step = 0; step < 2; step++) {
        for (int i = 0; i < 2; i++)
            assert_int_equal(forward(f, &turns[i], 1.5 - step), WF_OK);
    }
    for (int i = 0; i < 2; i++) {
        assert_memory_equal(turns[i].with, alone[i].with, sizeof alone[i].with);
        end(&turns[i]);
    }
}

static void what_does_not_fit_the_model_fails(void **state)
{
    struct fixture *f = *state;
    static struct clip c;
    assert_int_equal(open_fixture(f, "f32", WF_OFFLOAD_NONE), WF_OK);
    fill(&c, 1);
    wf_pool_init(&c.pool, wf_backend_source(f->c.be));
    assert_int_equal(wf_svd_run_open(f->unet, 2, &c.run, &f->desk.err), WF_OK);
    assert_int_equal(forward(f, &c, 1), WF_FAILED); /* there is no condition yet */
    const double ids[] = {6, 127, 0.02};
    assert_int_equal(
        wf_svd_set_condition(c.run, wf_tensor_of(c.embeds, WF_F32, WF_DIMS(1, CROSS - 1)),
                             wf_tensor_of(c.image, WF_F32, WF_DIMS(1, HEIGHT, WIDTH, CHANNELS)),
                             ids, &f->desk.err),
        WF_FAILED);
    assert_int_equal(
        wf_svd_set_condition(c.run, wf_tensor_of(c.embeds, WF_F32, WF_DIMS(1, CROSS)),
                             wf_tensor_of(c.image, WF_F32, WF_DIMS(1, HEIGHT - 1, WIDTH, CHANNELS)),
                             ids, &f->desk.err),
        WF_OK);
    assert_int_equal(forward(f, &c, 1), WF_FAILED); /* of another size */
    end(&c);
}

static void every_allocation_may_fail(void **state)
{
    struct fixture *f = *state;
    static struct clip c;
    enum wf_status status = WF_FAILED;
    long nth = 1;
    for (; status != WF_OK; nth += nth < 60 ? 1 : 11) {
        memset(&c, 0, sizeof c);
        wf_mem_fail_at(f->desk.mem, nth);
        status = open_fixture(f, "bf16", WF_OFFLOAD_SEQUENTIAL);
        if (status == WF_OK)
            status = run(f, &c, 1);
        if (status != WF_OK && (status != WF_FAILED || !strstr(f->desk.err.text, "memory")))
            fail_msg("allocation %ld: status %d, %s", nth, (int)status, f->desk.err.text);
        if (c.run)
            end(&c);
        close_unet(f);
        assert_int_equal(wf_mem_live_all(f->desk.mem), 0);
    }
    assert_true(nth > 100);
    wf_mem_fail_at(f->desk.mem, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_does_not_fit_is_refused_in_words, setup, teardown),
        cmocka_unit_test_setup_teardown(policies_give_the_same_bits, setup, teardown),
        cmocka_unit_test_setup_teardown(all_is_given_back_and_found_again, setup, teardown),
        cmocka_unit_test_setup_teardown(runs_in_turns_give_what_they_give_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(what_does_not_fit_the_model_fails, setup, teardown),
        cmocka_unit_test_setup_teardown(every_allocation_may_fail, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
