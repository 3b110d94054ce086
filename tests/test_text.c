/* engine/text: html.unescape, prompt_clean and the tokenizer, against what Python gave. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "engine/text/spiece.h"
#include "engine/text/text.h"
#include "io/file.h"
#include "io/json.h"
#include "tests/desk.h"

struct fixture {
    struct desk desk;
    struct wf_tokenizer *tok;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    desk_open(&f->desk, "text");
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    wf_tokenizer_close(&f->tok);
    desk_close(&f->desk);
    free(f);
    return 0;
}

typedef enum wf_status (*text_function)(const char *, struct wf_mem *, char **, struct wf_error *);

static void check(struct fixture *f, text_function function, const char *in, const char *expected)
{
    char *out;
    assert_int_equal(function(in, f->desk.mem, &out, &f->desk.err), WF_OK);
    if (strcmp(out, expected) != 0)
        fail_msg("\"%s\" became \"%s\", expected \"%s\"", in, out, expected);
    wf_free(out);
}

static void check_list(struct fixture *f, const json_t *list, text_function function)
{
    assert_true(json_array_size(list) > 100);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *pair = json_array_get(list, i);
        const char *in = json_string_value(json_object_get(pair, "in"));
        const char *out = json_string_value(json_object_get(pair, "out"));
        if (in && out) /* a text that holds a NUL cannot be a prompt */
            check(f, function, in, out);
    }
}

/* A message whose normalizer's table of replacements has count bytes, the last of them `last`. */
static enum wf_status check_charsmap(size_t count, unsigned char last, struct wf_error *err)
{
    enum { UNITS = 256, ROOM = 4 * UNITS + 64 };
    unsigned char model[ROOM] = {0}, *map = model + 6;
    const size_t field = count + 3;
    model[0] = 3 << 3 | 2;
    model[1] = (unsigned char)(0x80 | (field & 0x7f));
    model[2] = (unsigned char)(field >> 7);
    model[3] = 2 << 3 | 2;
    model[4] = (unsigned char)(0x80 | (count & 0x7f));
    model[5] = (unsigned char)(count >> 7);
    map[1] = 4 * UNITS >> 8;
    map[count - 1] = last;
    return wf_spiece_check(model, 6 + count, "it", err);
}

static void a_sentencepiece_file_is_read_to_its_last_byte(void **state)
{
    struct fixture *f = *state;
    unsigned char model[131] = {15 << 3 | 2, 0x80, 1}; /* a field of exactly 128 bytes */
    assert_int_equal(wf_spiece_check(model, sizeof model, "it", &f->desk.err), WF_OK);
    assert_int_equal(wf_spiece_check(model, sizeof model - 1, "it", &f->desk.err), WF_REFUSED);
    assert_int_equal(check_charsmap(4 + 1024 + 1, 0, &f->desk.err), WF_OK);
    assert_int_equal(check_charsmap(4 + 1024 + 1, 1, &f->desk.err), WF_REFUSED); /* not closed */
    assert_int_equal(check_charsmap(4, 0, &f->desk.err), WF_REFUSED);
    assert_int_equal(check_charsmap(4 + 1024, 0, &f->desk.err), WF_REFUSED); /* no replacement */
}

static void text_is_cleaned_as_python_does(void **state)
{
    struct fixture *f = *state;
    struct wf_json json;
    assert_int_equal(
        wf_json_open(desk_fixture(&f->desk, "vectors/unescape.json"), &json, &f->desk.err), WF_OK);
    check_list(f, json_object_get(json.root, "unescape"), wf_html_unescape);
    check_list(f, json_object_get(json.root, "prompt_clean"), wf_prompt_clean);
    wf_json_close(&json);
}

/* Many scripts, widths, quotes, controls and references in any mixture, as ftfy makes them plain.
 */
static void text_is_fixed_as_ftfy_does(void **state)
{
    struct fixture *f = *state;
    struct wf_json json;
    const char *other =
        getenv("WEFT_TEST_TEXTS"); /* more of them, of tests/oracle/vectors_fix.py */
    const char *path = other ? other : desk_fixture(&f->desk, "vectors/prompt_fix.json");
    assert_int_equal(wf_json_open(path, &json, &f->desk.err), WF_OK);
    check_list(f, json_object_get(json.root, "prompt_clean"), wf_prompt_clean);
    wf_json_close(&json);
}

static void long_references_do_no_harm(void **state)
{
    struct fixture *f = *state;
    enum { LENGTH = 100000 };
    char *text = malloc(LENGTH + 16), *out;
    strcpy(text, "&#");
    memset(text + 2, '9', LENGTH);
    strcpy(text + LENGTH, ";");
    check(f, wf_html_unescape, text, "\xef\xbf\xbd");
    for (int i = 0; i < LENGTH / 5; i++) /* grows from 5 bytes to 6 */
        memcpy(text + (ptrdiff_t)5 * i, "&nGt;", 5);
    text[LENGTH] = '\0';
    assert_int_equal(wf_html_unescape(text, f->desk.mem, &out, &f->desk.err), WF_OK);
    assert_int_equal(strlen(out), LENGTH / 5 * 6);
    wf_free(out);
    free(text);
}

static void other_encodings_are_refused(void **state)
{
    struct fixture *f = *state;
    static const char *const texts[] = {
        "\xff",     "caf\xe9",      "\xc0\x80",         "\xe0\x80\xaf",
        "\xe2\x82", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xf8\x88\x80\x80",
        "\x80",     "a\xc3",        "\xf0\x8f\xbf\xbf", "\xf0\x9f\x98",
    };
    char *out;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        assert_int_equal(wf_html_unescape(texts[i], f->desk.mem, &out, &f->desk.err), WF_REFUSED);
        assert_null(out);
        assert_int_equal(wf_prompt_clean(texts[i], f->desk.mem, &out, &f->desk.err), WF_REFUSED);
        assert_null(out);
    }
}

static void cleaning_survives_failed_allocations(void **state)
{
    struct fixture *f = *state;
    char *out = NULL;
    for (int nth = 1; !out; nth++) {
        wf_mem_fail_at(f->desk.mem, nth);
        const enum wf_status status =
            wf_prompt_clean(" a &amp; b ", f->desk.mem, &out, &f->desk.err);
        assert_int_equal(status, nth < 5 ? WF_FAILED : WF_OK);
    }
    wf_mem_fail_at(f->desk.mem, 0);
    assert_string_equal(out, "a & b");
    wf_free(out);
}

static const char *const cases[] = {"basic",    "sharded",      "bf16", "long_prompt",
                                    "one_step", "single_frame", "euler"};
enum { CASES = sizeof cases / sizeof *cases, MAX_IDS = 512 };

static void check_ids(struct fixture *f, const char *text, const json_t *expected)
{
    char *clean;
    int32_t ids[MAX_IDS];
    int count, all;
    assert_int_equal(wf_prompt_clean(text, f->desk.mem, &clean, &f->desk.err), WF_OK);
    assert_int_equal(wf_tokenizer_encode(f->tok, clean, ids, MAX_IDS, &count, &all, &f->desk.err),
                     WF_OK);
    assert_int_equal(count, json_array_size(expected));
    assert_int_equal(count, all < MAX_IDS ? all : MAX_IDS);
    for (int i = 0; i < count; i++)
        assert_int_equal(ids[i], json_integer_value(json_array_get(expected, (size_t)i)));
    for (int max = 1; max <= count; max++) { /* cut short, the last is still </s> */
        int fewer, whole;
        assert_int_equal(wf_tokenizer_encode(f->tok, clean, ids, max, &fewer, &whole, &f->desk.err),
                         WF_OK);
        assert_int_equal(fewer, max);
        assert_int_equal(whole, all);
        assert_int_equal(ids[max - 1], 1);
    }
    wf_free(clean);
}

/* Both texts of a case by the tokenizer in f->tok. */
static void check_case(struct fixture *f, const char *name)
{
    struct wf_json request, expected;
    assert_int_equal(
        wf_json_open(desk_fixture(&f->desk, "%s/case.json", name), &request, &f->desk.err), WF_OK);
    assert_int_equal(
        wf_json_open(desk_fixture(&f->desk, "%s/expect/ids.json", name), &expected, &f->desk.err),
        WF_OK);
    const char *prompt = "", *negative = "";
    assert_int_equal(wf_json_string(&request, "prompt", &prompt, &f->desk.err), WF_OK);
    assert_int_equal(wf_json_string(&request, "negative_prompt", &negative, &f->desk.err), WF_OK);
    check_ids(f, prompt, json_object_get(expected.root, "prompt_ids"));
    if (json_object_get(expected.root, "negative_ids"))
        check_ids(f, negative, json_object_get(expected.root, "negative_ids"));
    wf_json_close(&request);
    wf_json_close(&expected);
}

static void prompts_become_the_pipelines_tokens(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < CASES; i++) {
        const char *folder = desk_fixture(&f->desk, "%s/model/tokenizer", cases[i]);
        assert_int_equal(wf_tokenizer_open(folder, f->desk.mem, &f->tok, &f->desk.err), WF_OK);
        assert_true(wf_tokenizer_size(f->tok) > 3);
        check_case(f, cases[i]);
        wf_tokenizer_close(&f->tok);
    }
}

static void copy(const char *from, const char *to, size_t most)
{
    char *data;
    size_t bytes;
    struct wf_error err;
    assert_int_equal(wf_file_read(from, (size_t)64 << 20, &data, &bytes, &err), WF_OK);
    FILE *file = fopen(to, "wb");
    assert_non_null(file);
    bytes = bytes < most ? bytes : most;
    assert_int_equal(fwrite(data, 1, bytes, file), bytes);
    assert_int_equal(fclose(file), 0);
    free(data);
}

static void tokenizer_json_alone_is_enough(void **state)
{
    struct fixture *f = *state;
    char json[128];
    int used = 0;
    snprintf(json, sizeof json, "%s/tokenizer.json", f->desk.folder);
    for (int i = 0; i < CASES; i++) {
        if (access(desk_fixture(&f->desk, "%s/model/tokenizer/tokenizer.json", cases[i]), R_OK) !=
            0)
            continue;
        copy(f->desk.path, json, SIZE_MAX);
        assert_int_equal(wf_tokenizer_open(f->desk.folder, f->desk.mem, &f->tok, &f->desk.err),
                         WF_OK);
        check_case(f, cases[i]);
        wf_tokenizer_close(&f->tok);
        used++;
    }
    assert_true(used > 2);
}

static void missing_tokenizers_are_refused(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(wf_tokenizer_open(f->desk.folder, f->desk.mem, &f->tok, &f->desk.err),
                     WF_REFUSED);
    assert_non_null(strstr(f->desk.err.text, "spiece.model"));
    assert_null(f->tok);
    assert_int_equal(wf_tokenizer_open("/nonexistent", f->desk.mem, &f->tok, &f->desk.err),
                     WF_REFUSED);
}

/* Opens what is in the folder and, where that succeeds, encodes with it. */
static enum wf_status try_folder(struct fixture *f)
{
    const enum wf_status status =
        wf_tokenizer_open(f->desk.folder, f->desk.mem, &f->tok, &f->desk.err);
    if (status == WF_OK) {
        int32_t ids[64];
        int count;
        const enum wf_status encoded =
            wf_tokenizer_encode(f->tok,
                                "A caf\xc3\xa9, \xef\xbd\x81 \xe2\x91\xa0 \xe4\xbd\xa0 e\xcc\x81 "
                                "1\xc2\xbd \xef\xac\x83",
                                ids, 64, &count, NULL, &f->desk.err);
        assert_true(encoded == WF_OK || encoded == WF_FAILED);
        assert_true(encoded != WF_OK || (count >= 1 && count <= 64));
    } else {
        assert_int_equal(status, WF_REFUSED);
        assert_null(strchr(f->desk.err.text, '\n'));
    }
    wf_tokenizer_close(&f->tok);
    return status;
}

static uint32_t next_random(uint32_t *random)
{
    *random = *random * 1664525u + 1013904223u;
    return *random >> 8;
}

/* Writes count damaged copies of a case's file under the same name, and opens each. */
static void damage(struct fixture *f, const char *case_name, const char *name, int count)
{
    char path[128], *data;
    size_t bytes;
    uint32_t random = 7;
    snprintf(path, sizeof path, "%s/%s", f->desk.folder, name);
    desk_fixture(&f->desk, "%s/model/tokenizer/%s", case_name, name);
    assert_int_equal(wf_file_read(f->desk.path, (size_t)64 << 20, &data, &bytes, &f->desk.err),
                     WF_OK);
    for (int round = 0; round < count; round++) {
        const size_t at = next_random(&random) % bytes;
        const char saved = data[at];
        const bool cut = round % 8 == 0;
        data[at] = (char)(round & 1 ? saved ^ (1 << next_random(&random) % 8)
                                    : (int)(next_random(&random) % 256));
        FILE *file = fopen(path, "wb");
        assert_non_null(file);
        assert_int_equal(fwrite(data, 1, cut ? at : bytes, file), cut ? at : bytes);
        assert_int_equal(fclose(file), 0);
        (void)try_folder(f);
        data[at] = saved;
    }
    unlink(path);
    free(data);
}

static void no_damage_of_a_tokenizer_is_a_crash(void **state)
{
    struct fixture *f = *state;
    damage(f, "long_prompt", "spiece.model", 400); /* has a table of character replacements */
    damage(f, "basic", "spiece.model", 2000);
    damage(f, "long_prompt", "tokenizer.json", 200);
    damage(f, "basic", "tokenizer.json", 1500);
}

static void other_tokenizer_files_are_refused(void **state)
{
    struct fixture *f = *state;
    static const char *const texts[] = {
        "",
        "[]",
        "{}",
        "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[]}}",
        "{\"model\":{\"type\":\"Unigram\",\"unk_id\":null,\"vocab\":[[\"a\",0]]}}",
        "{\"model\":{\"type\":\"Unigram\",\"unk_id\":1,\"vocab\":[[\"a\",0]]}}",
        "{\"model\":{\"type\":\"Unigram\",\"unk_id\":-1,\"vocab\":[[\"a\",0]]}}",
        "{\"model\":{\"type\":\"Unigram\",\"unk_id\":0,\"vocab\":[]}}",
        "{\"model\":{\"type\":\"Unigram\",\"unk_id\":0,\"vocab\":[[\"u\",0],[\"\",0]]}}",
        "{\"model\":{\"type\":\"Unigram\",\"unk_id\":0,\"vocab\":[[\"u\",0],[\"a\"]]}}",
        "{\"model\":{\"type\":\"Unigram\",\"unk_id\":0,\"vocab\":[[\"u\",0],[\"a\",-1]]}}", /* no
                                                                                               </s>
                                                                                             */
        "{\"model\":{\"type\":\"Unigram\",\"unk_id\":0,\"vocab\":[[\"u\",0],[\"</s>\",0],[\"a\",0],"
        "[\"a\",0]]}}",
        "{\"model\":{\"type\":\"Unigram\",\"unk_id\":0,\"vocab\":[[\"u\",0],[\"</"
        "s>\",0],[\"a\",0]],"
        "\"byte_fallback\":true}}",
        "{\"model\":{\"type\":\"Unigram\",\"unk_id\":0,\"vocab\":[[\"u\",0],[\"</"
        "s>\",0],[\"a\",0]]},"
        "\"normalizer\":{\"type\":\"Lowercase\"}}",
        "{\"model\":{\"type\":\"Unigram\",\"unk_id\":0,\"vocab\":[[\"u\",0],[\"</"
        "s>\",0],[\"a\",0]]},"
        "\"normalizer\":{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"AB!=\"}}",
        "{\"model\":{\"type\":\"Unigram\",\"unk_id\":0,\"vocab\":[[\"u\",0],[\"</"
        "s>\",0],[\"a\",0]]},"
        "\"normalizer\":{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"AAAAAAAA\"}}",
        "{\"model\":{\"type\":\"Unigram\",\"unk_id\":0,\"vocab\":[[\"u\",0],[\"</"
        "s>\",0],[\"a\",0]]},"
        "\"pre_tokenizer\":{\"type\":\"ByteLevel\"}}",
    };
    char path[128];
    snprintf(path, sizeof path, "%s/tokenizer.json", f->desk.folder);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        FILE *file = fopen(path, "wb");
        assert_non_null(file);
        fputs(texts[i], file);
        assert_int_equal(fclose(file), 0);
        if (try_folder(f) != WF_REFUSED)
            fail_msg("accepted: %s", texts[i]);
    }
}

static void opening_survives_failed_allocations(void **state)
{
    struct fixture *f = *state;
    char json[128];
    snprintf(json, sizeof json, "%s/tokenizer.json", f->desk.folder);
    copy(desk_fixture(&f->desk, "long_prompt/model/tokenizer/tokenizer.json"), json, SIZE_MAX);
    for (int nth = 1; !f->tok; nth++) {
        wf_mem_fail_at(f->desk.mem, nth);
        const enum wf_status status =
            wf_tokenizer_open(f->desk.folder, f->desk.mem, &f->tok, &f->desk.err);
        assert_int_equal(status, f->tok ? WF_OK : WF_FAILED);
        assert_true(nth < 10);
    }
    wf_mem_fail_at(f->desk.mem, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_sentencepiece_file_is_read_to_its_last_byte, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(text_is_cleaned_as_python_does, setup, teardown),
        cmocka_unit_test_setup_teardown(text_is_fixed_as_ftfy_does, setup, teardown),
        cmocka_unit_test_setup_teardown(long_references_do_no_harm, setup, teardown),
        cmocka_unit_test_setup_teardown(other_encodings_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(cleaning_survives_failed_allocations, setup, teardown),
        cmocka_unit_test_setup_teardown(prompts_become_the_pipelines_tokens, setup, teardown),
        cmocka_unit_test_setup_teardown(tokenizer_json_alone_is_enough, setup, teardown),
        cmocka_unit_test_setup_teardown(missing_tokenizers_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(other_tokenizer_files_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(no_damage_of_a_tokenizer_is_a_crash, setup, teardown),
        cmocka_unit_test_setup_teardown(opening_survives_failed_allocations, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
