/* io/weights: safetensors files good and damaged, checkpoint folders, residency. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#include "io/weights/residency.h"
#include "tests/desk.h"

struct fixture {
    struct desk desk;
    struct wf_st_file *file;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    desk_open(&f->desk, "weights");
    snprintf(f->desk.path, sizeof f->desk.path, "%s/model.safetensors", f->desk.folder);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    wf_st_close(&f->file);
    desk_close(&f->desk);
    free(f);
    return 0;
}

static void write_bytes(const char *path, const void *bytes, size_t count)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    if (count)
        assert_int_equal(fwrite(bytes, 1, count, file), count);
    assert_int_equal(fclose(file), 0);
}

static void write_text(const struct fixture *f, const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", f->desk.folder, name);
    write_bytes(path, text, strlen(text));
}

/* A file image: header text and data_bytes of data; *bytes is its length. */
static unsigned char *image_of(const char *header, size_t data_bytes, size_t *bytes)
{
    const size_t length = strlen(header);
    *bytes = 8 + length + data_bytes;
    unsigned char *image = malloc(*bytes);
    assert_non_null(image);
    for (int i = 0; i < 8; i++)
        image[i] = (unsigned char)((uint64_t)length >> 8 * i & 0xff);
    memcpy(image + 8, header, length);
    for (size_t i = 0; i < data_bytes; i++)
        image[8 + length + i] = (unsigned char)i;
    return image;
}

static void write_st(const char *path, const char *header, size_t data_bytes)
{
    size_t bytes;
    unsigned char *image = image_of(header, data_bytes, &bytes);
    write_bytes(path, image, bytes);
    free(image);
}

static enum wf_status open_st(struct fixture *f, const char *header, size_t data_bytes)
{
    wf_st_close(&f->file);
    write_st(f->desk.path, header, data_bytes);
    return wf_st_open(f->desk.path, f->desk.mem, &f->file, &f->desk.err);
}

static const char good_header[] =
    "{\"__metadata__\":{\"format\":\"pt\"},"
    "\"b\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]},"
    "\"a\":{\"dtype\":\"BF16\",\"shape\":[4],\"data_offsets\":[24,32]},"
    "\"ids\":{\"dtype\":\"I64\",\"shape\":[1,2],\"data_offsets\":[32,48]},"
    "\"s\":{\"dtype\":\"F16\",\"shape\":[],\"data_offsets\":[48,50]},"
    "\"z\":{\"dtype\":\"F32\",\"shape\":[0,5],\"data_offsets\":[50,50]}}   ";
enum { GOOD_DATA = 50 };

static int first_byte(const struct wf_st_tensor *t)
{
    unsigned char byte;
    assert_int_equal(wf_source_read(&t->source, 0, &byte, 1, NULL), WF_OK);
    return byte;
}

static void a_good_file_is_indexed(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(open_st(f, good_header, GOOD_DATA), WF_OK);
    assert_int_equal(wf_st_count(f->file), 4);
    for (int i = 1; i < 4; i++)
        assert_true(strcmp(wf_st_at(f->file, i - 1)->name, wf_st_at(f->file, i)->name) < 0);
    const struct wf_st_tensor *b = wf_st_find(f->file, "b");
    assert_non_null(b);
    assert_int_equal(b->dtype, WF_F32);
    assert_int_equal(b->rank, 2);
    assert_int_equal(b->dim[0], 2);
    assert_int_equal(b->dim[1], 3);
    assert_int_equal(b->bytes, 24);
    assert_string_equal(b->path, f->desk.path);
    assert_int_equal(first_byte(b), 0);
    const struct wf_st_tensor *a = wf_st_find(f->file, "a");
    assert_int_equal(first_byte(a), 24);
    assert_int_equal(wf_st_find(f->file, "s")->rank, 0);
    assert_int_equal(wf_st_find(f->file, "z")->bytes, 0);
    assert_null(wf_st_find(f->file, "ids"));
    assert_string_equal(wf_st_left_out(f->file, "ids")->type, "I64");
    assert_null(wf_st_left_out(f->file, "b"));
    assert_null(wf_st_find(f->file, "__metadata__"));
}

/* Doubles come as floats, each rounded once; the file keeps its own size. */
static void doubles_are_read_as_floats(void **state)
{
    struct fixture *f = *state;
    enum { COUNT = 3000 };
    static struct {
        uint64_t length;
        char header[72];
        double value[COUNT];
    } image;
    float back[COUNT];
    memset(image.header, ' ', sizeof image.header);
    const int used = snprintf(image.header, sizeof image.header,
                              "{\"d\":{\"dtype\":\"F64\",\"shape\":[%d],\"data_offsets\":[0,%d]}}",
                              COUNT, COUNT * 8);
    image.header[used] = ' ';
    image.length = sizeof image.header;
    for (int i = 0; i < COUNT; i++)
        image.value[i] = 1.0 / (i + 3);
    write_bytes(f->desk.path, (const unsigned char *)&image, sizeof image);
    assert_int_equal(wf_st_open(f->desk.path, f->desk.mem, &f->file, &f->desk.err), WF_OK);
    const struct wf_st_tensor *t = wf_st_find(f->file, "d");
    assert_non_null(t);
    assert_int_equal(t->dtype, WF_F32);
    assert_int_equal(t->bytes, sizeof back);
    assert_int_equal(t->end - t->begin, sizeof image.value);
    assert_int_equal(wf_source_read(&t->source, 0, back, sizeof back, &f->desk.err), WF_OK);
    for (int i = 0; i < COUNT; i++)
        assert_true(back[i] == (float)image.value[i]);
    assert_int_equal(wf_source_f32(&t->source, 7, 2, back, &f->desk.err), WF_OK);
    assert_true(back[1] == (float)image.value[8]);
    assert_int_equal(wf_source_f32(&t->source, COUNT - 1, 2, back, &f->desk.err), WF_FAILED);
}

static void an_empty_header_is_an_empty_file(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(open_st(f, "{}", 0), WF_OK);
    assert_int_equal(wf_st_count(f->file), 0);
    assert_null(wf_st_find(f->file, "a"));
}

#define ONE(dtype, shape, offsets)                                                                 \
    "{\"w\":{\"dtype\":" dtype ",\"shape\":" shape ",\"data_offsets\":" offsets "}}"

static void bad_entries_are_refused(void **state)
{
    struct fixture *f = *state;
    static const char *const headers[] = {
        ONE("\"F32\"", "[2]", "[0,7]"),
        ONE("\"F32\"", "[2]", "[0,9]"),
        ONE("\"F32\"", "[2]", "[8,0]"),
        ONE("\"F32\"", "[2]", "[60,68]"),
        ONE("\"F32\"", "[2]", "[-8,0]"),
        ONE("\"F32\"", "[2]", "[0.0,8.0]"),
        ONE("\"F32\"", "[2]", "[0]"),
        ONE("\"F32\"", "[2]", "[0,8,8]"),
        ONE("\"F32\"", "[2]", "null"),
        ONE("\"F32\"", "[2]", "[0,18446744073709551624]"),
        ONE("\"F32\"", "[2]", "[9223372036854775800,9223372036854775807]"),
        ONE("\"F32\"", "[-2]", "[0,8]"),
        ONE("\"F32\"", "[-1,-2]", "[0,8]"),
        ONE("\"F32\"", "[2.0]", "[0,8]"),
        ONE("\"F32\"", "[true]", "[0,4]"),
        ONE("\"F32\"", "2", "[0,8]"),
        ONE("\"F32\"", "[1,1,1,1,1,1,1,1,2]", "[0,8]"),
        ONE("\"F32\"", "[4294967296,4294967296]", "[0,0]"),
        ONE("\"F32\"", "[4611686018427387904,4]", "[0,0]"),
        ONE("\"F32\"", "[4611686018427387904]", "[0,0]"),
        ONE("\"F4\"", "[3]", "[0,1]"),
        ONE("\"F33\"", "[2]", "[0,8]"),
        ONE("\"I64\"", "[2]", "[0,8]"),
        ONE("7", "[2]", "[0,8]"),
        "{\"w\":3}",
        "{\"w\":{}}",
        "[]",
        "{",
        "7",
        "{\"w\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
        "\"w\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,16]}}",
        "{\"v\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
        "\"w\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]}}",
        "{\"v\":{\"dtype\":\"I64\",\"shape\":[2],\"data_offsets\":[0,16]},"
        "\"w\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,16]}}",
    };
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        const enum wf_status status = open_st(f, headers[i], 64);
        if (status != WF_REFUSED)
            fail_msg("accepted: %s", headers[i]);
        assert_null(f->file);
        assert_non_null(strstr(f->desk.err.text, f->desk.path));
        assert_null(strchr(f->desk.err.text, '\n'));
    }
    assert_int_equal(open_st(f, ONE("\"F32\"", "[2]", "[8,16]"), 64),
                     WF_OK); /* holes are allowed */
}

static void what_is_no_safetensors_file_is_refused(void **state)
{
    struct fixture *f = *state;
    static const char lfs[] = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n";
    assert_int_equal(wf_st_open(f->desk.path, f->desk.mem, &f->file, &f->desk.err), WF_REFUSED);
    assert_int_equal(wf_st_open(f->desk.folder, f->desk.mem, &f->file, &f->desk.err), WF_REFUSED);
    write_bytes(f->desk.path, "", 0);
    assert_int_equal(wf_st_open(f->desk.path, f->desk.mem, &f->file, &f->desk.err), WF_REFUSED);
    write_bytes(f->desk.path, lfs, sizeof lfs - 1);
    assert_int_equal(wf_st_open(f->desk.path, f->desk.mem, &f->file, &f->desk.err), WF_REFUSED);
    assert_non_null(strstr(f->desk.err.text, "git-lfs"));
    write_bytes(f->desk.path, "\xff\xff\xff\xff\xff\xff\xff\xff{}", 10);
    assert_int_equal(wf_st_open(f->desk.path, f->desk.mem, &f->file, &f->desk.err), WF_REFUSED);
    write_bytes(f->desk.path, "\0\0\0\0\0\0\0\0{}", 10);
    assert_int_equal(wf_st_open(f->desk.path, f->desk.mem, &f->file, &f->desk.err), WF_REFUSED);
    write_bytes(f->desk.path, "\x03\0\0\0\0\0\0\0{}", 10);
    assert_int_equal(wf_st_open(f->desk.path, f->desk.mem, &f->file, &f->desk.err), WF_REFUSED);
}

/* Opens an image and, where that succeeds, reads every byte that it says is there. */
static enum wf_status try_image(struct fixture *f, const unsigned char *image, size_t bytes)
{
    write_bytes(f->desk.path, image, bytes);
    const enum wf_status status = wf_st_open(f->desk.path, f->desk.mem, &f->file, &f->desk.err);
    unsigned sum = 0;
    for (int i = 0; status == WF_OK && i < wf_st_count(f->file); i++) {
        const struct wf_st_tensor *t = wf_st_at(f->file, i);
        for (size_t k = 0; k<t->bytes; k += t->bytes - 1> k ? t->bytes - 1 : 1) {
            unsigned char byte[4]; /* the least that a source of doubles gives */
            const size_t n = t->bytes - k < sizeof byte ? t->bytes - k : sizeof byte;
            assert_int_equal(wf_source_read(&t->source, k, byte, n, &f->desk.err), WF_OK);
            sum += byte[0];
        }
    }
    assert_true(sum < 1u << 30);
    assert_true(status == WF_OK || status == WF_REFUSED);
    wf_st_close(&f->file);
    assert_int_equal(wf_mem_live_all(f->desk.mem), 0);
    return status;
}

static void every_truncation_is_refused(void **state)
{
    struct fixture *f = *state;
    size_t bytes;
    unsigned char *image = image_of(good_header, GOOD_DATA, &bytes);
    for (size_t length = 0; length < bytes; length++)
        assert_int_equal(try_image(f, image, length), WF_REFUSED);
    assert_int_equal(try_image(f, image, bytes), WF_OK);
    free(image);
}

static void no_damage_of_the_header_is_a_crash(void **state)
{
    struct fixture *f = *state;
    size_t bytes;
    unsigned char *image = image_of(good_header, GOOD_DATA, &bytes);
    unsigned char *copy = malloc(bytes);
    uint32_t random = 12345;
    int refused = 0;
    for (int round = 0; round < 6000; round++) {
        memcpy(copy, image, bytes);
        for (int hits = 1 + round % 3; hits > 0; hits--) {
            random = random * 1664525u + 1013904223u;
            const size_t at = (random >> 8) % (bytes - GOOD_DATA);
            random = random * 1664525u + 1013904223u;
            if (round & 1)
                copy[at] ^= (unsigned char)(1u << (random >> 29));
            else
                copy[at] = (unsigned char)"0123456789-[]{}\",:.e"[(random >> 8) % 20];
        }
        refused += try_image(f, copy, bytes) == WF_REFUSED;
    }
    assert_true(refused > 1000);
    free(copy);
    free(image);
}

static void opening_survives_failed_allocations(void **state)
{
    struct fixture *f = *state;
    write_st(f->desk.path, good_header, GOOD_DATA);
    enum wf_status status = WF_FAILED;
    int nth = 1;
    for (; status != WF_OK; nth++) {
        wf_mem_fail_at(f->desk.mem, nth);
        status = wf_st_open(f->desk.path, f->desk.mem, &f->file, &f->desk.err);
        assert_true(status == WF_OK || (status == WF_FAILED && !f->file));
        assert_true(nth < 100);
        if (status != WF_OK)
            assert_int_equal(wf_mem_live_all(f->desk.mem), 0);
    }
    assert_true(nth > 4);
    wf_mem_fail_at(f->desk.mem, 0);
}

static void what_is_written_is_read(void **state)
{
    struct fixture *f = *state;
    const float data[6] = {0, -1, 2.5f, 3, 4, 1e30f};
    const int64_t dims[] = {1, 2, 3};
    assert_int_equal(
        wf_st_write_f32(f->desk.path, "latents", data, 3, dims, f->desk.mem, &f->desk.err), WF_OK);
    assert_int_equal(wf_st_open(f->desk.path, f->desk.mem, &f->file, &f->desk.err), WF_OK);
    const struct wf_st_tensor *t = wf_st_find(f->file, "latents");
    assert_non_null(t);
    assert_int_equal(t->rank, 3);
    assert_memory_equal(t->dim, dims, sizeof dims);
    float back[6];
    assert_int_equal(t->bytes, sizeof back);
    assert_int_equal(wf_source_read(&t->source, 0, back, sizeof back, &f->desk.err), WF_OK);
    assert_memory_equal(back, data, sizeof data);
    assert_int_equal(t->begin % 8, 0);
    const int64_t huge[] = {INT64_MAX, 4};
    assert_int_equal(wf_st_write_f32(f->desk.path, "x", data, 2, huge, f->desk.mem, &f->desk.err),
                     WF_FAILED);
    assert_int_equal(
        wf_st_write_f32("/nonexistent/x", "x", data, 3, dims, f->desk.mem, &f->desk.err),
        WF_FAILED);
}

/* A limit on the size of files stands for a full disk. */
static void a_file_that_cannot_be_whole_is_removed(void **state)
{
    struct fixture *f = *state;
    const float data[64] = {0};
    struct rlimit before, tight;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    tight = before;
    tight.rlim_cur = 100;
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &tight), 0);
    const enum wf_status status = wf_st_write_f32(f->desk.path, "x", data, 1, (const int64_t[]){64},
                                                  f->desk.mem, &f->desk.err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, handler);
    assert_int_equal(status, WF_FAILED);
    assert_non_null(strstr(f->desk.err.text, f->desk.path));
    assert_int_equal(rmdir(f->desk.folder), 0); /* it is empty */
}

#define F32_ENTRY(name, shape, from, to)                                                           \
    "\"" name "\":{\"dtype\":\"F32\",\"shape\":" shape ",\"data_offsets\":[" from "," to "]}"

static enum wf_status open_folder(struct fixture *f, const char *base, const char *variant,
                                  struct wf_checkpoint **ckpt)
{
    return wf_checkpoint_open(f->desk.folder, base, variant, f->desk.mem, ckpt, &f->desk.err);
}

static void write_named_st(const struct fixture *f, const char *name, const char *header,
                           size_t data_bytes)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", f->desk.folder, name);
    write_st(path, header, data_bytes);
}

static void write_shards(const struct fixture *f)
{
    write_text(f, "config.json", "{\"layers\":2}");
    write_named_st(f, "m-1.safetensors",
                   "{" F32_ENTRY("c", "[2]", "0", "8") "," F32_ENTRY("a", "[1]", "8", "12") "}",
                   12);
    write_named_st(f, "m-2.safetensors",
                   "{" F32_ENTRY("b", "[3]", "0", "12") ",\"ids\":{\"dtype\":\"I64\",\"shape\":[1],"
                                                        "\"data_offsets\":[12,20]}}",
                   20);
    write_text(f, "m.safetensors.index.json",
               "{\"weight_map\":{\"a\":\"m-1.safetensors\",\"b\":\"m-2.safetensors\","
               "\"c\":\"m-1.safetensors\",\"ids\":\"m-2.safetensors\"}}");
}

static void shards_make_one_checkpoint(void **state)
{
    struct fixture *f = *state;
    struct wf_checkpoint *ckpt;
    write_shards(f);
    assert_int_equal(open_folder(f, "m", "", &ckpt), WF_OK);
    assert_int_equal(wf_checkpoint_count(ckpt), 3);
    assert_int_equal(wf_checkpoint_parameters(ckpt), 6);
    assert_int_equal(wf_checkpoint_bytes(ckpt), 24);
    assert_int_equal(wf_checkpoint_find(ckpt, "b")->dim[0], 3);
    assert_int_equal(wf_checkpoint_find(ckpt, "a")->dim[0], 1);
    assert_null(wf_checkpoint_find(ckpt, "d"));
    int64_t layers = 0;
    assert_int_equal(wf_json_int(wf_checkpoint_config(ckpt), "layers", 0, 9, &layers, &f->desk.err),
                     WF_OK);
    assert_int_equal(layers, 2);
    wf_checkpoint_close(&ckpt);
    assert_null(ckpt);
}

static void bad_indices_are_refused(void **state)
{
    struct fixture *f = *state;
    struct wf_checkpoint *ckpt;
    static const char *const maps[] = {
        "{}",
        "[]",
        "{\"weight_map\":[]}",
        "{\"weight_map\":{}}",
        "{\"weight_map\":{\"a\":3}}",
        "{\"weight_map\":{\"a\":\"\"}}",
        "{\"weight_map\":{\"a\":\"..\"}}",
        "{\"weight_map\":{\"a\":\"../m-1.safetensors\"}}",
        "{\"weight_map\":{\"a\":\"/etc/passwd\"}}",
        "{\"weight_map\":{\"a\":\"m-3.safetensors\"}}",
        "{\"weight_map\":{\"a\":\"m-2.safetensors\"}}",
        "{\"weight_map\":{\"a\":\"m-1.safetensors\",\"b\":\"config.json\"}}",
    };
    write_shards(f);
    for (size_t i = 0; i < sizeof maps / sizeof *maps; i++) {
        write_text(f, "m.safetensors.index.json", maps[i]);
        if (open_folder(f, "m", NULL, &ckpt) != WF_REFUSED)
            fail_msg("accepted: %s", maps[i]);
        assert_null(ckpt);
        assert_int_equal(wf_mem_live_all(f->desk.mem), 0);
    }
}

static void variants_are_chosen_and_suggested(void **state)
{
    struct fixture *f = *state;
    struct wf_checkpoint *ckpt;
    assert_int_equal(open_folder(f, "m", NULL, &ckpt), WF_REFUSED);
    assert_non_null(strstr(f->desk.err.text, "config.json"));
    write_text(f, "config.json", "{}");
    assert_int_equal(open_folder(f, "m", NULL, &ckpt), WF_REFUSED);
    assert_non_null(strstr(f->desk.err.text, "m.safetensors"));
    assert_non_null(strstr(f->desk.err.text, "download"));
    write_text(f, "m.bin", "");
    assert_int_equal(open_folder(f, "m", NULL, &ckpt), WF_REFUSED);
    assert_non_null(strstr(f->desk.err.text, "pickled"));
    write_named_st(f, "m.fp16.safetensors", "{" F32_ENTRY("x", "[1]", "0", "4") "}", 4);
    assert_int_equal(open_folder(f, "m", NULL, &ckpt), WF_REFUSED);
    assert_non_null(strstr(f->desk.err.text, "--variant fp16"));
    assert_int_equal(open_folder(f, "m", "bf16", &ckpt), WF_REFUSED);
    assert_int_equal(open_folder(f, "m", "../m", &ckpt), WF_REFUSED);
    assert_int_equal(open_folder(f, "m", "fp16", &ckpt), WF_OK);
    assert_non_null(wf_checkpoint_find(ckpt, "x"));
    wf_checkpoint_close(&ckpt);
    assert_true(wf_checkpoint_has_variant(f->desk.folder, "fp16"));
    assert_false(wf_checkpoint_has_variant(f->desk.folder, "bf16"));
    assert_false(wf_checkpoint_has_variant("/nonexistent", "fp16"));
    assert_int_equal(
        wf_checkpoint_open("/nonexistent", "m", NULL, f->desk.mem, &ckpt, &f->desk.err),
        WF_REFUSED);
    write_text(f, "m.safetensors.index.fp16.json", "{\"weight_map\":{\"y\":\"m-9.safetensors\"}}");
    write_named_st(f, "m-9.safetensors", "{" F32_ENTRY("y", "[1]", "0", "4") "}", 4);
    assert_int_equal(open_folder(f, "m", "fp16", &ckpt), WF_OK);
    assert_non_null(wf_checkpoint_find(ckpt, "y")); /* diffusers: the index comes first */
    wf_checkpoint_close(&ckpt);
}

static void transformers_takes_the_one_file(void **state)
{
    struct fixture *f = *state;
    struct wf_checkpoint *ckpt;
    write_text(f, "config.json", "{}");
    write_text(f, "model.safetensors.index.json", "{}");
    write_named_st(f, "model.safetensors", "{" F32_ENTRY("x", "[1]", "0", "4") "}", 4);
    assert_int_equal(open_folder(f, "model", NULL, &ckpt), WF_OK);
    assert_non_null(wf_checkpoint_find(ckpt, "x"));
    wf_checkpoint_close(&ckpt);
}

static void checkpoints_survive_failed_allocations(void **state)
{
    struct fixture *f = *state;
    struct wf_checkpoint *ckpt = NULL;
    write_shards(f);
    for (int nth = 1; !ckpt; nth++) {
        wf_mem_fail_at(f->desk.mem, nth);
        const enum wf_status status = open_folder(f, "m", NULL, &ckpt);
        assert_true(status == (ckpt ? WF_OK : WF_FAILED));
        assert_true(nth < 100);
        if (!ckpt)
            assert_int_equal(wf_mem_live_all(f->desk.mem), 0);
    }
    wf_mem_fail_at(f->desk.mem, 0);
    wf_checkpoint_close(&ckpt);
}

/* A folder of three weights, a residency over it and two groups: [table, vector], [conv]. */
struct house {
    struct wf_checkpoint *ckpt;
    struct wf_backend *be;
    struct wf_residency *res;
    struct wf_param table, vector, conv;
    int first, second;
    size_t empty; /* bytes of weights that are held when none are loaded */
};

static void open_house(struct fixture *f, struct house *h, enum wf_offload offload)
{
    const struct wf_policy policy = {offload, 0};
    *h = (struct house){0};
    write_text(f, "config.json", "{}");
    write_named_st(
        f, "model.safetensors",
        "{" F32_ENTRY("t", "[2,4]", "0", "32") ",\"v\":{\"dtype\":\"BF16\",\"shape\":[4],"
                                               "\"data_offsets\":[32,40]}," F32_ENTRY(
                                                   "k", "[2,1,1,3]", "40",
                                                   "64") ",\"u\":{\"dtype\":\"U8\",\"shape\":[4],"
                                                         "\"data_offsets\":[64,68]},"
                                                         "\"f8\":{\"dtype\":\"F8_E4M3\",\"shape\":["
                                                         "4],\"data_offsets\":[68,72]}}",
        72);
    assert_int_equal(open_folder(f, "model", NULL, &h->ckpt), WF_OK);
    assert_int_equal(wf_backend_open("ref", NULL, 1, f->desk.mem, NULL, &f->desk.err, &h->be),
                     WF_OK);
    assert_int_equal(wf_residency_open(policy, h->ckpt, h->be, f->desk.mem, &h->res, &f->desk.err),
                     WF_OK);
    assert_int_equal(wf_residency_group(h->res, &h->first, &f->desk.err), WF_OK);
    assert_int_equal(
        wf_residency_add(h->res, &h->table, WF_PARAM_TABLE, "t", WF_DIMS(2, 4), &f->desk.err),
        WF_OK);
    assert_int_equal(
        wf_residency_add(h->res, &h->vector, WF_PARAM_VECTOR, "v", WF_DIMS(4), &f->desk.err),
        WF_OK);
    assert_int_equal(wf_residency_group(h->res, &h->second, &f->desk.err), WF_OK);
    assert_int_equal(wf_residency_add(h->res, &h->conv, WF_PARAM_CONV, "k", WF_DIMS(2, 1, 1, 1, 3),
                                      &f->desk.err),
                     WF_OK);
    h->empty = wf_mem_live(f->desk.mem, WF_MEM_WEIGHTS);
}

static void close_house(struct house *h)
{
    wf_residency_close(&h->res);
    wf_backend_close(&h->be);
    wf_checkpoint_close(&h->ckpt);
}

static void weights_are_checked_when_declared(void **state)
{
    struct fixture *f = *state;
    struct house h;
    struct wf_param p;
    open_house(f, &h, WF_OFFLOAD_NONE);
    assert_int_equal(wf_residency_add(h.res, &p, WF_PARAM_LINEAR, "t", WF_DIMS(4, 2), &f->desk.err),
                     WF_REFUSED);
    assert_non_null(strstr(f->desk.err.text, "[2, 4]"));
    assert_non_null(strstr(f->desk.err.text, "[4, 2]"));
    assert_non_null(strstr(f->desk.err.text, f->desk.path));
    assert_int_equal(
        wf_residency_add(h.res, &p, WF_PARAM_LINEAR, "t", WF_DIMS(2, 4, 1), &f->desk.err),
        WF_REFUSED);
    assert_int_equal(
        wf_residency_add(h.res, &p, WF_PARAM_CONV, "k", WF_DIMS(2, 1, 2, 1, 3), &f->desk.err),
        WF_REFUSED);
    assert_int_equal(wf_residency_add(h.res, &p, WF_PARAM_VECTOR, "u", WF_DIMS(4), &f->desk.err),
                     WF_REFUSED);
    assert_non_null(strstr(f->desk.err.text, "type U8"));
    assert_int_equal(wf_residency_add(h.res, &p, WF_PARAM_VECTOR, "f8", WF_DIMS(4), &f->desk.err),
                     WF_REFUSED);
    assert_non_null(strstr(f->desk.err.text, "tensor f8 is of type F8_E4M3"));
    assert_int_equal(wf_residency_add(h.res, &p, WF_PARAM_VECTOR, "none", WF_DIMS(4), &f->desk.err),
                     WF_REFUSED);
    assert_non_null(strstr(f->desk.err.text, "none"));
    assert_int_equal(wf_residency_acquire(h.res, 2, &f->desk.err), WF_FAILED);
    assert_int_equal(wf_residency_acquire(h.res, -1, &f->desk.err), WF_FAILED);
    close_house(&h);
}

static void groups_load_once_and_leave_by_policy(void **state)
{
    struct fixture *f = *state;
    for (int policy = WF_OFFLOAD_NONE; policy <= WF_OFFLOAD_MODEL; policy++) {
        struct house h;
        open_house(f, &h, (enum wf_offload)policy);
        assert_int_equal(h.vector.state, WF_PARAM_DESCRIBED);
        assert_int_equal(wf_residency_acquire(h.res, h.first, &f->desk.err), WF_OK);
        const size_t held = wf_mem_live(f->desk.mem, WF_MEM_WEIGHTS);
        assert_true(held >= h.empty + 16); /* the vector in f32; the table stays in its file */
        assert_int_equal(wf_residency_acquire(h.res, h.first, &f->desk.err), WF_OK);
        assert_int_equal(wf_mem_live(f->desk.mem, WF_MEM_WEIGHTS), held);
        assert_true(h.vector.state == WF_PARAM_LOADED && h.table.state == WF_PARAM_LOADED &&
                    h.conv.state == WF_PARAM_DESCRIBED);
        wf_residency_release(h.res, h.first);
        wf_residency_release(h.res, h.first);
        assert_int_equal(wf_mem_live(f->desk.mem, WF_MEM_WEIGHTS), held);
        assert_int_equal(wf_residency_acquire(h.res, h.second, &f->desk.err), WF_OK);
        wf_residency_release(h.res, h.second);
        wf_residency_stage_end(h.res);
        if (policy == WF_OFFLOAD_MODEL)
            assert_int_equal(wf_mem_live(f->desk.mem, WF_MEM_WEIGHTS), h.empty);
        else
            assert_true(wf_mem_live(f->desk.mem, WF_MEM_WEIGHTS) > held);
        assert_int_equal(wf_residency_acquire(h.res, h.first, &f->desk.err), WF_OK);
        float value[4], expected[4];
        assert_int_equal(wf_download(h.be, value, h.vector.tensor), WF_OK);
        assert_int_equal(
            wf_source_f32(&wf_checkpoint_find(h.ckpt, "v")->source, 0, 4, expected, &f->desk.err),
            WF_OK);
        assert_memory_equal(value, expected, sizeof value);
        wf_residency_release(h.res, h.first);
        close_house(&h);
    }
}

/* Under a policy that holds a part: what is acquired stays, what is not makes room for the next. */
static void rooms_are_filled_anew(void **state)
{
    struct fixture *f = *state;
    for (int offload = WF_OFFLOAD_MODEL; offload <= WF_OFFLOAD_SEQUENTIAL; offload++) {
        struct house h;
        open_house(f, &h, (enum wf_offload)offload);
        wf_residency_order(h.res, false);
        for (int again = 0; again < 2; again++) {
            assert_int_equal(wf_residency_acquire(h.res, h.first, &f->desk.err), WF_OK);
            const size_t held = wf_mem_live(f->desk.mem, WF_MEM_WEIGHTS);
            const void *room = h.vector.room;
            assert_int_equal(wf_residency_acquire(h.res, h.first, &f->desk.err), WF_OK);
            wf_residency_release(h.res, h.first);
            assert_int_equal(wf_residency_acquire(h.res, h.second, &f->desk.err), WF_OK);
            assert_int_equal(h.vector.state, WF_PARAM_LOADED); /* it has a user left */
            assert_true(h.conv.room != room);
            wf_residency_release(h.res, h.second);
            wf_residency_release(h.res, h.first);
            wf_residency_release(h.res, h.first); /* one too many does nothing */
            assert_true(wf_mem_live(f->desk.mem, WF_MEM_WEIGHTS) > held);
            wf_residency_stage_end(h.res);
            assert_int_equal(wf_mem_live(f->desk.mem, WF_MEM_WEIGHTS), h.empty);
            assert_int_equal(wf_residency_acquire(h.res, h.first, &f->desk.err), WF_OK);
            wf_residency_release(h.res, h.first);
            const size_t one = wf_mem_live(f->desk.mem, WF_MEM_WEIGHTS);
            assert_int_equal(wf_residency_acquire(h.res, h.second, &f->desk.err), WF_OK);
            assert_int_equal(h.vector.state, WF_PARAM_DESCRIBED);
            assert_int_equal(wf_mem_live(f->desk.mem, WF_MEM_WEIGHTS), one);
            wf_residency_release(h.res, h.second);
        }
        close_house(&h);
    }
}

/* A house of layers: what is loaded under each policy when one is acquired. */
static void layers_are_held_by_policy(void **state)
{
    struct fixture *f = *state;
    static const struct {
        struct wf_policy policy;
        int layers; /* of the three that are then loaded */
    } cases[] = {{{WF_OFFLOAD_NONE, 0}, 2},  {{WF_OFFLOAD_MODEL, 0}, 2},
                 {{WF_OFFLOAD_GROUP, 1}, 2}, {{WF_OFFLOAD_GROUP, 2}, 3},
                 {{WF_OFFLOAD_GROUP, 9}, 3}, {{WF_OFFLOAD_SEQUENTIAL, 0}, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct house h;
        struct wf_residency *res;
        struct wf_param p[4];
        int group[2], layer[3];
        open_house(f, &h, WF_OFFLOAD_NONE);
        assert_int_equal(
            wf_residency_open(cases[i].policy, h.ckpt, h.be, f->desk.mem, &res, &f->desk.err),
            WF_OK);
        for (int j = 0; j < 3; j++) {
            if (j != 1)
                assert_int_equal(wf_residency_group(res, &group[j / 2], &f->desk.err), WF_OK);
            assert_int_equal(wf_residency_layer(res, &layer[j], &f->desk.err), WF_OK);
            assert_int_equal(
                wf_residency_add(res, &p[j], WF_PARAM_LINEAR, "t", WF_DIMS(2, 4), &f->desk.err),
                WF_OK);
            wf_residency_layer_end(res);
            if (j == 1)
                assert_int_equal(
                    wf_residency_add(res, &p[3], WF_PARAM_VECTOR, "v", WF_DIMS(4), &f->desk.err),
                    WF_OK);
        }
        assert_int_equal(wf_residency_acquire(res, group[0], &f->desk.err), WF_OK);
        assert_int_equal(p[3].state, WF_PARAM_LOADED);
        for (int j = 0; j < 2; j++) {
            assert_int_equal(wf_residency_acquire(res, layer[j], &f->desk.err), WF_OK);
            assert_int_equal(p[j].state, WF_PARAM_LOADED);
            wf_residency_release(res, layer[j]);
        }
        int loaded = 0;
        for (int j = 0; j < 3; j++)
            loaded += p[j].state != WF_PARAM_DESCRIBED;
        assert_int_equal(loaded, cases[i].layers);
        assert_int_equal(p[3].state, WF_PARAM_LOADED);
        assert_int_equal(wf_residency_layer(res, &layer[0], &f->desk.err), WF_FAILED);
        wf_residency_close(&res);
        close_house(&h);
    }
}

static void a_group_that_cannot_load_is_given_back(void **state)
{
    struct fixture *f = *state;
    struct house h;
    open_house(f, &h, WF_OFFLOAD_MODEL);
    enum wf_status status = WF_FAILED;
    for (int nth = 1; status != WF_OK; nth++) {
        wf_mem_fail_at(f->desk.mem, nth);
        struct wf_error err = {0};
        status = wf_residency_acquire(h.res, h.first, &err);
        if (status != WF_OK) {
            assert_int_equal(status, WF_FAILED);
            assert_true(err.text[0] != '\0');
            assert_int_equal(wf_mem_live(f->desk.mem, WF_MEM_WEIGHTS), h.empty);
            assert_int_equal(h.table.state, WF_PARAM_DESCRIBED);
        }
        assert_true(nth < 100);
    }
    wf_mem_fail_at(f->desk.mem, 0);
    close_house(&h);
}

static void a_thousand_weights_are_no_trouble(void **state)
{
    struct fixture *f = *state;
    enum { WEIGHTS = 1300 };
    struct wf_checkpoint *ckpt;
    struct wf_backend *be;
    struct wf_residency *res;
    struct wf_param *params = calloc(WEIGHTS, sizeof *params);
    char *header = malloc(WEIGHTS * 96), *end = header, name[32];
    for (int i = 0; i < WEIGHTS; i++)
        end += sprintf(end, "%c\"w%d\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[%d,%d]}",
                       i ? ',' : '{', i, 4 * i, 4 * i + 4);
    strcpy(end, "}");
    write_text(f, "config.json", "{}");
    write_named_st(f, "model.safetensors", header, 4 * WEIGHTS);
    assert_int_equal(open_folder(f, "model", NULL, &ckpt), WF_OK);
    assert_int_equal(wf_backend_open("ref", NULL, 1, f->desk.mem, NULL, &f->desk.err, &be), WF_OK);
    assert_int_equal(wf_residency_open((struct wf_policy){WF_OFFLOAD_MODEL, 0}, ckpt, be,
                                       f->desk.mem, &res, &f->desk.err),
                     WF_OK);
    for (int i = 0; i < WEIGHTS; i++) {
        int group = 0;
        if (i % 13 == 0)
            assert_int_equal(wf_residency_group(res, &group, &f->desk.err), WF_OK);
        assert_true(i % 13 || group == i / 13);
        snprintf(name, sizeof name, "w%d", i);
        assert_int_equal(
            wf_residency_add(res, &params[i], WF_PARAM_VECTOR, name, WF_DIMS(1), &f->desk.err),
            WF_OK);
    }
    for (int group = 0; group < WEIGHTS / 13; group++) {
        assert_int_equal(wf_residency_acquire(res, group, &f->desk.err), WF_OK);
        wf_residency_release(res, group);
    }
    assert_true(params[WEIGHTS - 1].state == WF_PARAM_LET_GO && params[0].state == WF_PARAM_LET_GO);
    wf_residency_stage_end(res);
    assert_false(params[WEIGHTS - 1].state == WF_PARAM_LOADED ||
                 params[0].state == WF_PARAM_LOADED);
    wf_residency_close(&res);
    wf_backend_close(&be);
    wf_checkpoint_close(&ckpt);
    free(header);
    free(params);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_good_file_is_indexed, setup, teardown),
        cmocka_unit_test_setup_teardown(doubles_are_read_as_floats, setup, teardown),
        cmocka_unit_test_setup_teardown(an_empty_header_is_an_empty_file, setup, teardown),
        cmocka_unit_test_setup_teardown(bad_entries_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_no_safetensors_file_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(every_truncation_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(no_damage_of_the_header_is_a_crash, setup, teardown),
        cmocka_unit_test_setup_teardown(opening_survives_failed_allocations, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_written_is_read, setup, teardown),
        cmocka_unit_test_setup_teardown(a_file_that_cannot_be_whole_is_removed, setup, teardown),
        cmocka_unit_test_setup_teardown(shards_make_one_checkpoint, setup, teardown),
        cmocka_unit_test_setup_teardown(bad_indices_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(variants_are_chosen_and_suggested, setup, teardown),
        cmocka_unit_test_setup_teardown(transformers_takes_the_one_file, setup, teardown),
        cmocka_unit_test_setup_teardown(checkpoints_survive_failed_allocations, setup, teardown),
        cmocka_unit_test_setup_teardown(weights_are_checked_when_declared, setup, teardown),
        cmocka_unit_test_setup_teardown(groups_load_once_and_leave_by_policy, setup, teardown),
        cmocka_unit_test_setup_teardown(rooms_are_filled_anew, setup, teardown),
        cmocka_unit_test_setup_teardown(layers_are_held_by_policy, setup, teardown),
        cmocka_unit_test_setup_teardown(a_group_that_cannot_load_is_given_back, setup, teardown),
        cmocka_unit_test_setup_teardown(a_thousand_weights_are_no_trouble, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
