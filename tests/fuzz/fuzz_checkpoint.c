/* io/weights/checkpoint.c: a folder of two shards, of which the input is the index (where it begins
   with a brace) or one of the shards. */
#include <string.h>

#include "io/weights/checkpoint.h"
#include "tests/fuzz/fuzz.h"

static const char index_text[] =
    "{\"weight_map\":{\"a\":\"one.safetensors\",\"b\":\"two.safetensors\"}}";

static void write_shard(const char *name, const char *tensor)
{
    uint8_t shard[80] = {64};
    memset(shard + 8, ' ', 64);
    memcpy(shard + 8, "{\"", 2);
    memcpy(shard + 10, tensor, 1);
    memcpy(shard + 11, "\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 52);
    fuzz_write(name, shard, sizeof shard);
}

static void check_all(struct fuzz *f, struct wf_checkpoint *c)
{
    const char *first;
    int64_t layers = 0;
    const int count = wf_checkpoint_count(c);
    FUZZ_CHECK(count >= 0 && wf_checkpoint_unasked(c, NULL, &first) == count);
    const struct wf_st_tensor *a = wf_checkpoint_find(c, "a");
    FUZZ_CHECK(wf_checkpoint_unasked(c, NULL, &first) == count - (a != NULL));
    FUZZ_CHECK(!a || strcmp(a->name, "a") == 0);
    FUZZ_CHECK(!a || !wf_checkpoint_left_out(c, "a"));
    while (wf_checkpoint_unasked(c, "z y", &first))
        FUZZ_CHECK(wf_checkpoint_find(c, first));
    (void)(wf_checkpoint_parameters(c) + wf_checkpoint_bytes(c));
    FUZZ_CHECK(
        fuzz_succeeded(f, wf_json_int(wf_checkpoint_config(c), "layers", 2, 2, &layers, &f->err)));
    FUZZ_CHECK(layers == 2);
}

enum wf_status fuzz_parse(struct fuzz *f, const uint8_t *data, size_t size)
{
    const bool is_index = size && data[0] == '{';
    struct wf_checkpoint *c;
    fuzz_folder("vae");
    fuzz_write("vae/config.json", "{\"layers\":2}", 12);
    fuzz_write("vae/model.safetensors.index.json", is_index ? (const void *)data : index_text,
               is_index ? size : sizeof index_text - 1);
    write_shard("vae/two.safetensors", "b");
    if (is_index)
        write_shard("vae/one.safetensors", "a");
    else
        fuzz_write("vae/one.safetensors", data, size);
    WF_TRY(wf_checkpoint_open(fuzz_path("vae"), "model", NULL, f->mem, &c, &f->err));
    check_all(f, c);
    wf_checkpoint_close(&c);
    return WF_OK;
}
