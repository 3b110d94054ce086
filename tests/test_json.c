/* io/json.c: types, ranges, defaults and damaged files. */
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

#include "io/file.h"
#include "io/json.h"

struct fixture {
    char folder[64], path[128];
    struct wf_json json;
    struct wf_error err;
};

static void write_file(const struct fixture *f, const void *bytes, size_t count)
{
    FILE *file = fopen(f->path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, count, file), count);
    assert_int_equal(fclose(file), 0);
}

static enum wf_status open_text(struct fixture *f, const char *text)
{
    wf_json_close(&f->json);
    write_file(f, text, strlen(text));
    return wf_json_open(f->path, &f->json, &f->err);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    strcpy(f->folder, "/tmp/weft-json-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    snprintf(f->path, sizeof f->path, "%s/config.json", f->folder);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    wf_json_close(&f->json);
    wf_json_close(&f->json);
    unlink(f->path);
    rmdir(f->folder);
    free(f);
    return 0;
}

static void missing_keys_keep_defaults(void **state)
{
    struct fixture *f = *state;
    int64_t i = 7;
    double d = 0.5;
    bool b = true;
    const char *s = "kept";
    int64_t list[2] = {5, 6};
    int count = 9;
    assert_int_equal(open_text(f, "{\"null\": null}"), WF_OK);
    for (int k = 0; k < 2; k++) {
        const char *key = k ? "null" : "absent";
        assert_int_equal(wf_json_int(&f->json, key, 0, 1, &i, &f->err), WF_OK);
        assert_int_equal(wf_json_double(&f->json, key, 0, 0, &d, &f->err), WF_OK);
        assert_int_equal(wf_json_bool(&f->json, key, &b, &f->err), WF_OK);
        assert_int_equal(wf_json_string(&f->json, key, &s, &f->err), WF_OK);
        assert_int_equal(wf_json_ints(&f->json, key, 0, 9, 2, list, &count, &f->err), WF_OK);
        assert_int_equal(wf_json_require(&f->json, key, &f->err), WF_REFUSED);
        assert_non_null(strstr(f->err.text, key));
        assert_non_null(strstr(f->err.text, f->path));
    }
    assert_int_equal(i, 7);
    assert_true(d == 0.5);
    assert_true(b);
    assert_string_equal(s, "kept");
    assert_int_equal(count, 0);
    assert_int_equal(list[0], 5);
}

static void numbers(void **state)
{
    struct fixture *f = *state;
    int64_t i = 0;
    double d = 0;
    assert_int_equal(open_text(f, "{\"a\": 4.0, \"b\": 4.5, \"c\": 1e300, \"d\": true, \"e\": -3,"
                                  "\"f\": 9223372036854775807, \"g\": \"4\"}"),
                     WF_OK);
    assert_int_equal(wf_json_int(&f->json, "a", 1, 4, &i, &f->err), WF_OK);
    assert_int_equal(i, 4);
    assert_int_equal(wf_json_int(&f->json, "a", 1, 3, &i, &f->err), WF_REFUSED);
    assert_int_equal(wf_json_int(&f->json, "a", 5, 9, &i, &f->err), WF_REFUSED);
    assert_int_equal(wf_json_int(&f->json, "b", 0, 9, &i, &f->err), WF_REFUSED);
    assert_non_null(strstr(f->err.text, "4.5"));
    assert_int_equal(wf_json_int(&f->json, "c", INT64_MIN, INT64_MAX, &i, &f->err), WF_REFUSED);
    assert_int_equal(wf_json_int(&f->json, "d", 0, 9, &i, &f->err), WF_REFUSED);
    assert_int_equal(wf_json_int(&f->json, "g", 0, 9, &i, &f->err), WF_REFUSED);
    assert_int_equal(wf_json_int(&f->json, "f", 0, INT64_MAX, &i, &f->err), WF_OK);
    assert_true(i == INT64_MAX);
    assert_int_equal(wf_json_double(&f->json, "e", -3, 0, &d, &f->err), WF_OK);
    assert_true(d == -3);
    assert_int_equal(wf_json_double(&f->json, "e", -2, 0, &d, &f->err), WF_REFUSED);
    assert_int_equal(wf_json_double(&f->json, "g", -9, 9, &d, &f->err), WF_REFUSED);
}

static void integers_of_any_length(void **state)
{
    struct fixture *f = *state;
    int64_t i = 0;
    assert_int_equal(open_text(f, "{\"model_max_length\": 1000000000000000019884624838656,"
                                  "\"layers\": 24}"),
                     WF_OK);
    assert_int_equal(wf_json_int(&f->json, "layers", 1, 99, &i, &f->err), WF_OK);
    assert_int_equal(i, 24);
    assert_int_equal(wf_json_int(&f->json, "model_max_length", 0, INT64_MAX, &i, &f->err),
                     WF_REFUSED);
}

static void arrays(void **state)
{
    struct fixture *f = *state;
    int64_t ints[3] = {0};
    double doubles[3];
    bool bools[3];
    int count;
    assert_int_equal(open_text(f, "{\"i\": [1, 2.0, 2], \"d\": [0.5, -1], \"b\": [false, true],"
                                  "\"n\": [1, null], \"x\": 3, \"e\": []}"),
                     WF_OK);
    assert_int_equal(wf_json_ints(&f->json, "i", 1, 2, 3, ints, &count, &f->err), WF_OK);
    assert_int_equal(count, 3);
    assert_int_equal(ints[1], 2);
    assert_int_equal(wf_json_ints(&f->json, "i", 1, 2, 2, ints, &count, &f->err), WF_REFUSED);
    assert_int_equal(wf_json_ints(&f->json, "i", 2, 2, 3, ints, &count, &f->err), WF_REFUSED);
    assert_int_equal(wf_json_ints(&f->json, "n", 0, 2, 3, ints, &count, &f->err), WF_REFUSED);
    assert_int_equal(wf_json_ints(&f->json, "x", 0, 9, 3, ints, &count, &f->err), WF_REFUSED);
    assert_int_equal(wf_json_ints(&f->json, "e", 0, 9, 3, ints, &count, &f->err), WF_REFUSED);
    assert_int_equal(wf_json_bools(&f->json, "e", 3, bools, &count, &f->err), WF_REFUSED);
    assert_int_equal(wf_json_doubles(&f->json, "d", 3, doubles, &count, &f->err), WF_OK);
    assert_int_equal(count, 2);
    assert_true(doubles[0] == 0.5 && doubles[1] == -1);
    assert_int_equal(wf_json_bools(&f->json, "b", 3, bools, &count, &f->err), WF_OK);
    assert_true(!bools[0] && bools[1]);
    assert_int_equal(wf_json_bools(&f->json, "d", 3, bools, &count, &f->err), WF_REFUSED);
    assert_int_equal(wf_json_doubles(&f->json, "b", 3, doubles, &count, &f->err), WF_REFUSED);
}

static void what_is_no_object_is_refused(void **state)
{
    struct fixture *f = *state;
    static const char *const texts[] = {
        "",
        "[]",
        "3",
        "{",
        "{\"a\":1,\"a\":2}",
        "{\"a\":1}x",
        "{\"a\":}",
        "{\"a\":1e999}",
        "\xff\xfe{}",
        "{\"\\u0000\":1}",
        "null",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        assert_int_equal(open_text(f, texts[i]), WF_REFUSED);
        assert_non_null(strstr(f->err.text, f->path));
        assert_null(strchr(f->err.text, '\n'));
        assert_null(f->json.root);
    }
    assert_int_equal(wf_json_open(f->folder, &f->json, &f->err), WF_REFUSED);
    assert_int_equal(wf_json_open("/nonexistent/config.json", &f->json, &f->err), WF_REFUSED);
    assert_null(f->json.root);
    char *deep = malloc(200001);
    memset(deep, '[', 200000);
    deep[200000] = '\0';
    assert_int_equal(open_text(f, deep), WF_REFUSED);
    free(deep);
}

static void files_of_other_kinds_are_refused(void **state)
{
    struct fixture *f = *state;
    char *data;
    size_t bytes;
    assert_int_equal(mkfifo(f->path, 0600), 0); /* opening it must not wait for a writer */
    assert_int_equal(wf_json_open(f->path, &f->json, &f->err), WF_REFUSED);
    unlink(f->path);
    write_file(f, "12345", 5);
    assert_int_equal(wf_file_read(f->path, 4, &data, &bytes, &f->err), WF_REFUSED);
    assert_null(data);
    assert_int_equal(wf_file_read(f->path, 5, &data, &bytes, &f->err), WF_OK);
    assert_int_equal(bytes, 5);
    assert_string_equal(data, "12345");
    free(data);
}

/* What is there and cannot be looked at is not taken for what is not there. */
static void a_circle_of_links_is_there(void **state)
{
    struct fixture *f = *state;
    char below[4096];
    unlink(f->path);
    assert_false(wf_file_is_there(f->path));
    assert_int_equal(symlink(f->path, f->path), 0);
    assert_true(wf_file_is_there(f->path));
    unlink(f->path);
    write_file(f, "{}", 2);
    assert_true(wf_file_is_there(f->path));
    snprintf(below, sizeof below, "%s/below", f->path);
    assert_false(wf_file_is_there(below));
}

/* --- building --- */

static int allocations_left;

static void *short_memory(size_t bytes)
{
    return allocations_left-- > 0 ? malloc(bytes) : NULL;
}

static json_t *built(void)
{
    json_t *array = json_array(), *root = json_object();
    for (int i = 0; i < 20; i++)
        array = wf_json_plus(array, json_integer(i));
    root = wf_json_with(root, "array", array);
    return wf_json_joined(root, wf_json_with(json_object(), "text", json_string("a")));
}

/* A document is whole or none, whichever of its allocations fails. */
static void what_lacks_something_is_none(void **state)
{
    (void)state;
    bool whole = false;
    json_set_alloc_funcs(short_memory, free);
    for (int n = 0; n < 1000 && !whole; n++) {
        allocations_left = n;
        json_t *root = built();
        whole = allocations_left >= 0;
        assert_int_equal(root != NULL, whole);
        if (whole) {
            assert_int_equal(json_array_size(json_object_get(root, "array")), 20);
            assert_string_equal(json_string_value(json_object_get(root, "text")), "a");
        }
        json_decref(root);
    }
    json_set_alloc_funcs(malloc, free);
    assert_true(whole);
    assert_null(wf_json_with(NULL, "key", json_true()));
    assert_null(wf_json_with(json_object(), "key", NULL));
    assert_null(wf_json_plus(json_array(), NULL));
    assert_null(wf_json_joined(json_object(), NULL));
    assert_null(wf_json_joined(NULL, json_object()));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(missing_keys_keep_defaults, setup, teardown),
        cmocka_unit_test_setup_teardown(numbers, setup, teardown),
        cmocka_unit_test_setup_teardown(integers_of_any_length, setup, teardown),
        cmocka_unit_test_setup_teardown(arrays, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_no_object_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(files_of_other_kinds_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(a_circle_of_links_is_there, setup, teardown),
        cmocka_unit_test(what_lacks_something_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
