/* The UMT5 encoder against transformers, on the models of tests/fixtures. */
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

#include "engine/encoders/umt5.h"
#include "io/json.h"
#include "io/weights/safetensors.h"
#include "tests/desk.h"

struct fixture {
    struct desk desk;
    struct wf_backend *be;
    struct wf_checkpoint *ckpt;
    struct wf_residency *weights;
    struct wf_umt5 *enc;
    struct wf_arena arena;
};

static const char *const cases[] = {"basic",    "sharded",      "bf16", "long_prompt",
                                    "one_step", "single_frame", "euler"};
enum { CASES = sizeof cases / sizeof *cases, MAX_IDS = 512 };

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    desk_open(&f->desk, "umt5");
    assert_int_equal(wf_backend_open("ref", NULL, 1, f->desk.mem, NULL, &f->desk.err, &f->be),
                     WF_OK);
    wf_arena_init(&f->arena, wf_backend_source(f->be));
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    wf_residency_close(&f->weights);
    wf_umt5_close(&f->enc);
    wf_checkpoint_close(&f->ckpt);
    wf_arena_close(&f->arena);
    wf_backend_close(&f->be);
    desk_close(&f->desk);
    free(f);
    return 0;
}

static void buckets_are_torchs(void **state)
{
    struct fixture *f = *state;
    struct wf_json json;
    assert_int_equal(
        wf_json_open(desk_fixture(&f->desk, "vectors/bucket.json"), &json, &f->desk.err), WF_OK);
    const json_t *tables = json_object_get(json.root, "tables");
    assert_true(json_array_size(tables) >= 2);
    for (size_t t = 0; t < json_array_size(tables); t++) {
        const json_t *table = json_array_get(tables, t);
        const json_t *expected = json_object_get(table, "buckets");
        const json_int_t count = json_integer_value(json_object_get(table, "num_buckets"));
        const json_int_t distance = json_integer_value(json_object_get(table, "max_distance"));
        const json_int_t first = json_integer_value(json_object_get(table, "first"));
        assert_true(json_array_size(expected) > 1000);
        for (size_t i = 0; i < json_array_size(expected); i++)
            assert_int_equal(wf_umt5_bucket(first + (json_int_t)i, count, distance),
                             json_integer_value(json_array_get(expected, i)));
    }
    wf_json_close(&json);
    static const int starts[] = {8, 12, 16, 23, 32, 46, 64, 91}; /* of buckets 8 to 15 */
    for (int i = 0; i < 8; i++) {
        assert_int_equal(wf_umt5_bucket(-starts[i], 32, 128), 8 + i);
        assert_int_equal(wf_umt5_bucket(1 - starts[i], 32, 128), 7 + i);
    }
    assert_int_equal(wf_umt5_bucket(1000000, 32, 128), 31);
}

static enum wf_status open_encoder(struct fixture *f, enum wf_offload offload)
{
    const struct wf_policy policy = {offload, 0};
    assert_int_equal(
        wf_residency_open(policy, f->ckpt, f->be, f->desk.mem, &f->weights, &f->desk.err), WF_OK);
    return wf_umt5_open(f->weights, f->desk.mem, &f->enc, &f->desk.err);
}

static void open_case(struct fixture *f, const char *name, enum wf_offload offload)
{
    const char *folder = desk_fixture(&f->desk, "%s/model/text_encoder", name);
    assert_int_equal(wf_checkpoint_open(folder, "model", NULL, f->desk.mem, &f->ckpt, &f->desk.err),
                     WF_OK);
    const enum wf_status status = open_encoder(f, offload);
    if (status != WF_OK)
        fail_msg("%s", f->desk.err.text);
}

static void close_case(struct fixture *f)
{
    wf_residency_close(&f->weights);
    wf_umt5_close(&f->enc);
    wf_checkpoint_close(&f->ckpt);
}

/* The ids that the case recorded under key; their count, 0 when there are none. */
static int read_ids(struct fixture *f, const char *name, const char *key, int32_t *ids)
{
    struct wf_json json;
    int64_t wide[MAX_IDS];
    int count;
    assert_int_equal(
        wf_json_open(desk_fixture(&f->desk, "%s/expect/ids.json", name), &json, &f->desk.err),
        WF_OK);
    assert_int_equal(wf_json_ints(&json, key, 0, INT32_MAX, MAX_IDS, wide, &count, &f->desk.err),
                     WF_OK);
    for (int i = 0; i < count; i++)
        ids[i] = (int32_t)wide[i];
    wf_json_close(&json);
    return count;
}

/* Relative L2 distance of the first rows of the case's recorded embeddings; the rest is zeros. */
static double distance(struct fixture *f, const char *name, const char *tensor,
                       const struct wf_tensor *out)
{
    struct wf_st_file *file;
    desk_fixture(&f->desk, "%s/expect/%s.safetensors", name, tensor);
    assert_int_equal(wf_st_open(f->desk.path, f->desk.mem, &file, &f->desk.err), WF_OK);
    const struct wf_st_tensor *t = wf_st_find(file, tensor);
    assert_non_null(t);
    assert_int_equal(t->dtype, WF_F32);
    assert_int_equal(t->rank, 3);
    assert_int_equal(t->dim[2], out->dim[1]);
    assert_true(t->dim[1] >= out->dim[0]);
    float *expected;
    assert_int_equal(wf_st_read_f32(t, f->desk.mem, &expected, &f->desk.err), WF_OK);
    const float *actual = out->data;
    const int64_t live = wf_tensor_count(out);
    double error = 0, norm = 0;
    for (int64_t i = 0; i < live; i++) {
        error += pow((double)actual[i] - (double)expected[i], 2);
        norm += pow((double)expected[i], 2);
    }
    for (int64_t i = live; i < t->dim[1] * t->dim[2]; i++)
        assert_true(expected[i] == 0.0f);
    wf_free(expected);
    wf_st_close(&file);
    return sqrt(error / norm);
}

static struct wf_tensor new_output(struct fixture *f, int count)
{
    struct wf_tensor out = {0};
    assert_int_equal(
        wf_tensor_new(&f->arena, WF_F32, &out, &f->desk.err, WF_DIMS(count, wf_umt5_width(f->enc))),
        WF_OK);
    return out;
}

static enum wf_status encode(struct fixture *f, const int32_t *ids, int count, struct wf_tensor out,
                             struct wf_error *err)
{
    const struct wf_umt5_text text = {ids, count, out};
    return wf_umt5_encode(f->enc, &text, 1, &f->arena, err);
}

static void embeddings_are_transformers(void **state)
{
    struct fixture *f = *state;
    static const char *const texts[][2] = {{"prompt_ids", "prompt_embeds"},
                                           {"negative_ids", "negative_prompt_embeds"}};
    int compared = 0;
    for (int i = 0; i < CASES; i++) {
        open_case(f, cases[i], WF_OFFLOAD_NONE);
        for (int k = 0; k < 2; k++) {
            int32_t ids[MAX_IDS];
            const int count = read_ids(f, cases[i], texts[k][0], ids);
            desk_fixture(&f->desk, "%s/expect/%s.safetensors", cases[i], texts[k][1]);
            if (!count || access(f->desk.path, R_OK) != 0)
                continue;
            const struct wf_arena_mark mark = wf_arena_mark(&f->arena);
            const struct wf_tensor out = new_output(f, count);
            assert_int_equal(encode(f, ids, count, out, &f->desk.err), WF_OK);
            const double error = distance(f, cases[i], texts[k][1], &out);
            print_message("%s %s: relative L2 %.2g\n", cases[i], texts[k][1], error);
            assert_true(error <= 1e-5);
            wf_arena_release(&f->arena, mark);
            compared++;
        }
        close_case(f);
    }
    assert_true(compared >= CASES);
}

static void policies_give_the_same_bits(void **state)
{
    struct fixture *f = *state;
    float *first = NULL;
    int32_t ids[MAX_IDS];
    for (int policy = WF_OFFLOAD_NONE; policy <= WF_OFFLOAD_MODEL; policy++) {
        open_case(f, "basic", (enum wf_offload)policy);
        const int count = read_ids(f, "basic", "prompt_ids", ids);
        const size_t empty = wf_mem_live(f->desk.mem, WF_MEM_WEIGHTS);
        const struct wf_arena_mark mark = wf_arena_mark(&f->arena);
        const struct wf_tensor out = new_output(f, count);
        for (int again = 0; again < 2; again++) {
            memset(out.data, 0xff, wf_tensor_bytes(&out));
            assert_int_equal(encode(f, ids, count, out, &f->desk.err), WF_OK);
            if (!first) {
                first = malloc(wf_tensor_bytes(&out));
                memcpy(first, out.data, wf_tensor_bytes(&out));
            }
            assert_memory_equal(first, out.data, wf_tensor_bytes(&out));
            wf_residency_stage_end(f->weights);
            const bool held = wf_mem_live(f->desk.mem, WF_MEM_WEIGHTS) > empty;
            assert_true(held == (policy == WF_OFFLOAD_NONE));
        }
        wf_arena_release(&f->arena, mark);
        close_case(f);
    }
    free(first);
}

static void texts_in_one_call_are_texts_alone(void **state)
{
    struct fixture *f = *state;
    enum { TEXTS = 3 };
    static const int32_t ids[TEXTS][6] = {{5, 6, 7, 8, 9, 1}, {1}, {4, 9, 3, 1}};
    static const int counts[TEXTS] = {6, 1, 4};
    struct wf_umt5_text texts[TEXTS];
    open_case(f, "basic", WF_OFFLOAD_MODEL);
    for (int i = 0; i < TEXTS; i++)
        texts[i] = (struct wf_umt5_text){ids[i], counts[i], new_output(f, counts[i])};
    assert_int_equal(wf_umt5_encode(f->enc, texts, TEXTS, &f->arena, &f->desk.err), WF_OK);
    for (int i = 0; i < TEXTS; i++) {
        const struct wf_tensor alone = new_output(f, counts[i]);
        assert_int_equal(encode(f, ids[i], counts[i], alone, &f->desk.err), WF_OK);
        assert_memory_equal(alone.data, texts[i].out.data, wf_tensor_bytes(&alone));
    }
}

/* Of a text encoder larger than all else, one layer at a time is in memory. */
static void one_layer_is_held_at_a_time(void **state)
{
    struct fixture *f = *state;
    int32_t ids[MAX_IDS];
    for (int policy = WF_OFFLOAD_NONE; policy <= WF_OFFLOAD_MODEL; policy++) {
        open_case(f, "basic", (enum wf_offload)policy);
        const int count = read_ids(f, "basic", "prompt_ids", ids);
        const struct wf_arena_mark mark = wf_arena_mark(&f->arena);
        const struct wf_tensor out = new_output(f, count);
        assert_int_equal(encode(f, ids, count, out, &f->desk.err), WF_OK); /* the arena is grown */
        wf_residency_stage_end(f->weights);
        const size_t before = wf_mem_live_all(f->desk.mem);
        wf_mem_peak_reset(f->desk.mem);
        assert_int_equal(encode(f, ids, count, out, &f->desk.err), WF_OK);
        const size_t weights = wf_checkpoint_bytes(f->ckpt);
        const size_t peak = wf_mem_peak(f->desk.mem) - before;
        assert_true(policy == WF_OFFLOAD_NONE || peak < weights);
        wf_arena_release(&f->arena, mark);
        close_case(f);
    }
}

static void bad_calls_are_refused(void **state)
{
    struct fixture *f = *state;
    open_case(f, "basic", WF_OFFLOAD_NONE);
    const struct wf_tensor out = new_output(f, 2);
    const int32_t outside[] = {1, wf_umt5_vocabulary(f->enc)}, negative[] = {-1, 1};
    assert_int_equal(encode(f, outside, 2, out, &f->desk.err), WF_REFUSED);
    assert_int_equal(encode(f, negative, 2, out, &f->desk.err), WF_REFUSED);
    assert_int_equal(encode(f, outside, 1, out, &f->desk.err), WF_FAILED);
    assert_int_equal(encode(f, outside, 0, out, &f->desk.err), WF_FAILED);
    assert_int_equal(wf_umt5_encode(f->enc, NULL, 0, &f->arena, &f->desk.err), WF_FAILED);
}

static void encoding_survives_failed_allocations(void **state)
{
    struct fixture *f = *state;
    const int32_t ids[] = {5, 6, 7, 1};
    open_case(f, "single_frame", WF_OFFLOAD_MODEL);
    const struct wf_arena_mark start = wf_arena_mark(&f->arena);
    const size_t empty = wf_mem_live(f->desk.mem, WF_MEM_WEIGHTS);
    enum wf_status status = WF_FAILED;
    int nth = 1;
    for (; status != WF_OK; nth++) {
        struct wf_error err = {0};
        const struct wf_tensor out = new_output(f, 4);
        wf_mem_fail_at(f->desk.mem, nth);
        status = encode(f, ids, 4, out, &err);
        wf_mem_fail_at(f->desk.mem, 0);
        assert_true(status == WF_OK || (status == WF_FAILED && err.text[0]));
        wf_residency_stage_end(f->weights);
        assert_int_equal(wf_mem_live(f->desk.mem, WF_MEM_WEIGHTS), empty);
        wf_arena_release(&f->arena, start);
        assert_true(nth < 1000);
    }
    assert_true(nth > 5);
}

static void write_config(const struct fixture *f, const char *text)
{
    char path[128];
    snprintf(path, sizeof path, "%s/config.json", f->desk.folder);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

static void bad_configurations_are_refused(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *text, *word; /* that the message has */
    } rows[] = {
        {"{\"d_model\":0}", "d_model"},
        {"{\"d_model\":-8}", "d_model"},
        {"{\"d_model\":\"512\"}", "d_model"},
        {"{\"d_model\":1e30}", "d_model"},
        {"{\"num_heads\":0}", "num_heads"},
        {"{\"num_heads\":2147483648}", "num_heads"},
        {"{\"num_layers\":0}", "num_layers"},
        {"{\"num_layers\":1000000000}", "num_layers"},
        {"{\"relative_attention_num_buckets\":2}", "relative_attention_num_buckets"},
        {"{\"relative_attention_max_distance\":8}", "relative_attention_max_distance"},
        {"{\"layer_norm_epsilon\":-1}", "layer_norm_epsilon"},
        {"{\"layer_norm_epsilon\":null,\"feed_forward_proj\":\"relu\"}", "feed_forward_proj"},
        {"{\"feed_forward_proj\":\"gated-silu\"}", "feed_forward_proj"},
        {"{}", "shared.weight"},
    };
    char path[128];
    snprintf(path, sizeof path, "%s/model.safetensors", f->desk.folder);
    const float one = 1;
    assert_int_equal(wf_st_write_f32(path, "shared.weight", &one, 2, (const int64_t[]){1, 1},
                                     f->desk.mem, &f->desk.err),
                     WF_OK);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        write_config(f, rows[i].text);
        assert_int_equal(
            wf_checkpoint_open(f->desk.folder, "model", NULL, f->desk.mem, &f->ckpt, &f->desk.err),
            WF_OK);
        assert_int_equal(open_encoder(f, WF_OFFLOAD_NONE), WF_REFUSED);
        if (!strstr(f->desk.err.text, rows[i].word))
            fail_msg("%s: %s", rows[i].text, f->desk.err.text);
        assert_null(f->enc);
        wf_residency_close(&f->weights);
        wf_checkpoint_close(&f->ckpt);
    }
    /* The last: the defaults meet a tiny table. */
    assert_non_null(strstr(f->desk.err.text, "[250112, 512]"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(buckets_are_torchs, setup, teardown),
        cmocka_unit_test_setup_teardown(embeddings_are_transformers, setup, teardown),
        cmocka_unit_test_setup_teardown(policies_give_the_same_bits, setup, teardown),
        cmocka_unit_test_setup_teardown(texts_in_one_call_are_texts_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(one_layer_is_held_at_a_time, setup, teardown),
        cmocka_unit_test_setup_teardown(bad_calls_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(encoding_survives_failed_allocations, setup, teardown),
        cmocka_unit_test_setup_teardown(bad_configurations_are_refused, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
