/* kernels/base and tensor: random numbers, types, arenas, memory, messages, views. */
#include <limits.h>
#include <math.h>
#include <omp.h>
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

#include "io/weights/safetensors.h"
#include "kernels/base/arena.h"
#include "kernels/base/cgroup.h"
#include "kernels/base/dtype.h"
#include "kernels/base/mem.h"
#include "kernels/base/philox.h"
#include "kernels/base/rng.h"
#include "kernels/base/status.h"
#include "kernels/base/threads.h"
#include "kernels/tensor.h"

static void fixture_path(char path[4096], const char *name)
{
    const char *source = getenv("WEFT_SOURCE_DIR");
    snprintf(path, 4096, "%s/tests/fixtures/vectors/%s", source ? source : ".", name);
}

/* --- random numbers ------------------------------------------------------------------------------
 */

static void rng_is_the_published_twister(void **state)
{
    (void)state;
    struct wf_rng rng;
    wf_rng_seed(&rng, 5489);
    assert_int_equal(wf_rng_u32(&rng), 3499211612u);
    for (int i = 1; i < 9999; i++)
        wf_rng_u32(&rng);
    assert_int_equal(wf_rng_u32(&rng), 4123659995u); /* the standard's 10000th */
}

/* Known answers of the paper's own code. */
static void philox_is_the_published(void **state)
{
    static const uint32_t zeros[4], ones[4] = {~0u, ~0u, ~0u, ~0u};
    uint32_t out[4];
    (void)state;
    wf_philox(zeros, zeros, out);
    assert_memory_equal(out, ((const uint32_t[]){0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}),
                        sizeof out);
    wf_philox(ones, ones, out);
    assert_memory_equal(out, ((const uint32_t[]){0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}),
                        sizeof out);
}

/* What torch.manual_seed(0) and torch.randn(8, device="cuda") print, on any card: few values do not
   fill it. */
static void philox_begins_as_torch(void **state)
{
    static const float printed[8] = {-0.9247f, -0.4253f, -2.6438f, 0.1452f,
                                     -0.1209f, -0.5797f, -0.6229f, -0.3284f};
    enum { MANY = 3 * 4 * 256 * 8 + 100 };
    float values[8], *many = calloc(MANY, sizeof *many);
    double sum = 0, squares = 0;
    (void)state;
    uint64_t turn = 0, later = 0;
    wf_philox_normal(0, 132, 2048, &turn, values, 8);
    assert_int_equal(turn, 1);
    for (int i = 0; i < 8; i++)
        assert_true(fabsf(values[i] - printed[i]) < 6e-5f);
    assert_non_null(many);
    wf_philox_normal(0, 1, 2048, &later, many, MANY); /* more than a turn of this card */
    assert_memory_equal(many, values, sizeof values);
    assert_int_equal(later, 4);
    later = 1; /* where a generator goes on that drew a turn before */
    wf_philox_normal(0, 1, 2048, &later, values, 8);
    assert_memory_equal(many + 4 * 8 * 256, values, sizeof values);
    for (int i = 0; i < MANY; i++) {
        sum += (double)many[i];
        squares += (double)many[i] * (double)many[i];
        assert_true(many[i] != 0);
    }
    assert_true(fabs(sum / MANY) < 0.03 && fabs(squares / MANY - 1) < 0.03);
    free(many);
}

static void rng_begins_as_torch(void **state)
{
    (void)state;
    static const float expected[] = {-1.1258398f, -1.1523602f, -0.2505786f, -0.4338788f};
    struct wf_rng rng;
    float values[16];
    wf_rng_seed(&rng, 0);
    wf_rng_normal(&rng, values, 16);
    for (int i = 0; i < 4; i++)
        assert_true(fabsf(values[i] - expected[i]) < 1e-6f);
}

/* One seed's draws, one after the other from one generator. */
static void check_draws(const struct wf_st_file *file, const json_t *entry)
{
    struct wf_rng rng;
    wf_rng_seed(&rng, strtoull(json_string_value(json_object_get(entry, "seed")), NULL, 10));
    const json_t *draws = json_object_get(entry, "draws"),
                 *names = json_object_get(entry, "tensors");
    for (size_t i = 0; i < json_array_size(draws); i++) {
        const size_t n = (size_t)json_integer_value(json_array_get(draws, i));
        const char *name = json_string_value(json_array_get(names, i));
        const struct wf_st_tensor *t = wf_st_find(file, name);
        assert_non_null(t);
        assert_int_equal(t->bytes, n * sizeof(float));
        float *ours = malloc(n * sizeof *ours), *theirs = malloc(n * sizeof *theirs);
        assert_non_null(ours);
        assert_non_null(theirs);
        assert_int_equal(wf_source_f32(&t->source, 0, n, theirs, NULL), WF_OK);
        wf_rng_normal(&rng, ours, n);
        for (size_t j = 0; j < n; j++) {
            if (!(fabsf(ours[j] - theirs[j]) <= 1e-6f * fmaxf(1, fabsf(theirs[j]))))
                fail_msg("%s[%zu]: %.9g, torch %.9g", name, j, (double)ours[j], (double)theirs[j]);
        }
        free(ours);
        free(theirs);
    }
}

static void rng_draws_as_torch(void **state)
{
    (void)state;
    char path[4096];
    struct wf_error err;
    struct wf_st_file *file;
    struct wf_mem *mem = wf_mem_open();
    assert_non_null(mem);
    fixture_path(path, "randn.json");
    json_t *entries = json_load_file(path, 0, NULL);
    assert_true(json_is_array(entries) && json_array_size(entries) > 0);
    fixture_path(path, "randn.safetensors");
    assert_int_equal(wf_st_open(path, mem, &file, &err), WF_OK);
    for (size_t i = 0; i < json_array_size(entries); i++)
        check_draws(file, json_array_get(entries, i));
    wf_st_close(&file);
    json_decref(entries);
    wf_mem_close(&mem);
}

static void rng_takes_the_low_seed_bits(void **state)
{
    (void)state;
    struct wf_rng a, b;
    wf_rng_seed(&a, 7);
    wf_rng_seed(&b, 7 + (UINT64_C(9) << 32));
    for (int i = 0; i < 1000; i++)
        assert_int_equal(wf_rng_u32(&a), wf_rng_u32(&b));
}

/* --- types ---------------------------------------------------------------------------------------
 */

static void every_half_survives(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 65536; i++) {
        const uint16_t bits = (uint16_t)i;
        const float f16 = wf_f16_to_f32(bits), bf16 = wf_bf16_to_f32(bits);
        if (isnan(f16))
            assert_true((bits & 0x7c00) == 0x7c00 && isnan(wf_f16_to_f32(wf_f32_to_f16(f16))));
        else
            assert_int_equal(wf_f32_to_f16(f16), bits);
        if (isnan(bf16))
            assert_true(isnan(wf_bf16_to_f32(wf_f32_to_bf16(bf16))));
        else
            assert_int_equal(wf_f32_to_bf16(bf16), bits);
    }
}

static void known_halves(void **state)
{
    (void)state;
    assert_true(wf_f16_to_f32(0x3c00) == 1.0f);
    assert_true(wf_f16_to_f32(0xc000) == -2.0f);
    assert_true(wf_f16_to_f32(0x7bff) == 65504.0f);
    assert_true(wf_f16_to_f32(0x0001) == 0x1p-24f);
    assert_true(wf_f16_to_f32(0x03ff) == 1023 * 0x1p-24f);
    assert_true(wf_bf16_to_f32(0x3f80) == 1.0f);
    assert_int_equal(wf_f32_to_f16(65519.996f), 0x7bff);
    assert_int_equal(wf_f32_to_f16(65520.0f), 0x7c00);
    assert_int_equal(wf_f32_to_f16(-INFINITY), 0xfc00);
    assert_int_equal(wf_f32_to_f16(-0.0f), 0x8000);
    assert_int_equal(wf_f32_to_bf16(3.4028235e38f), 0x7f80);
}

/* Half way between two neighbours goes to the even one; a hair to either side does not. */
static void halves_round_to_even(void **state)
{
    (void)state;
    for (uint32_t i = 0; i + 1 < 0x7bff; i++) {
        const float low = wf_f16_to_f32((uint16_t)i), high = wf_f16_to_f32((uint16_t)(i + 1));
        const float middle = 0.5f * (low + high);
        assert_int_equal(wf_f32_to_f16(middle), i % 2 ? i + 1 : i);
        assert_int_equal(wf_f32_to_f16(nextafterf(middle, 0)), i);
        assert_int_equal(wf_f32_to_f16(nextafterf(middle, INFINITY)), i + 1);
        assert_int_equal(wf_f32_to_f16(-middle), 0x8000 + (i % 2 ? i + 1 : i));
    }
    for (uint32_t i = 0x0080; i + 1 < 0x7f7f; i++) {
        const float low = wf_bf16_to_f32((uint16_t)i), high = wf_bf16_to_f32((uint16_t)(i + 1));
        const float middle = low + 0.5f * (high - low);
        assert_int_equal(wf_f32_to_bf16(middle), i % 2 ? i + 1 : i);
        assert_int_equal(wf_f32_to_bf16(nextafterf(middle, 0)), i);
        assert_int_equal(wf_f32_to_bf16(nextafterf(middle, INFINITY)), i + 1);
    }
}

static void conversion_at_odd_addresses(void **state)
{
    (void)state;
    const float values[] = {1, -2, 0.5f, 65504, 0};
    for (int dtype = WF_F32; dtype <= WF_BF16; dtype++) {
        unsigned char bytes[32];
        float back[5];
        wf_from_f32(bytes + 1, (enum wf_dtype)dtype, values, 4);
        wf_to_f32(back, bytes + 1, (enum wf_dtype)dtype, 4);
        for (int i = 0; i < 3; i++)
            assert_true(back[i] == values[i]);
    }
    assert_int_equal(wf_dtype_bytes(WF_F32), 4);
    assert_int_equal(wf_dtype_bytes(WF_BF16), 2);
    assert_int_equal(wf_dtype_bytes(WF_U8), 1);
    assert_string_equal(wf_dtype_name(WF_BF16), "BF16");
}

/* --- memory --------------------------------------------------------------------------------------
 */

static void memory_is_counted(void **state)
{
    (void)state;
    struct wf_mem *mem = wf_mem_open();
    assert_non_null(mem);
    void *a = wf_alloc(mem, WF_MEM_WEIGHTS, 100), *b = wf_calloc(mem, WF_MEM_CACHE, 10, 20);
    void *none = wf_alloc(mem, WF_MEM_MISC, 0), *none_more = wf_alloc(mem, WF_MEM_MISC, 0);
    assert_non_null(a);
    assert_non_null(b);
    assert_true(none && none_more && none != none_more);
    assert_int_equal((uintptr_t)a % 64, 0);
    for (int i = 0; i < 200; i++)
        assert_int_equal(((unsigned char *)b)[i], 0);
    assert_int_equal(wf_mem_live(mem, WF_MEM_WEIGHTS), 100);
    assert_int_equal(wf_mem_live(mem, WF_MEM_CACHE), 200);
    assert_int_equal(wf_mem_live_all(mem), 300);
    wf_mem_hold(mem, WF_MEM_WEIGHTS, 1000);
    wf_mem_drop(mem, WF_MEM_WEIGHTS, 1000);
    wf_free(a);
    assert_int_equal(wf_mem_live_all(mem), 200);
    assert_int_equal(wf_mem_peak(mem), 1300);
    wf_mem_peak_reset(mem);
    assert_int_equal(wf_mem_peak(mem), 200);
    char *text = wf_strdup(mem, "weft");
    assert_string_equal(text, "weft");
    wf_free(text);
    wf_free(b);
    wf_free(none);
    wf_free(none_more);
    wf_free(NULL);
    assert_int_equal(wf_mem_live_all(mem), 0);
    wf_mem_close(&mem);
    assert_null(mem);
}

static void memory_fails_when_told(void **state)
{
    (void)state;
    struct wf_mem *mem = wf_mem_open();
    assert_non_null(mem);
    assert_null(wf_alloc(mem, WF_MEM_MISC, SIZE_MAX));
    assert_null(wf_alloc(mem, WF_MEM_MISC, SIZE_MAX / 2));
    assert_null(wf_calloc(mem, WF_MEM_MISC, SIZE_MAX / 2, 3));
    wf_mem_fail_at(mem, 2);
    void *first = wf_alloc(mem, WF_MEM_MISC, 1);
    assert_non_null(first);
    assert_null(wf_strdup(mem, "second"));
    void *third = wf_alloc(mem, WF_MEM_MISC, 1); /* once only */
    assert_non_null(third);
    wf_free(first);
    wf_free(third);
    assert_int_equal(wf_mem_live_all(mem), 0);
    wf_mem_close(&mem);
}

/* A source that counts, and that is short of memory from a limit on. */
struct counted {
    struct wf_mem *mem;
    size_t limit;
    int taken, given;
};

static void *counted_take(void *context, size_t bytes)
{
    struct counted *c = context;
    void *ptr = bytes > c->limit ? NULL : wf_alloc(c->mem, WF_MEM_ACTIVATIONS, bytes);
    c->taken += ptr != NULL;
    return ptr;
}

static void counted_give(void *context, void *ptr)
{
    struct counted *c = context;
    c->given++;
    wf_free(ptr);
}

static struct wf_arena_source counted_source(struct counted *c)
{
    *c = (struct counted){.mem = wf_mem_open(), .limit = SIZE_MAX};
    assert_non_null(c->mem);
    return (struct wf_arena_source){counted_take, counted_give, c};
}

static void close_counted(struct counted *c, struct wf_arena *arena)
{
    wf_arena_close(arena);
    wf_arena_close(arena);
    assert_int_equal(c->taken, c->given);
    assert_int_equal(wf_mem_live_all(c->mem), 0);
    wf_mem_close(&c->mem);
}

static void arena_is_a_stack(void **state)
{
    (void)state;
    struct counted c;
    struct wf_arena arena;
    wf_arena_init(&arena, counted_source(&c));
    unsigned char *a = wf_arena_alloc(&arena, 100);
    assert_non_null(a);
    assert_int_equal((uintptr_t)a % 64, 0);
    const struct wf_arena_mark mark = wf_arena_mark(&arena);
    unsigned char *b = wf_arena_alloc(&arena, 1);
    memset(b, 1, 1);
    assert_true(b >= a + 100);
    wf_arena_release(&arena, mark);
    assert_ptr_equal(wf_arena_alloc(&arena, 1), b);
    assert_true(wf_arena_alloc(&arena, 0) != wf_arena_alloc(&arena, 0));
    assert_null(wf_arena_alloc(&arena, SIZE_MAX));
    assert_null(wf_arena_alloc(&arena, SIZE_MAX / 4));
    close_counted(&c, &arena);
}

static void arena_takes_a_known_peak_at_once(void **state)
{
    (void)state;
    enum { PEAK = 5 << 20 };
    struct counted c;
    struct wf_arena arena;
    wf_arena_init(&arena, counted_source(&c));
    assert_true(wf_arena_reserve(&arena, 0));
    assert_int_equal(c.taken, 0);
    assert_true(wf_arena_reserve(&arena, PEAK));
    for (int round = 0; round < 2; round++) {
        const struct wf_arena_mark mark = wf_arena_mark(&arena);
        for (int i = 0; i < 5; i++)
            memset(wf_arena_alloc(&arena, PEAK / 5), i, PEAK / 5);
        wf_arena_release(&arena, mark);
    }
    assert_int_equal(c.taken, 1);
    assert_true(wf_arena_reserve(&arena, 2 * PEAK));
    assert_int_equal(c.given, 1);
    c.limit = PEAK;
    assert_false(wf_arena_reserve(&arena, 2 * PEAK));
    assert_non_null(wf_arena_alloc(&arena, 1));
    close_counted(&c, &arena);
}

static void arena_joins_its_chunks(void **state)
{
    (void)state;
    enum { BIG = 3 << 20 };
    struct counted c;
    struct wf_arena arena;
    wf_arena_init(&arena, counted_source(&c));
    const struct wf_arena_mark empty = wf_arena_mark(&arena);
    unsigned char *part[4];
    for (int i = 0; i < 4; i++) {
        part[i] = wf_arena_alloc(&arena, BIG);
        assert_non_null(part[i]);
        memset(part[i], i, BIG);
    }
    for (int i = 0; i < 4; i++) /* growing moved nothing */
        assert_true(part[i][0] == i && part[i][BIG - 1] == i);
    assert_int_equal(c.taken, 4);
    assert_int_equal(arena.peak, 4 * BIG);
    wf_arena_release(&arena, empty);
    assert_int_equal(arena.live, 0);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 4; i++)
            memset(wf_arena_alloc(&arena, BIG), i, BIG);
        wf_arena_release(&arena, empty);
    }
    assert_int_equal(c.taken, 5); /* one of the whole size, from then on */
    close_counted(&c, &arena);
}

static void arena_lives_with_little(void **state)
{
    (void)state;
    enum { BIG = 2 << 20 };
    struct counted c;
    struct wf_arena arena;
    wf_arena_init(&arena, counted_source(&c));
    const struct wf_arena_mark empty = wf_arena_mark(&arena);
    assert_non_null(wf_arena_alloc(&arena, BIG));
    assert_non_null(wf_arena_alloc(&arena, BIG));
    wf_arena_release(&arena, empty);
    c.limit = BIG; /* what is whole does not fit, its parts do */
    assert_non_null(wf_arena_alloc(&arena, BIG));
    assert_non_null(wf_arena_alloc(&arena, BIG));
    c.limit = 0;
    const size_t live = arena.live;
    assert_null(wf_arena_alloc(&arena, BIG));
    assert_int_equal(arena.live, live);
    close_counted(&c, &arena);
}

/* Marks inside marks, at random, against a list that remembers what must be where. */
static void arena_keeps_what_lives(void **state)
{
    (void)state;
    enum { DEPTH = 8, EACH = 6 };
    struct counted c;
    struct wf_arena arena;
    struct wf_rng rng;
    wf_rng_seed(&rng, 1);
    wf_arena_init(&arena, counted_source(&c));
    struct {
        struct wf_arena_mark mark;
        unsigned char *ptr[EACH];
        size_t bytes[EACH];
    } level[DEPTH];
    int depth = 0;
    for (int step = 0; step < 4000; step++) {
        if (depth < DEPTH && wf_rng_u32(&rng) % 2) {
            level[depth].mark = wf_arena_mark(&arena);
            for (int i = 0; i < EACH; i++) {
                level[depth].bytes[i] = wf_rng_u32(&rng) % (i == 0 ? 700000 : 3000) + 1;
                level[depth].ptr[i] = wf_arena_alloc(&arena, level[depth].bytes[i]);
                assert_non_null(level[depth].ptr[i]);
                memset(level[depth].ptr[i], depth * EACH + i, level[depth].bytes[i]);
            }
            depth++;
        } else if (depth > 0) {
            depth--;
            for (int i = 0; i < EACH; i++) {
                const unsigned char *ptr = level[depth].ptr[i];
                assert_int_equal(ptr[0], depth * EACH + i);
                assert_int_equal(ptr[level[depth].bytes[i] - 1], depth * EACH + i);
            }
            wf_arena_release(&arena, level[depth].mark);
        }
    }
    close_counted(&c, &arena);
}

/* --- messages ------------------------------------------------------------------------------------
 */

static void messages_are_one_line(void **state)
{
    (void)state;
    struct wf_error err;
    assert_int_equal(wf_fail(&err, WF_REFUSED, "%s: bad %d", "a\nb\tc\x7f", 7), WF_REFUSED);
    assert_int_equal(err.status, WF_REFUSED);
    assert_string_equal(err.text, "a?b?c?: bad 7");
    wf_fail(&err, WF_FAILED, "outer: %s", err.text); /* may wrap what it replaces */
    assert_string_equal(err.text, "outer: a?b?c?: bad 7");
    assert_int_equal(wf_fail(NULL, WF_CANCELLED, "nobody reads this"), WF_CANCELLED);
    char longer[2000];
    memset(longer, 'x', sizeof longer);
    longer[sizeof longer - 1] = '\0';
    wf_fail(&err, WF_FAILED, "%s", longer);
    assert_int_equal(strlen(err.text), sizeof err.text - 1);
    assert_int_equal(wf_fail_memory(&err, "frames", 123), WF_FAILED);
    assert_non_null(strstr(err.text, "123"));
}

/* --- threads and control groups ------------------------------------------------------------------
 */

static void write_file(const char *root, const char *name, const char *text)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", root, name);
    for (char *slash = path + strlen(root) + 1; (slash = strchr(slash, '/')); *slash++ = '/') {
        *slash = '\0';
        (void)mkdir(path, 0700);
    }
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void remove_tree(const char *root)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", root);
    assert_int_equal(system(command), 0);
}

/* The least quota on the way from the group to the root counts, rounded up. */
static void a_quota_limits_the_cores(void **state)
{
    (void)state;
    static const struct {
        const char *groups;     /* proc/self/cgroup */
        const char *file[3][2]; /* below sys/fs/cgroup */
        int cores;
    } cases[] = {
        {"0::/\n", {{"cpu.max", "max 100000\n"}}, INT_MAX},
        {"0::/\n", {{"cpu.max", "150000 100000\n"}}, 2},
        {"0::/\n", {{"cpu.max", "200000 100000\n"}}, 2},
        {"0::/a/b\n", {{"a/b/cpu.max", "max 100000\n"}, {"a/cpu.max", "50000 100000\n"}}, 1},
        {"0::/gone/from/here\n", {{"cpu.max", "300000 100000\n"}}, 3},
        {"7:memory:/x\n4:cpu,cpuacct:/x\n",
         {{"cpu/x/cpu.cfs_quota_us", "-1\n"},
          {"cpu/cpu.cfs_quota_us", "250000\n"},
          {"cpu/cpu.cfs_period_us", "100000\n"}},
         3},
        {"0::/\n", {{"cpu.max", "rubbish\n"}}, INT_MAX},
        {"0::/\n", {{"cpu.max", "100000 0\n"}}, INT_MAX},
        {"0::/\n", {{"cpu.max", "1 inf\n"}}, 1},
        {"", {{"cpu.max", "100000 100000\n"}}, INT_MAX},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char root[] = "/tmp/weft-cgroup-XXXXXX", name[128];
        assert_non_null(mkdtemp(root));
        write_file(root, "proc/self/cgroup", cases[i].groups);
        for (int j = 0; j < 3 && cases[i].file[j][0]; j++) {
            snprintf(name, sizeof name, "sys/fs/cgroup/%s", cases[i].file[j][0]);
            write_file(root, name, cases[i].file[j][1]);
        }
        assert_int_equal(wf_cgroup_cores(root), cases[i].cores);
        remove_tree(root);
    }
}

/* What is left below the least limit on the way counts, and what the system has free. */
static void a_limit_leaves_what_is_not_used(void **state)
{
    (void)state;
    static const struct {
        const char *groups, *system; /* proc/self/cgroup, proc/meminfo */
        const char *file[4][2];      /* below sys/fs/cgroup */
        size_t bytes;
    } cases[] = {
        {"0::/\n", "MemFree: 1 kB\nMemAvailable:   2000 kB\n", {{NULL, NULL}}, 2048000},
        {"0::/\n", "", {{"memory.max", "max\n"}, {"memory.current", "5\n"}}, SIZE_MAX},
        {"0::/\n",
         "MemAvailable: 9 kB\n",
         {{"memory.max", "max\n"}, {"memory.current", "5\n"}},
         9216},
        {"0::/\n",
         "MemAvailable: 2000 kB\n",
         {{"memory.max", "1000000\n"},
          {"memory.current", "400000\n"},
          {"memory.stat", "anon 300000\nfile 90000\nfile_mapped 5\n"}},
         690000},
        {"0::/a/b\n",
         "MemAvailable: 2000 kB\n",
         {{"a/b/memory.max", "max\n"},
          {"a/b/memory.current", "1\n"},
          {"a/memory.max", "100\n"},
          {"a/memory.current", "300\n"}},
         0},
        {"7:memory:/x\n",
         "MemAvailable: 2000 kB\n",
         {{"memory/x/memory.limit_in_bytes", "5000\n"},
          {"memory/x/memory.usage_in_bytes", "2000\n"},
          {"memory/x/memory.stat", "cache 7\ntotal_cache 1000\n"}},
         4000},
        {"7:memory:/\n",
         "MemAvailable: 3 kB\n",
         {{"memory/memory.limit_in_bytes", "9223372036854771712\n"},
          {"memory/memory.usage_in_bytes", "2000\n"}},
         3072},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char root[] = "/tmp/weft-cgroup-XXXXXX", name[128];
        assert_non_null(mkdtemp(root));
        write_file(root, "proc/self/cgroup", cases[i].groups);
        write_file(root, "proc/meminfo", cases[i].system);
        for (int j = 0; j < 4 && cases[i].file[j][0]; j++) {
            snprintf(name, sizeof name, "sys/fs/cgroup/%s", cases[i].file[j][0]);
            write_file(root, name, cases[i].file[j][1]);
        }
        assert_true(wf_memory_free(root) == cases[i].bytes);
        remove_tree(root);
    }
}

static void threads_are_what_openmp_grants(void **state)
{
    (void)state;
    const char *before = getenv("OMP_NUM_THREADS");
    char kept[64];
    snprintf(kept, sizeof kept, "%s", before ? before : "");
    assert_int_equal(setenv("OMP_NUM_THREADS", "3,2", 1), 0);
    assert_int_equal(wf_thread_default(), 3);
    assert_int_equal(setenv("OMP_NUM_THREADS", "none", 1), 0);
    assert_true(wf_thread_default() >= 1);
    assert_int_equal(before ? setenv("OMP_NUM_THREADS", kept, 1) : unsetenv("OMP_NUM_THREADS"), 0);
    assert_int_equal(wf_thread_granted(1), 1);
    const int levels = omp_get_max_active_levels();
    omp_set_max_active_levels(0);
    assert_int_equal(wf_thread_granted(4), 1);
    omp_set_max_active_levels(levels);
    int inside = 0;
#pragma omp parallel num_threads(2) reduction(max : inside)
    inside = wf_thread_granted(4);
    assert_int_equal(inside, omp_get_thread_limit() > 1 ? 1 : inside);
}

/* --- views ---------------------------------------------------------------------------------------
 */

static void views_point_at_their_elements(void **state)
{
    (void)state;
    float data[2 * 3 * 4];
    const struct wf_tensor t = wf_tensor_of(data, WF_F32, WF_DIMS(2, 3, 4));
    assert_int_equal(wf_tensor_count(&t), 24);
    assert_int_equal(wf_tensor_bytes(&t), 96);
    assert_int_equal(wf_tensor_rows(&t), 6);
    assert_int_equal(wf_tensor_row(&t, 4), 16);
    assert_true(wf_tensor_is_dense(&t));
    const struct wf_tensor s = wf_tensor_slice(t, 1, 1, 2);
    assert_ptr_equal(s.data, data + 4);
    assert_false(wf_tensor_is_dense(&s));
    assert_int_equal(wf_tensor_row(&s, 2), 12); /* row [1,0] */
    const struct wf_tensor p = wf_tensor_permute(t, WF_ORDER(2, 0, 1));
    assert_true(p.dim[0] == 4 && p.dim[1] == 2 && p.dim[2] == 3);
    assert_true(p.stride[0] == 1 && p.stride[1] == 12 && p.stride[2] == 4);
    assert_false(wf_tensor_same_dims(&p, &t));
    const struct wf_tensor split = wf_tensor_split(s, 2, 2);
    assert_true(split.rank == 4 && split.dim[2] == 2 && split.dim[3] == 2);
    assert_true(split.stride[1] == 4 && split.stride[2] == 2 && split.stride[3] == 1);
    const struct wf_tensor flat = wf_tensor_reshape(t, WF_DIMS(6, 4));
    assert_true(flat.rank == 2 && flat.stride[0] == 4);
    struct wf_tensor one = wf_tensor_slice(t, 0, 1, 1);
    one.stride[0] = 999; /* the stride of a single element has no meaning */
    assert_true(wf_tensor_is_dense(&one));
}

static void impossible_tensors_are_refused(void **state)
{
    (void)state;
    struct counted c;
    struct wf_arena arena;
    struct wf_error err;
    struct wf_tensor t;
    wf_arena_init(&arena, counted_source(&c));
    assert_int_equal(wf_tensor_new(&arena, WF_F32, &t, &err, WF_DIMS(3, 5)), WF_OK);
    assert_true(wf_tensor_is_dense(&t) && wf_tensor_bytes(&t) == 60);
    assert_int_equal(wf_tensor_new(&arena, WF_F32, &t, &err, WF_DIMS(3, 0)), WF_FAILED);
    assert_int_equal(wf_tensor_new(&arena, WF_F32, &t, &err, WF_DIMS(-1, 4)), WF_FAILED);
    assert_int_equal(wf_tensor_new(&arena, WF_F32, &t, &err, WF_DIMS(INT64_MAX, 1)), WF_FAILED);
    assert_int_equal(
        wf_tensor_new(&arena, WF_F32, &t, &err, WF_DIMS(INT64_C(1) << 40, INT64_C(1) << 40)),
        WF_FAILED);
    close_counted(&c, &arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rng_is_the_published_twister),
        cmocka_unit_test(philox_is_the_published),
        cmocka_unit_test(philox_begins_as_torch),
        cmocka_unit_test(rng_begins_as_torch),
        cmocka_unit_test(rng_draws_as_torch),
        cmocka_unit_test(rng_takes_the_low_seed_bits),
        cmocka_unit_test(every_half_survives),
        cmocka_unit_test(known_halves),
        cmocka_unit_test(halves_round_to_even),
        cmocka_unit_test(conversion_at_odd_addresses),
        cmocka_unit_test(memory_is_counted),
        cmocka_unit_test(memory_fails_when_told),
        cmocka_unit_test(arena_is_a_stack),
        cmocka_unit_test(arena_takes_a_known_peak_at_once),
        cmocka_unit_test(arena_joins_its_chunks),
        cmocka_unit_test(arena_lives_with_little),
        cmocka_unit_test(arena_keeps_what_lives),
        cmocka_unit_test(messages_are_one_line),
        cmocka_unit_test(a_quota_limits_the_cores),
        cmocka_unit_test(a_limit_leaves_what_is_not_used),
        cmocka_unit_test(threads_are_what_openmp_grants),
        cmocka_unit_test(views_point_at_their_elements),
        cmocka_unit_test(impossible_tensors_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
