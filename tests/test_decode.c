/* vae/: chunks and tiles. Exact tiles give the pixels of the whole frame, whatever their size and
   the chunks; the work and the memory that they take; the pool that stages work in. */
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
#include <jansson.h>

#include "io/video/score.h"
#include "io/weights/safetensors.h"
#include "kernels/base/pool.h"
#include "kernels/base/rng.h"
#include "vae/decode.h"

/* A VAE folder of the fixtures, open on a device. */
struct opened {
    struct wf_error err;
    struct wf_mem *mem;
    struct wf_backend *be;
    struct wf_checkpoint *ckpt;
    struct wf_residency *weights;
    struct wf_vae *vae;
};

static void good(const struct opened *o, enum wf_status status)
{
    if (status != WF_OK)
        fail_msg("%s", o->err.text);
}

static const char *fixture_path(const char *fixture, const char *name)
{
    static char path[1024];
    snprintf(path, sizeof path, "%s/tests/fixtures/%s/%s", getenv("WEFT_SOURCE_DIR"), fixture,
             name);
    return path;
}

/* A VAE's folder alone, or within a pipeline's. */
static void open_vae(struct opened *o, const char *fixture, const char *device)
{
    const int threads = getenv("WEFT_TEST_THREADS") ? atoi(getenv("WEFT_TEST_THREADS")) : 2;
    const bool alone = access(fixture_path(fixture, "model/config.json"), R_OK) == 0;
    const char *path = fixture_path(fixture, alone ? "model" : "model/vae");
    *o = (struct opened){.mem = wf_mem_open()};
    good(o, wf_backend_open(device, "f32", threads, o->mem, o->mem, &o->err, &o->be));
    good(o, wf_checkpoint_open(path, "diffusion_pytorch_model", NULL, o->mem, &o->ckpt, &o->err));
    good(o, wf_residency_open((struct wf_policy){.offload = WF_OFFLOAD_NONE}, o->ckpt, o->be,
                              o->mem, &o->weights, &o->err));
    good(o, wf_vae_open(o->weights, o->mem, &o->vae, &o->err));
}

static void close_vae(struct opened *o)
{
    wf_residency_close(&o->weights);
    wf_vae_close(&o->vae);
    wf_checkpoint_close(&o->ckpt);
    wf_backend_close(&o->be);
    assert_int_equal(wf_mem_live_all(o->mem), 0);
    wf_mem_close(&o->mem);
}

struct clip {
    float *values;
    int64_t count; /* of them */
    int64_t frames;
    double flops;
    size_t peak; /* of the decoder's pool */
};

static struct wf_tensor random_latents(struct opened *o, const int64_t size[3])
{
    struct wf_rng rng;
    struct wf_tensor z =
        wf_tensor_of(NULL, WF_F32, WF_DIMS(size[0], size[1], size[2], o->vae->geometry.channels));
    z.data = o->be->ops.take(o->be, WF_MEM_CACHE, wf_tensor_bytes(&z));
    assert_non_null(z.data);
    wf_rng_seed(&rng, 7);
    wf_rng_normal(&rng, z.data, (size_t)wf_tensor_count(&z));
    return z;
}

static struct clip decode_latents(struct opened *o, struct wf_tensor z,
                                  const struct wf_decode_settings *settings)
{
    struct wf_decoder *dec = NULL;
    struct clip clip = {0};
    const float *frame;
    const int64_t scale = o->vae->geometry.spatial,
                  values = z.dim[1] * z.dim[2] * scale * scale * 3;
    o->be->tally = (struct wf_tally){0};
    good(o, wf_decoder_open(o->vae, z, settings, 0, &dec, &o->err));
    for (;;) {
        good(o, wf_decoder_next(dec, &frame, &o->err));
        if (!frame)
            break;
        clip.frames++;
        clip.values = realloc(clip.values, (size_t)(clip.frames * values) * sizeof *clip.values);
        assert_non_null(clip.values);
        memcpy(clip.values + clip.count, frame, (size_t)values * sizeof *frame);
        clip.count += values;
    }
    clip.flops = wf_flops(&o->be->tally);
    clip.peak = wf_decoder_room_used(dec);
    wf_decoder_close(&dec);
    o->be->ops.give(o->be, z.data);
    return clip;
}

/* Random latents of [T,h,w]. */
static struct clip decode(struct opened *o, const int64_t size[3],
                          const struct wf_decode_settings *settings)
{
    return decode_latents(o, random_latents(o, size), settings);
}

static double distance(const struct clip *a, const struct clip *b)
{
    double squares = 0, whole = 0;
    assert_int_equal(a->count, b->count);
    for (int64_t i = 0; i < a->count; i++) {
        const double d = (double)a->values[i] - (double)b->values[i];
        squares += d * d;
        whole += (double)b->values[i] * (double)b->values[i];
    }
    return sqrt(squares / whole);
}

/* share: of the untiled decode's memory, at most. */
static void exact_equals_whole(const char *fixture, const char *device, size_t count, double bound,
                               double share)
{
    static const int64_t tiles[][2] = {{64, 64},  {48, 96},  {112, 48},
                                       {17, 500}, {100, 64}, {9, 31}};
    static const int64_t chunks[] = {1, 8, 100};
    const int64_t size[3] = {3, 14, 10};
    struct opened o;
    open_vae(&o, fixture, device);
    for (size_t i = 0; i < count; i++) {
        struct wf_decode_settings s = {.chunk_size = chunks[i % 3], .chunk_overlap = -1};
        const struct clip whole = decode(&o, size, &s);
        s.tiling = WF_TILING_EXACT;
        s.tile = (struct wf_size){tiles[i][0], tiles[i][1]};
        const struct clip tiled = decode(&o, size, &s);
        const double d = distance(&tiled, &whole);
        print_message("%s on %s, tiles of %lldx%lld, chunks of %lld: %.1e, %.2f of the work, %.2f "
                      "of the memory\n",
                      fixture, device, (long long)tiles[i][1], (long long)tiles[i][0],
                      (long long)s.chunk_size, d, tiled.flops / whole.flops,
                      (double)tiled.peak / (double)whole.peak);
        assert_true(d <= bound);
        assert_true((double)tiled.peak <= share * (double)whole.peak);
        free(whole.values);
        free(tiled.values);
    }
    close_vae(&o);
}

static void exact_tiles_give_the_pixels_of_the_whole_frame(void **state)
{
    (void)state;
    exact_equals_whole("vae_a", "ref", 2, 1e-6, 1);

    exact_equals_whole("vae_a", "cpu", 6, 1e-6, 1);

    exact_equals_whole("vae_b", "cpu", 6, 1e-6, 1);
    exact_equals_whole("vae_22", "cpu", 6, 1e-6, 0.5);
    exact_equals_whole("vae_svd", "cpu", 6, 1e-5, 0.9);
}

/* --- diffusers' frames --- */

/* Of a file's only tensor. */
static float *read_values(struct opened *o, const char *path, const char *name, int64_t dims[5])
{
    struct wf_st_file *file = NULL;
    float *values = NULL;
    good(o, wf_st_open(path, o->mem, &file, &o->err));
    const struct wf_st_tensor *t = wf_st_find(file, name);
    assert_non_null(t);
    memcpy(dims, t->dim, (size_t)t->rank * sizeof *dims);
    good(o, wf_st_read_f32(t, o->mem, &values, &o->err));
    wf_st_close(&file);
    return values;
}

/* From a file's [1,C,T,h,w], or [1,T,C,h,w]. */
static struct wf_tensor read_latents(struct opened *o, const char *path)
{
    int64_t d[5];
    float *values = read_values(o, path, "latents", d);
    const struct wf_tensor file = wf_tensor_of(values, WF_F32, WF_DIMS(d[1], d[2], d[3], d[4]));
    const struct wf_tensor x = o->vae->geometry.frames_first
                                   ? wf_tensor_permute(file, WF_ORDER(0, 2, 3, 1))
                                   : wf_tensor_permute(file, WF_ORDER(1, 2, 3, 0));
    struct wf_tensor z = wf_tensor_of(NULL, WF_F32, 4, x.dim);
    z.data = o->be->ops.take(o->be, WF_MEM_CACHE, wf_tensor_bytes(&z));
    assert_non_null(z.data);
    good(o, wf_copy(o->be, &(struct wf_copy){.x = x, .y = z}));
    wf_free(values);
    return z;
}

static struct wf_size size_of(const json_t *entry, const char *key, int64_t missing)
{
    const char *text = json_string_value(json_object_get(entry, key));
    int width = (int)missing, height = (int)missing;
    if (text)
        assert_int_equal(sscanf(text, "%dx%d", &width, &height), 2);
    return (struct wf_size){height, width};
}

static struct wf_decode_settings settings_of(const json_t *entry)
{
    const char *tiling = json_string_value(json_object_get(entry, "tiling"));
    return (struct wf_decode_settings){
        .chunk_size = json_integer_value(json_object_get(entry, "decode_chunk_size")),
        .chunk_overlap = json_integer_value(json_object_get(entry, "chunk_overlap")),
        .tiling = strcmp(tiling, "blend") == 0 ? WF_TILING_BLEND : WF_TILING_NONE,
        .tile = size_of(entry, "tile_size", 0),
        .overlap = size_of(entry, "tile_overlap", -1)};
}

/* The share of the samples that are kept, every step-th row and column, within 1/255. */
static double share_within(const struct clip *clip, const struct wf_size *size, int64_t step,
                           const float *expected, int64_t count)
{
    int64_t within = 0, i = 0;
    for (int64_t row = 0; row < clip->count / size->width / 3; row++) {
        for (int64_t at = 0; row % size->height % step == 0 && at < size->width; at += step)
            for (int c = 0; c < 3; c++, i++) {
                const double d = (double)clip->values[(row * size->width + at) * 3 + c];
                within += fabs(d - (double)expected[i]) <= 1.0 / 255;
            }
    }
    assert_int_equal(i, count);
    return (double)within / (double)count;
}

static void check_case(struct opened *o, const char *fixture, const json_t *entry)
{
    char name[256];
    int64_t d[5];
    const char *latents = json_string_value(json_object_get(entry, "latents"));
    const char *frames = json_string_value(json_object_get(entry, "frames"));
    const struct wf_decode_settings settings = settings_of(entry);
    snprintf(name, sizeof name, "expect/%s", latents);
    const struct wf_tensor z = read_latents(o, fixture_path(fixture, name));
    const int64_t scale = o->vae->geometry.spatial;
    const struct wf_size size = {z.dim[1] * scale, z.dim[2] * scale};
    const struct clip clip = decode_latents(o, z, &settings);
    snprintf(name, sizeof name, "expect/%s", frames);
    float *expected = read_values(o, fixture_path(fixture, name), "frames", d);
    const double share =
        share_within(&clip, &size, json_integer_value(json_object_get(entry, "step")), expected,
                     d[0] * d[1] * d[2] * d[3]);
    print_message("%s, %s, chunks of %lld: %.5f within 1/255\n", fixture, frames,
                  (long long)settings.chunk_size, share);
    assert_true(share >= 0.9999);
    wf_free(expected);
    free(clip.values);
}

static void check_cases(const char *fixture, const char *device)
{
    struct opened o;
    size_t i;
    json_t *entry, *cases = json_load_file(fixture_path(fixture, "expect/cases.json"), 0, NULL);
    assert_true(json_array_size(cases) > 0);
    open_vae(&o, fixture, device);
    json_array_foreach(cases, i, entry) check_case(&o, fixture, entry);
    close_vae(&o);
    json_decref(cases);
}

static void chunks_and_blended_tiles_are_those_of_diffusers(void **state)
{
    (void)state;
    check_cases("vae_tiles", "cpu");
    check_cases("vae_22", "cpu");
    check_cases("vae_svd", "cpu");
}

/* --- what shows of the edges --- */

/* Waves that are longer than the frame and move slowly. */
static struct wf_tensor smooth_latents(struct opened *o, const int64_t size[3])
{
    const struct wf_tensor z = random_latents(o, size);
    const int64_t channels = z.dim[3];
    float *values = z.data;
    for (int64_t i = 0; i < wf_tensor_count(&z); i++) {
        const int64_t c = i % channels, w = i / channels % size[2];
        const int64_t h = i / channels / size[2] % size[1], t = i / channels / size[2] / size[1];
        values[i] = 0.9f * sinf(1.3f * (float)c + 0.2f * (float)w) *
                    cosf(0.7f * (float)c + 0.15f * (float)h + 0.05f * (float)t);
    }
    return z;
}

static void scores_of(struct opened *o, const struct clip *clip, struct wf_size size,
                      const struct wf_edges edges[3], double *seam, double *chunk)
{
    const struct wf_score_config config = {.width = size.width,
                                           .height = size.height,
                                           .columns = edges[0],
                                           .rows = edges[1],
                                           .frames = edges[2]};
    struct wf_score *score = NULL;
    good(o, wf_score_open(&config, o->mem, &score, &o->err));
    for (int64_t f = 0; f < clip->frames; f++)
        good(o, wf_score_frame(score, clip->values + f * size.height * size.width * 3, &o->err));
    *seam = wf_score_seam(score);
    *chunk = wf_score_chunk_edge(score);
    wf_score_close(&score);
}

/* Tiles of 64x64 that start every 48 pixels. The VAE's random weights show its own pattern of 8
   pixels, so the whole frame's score is what to hold the tiles' to. */
static void blended_tiles_and_chunks_show_no_edge_on_a_smooth_clip(void **state)
{
    (void)state;
    static const int64_t columns[] = {48, 96}, rows[] = {48}, frames[] = {5, 8};
    const struct wf_edges edges[] = {{columns, 2}, {rows, 1}, {frames, 2}};
    const int64_t size[3] = {11, 10, 14};
    struct wf_decode_settings s = {.chunk_size = 5,
                                   .chunk_overlap = 2,
                                   .tiling = WF_TILING_BLEND,
                                   .tile = {64, 64},
                                   .overlap = {16, 16}};
    struct opened o;
    double seam, chunk, hard, hard_chunk, whole, whole_chunk;
    open_vae(&o, "vae_svd", "cpu");
    struct clip clip =
        decode_latents(&o, smooth_latents(&o, size), &(struct wf_decode_settings){0});
    scores_of(&o, &clip, (struct wf_size){80, 112}, edges, &whole, &whole_chunk);
    free(clip.values);
    clip = decode_latents(&o, smooth_latents(&o, size), &s);
    scores_of(&o, &clip, (struct wf_size){80, 112}, edges, &seam, &chunk);
    free(clip.values);
    s.overlap = (struct wf_size){0, 0};
    s.tile = (struct wf_size){48, 48};
    s.chunk_overlap = 0;
    clip = decode_latents(&o, smooth_latents(&o, size), &s);
    scores_of(&o, &clip, (struct wf_size){80, 112}, edges, &hard, &hard_chunk);
    free(clip.values);
    print_message(
        "seam and chunk edge: whole %.3f, %.3f; blended %.3f, %.3f; abutting %.3f, %.3f\n", whole,
        whole_chunk, seam, chunk, hard, hard_chunk);
    assert_true(seam <= 1.1 * whole && chunk <= 1.1 * whole_chunk);
    assert_true(hard > 1.2 * whole && hard_chunk > chunk);
    close_vae(&o);
}

/* --- the pool --- */

static void *take_counted(void *context, size_t bytes)
{
    size_t *taken = context;
    *taken += bytes;
    return aligned_alloc(64, bytes);
}

static void give_counted(void *context, void *ptr)
{
    (void)context;
    free(ptr);
}

/* Random buffers, a number in each; returns the pool's peak. */
static size_t play(struct wf_pool *pool, uint64_t seed)
{
    enum { BUFFERS = 12, TURNS = 500 };
    struct wf_rng rng;
    int64_t *buffer[BUFFERS] = {0};
    int64_t words[BUFFERS] = {0};
    wf_rng_seed(&rng, seed);
    for (int turn = 0; turn < TURNS; turn++) {
        float noise[2];
        wf_rng_normal(&rng, noise, 2);
        const int i = abs((int)(noise[0] * 1000)) % BUFFERS;
        if (buffer[i]) {
            for (int64_t k = 0; k < words[i]; k++)
                assert_int_equal(buffer[i][k], i);
            wf_pool_give(pool, buffer[i]);
            buffer[i] = NULL;
            continue;
        }
        words[i] = 1 + abs((int)(noise[1] * 1000));
        buffer[i] = wf_pool_take(pool, (size_t)words[i] * sizeof *buffer[i]);
        assert_non_null(buffer[i]);
        assert_int_equal((uintptr_t)buffer[i] % 64, 0);
        for (int64_t k = 0; k < words[i]; k++)
            buffer[i][k] = i;
    }
    for (int i = 0; i < BUFFERS; i++)
        wf_pool_give(pool, buffer[i]);
    return pool->peak;
}

static void a_pool_gives_the_same_places_in_a_room_of_the_peak_that_was_found(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 20; seed++) {
        size_t taken = 0;
        struct wf_pool pool;
        wf_pool_init(&pool, (struct wf_arena_source){take_counted, give_counted, &taken});
        const size_t peak = play(&pool, seed);
        wf_pool_close(&pool);
        taken = 0;
        wf_pool_init(&pool, (struct wf_arena_source){take_counted, give_counted, &taken});
        assert_true(wf_pool_reserve(&pool, peak));
        assert_int_equal(play(&pool, seed), peak);
        assert_int_equal(taken, peak);
        wf_pool_close(&pool);
    }
}

static void a_pool_that_is_full_takes_memory_beside_it(void **state)
{
    (void)state;
    size_t taken = 0;
    struct wf_pool pool;
    wf_pool_init(&pool, (struct wf_arena_source){take_counted, give_counted, &taken});
    assert_true(wf_pool_reserve(&pool, 128));
    void *first = wf_pool_take(&pool, 100), *second = wf_pool_take(&pool, 100);
    assert_non_null(first);
    assert_non_null(second);
    assert_int_equal(taken, 256);
    memset(second, 1, 100);
    wf_pool_give(&pool, first);
    assert_ptr_equal(wf_pool_take(&pool, 64), first);
    wf_pool_close(&pool);
    wf_pool_close(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exact_tiles_give_the_pixels_of_the_whole_frame),
        cmocka_unit_test(chunks_and_blended_tiles_are_those_of_diffusers),
        cmocka_unit_test(blended_tiles_and_chunks_show_no_edge_on_a_smooth_clip),
        cmocka_unit_test(a_pool_gives_the_same_places_in_a_room_of_the_peak_that_was_found),
        cmocka_unit_test(a_pool_that_is_full_takes_memory_beside_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
