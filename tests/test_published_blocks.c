/* The published transformers, of oracle/sparse.py, loaded block by block: what is held of them is
   what the policy says, and no page of the files is kept beside the copy. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/base/arena.h"
#include "temporal/wan_weights.h"
#include "tests/published.h"

/* The sanitizers keep freed memory, and a copy of the address space. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
static const size_t sanitizers = (size_t)4 << 30;
#else
static const size_t sanitizers = 0;
#endif

/* Beside the weights: what is not the model's, and the pages between two of its tensors. */
static const size_t slack = (size_t)48 << 20;

struct opened {
    char path[512];
    struct wf_mem *mem;
    struct wf_backend *be;
    struct wf_checkpoint *ckpt;
    struct wf_residency *weights;
    struct wf_wan *wan;
    struct wf_error err;
    size_t file_base, all_base; /* resident before anything was loaded */
};

/* A line of /proc/self/status, "RssFile:", in bytes. */
static size_t resident(const char *line)
{
    char text[128];
    unsigned long kilobytes = 0;
    FILE *status = fopen("/proc/self/status", "r");
    assert_non_null(status);
    while (fgets(text, sizeof text, status)) {
        if (strncmp(text, line, strlen(line)) == 0)
            assert_int_equal(sscanf(text + strlen(line), "%lu", &kilobytes), 1);
    }
    fclose(status);
    assert_true(kilobytes > 0);
    return (size_t)kilobytes << 10;
}

static size_t weights(const struct opened *o)
{
    return wf_mem_live(o->mem, WF_MEM_WEIGHTS);
}

static void open_model(struct opened *o, const char *model, enum wf_offload offload)
{
    *o = (struct opened){0};
    published_path(model, "transformer", o->path);
    o->mem = wf_mem_open();
    assert_non_null(o->mem);
    assert_int_equal(wf_backend_open("cpu", NULL, 0, o->mem, NULL, &o->err, &o->be), WF_OK);
    if (wf_checkpoint_open(o->path, "diffusion_pytorch_model", NULL, o->mem, &o->ckpt, &o->err) !=
            WF_OK ||
        wf_residency_open((struct wf_policy){offload, 0}, o->ckpt, o->be, o->mem, &o->weights,
                          &o->err) != WF_OK ||
        wf_wan_open(o->weights, o->mem, &o->wan, &o->err) != WF_OK)
        fail_msg("%s", o->err.text);
    assert_int_equal(weights(o), 0); /* nothing is loaded by looking */
    o->file_base = resident("RssFile:");
    o->all_base = resident("VmRSS:");
}

static void close_model(struct opened *o)
{
    wf_residency_close(&o->weights);
    wf_wan_close(&o->wan);
    wf_checkpoint_close(&o->ckpt);
    wf_backend_close(&o->be);
    assert_int_equal(wf_mem_live_all(o->mem), 0);
    wf_mem_close(&o->mem);
}

/* Uses a group once; what it holds, which is again nothing of the file. */
static size_t use(struct opened *o, int group)
{
    const size_t before = weights(o);
    if (wf_residency_acquire(o->wan->res, group, &o->err) != WF_OK)
        fail_msg("group %d: %s", group, o->err.text);
    const size_t held = weights(o) - before;
    assert_true(held > 0);
    wf_residency_release(o->wan->res, group);
    assert_int_equal(weights(o), before + held); /* kept until the stage ends */
    assert_true(resident("RssFile:") <= o->file_base + slack);
    assert_true(resident("VmRSS:") <= o->all_base + weights(o) + slack + sanitizers);
    return held;
}

static void end_stage(struct opened *o)
{
    wf_residency_stage_end(o->wan->res);
    assert_int_equal(weights(o), 0);
    assert_true(resident("VmRSS:") <= o->all_base + slack + sanitizers);
}

/* The unit of the i-th group. */
static int group_of(const struct opened *o, int i)
{
    const int layers = (int)o->wan->config.layers;
    return i == 0        ? o->wan->embed_group
           : i <= layers ? o->wan->blocks[i - 1].group
                         : o->wan->head_group;
}

/* Every group of 1.3B; a stage of a few at a time, so that a small machine can run it. */
static void every_block_is_placed(void **state)
{
    (void)state;
    enum { STAGE = 5 };
    struct opened o;
    open_model(&o, "1.3b", WF_OFFLOAD_MODEL);
    const int groups = (int)o.wan->config.layers + 2;
    assert_int_equal(groups, 32);
    size_t all = 0, first_block = 0;
    for (int i = 0; i < groups; i++) {
        const size_t held = use(&o, group_of(&o, i));
        all += held;
        if (i == 1)
            first_block = held;
        else if (i > 1 && i < groups - 1)
            assert_int_equal(held, first_block);
        if (i % STAGE == STAGE - 1)
            end_stage(&o);
    }
    const size_t parameters = (size_t)wf_checkpoint_parameters(o.ckpt);
    assert_true(all >= 2 * parameters && all <= 4 * parameters + parameters / 20);
    end_stage(&o);
    close_model(&o);
}

static void a_group_in_use_is_loaded_once(void **state)
{
    (void)state;
    struct opened o;
    open_model(&o, "1.3b", WF_OFFLOAD_NONE);
    const size_t held = use(&o, o.wan->blocks[7].group);
    assert_int_equal(wf_residency_acquire(o.wan->res, o.wan->blocks[7].group, &o.err), WF_OK);
    assert_int_equal(weights(&o), held);
    wf_residency_release(o.wan->res, o.wan->blocks[7].group);
    wf_residency_stage_end(o.wan->res);
    assert_int_equal(weights(&o), held); /* the policy `none` holds it to the end */
    close_model(&o);
}

/* The first and the last block of 14B: more than the memory that this test may take lies between.
 */
static void the_largest_is_open_in_little(void **state)
{
    (void)state;
    struct opened o;
    open_model(&o, "14b", WF_OFFLOAD_MODEL);
    assert_int_equal(wf_checkpoint_count(o.ckpt), 1095);
    assert_true(wf_checkpoint_parameters(o.ckpt) == 14288491584);
    assert_true(o.all_base < ((size_t)100 << 20) + sanitizers);
    const int ends[] = {o.wan->blocks[0].group, o.wan->blocks[o.wan->config.layers - 1].group};
    size_t held[2];
    for (int i = 0; i < 2; i++) {
        held[i] = use(&o, ends[i]);
        end_stage(&o);
    }
    assert_int_equal(held[0], held[1]);
    assert_true(held[0] < (size_t)1600 << 20);
    close_model(&o);
}

static struct wf_tensor filled(struct opened *o, struct wf_arena *arena, int rank,
                               const int64_t *dims)
{
    struct wf_tensor t;
    assert_int_equal(wf_tensor_new(arena, WF_F32, &t, &o->err, rank, dims), WF_OK);
    float *values = t.data;
    for (int64_t i = 0; i < wf_tensor_count(&t); i++)
        values[i] = (float)(i % 17) / 8 - 1;
    return t;
}

/* Texts and one forward, both halves, through the model's only block. */
static void forward(struct opened *o)
{
    struct wf_arena arena;
    struct wf_wan_run *run = NULL;
    wf_arena_init(&arena, wf_backend_source(o->be));
    assert_int_equal(wf_wan_run_open(o->wan, &run, &o->err), WF_OK);
    const struct wf_tensor embeds = filled(o, &arena, WF_DIMS(9, o->wan->config.text_dim));
    const struct wf_tensor latents = filled(o, &arena, WF_DIMS(3, 18, 32, 16));
    struct wf_tensor velocity[WF_WAN_HALVES];
    for (int half = 0; half < WF_WAN_HALVES; half++) {
        velocity[half] = filled(o, &arena, 4, latents.dim);
        assert_int_equal(wf_wan_set_text(run, half, embeds, 512, &arena, &o->err), WF_OK);
    }
    if (wf_wan_forward(run, latents, 500, WF_WAN_HALVES, velocity, &arena, &o->err) != WF_OK)
        fail_msg("%s", o->err.text);
    const float *values = velocity[WF_WAN_HALVES - 1].data;
    for (int64_t i = 0; i < wf_tensor_count(&latents); i++)
        assert_true(values[i] == 0); /* the sparse files' weights are zeros */
    wf_wan_run_close(&run);
    wf_residency_stage_end(o->weights);
    wf_arena_close(&arena);
}

/* The ends of 14B, each as a model of one block, in less memory than 6 GB for the whole process. */
static void the_ends_of_the_largest_compute(void **state)
{
    (void)state;
    struct opened o;
    open_model(&o, "14b", WF_OFFLOAD_MODEL);
    struct wf_wan_block *const blocks = o.wan->blocks;
    const int64_t layers = o.wan->config.layers;
    o.wan->config.layers = 1;
    forward(&o);
    o.wan->blocks = blocks + layers - 1;
    forward(&o);
    o.wan->blocks = blocks;
    o.wan->config.layers = layers;
    print_message("at most %zu MB resident\n", resident("VmHWM:") >> 20);
    assert_true(resident("VmHWM:") < (size_t)6 * 1000 * 1000 * 1000 + sanitizers);
    close_model(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_block_is_placed),
        cmocka_unit_test(a_group_in_use_is_loaded_once),
        cmocka_unit_test(the_largest_is_open_in_little),
        cmocka_unit_test(the_ends_of_the_largest_compute),
    };
    int code = published_make("1.3b");
    if (code == 0)
        code = published_make("14b");
    if (code == 0)
        code = cmocka_run_group_tests(tests, NULL, NULL);
    return published_end(code);
}
