#include "io/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/file.h"

static const size_t max_bytes = (size_t)64 << 20;

static json_t *parse(const char *text, size_t bytes, json_error_t *error)
{
    json_t *root = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, error);
    /* Python writes integers of any length (a tokenizer's model_max_length of 10^30). */
    if (!root && json_error_code(error) == json_error_numeric_overflow)
        root = json_loadb(text, bytes, JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL, error);
    return root;
}

enum wf_status wf_json_open(const char *path, struct wf_json *out, struct wf_error *err)
{
    *out = (struct wf_json){0};
    if (strlen(path) >= sizeof out->path)
        return wf_fail(err, WF_REFUSED, "%s: path too long; use a shorter one", path);
    char *text;
    size_t bytes;
    WF_TRY(wf_file_read(path, max_bytes, &text, &bytes, err));
    json_error_t error;
    json_t *root = parse(text, bytes, &error);
    free(text);
    if (!root && json_error_code(&error) == json_error_out_of_memory)
        return wf_fail_memory(err, path, bytes);
    if (!root)
        return wf_fail(err, WF_REFUSED, "%s: not JSON (line %d: %s); download the file again", path,
                       error.line, error.text);
    if (!json_is_object(root)) {
        json_decref(root);
        return wf_fail(err, WF_REFUSED, "%s: not a JSON object; download the file again", path);
    }
    out->root = root;
    snprintf(out->path, sizeof out->path, "%s", path);
    return WF_OK;
}

void wf_json_close(struct wf_json *json)
{
    json_decref(json->root);
    json->root = NULL;
}

/* The value of a key; NULL when it is missing or null. */
static const json_t *value_of(const struct wf_json *json, const char *key)
{
    const json_t *value = json_object_get(json->root, key);
    return json_is_null(value) ? NULL : value;
}

static enum wf_status unexpected(const struct wf_json *json, const char *key, const json_t *found,
                                 const char *expected, struct wf_error *err)
{
    char *text = json_dumps(found, JSON_ENCODE_ANY | JSON_COMPACT);
    wf_fail(err, WF_REFUSED, "%s: \"%s\" holds %.60s, expected %s; mend or download the file again",
            json->path, key, text ? text : "a value", expected);
    free(text);
    return WF_REFUSED;
}

static enum wf_status get_int(const struct wf_json *json, const char *key, const json_t *value,
                              int64_t low, int64_t high, int64_t *out, struct wf_error *err)
{
    int64_t number = 0;
    bool is_integer = json_is_integer(value);
    if (is_integer) {
        number = json_integer_value(value);
    } else if (json_is_real(value)) {
        const double real = json_real_value(value);
        is_integer = floor(real) == real && real >= -0x1p63 && real < 0x1p63;
        if (is_integer)
            number = (int64_t)real;
    }
    if (!is_integer || number < low || number > high) {
        char expected[96];
        snprintf(expected, sizeof expected, "an integer from %lld to %lld", (long long)low,
                 (long long)high);
        return unexpected(json, key, value, expected, err);
    }
    *out = number;
    return WF_OK;
}

static enum wf_status get_double(const struct wf_json *json, const char *key, const json_t *value,
                                 double low, double high, double *out, struct wf_error *err)
{
    const double number = json_number_value(value);
    if (!json_is_number(value) || !(number >= low && number <= high)) {
        char expected[96];
        snprintf(expected, sizeof expected, "a number from %g to %g", low, high);
        return unexpected(json, key, value, expected, err);
    }
    *out = number;
    return WF_OK;
}

static enum wf_status get_bool(const struct wf_json *json, const char *key, const json_t *value,
                               bool *out, struct wf_error *err)
{
    if (!json_is_boolean(value))
        return unexpected(json, key, value, "true or false", err);
    *out = json_is_true(value);
    return WF_OK;
}

enum wf_status wf_json_int(const struct wf_json *json, const char *key, int64_t low, int64_t high,
                           int64_t *out, struct wf_error *err)
{
    const json_t *value = value_of(json, key);
    return value ? get_int(json, key, value, low, high, out, err) : WF_OK;
}

enum wf_status wf_json_double(const struct wf_json *json, const char *key, double low, double high,
                              double *out, struct wf_error *err)
{
    const json_t *value = value_of(json, key);
    return value ? get_double(json, key, value, low, high, out, err) : WF_OK;
}

enum wf_status wf_json_bool(const struct wf_json *json, const char *key, bool *out,
                            struct wf_error *err)
{
    const json_t *value = value_of(json, key);
    return value ? get_bool(json, key, value, out, err) : WF_OK;
}

enum wf_status wf_json_string(const struct wf_json *json, const char *key, const char **out,
                              struct wf_error *err)
{
    const json_t *value = value_of(json, key);
    if (!value)
        return WF_OK;
    if (!json_is_string(value))
        return unexpected(json, key, value, "a string", err);
    *out = json_string_value(value);
    return WF_OK;
}

/* *array is NULL when the key is missing; otherwise it has *count elements, at most max. */
static enum wf_status get_array(const struct wf_json *json, const char *key, int max,
                                const json_t **array, int *count, struct wf_error *err)
{
    *count = 0;
    *array = value_of(json, key);
    if (!*array)
        return WF_OK;
    if (json_array_size(*array) < 1 || json_array_size(*array) > (size_t)max) {
        char expected[96];
        snprintf(expected, sizeof expected, "an array of 1 to %d values", max);
        return unexpected(json, key, *array, expected, err);
    }
    *count = (int)json_array_size(*array);
    return WF_OK;
}

enum wf_status wf_json_ints(const struct wf_json *json, const char *key, int64_t low, int64_t high,
                            int max, int64_t *out, int *count, struct wf_error *err)
{
    const json_t *array;
    WF_TRY(get_array(json, key, max, &array, count, err));
    for (int i = 0; i < *count; i++)
        WF_TRY(get_int(json, key, json_array_get(array, (size_t)i), low, high, &out[i], err));
    return WF_OK;
}

enum wf_status wf_json_doubles(const struct wf_json *json, const char *key, int max, double *out,
                               int *count, struct wf_error *err)
{
    const json_t *array;
    WF_TRY(get_array(json, key, max, &array, count, err));
    for (int i = 0; i < *count; i++)
        WF_TRY(get_double(json, key, json_array_get(array, (size_t)i), -HUGE_VAL, HUGE_VAL, &out[i],
                          err));
    return WF_OK;
}

enum wf_status wf_json_bools(const struct wf_json *json, const char *key, int max, bool *out,
                             int *count, struct wf_error *err)
{
    const json_t *array;
    WF_TRY(get_array(json, key, max, &array, count, err));
    for (int i = 0; i < *count; i++)
        WF_TRY(get_bool(json, key, json_array_get(array, (size_t)i), &out[i], err));
    return WF_OK;
}

bool wf_json_is_there(const struct wf_json *json, const char *key)
{
    return value_of(json, key);
}

enum wf_status wf_json_require(const struct wf_json *json, const char *key, struct wf_error *err)
{
    if (value_of(json, key))
        return WF_OK;
    return wf_fail(err, WF_REFUSED, "%s: \"%s\" is missing; mend or download the file again",
                   json->path, key);
}

/* --- building --- */

static json_t *whole(json_t *root, int failed)
{
    if (!failed)
        return root;
    json_decref(root);
    return NULL;
}

json_t *wf_json_with(json_t *object, const char *key, json_t *value)
{
    return whole(object, json_object_set_new(object, key, value));
}

json_t *wf_json_plus(json_t *array, json_t *value)
{
    return whole(array, json_array_append_new(array, value));
}

json_t *wf_json_joined(json_t *root, json_t *more)
{
    const int failed = json_object_update(root, more);
    json_decref(more);
    return whole(root, failed);
}

bool wf_json_key_in(const char *row, const char *key)
{
    const size_t length = strlen(key);
    for (const char *at = row; length && (at = strstr(at, key)); at += length) {
        if ((at == row || at[-1] == ' ') && (at[length] == ' ' || !at[length]))
            return true;
    }
    return false;
}
