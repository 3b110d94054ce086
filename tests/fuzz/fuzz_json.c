/* io/json.c: whatever is an object can be asked for every key in every way. */
#include <string.h>

#include "io/json.h"
#include "tests/fuzz/fuzz.h"

enum { MOST = 4 };

static void ask_numbers(struct fuzz *f, const struct wf_json *json, const char *key)
{
    int64_t number = 7, list[MOST];
    double real = 0.5, reals[MOST];
    int count;
    if (fuzz_succeeded(f, wf_json_int(json, key, -5, 1000, &number, &f->err)))
        FUZZ_CHECK(number >= -5 && number <= 1000);
    else
        FUZZ_CHECK(number == 7);
    if (fuzz_succeeded(f, wf_json_double(json, key, 0, 1, &real, &f->err)))
        FUZZ_CHECK(real >= 0 && real <= 1);
    if (fuzz_succeeded(f, wf_json_ints(json, key, 0, INT64_MAX, MOST, list, &count, &f->err)))
        FUZZ_CHECK(count >= 0 && count <= MOST && (!count || list[count - 1] >= 0));
    if (fuzz_succeeded(f, wf_json_doubles(json, key, MOST, reals, &count, &f->err)))
        FUZZ_CHECK(count >= 0 && count <= MOST && (!count || reals[count - 1] == reals[count - 1]));
}

static void ask_words(struct fuzz *f, const struct wf_json *json, const char *key)
{
    bool flag, flags[MOST];
    int count;
    const char *text = "";
    (void)fuzz_succeeded(f, wf_json_bool(json, key, &flag, &f->err));
    if (fuzz_succeeded(f, wf_json_bools(json, key, MOST, flags, &count, &f->err)))
        FUZZ_CHECK(count >= 0 && count <= MOST);
    if (fuzz_succeeded(f, wf_json_string(json, key, &text, &f->err)))
        FUZZ_CHECK(text && strlen(text) < SIZE_MAX);
    FUZZ_CHECK(wf_json_is_there(json, key) ==
               fuzz_succeeded(f, wf_json_require(json, key, &f->err)));
    FUZZ_CHECK(!*key || strchr(key, ' ') || wf_json_key_in(key, key));
}

enum wf_status fuzz_parse(struct fuzz *f, const uint8_t *data, size_t size)
{
    struct wf_json json;
    const char *key;
    json_t *value;
    WF_TRY(wf_json_open(fuzz_write("config.json", data, size), &json, &f->err));
    json_object_foreach(json.root, key, value)
    {
        ask_numbers(f, &json, key);
        ask_words(f, &json, key);
    }
    wf_json_close(&json);
    return WF_OK;
}
