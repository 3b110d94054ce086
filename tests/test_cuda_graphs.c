/* cuDNN has an engine, made beforehand, for every convolution in bf16 that the published models ask
   for, and one that it compiles for every attention, on each kind of GPU: plans are made from a
   device's description, so that no GPU is needed. */
#include <dlfcn.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/base/clock.h"
#include "tests/gpus.h"
#include "tests/published.h"
#include "tests/recorder.h"

static struct wf_error err;

static struct wf_graphs *open_for(int device)
{
    struct wf_graphs *graphs;
    if (gpu_open_for(&gpus[device], &graphs, &err) != WF_OK)
        fail_msg("%s", err.text);
    return graphs;
}

static void old_versions_are_refused(void **state)
{
    (void)state;
    assert_int_equal(wf_graphs_check_version(91500, &err), WF_OK);
    assert_int_equal(wf_graphs_check_version(91001, &err), WF_REFUSED);
    assert_non_null(strstr(err.text, "9.10.1"));
}

static void a_device_has_to_be_described(void **state)
{
    (void)state;
    struct wf_graphs *graphs;
    assert_int_equal(wf_graphs_open(NULL, "{}", &graphs, &err), WF_FAILED);
    assert_null(graphs);
    assert_non_null(strstr(err.text, "device description"));
}

static void a_plan_is_made_once(void **state)
{
    (void)state;
    struct wf_graphs *graphs = open_for(GPU_H100);
    struct wf_graph_conv conv = some_conv();
    struct wf_graph_plan *first, *again, *other;
    assert_int_equal(wf_graph_conv(graphs, &conv, &first), WF_OK);
    assert_int_equal(wf_graph_conv(graphs, &conv, &again), WF_OK);
    conv.has_bias = false;
    assert_int_equal(wf_graph_conv(graphs, &conv, &other), WF_OK);
    assert_non_null(first);
    assert_non_null(other);
    assert_ptr_equal(first, again);
    assert_ptr_not_equal(first, other);
    wf_graphs_close(&graphs);
    assert_null(graphs);
}

/* Everything but the run itself, of which there is none on a device that is only described. */
static void a_plan_is_bound_to_its_operands(void **state)
{
    (void)state;
    struct wf_graphs *graphs = open_for(GPU_H100);
    struct wf_graph_conv conv = some_conv();
    struct wf_graph_plan *plan;
    static _Alignas(256) char memory[256];
    struct wf_graph_pointers pointers = {.x = memory, .w = memory, .y = memory};
    assert_int_equal(wf_graph_conv(graphs, &conv, &plan), WF_OK);
    assert_int_equal(wf_graph_run(graphs, plan, &pointers, memory, NULL), WF_FAILED);
    assert_non_null(strstr(err.text, "missing"));
    pointers.bias = memory;
    assert_int_equal(wf_graph_run(graphs, plan, &pointers, memory, NULL), WF_FAILED);
    assert_non_null(strstr(err.text, "only described"));
    wf_graphs_close(&graphs);
}

static void what_breaks_the_contract_fails(void **state)
{
    (void)state;
    struct wf_graphs *graphs = open_for(GPU_H100);
    struct wf_graph_conv conv = some_conv();
    struct wf_graph_plan *plan;
    conv.y[0]++;
    assert_int_equal(wf_graph_conv(graphs, &conv, &plan), WF_FAILED);
    assert_non_null(strstr(err.text, "contract"));
    conv = some_conv();
    conv.x[0] = conv.y[0] = 50000;
    assert_int_equal(wf_graph_conv(graphs, &conv, &plan), WF_FAILED);
    assert_non_null(strstr(err.text, "cut it by frames"));
    assert_null(plan);
    struct wf_graph_attention attention = some_attention(64);
    attention.keys = 0;
    assert_int_equal(wf_graph_attention(graphs, &attention, &plan), WF_FAILED);
    wf_graphs_close(&graphs);
}

/* An answer, each time: the caller has kernels of its own. */
static void what_no_engine_does_is_not_taken(void **state)
{
    (void)state;
    struct wf_graphs *graphs = open_for(GPU_H100);
    const struct wf_graph_attention wide = some_attention(384), odd = some_attention(100);
    struct wf_graph_plan *plan;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(wf_graph_attention(graphs, &wide, &plan), WF_OK);
        assert_null(plan);
        if (wf_graph_attention(graphs, &odd, &plan) != WF_OK)
            fail_msg("%s", err.text);
        assert_null(plan);
    }
    wf_graphs_close(&graphs);
}

/* Frames that are apart are what a causal cache hands on, lines that are apart a window of a larger
   picture; zeros behind the last frame are what the end of a clip sees that looks ahead. f32 sums
   and sums in place are compiled. */
static void a_convolution_has_its_variants(void **state)
{
    (void)state;
    struct wf_graphs *graphs = open_for(GPU_H100);
    struct wf_graph_conv apart = some_conv(), window = some_conv(), ahead = some_conv();
    struct wf_graph_conv f32 = some_conv(), sum = some_conv();
    apart.x_frame = 3 * 20 * 24 * 96;
    apart.y_frame = 2 * 20 * 24 * 64;
    window.x_line = 31 * 96;
    window.x_frame = 22 * 31 * 96;
    ahead.pad_front = ahead.pad_back = 1;
    f32.y_type = sum.y_type = WF_F32;
    sum.accumulate = true;
    const struct wf_graph_conv *const all[] = {&apart, &window, &ahead, &f32, &sum};
    for (int i = 0; i < 5; i++) {
        struct wf_graph_plan *plan;
        if (wf_graph_conv(graphs, all[i], &plan) != WF_OK)
            fail_msg("%s", err.text);
        assert_non_null(plan);
        assert_int_equal(wf_graph_plan_compiled(plan), i > 2);
    }
    wf_graphs_close(&graphs);
}

static void an_attention_has_its_variants(void **state)
{
    (void)state;
    struct wf_graphs *graphs = open_for(GPU_H100);
    for (int i = 0; i < 4; i++) {
        struct wf_graph_attention attention = some_attention(i & 1 ? WF_GRAPH_HEAD : 64);
        struct wf_graph_plan *plan;
        attention.has_key_bias = i & 2;
        if (wf_graph_attention(graphs, &attention, &plan) != WF_OK)
            fail_msg("%s", err.text);
        assert_non_null(plan);
        assert_true(wf_graph_plan_compiled(plan));
    }
    wf_graphs_close(&graphs);
}

/* --- the published models --- */

/* Of the plans of one kind. */
struct found {
    int taken, compiled;
    size_t workspace; /* the largest */
    double seconds;
};

static void note(struct found *f, const struct wf_graph_plan *plan)
{
    const size_t workspace = wf_graph_plan_workspace(plan);
    f->workspace = workspace > f->workspace ? workspace : f->workspace;
    f->compiled += wf_graph_plan_compiled(plan);
    f->taken++;
}

/* The same of a picture that is wider than what the convolution sees of it. */
static struct wf_graph_conv as_window(struct wf_graph_conv conv)
{
    conv.x_line = (conv.x[2] + 1) * conv.x[3];
    conv.x_frame = (conv.x[1] + 1) * conv.x_line;
    return conv;
}

static struct found plan_convs(struct wf_graphs *graphs, const struct recorded *r)
{
    struct found f = {.seconds = -wf_clock()};
    struct wf_graph_plan *plan;
    for (int i = 0; i < 2 * r->convs; i++) {
        const struct wf_graph_conv conv = i % 2 ? as_window(r->conv[i / 2]) : r->conv[i / 2];
        if (wf_graph_conv(graphs, &conv, &plan) != WF_OK)
            fail_msg("%s", err.text);
        assert_non_null(plan);
        note(&f, plan);
    }
    f.seconds += wf_clock();
    return f;
}

static struct found plan_attentions(struct wf_graphs *graphs, const struct recorded *r)
{
    struct found f = {.seconds = -wf_clock()};
    struct wf_graph_plan *plan;
    for (int i = 0; i < r->attentions; i++) {
        if (wf_graph_attention(graphs, &r->attention[i], &plan) != WF_OK)
            fail_msg("%s", err.text);
        assert_int_equal(plan != NULL, r->attention[i].width <= WF_GRAPH_HEAD);
        if (plan)
            note(&f, plan);
    }
    f.seconds += wf_clock();
    return f;
}

static void plan_all(int device, const struct recorded *r)
{
    bool can_compile;
    struct wf_graphs *graphs = open_for(device);
    assert_int_equal(wf_graphs_can_compile(graphs, &can_compile), WF_OK);
    assert_true(can_compile);
    const struct found convs = plan_convs(graphs, r), attentions = plan_attentions(graphs, r);
    print_message("%s: %d convolutions (%.1f s, at most %.1f MB), %d attentions (%.1f s, at most "
                  "%.1f MB), %d of heads too wide\n",
                  gpus[device].name, convs.taken, convs.seconds, (double)convs.workspace / 1e6,
                  attentions.taken, attentions.seconds, (double)attentions.workspace / 1e6,
                  r->attentions - attentions.taken);
    assert_true(convs.workspace <= WF_GRAPH_WORKSPACE);
    assert_true(attentions.workspace <= WF_GRAPH_WORKSPACE);
    assert_int_equal(convs.compiled, 0);
    assert_int_equal(attentions.compiled, attentions.taken);
    wf_graphs_close(&graphs);
}

static void every_shape_has_a_plan(void **state)
{
    (void)state;
    static struct recorded recorded;
    record(&recorded, "1.3b", &(struct recorder_clip){21, 60, 104, 16});
    record(&recorded, "1.3b", &(struct recorder_clip){21, 60, 104, 4});
    record(&recorded, "14b", &(struct recorder_clip){21, 90, 160, 16});
    assert_true(recorded.convs > 40 && recorded.attentions > 4);
    for (int i = 0; i < GPUS; i++)
        plan_all(i, &recorded);
}

/* cuDNN asks for a libcuda by its name: where there is none, the one of the tests is it. */
static bool load_libcuda(void)
{
    char path[512];
    const char *build = getenv("WEFT_BUILD_DIR");
    if (dlopen("libcuda.so.1", RTLD_NOW | RTLD_GLOBAL))
        return true;
    snprintf(path, sizeof path, "%s/no-gpu/libcuda.so.1", build ? build : ".");
    return dlopen(path, RTLD_NOW | RTLD_GLOBAL) != NULL;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(old_versions_are_refused),
        cmocka_unit_test(a_device_has_to_be_described),
        cmocka_unit_test(a_plan_is_made_once),
        cmocka_unit_test(a_plan_is_bound_to_its_operands),
        cmocka_unit_test(what_breaks_the_contract_fails),
        cmocka_unit_test(what_no_engine_does_is_not_taken),
        cmocka_unit_test(a_convolution_has_its_variants),
        cmocka_unit_test(an_attention_has_its_variants),
        cmocka_unit_test(every_shape_has_a_plan),
    };
    if (!load_libcuda()) {
        fprintf(stderr, "%s\n", dlerror());
        return EXIT_FAILURE;
    }
    int code = published_make("1.3b");
    if (code == 0)
        code = published_make("14b");
    if (code == 0)
        code = cmocka_run_group_tests(tests, NULL, NULL);
    return published_end(code);
}
