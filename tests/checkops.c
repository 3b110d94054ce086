#include "tests/checkops.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cuda/cuda.h"
#include "kernels/module.h"
#include "kernels/ref/ref.h"
#include "tests/own.h"

enum {
    GUARD = 256,
    PAGE = 4096,
    SHOWN = 8,
    GUARD_BYTE = 0x5a,
    NOT_A_NUMBER = 4
}; /* the last: percent of operands */

#define SLOT(member, test)                                                                         \
    {                                                                                              \
        offsetof(struct wf_ops, member), #member, test                                             \
    }

static const struct slot_test slots[] = {SLOT(open, test_open),
                                         SLOT(is_fast, test_open),
                                         SLOT(close, test_open),
                                         SLOT(take, test_transfer),
                                         SLOT(give, test_transfer),
                                         SLOT(take_host, test_transfer),
                                         SLOT(give_host, test_transfer),
                                         SLOT(sync, test_transfer),
                                         SLOT(upload, test_transfer),
                                         SLOT(download, test_transfer),
                                         SLOT(download_begin, test_transfer),
                                         SLOT(wait, test_transfer),
                                         SLOT(scratch, test_load),
                                         SLOT(param_bytes, test_load),
                                         SLOT(load_begin, test_load),
                                         SLOT(load_end, test_load),
                                         SLOT(unload, test_load),
#define OP_SLOT(name) SLOT(name, test_##name),
                                         WF_OPS(OP_SLOT)};

enum { SLOTS = sizeof slots / sizeof *slots };

/* A slot that was added to the table without a test does not compile. */
_Static_assert(sizeof(struct wf_ops) ==
                   offsetof(struct wf_ops, open) + SLOTS * sizeof(void (*)(void)),
               "every member of struct wf_ops needs a line in slots");

/* With the assertion above: every member has its line, none has two. */
static void test_slots(struct check *c)
{
    label(c, "lines");
    for (int i = 0; i < SLOTS; i++) {
        for (int j = 0; j < i; j++) {
            if (slots[i].offset == slots[j].offset)
                fail(c, "%s has two lines, so another has none", slots[i].name);
        }
    }
}

static uint64_t next_random(struct check *c)
{
    uint64_t z = (c->random += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

int64_t pick(struct check *c, int64_t low, int64_t high)
{
    return low + (int64_t)(next_random(c) % (uint64_t)(high - low + 1));
}

bool chance(struct check *c, int percent)
{
    return pick(c, 1, 100) <= percent;
}

float uniform(struct check *c, float low, float high)
{
    return low + (high - low) * (float)(next_random(c) >> 40) * 0x1p-24f;
}

int64_t pick_of(struct check *c, int count, const int64_t *values)
{
    return values[pick(c, 0, count - 1)];
}

static void random_order(struct check *c, int rank, int *order)
{
    for (int i = 0; i < rank; i++) {
        const int j = (int)pick(c, 0, i);
        order[i] = order[j];
        order[j] = i;
    }
}

/* Strides for a layout; returns the elements between the first and the one after the last. */
static int64_t lay_out(struct check *c, enum layout layout, struct wf_tensor *t)
{
    int order[WF_MAX_RANK];
    for (int i = 0; i < t->rank; i++)
        order[i] = i;
    if (layout == ANYHOW)
        random_order(c, t->rank, order);
    int64_t stride = layout == ANYHOW ? pick(c, 1, 2) : 1;
    for (int i = t->rank - 1; i >= 0; i--) {
        const int axis = order[i];
        t->stride[axis] = stride;
        stride *= t->dim[axis];
        const bool gap = layout == GAPS || layout == ANYHOW || (layout == LINES && i < 3);
        if (gap && chance(c, 50))
            stride += chance(c, 50) ? pick(c, 1, 9) : 8 * pick(c, 1, 9); /* aligned or not */
    }
    int64_t last = 0;
    for (int i = 0; i < t->rank; i++)
        last += (t->dim[i] - 1) * t->stride[i];
    return last + 1;
}

/* Writes a value of the tensor's type; u8 and i32 take what the bytes happen to be. */
static void put_value(unsigned char *at, enum wf_dtype dtype, float value)
{
    if (dtype <= WF_BF16)
        wf_from_f32(at, dtype, &value, 1);
}

static size_t element_offset(const struct wf_tensor *t, int64_t i)
{
    const int64_t width = t->dim[t->rank - 1];
    const int64_t at = wf_tensor_row(t, i / width) + i % width * t->stride[t->rank - 1];
    return (size_t)at * wf_dtype_bytes(t->dtype);
}

static unsigned char *map_pages(size_t bytes)
{
    void *map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED || mprotect((char *)map + bytes - PAGE, PAGE, PROT_NONE) != 0) {
        perror("checkops: mmap");
        exit(1);
    }
    return map;
}

/* As the host's: the last byte is the memory's last, and addresses have the same alignment. */
static void take_copy(struct check *c, struct operand *o, int b)
{
    const size_t before = (GUARD - o->count % GUARD) % GUARD;
    o->owner[b] = c->be[b];
    o->block[b] = o->owner[b]->ops.take(o->owner[b], WF_MEM_ACTIVATIONS, before + o->count);
    if (!o->block[b])
        exit(1);
    o->copy[b] = o->block[b] + before;
    o->t[b].data = o->copy[b] + GUARD;
}

/* A guard, the elements, and in half of the cases a guard again; then a page that faults. */
static void map_operand(struct check *c, struct operand *o, size_t bytes)
{
    const size_t tail = chance(c, 50) ? GUARD : 0;
    o->count = GUARD + bytes + tail;
    o->mapped = (o->count + PAGE - 1) / PAGE * PAGE + PAGE;
    o->original = malloc(o->count);
    if (!o->original)
        exit(1);
    for (size_t i = 0; i < o->count; i++)
        o->original[i] = (unsigned char)next_random(c);
    for (int b = 0; b < BACKENDS; b++) {
        o->map[b] = map_pages(o->mapped);
        o->bytes[b] = o->map[b] + (o->mapped - PAGE - o->count);
        o->t[b].data = o->bytes[b] + GUARD;
        if (c->be[b]->device.own_memory)
            take_copy(c, o, b);
    }
}

void *host_values(const struct operand *o, int b)
{
    return o->bytes[b] + GUARD;
}

void send(struct check *c, struct operand *o)
{
    for (int b = 0; b < BACKENDS; b++) {
        const struct wf_tensor t = wf_tensor_of(o->copy[b], WF_U8, WF_DIMS((int64_t)o->count));
        if (o->owner[b])
            expect_ok(c, wf_upload(o->owner[b], t, o->bytes[b]));
    }
}

void fetch(struct check *c, struct operand *o)
{
    for (int b = 0; b < BACKENDS; b++) {
        const struct wf_tensor t = wf_tensor_of(o->copy[b], WF_U8, WF_DIMS((int64_t)o->count));
        if (o->owner[b])
            expect_ok(c, wf_download(o->owner[b], o->bytes[b], t));
    }
}

static void copy_original(struct check *c, struct operand *o)
{
    for (int b = 0; b < BACKENDS; b++)
        memcpy(o->bytes[b], o->original, o->count);
    send(c, o);
}

/* One value in a few operands is not a number. Its dice are its own: the other values stay what
   they are without it. */
static bool poison(const struct check *c, struct operand *o)
{
    struct check dice = {.random = ~c->random};
    const struct wf_tensor *t = &o->t[REF];
    if (!chance(&dice, NOT_A_NUMBER))
        return false;
    put_value(o->original + GUARD + element_offset(t, pick(&dice, 0, wf_tensor_count(t) - 1)),
              t->dtype, NAN);
    return true;
}

struct operand *make_values(struct check *c, enum role role, enum layout layout,
                            enum wf_dtype dtype, float low, float high, int rank,
                            const int64_t *dims)
{
    if (c->operands == MAX_OPERANDS)
        exit(1);
    struct operand *o = &c->operand[c->operands++];
    struct wf_tensor t = wf_tensor_of(NULL, dtype, rank, dims);
    const int64_t span = lay_out(c, layout, &t);
    *o = (struct operand){.t = {t, t}, .role = role};
    map_operand(c, o, (size_t)span * wf_dtype_bytes(dtype));
    for (int64_t i = 0; i < wf_tensor_count(&t); i++)
        put_value(o->original + GUARD + element_offset(&t, i), dtype, uniform(c, low, high));
    o->poisoned = poison(c, o);
    copy_original(c, o);
    return o;
}

struct operand *make(struct check *c, enum role role, enum layout layout, enum wf_dtype dtype,
                     int rank, const int64_t *dims)
{
    return make_values(c, role, layout, dtype, -1, 1, rank, dims);
}

struct operand *make_within(struct check *c, enum role role, enum layout layout, float low,
                            float high, int rank, const int64_t *dims)
{
    return make_values(c, role, layout, WF_F32, low, high, rank, dims);
}

void set_value(struct check *c, struct operand *o, int64_t i, float value)
{
    put_value(o->original + GUARD + element_offset(&o->t[REF], i), WF_F32, value);
    copy_original(c, o);
}

static struct wf_tensor room_guard(unsigned char *room, size_t bytes)
{
    return wf_tensor_of(room + bytes, WF_U8, WF_DIMS(GUARD));
}

/* Memory for a parameter, with a guard behind what it may fill. */
static void *make_room(struct check *c, int b, const struct wf_param *p)
{
    const size_t bytes = c->be[b]->ops.param_bytes(c->be[b], p);
    unsigned char *room =
        bytes ? c->be[b]->ops.take(c->be[b], WF_MEM_WEIGHTS, bytes + GUARD) : NULL;
    unsigned char guard[GUARD];
    memset(guard, GUARD_BYTE, GUARD);
    if (room)
        expect_ok(c, wf_upload(c->be[b], room_guard(room, bytes), guard));
    c->room[c->params - 1][b] = room;
    return room;
}

static void free_room(struct check *c, int i, int b)
{
    const struct wf_param *p = &c->param[i][b];
    unsigned char *room = c->room[i][b];
    const size_t bytes = c->be[b]->ops.param_bytes(c->be[b], p);
    unsigned char guard[GUARD];
    if (room)
        expect_ok(c, wf_download(c->be[b], guard, room_guard(room, bytes)));
    for (int at = 0; room && at < GUARD; at++) {
        if (guard[at] != GUARD_BYTE) {
            fail(c, "parameter %d wrote behind its room", i);
            break;
        }
    }
    c->be[b]->ops.give(c->be[b], room);
}

struct wf_param *make_param(struct check *c, enum wf_param_kind kind, float scale, int rank,
                            const int64_t *dims)
{
    const enum wf_dtype dtype = (enum wf_dtype)PICK_OF(c, WF_F32, WF_F16, WF_BF16);
    struct operand *file = make_values(c, INPUT, DENSE, dtype, -scale, scale, rank, dims);
    const size_t down = chance(c, 50); /* to an odd address, over the guard */
    unsigned char *values = file->original + GUARD;
    memmove(values - down, values, wf_tensor_bytes(&file->t[REF]));
    copy_original(c, file);
    struct wf_param *p = c->param[c->params++];
    c->may_spread |= file->poisoned && (kind == WF_PARAM_CONV || kind == WF_PARAM_UPCONV);
    for (int b = 0; b < BACKENDS; b++) {
        p[b] = (struct wf_param){.kind = kind, .rank = rank};
        memcpy(p[b].dim, dims, (size_t)rank * sizeof *dims);
        struct wf_source *src = &c->source[c->params - 1][b];
        *src = wf_source_memory((unsigned char *)host_values(file, b) - down, dtype,
                                wf_tensor_bytes(&file->t[b]));
        expect_ok(c, wf_param_load(c->be[b], &p[b], make_room(c, b, &p[b]), src));
    }
    return p;
}

void label(struct check *c, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(c->label, sizeof c->label, format, args);
    va_end(args);
    c->cases++;
}

void fail(struct check *c, const char *format, ...)
{
    if (c->failures++ >= SHOWN)
        return;
    char text[256];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    printf("    %s (%s): %s\n", c->op, c->label, text);
}

void expect_ok(struct check *c, enum wf_status status)
{
    if (status != WF_OK)
        fail(c, "status %d, %s", (int)status, c->err.text);
}

/* Whether the tested backend rounds products to bf16 and then has its own pass over them. */
static bool rounds_products(const struct check *c)
{
    return strcmp(c->table[TESTED]->name, "cuda") == 0 && c->be[TESTED]->compute == WF_BF16 &&
           (strcmp(c->op, "gemm") == 0 || strcmp(c->op, "conv") == 0 ||
            strcmp(c->op, "upconv") == 0);
}

struct counted begin_count(struct check *c, enum wf_op op, const void *args)
{
    struct wf_backend *be = c->be[TESTED];
    struct wf_scratch scratch;
    be->ops.scratch(be, op, args, &scratch);
    wf_mem_peak_reset(be->mem);
    return (struct counted){.live = wf_mem_live_all(be->mem) - be->kept,
                            .planned = (scratch.kept > be->kept ? scratch.kept : be->kept) +
                                       scratch.passing};
}

void end_count(struct check *c, const struct counted *counted)
{
    const struct wf_backend *be = c->be[TESTED];
    if (c->table[TESTED] != &wf_cpu_ops || c->pieces) /* each is planned for itself */
        return;
    const size_t taken = wf_mem_peak(be->mem) - counted->live;
    const bool anew = c->param[0][TESTED].layout && strcmp(be->path, "own") == 0;
    if (anew ? taken > counted->planned : taken != counted->planned)
        fail(c, "%zu bytes of working memory planned, %zu taken", counted->planned, taken);
}

static void compare_values(struct check *c, const struct operand *o, int index, double tolerance)
{
    const struct wf_tensor *t = &o->t[REF];
    double error = 0, norm = 0, worst = 0, largest = 0;
    for (int64_t i = 0; i < wf_tensor_count(t); i++) {
        const size_t at = element_offset(t, i);
        const unsigned char *r = (const unsigned char *)host_values(o, REF) + at;
        const unsigned char *y = (const unsigned char *)host_values(o, TESTED) + at;
        float rv = 0, yv = 0;
        if (t->dtype <= WF_BF16) {
            wf_to_f32(&rv, r, t->dtype, 1);
            wf_to_f32(&yv, y, t->dtype, 1);
        }
        const bool differs = tolerance == 0 && memcmp(r, y, wf_dtype_bytes(t->dtype)) != 0;
        if (isnan(rv) && isnan(yv))
            continue;
        if (!isnan(rv) && isnan(yv) && c->may_spread)
            continue;
        if (isnan(rv) || isnan(yv) || differs) {
            fail(c, "operand %d, element %lld differs: %g, %g", index, (long long)i, (double)rv,
                 (double)yv);
            return;
        }
        if (tolerance == 0)
            continue;
        const double difference = fabs((double)rv - (double)yv);
        error += difference * difference;
        norm += (double)rv * (double)rv;
        worst = fmax(worst, difference);
        largest = fmax(largest, fabs((double)rv));
    }
    double step = 0, steps = 0; /* of one value, and in the mean */
    if (t->dtype == WF_BF16) {  /* values that differ in f32's last bits may round apart */
        step = 0x1p-7;
        steps = 1e-3 + step / sqrt((double)wf_tensor_count(t));
    }
    if (rounds_products(c)) { /* each product once, before the rest is done with it */
        step += 0x1p-7;
        steps += 0x1p-8;
    }
    if (tolerance > 0 && !(sqrt(error) <= (tolerance + steps) * sqrt(norm) + 1e-30 &&
                           worst <= (tolerance + step) * largest + 1e-30))
        fail(c, "operand %d: relative error %.3g, largest difference %.3g of %.3g", index,
             sqrt(error / norm), worst, largest);
}

/* All bytes that are not elements of an output, and every byte of an input, are as they were. */
static void check_untouched(struct check *c, struct operand *o, int index)
{
    const struct wf_tensor *t = &o->t[REF];
    const size_t size = wf_dtype_bytes(t->dtype);
    for (int b = 0; b < BACKENDS; b++) {
        if (o->role == OUTPUT) {
            for (int64_t i = 0; i < wf_tensor_count(t); i++) {
                const size_t at = GUARD + element_offset(t, i);
                memcpy(o->bytes[b] + at, o->original + at, size);
            }
        }
        for (size_t i = 0; i < o->count; i++) {
            if (o->bytes[b][i] != o->original[i]) {
                fail(c, "operand %d: %s wrote byte %lld of %zu outside its output", index,
                     c->be[b]->ops.name, (long long)i - GUARD, o->count);
                break;
            }
        }
    }
}

static void free_operand(struct operand *o)
{
    for (int b = 0; b < BACKENDS; b++) {
        if (o->owner[b])
            o->owner[b]->ops.give(o->owner[b], o->block[b]);
        munmap(o->map[b], o->mapped);
    }
    free(o->original);
}

void finish(struct check *c, double tolerance)
{
    for (int i = 0; i < c->operands; i++) {
        fetch(c, &c->operand[i]);
        if (c->operand[i].role == OUTPUT)
            compare_values(c, &c->operand[i], i, tolerance);
        check_untouched(c, &c->operand[i], i);
    }
    for (int i = 0; i < c->params; i++) {
        for (int b = 0; b < BACKENDS; b++) {
            wf_param_unload(c->be[b], &c->param[i][b]);
            free_room(c, i, b);
        }
    }
    for (int i = 0; i < c->operands; i++)
        free_operand(&c->operand[i]);
    c->operands = c->params = 0;
    c->may_spread = false;
}

static bool open_backends(struct check *c, const char *dtype, int threads)
{
    for (int b = 0; b < BACKENDS; b++) {
        if (wf_backend_open_table(c->table[b], dtype, threads, c->mem, NULL, &c->err, &c->be[b]) !=
            WF_OK) {
            printf("  %s\n", c->err.text);
            return false;
        }
    }
    return true;
}

static int run_slot(struct check *c, const char *name, void (*run)(struct check *c))
{
    c->op = name;
    c->cases = c->failures = 0;
    const size_t live = wf_mem_live_all(c->mem);
    run(c);
    if (wf_mem_live(c->mem, WF_MEM_WEIGHTS) != 0)
        fail(c, "%zu bytes of weights leaked", wf_mem_live(c->mem, WF_MEM_WEIGHTS));
    if (wf_mem_live(c->mem, WF_MEM_ACTIVATIONS) > live + ((size_t)1 << 26))
        fail(c, "%zu bytes of activations kept", wf_mem_live(c->mem, WF_MEM_ACTIVATIONS));
    printf("  [%s] %-12s %5d cases\n", c->failures ? "FAIL" : " OK ", name, c->cases);
    return c->failures != 0;
}

/* What is asked for. */
struct run {
    const struct wf_ops *table;       /* NULL: of weft-cuda.so, on a GPU */
    const char *level, *dtype, *only; /* NULL: all */
    uint64_t seed;
    int threads;
    double piece; /* FLOPs that are done at a time; 0: as the backend does */
};

/* One instruction set, in a process of its own: oneDNN's limit holds for a process. */
static int run_level(const struct run *run)
{
    const char *only = run->only;
    struct wf_error err;
    const struct wf_ops *table = run->table;
    if (!table && wf_module_cuda(&table, &err) != WF_OK) {
        printf("  %s\n", err.text);
        return 1;
    }
    setenv("WEFT_CPU_ISA", run->level, 1);
    printf("%s, %s, products in %s, seed %llu\n", table->name, run->level, run->dtype,
           (unsigned long long)run->seed);
    struct check c = {.mem = wf_mem_open(), .random = run->seed, .table = {&wf_ref_ops, table}};
    int failed = 0;
    if (!c.mem || !open_backends(&c, run->dtype, run->threads))
        return 1;
    c.pieces = run->piece > 0;
    if (c.pieces)
        c.be[TESTED]->piece = run->piece;
    for (int i = 0; i < SLOTS; i++) {
        const bool repeated = i > 0 && slots[i].run == slots[i - 1].run;
        if (!repeated && (!only || strcmp(only, slots[i].name) == 0))
            failed += run_slot(&c, slots[i].name, slots[i].run);
    }
    if (!only)
        failed += run_slot(&c, "contracts", test_contracts) + run_slot(&c, "slots", test_slots);
    if (!only && table == &wf_cpu_ops)
        failed += run_slot(&c, "paths", test_paths);
    for (int b = 0; b < BACKENDS; b++)
        wf_backend_close(&c.be[b]);
    if (wf_mem_live_all(c.mem) != 0) {
        printf("  [FAIL] %zu bytes leaked\n", wf_mem_live_all(c.mem));
        failed++;
    }
    wf_mem_close(&c.mem);
    return failed;
}

static int run_in_child(const struct run *run)
{
    fflush(stdout);
    const pid_t child = fork();
    if (child < 0)
        return 1;
    if (child == 0) {
        const int failed = run_level(run);
        fflush(stdout);
        exit(failed != 0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    if (WIFSIGNALED(status))
        printf("  [FAIL] killed by signal %d\n", WTERMSIG(status));
    return !WIFEXITED(status) || WEXITSTATUS(status) != 0;
}

/* The level's name if this machine has it. */
static bool machine_has(const char *level)
{
#if defined(__x86_64__)
    if (strcmp(level, "avx2") == 0)
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (strcmp(level, "avx512") == 0)
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
    if (strcmp(level, "avx512_bf16") == 0)
        return __builtin_cpu_supports("avx512bf16");
#endif
    return strcmp(level, "baseline") == 0;
}

/* NULL: there is none of that name. */
static const struct wf_ops *find_table(const char *name)
{
    static const struct wf_ops *const tables[] = {&wf_cpu_ops, &own_ops, &wf_cuda_ops};
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        if (strcmp(tables[i]->name, name) == 0)
            return tables[i];
    }
    return NULL;
}

/* Every instruction set that this machine has, and both types, as far as they are asked for. */
static int run_all(const struct run *asked)
{
    static const char *const levels[] = {"baseline", "avx2", "avx512", "avx512_bf16"};
    static const char *const dtypes[] = {"f32", "bf16"};
    int ran = 0, failed = 0;
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
        if (!machine_has(levels[i]) || (asked->level && strcmp(asked->level, levels[i]) != 0))
            continue;
        for (size_t j = 0; j < sizeof dtypes / sizeof *dtypes; j++) {
            if (asked->dtype && strcmp(asked->dtype, dtypes[j]) != 0)
                continue;
            struct run run = *asked;
            run.level = levels[i];
            run.dtype = dtypes[j];
            ran++;
            failed += run_in_child(&run);
        }
    }
    printf("[  %s  ] %d of %d instruction sets and types passed\n",
           failed || !ran ? "FAILED" : "PASSED", ran - failed, ran);
    return failed || !ran;
}

static int usage(void)
{
    fputs("checkops [--table cpu|own|cuda | --module] [--dtype f32|bf16] [--threads N] [--seed N] "
          "[--isa LEVEL] "
          "[--piece FLOPS] [OP]\n"
          "checkops --bench [--device ref|cpu] [--dtype f32|bf16] [--threads N] [OP]\n",
          stderr);
    return 2;
}

int main(int argc, char **argv)
{
    struct run run = {.table = &wf_cpu_ops, .seed = 1};
    const char *device = "cpu";
    bool benching = false, known = true;
    for (int i = 1; i < argc; i++) {
        const bool more = i + 1 < argc;
        if (strcmp(argv[i], "--bench") == 0)
            benching = true;
        else if (strcmp(argv[i], "--device") == 0 && more)
            device = argv[++i];
        else if (strcmp(argv[i], "--table") == 0 && more)
            known = (run.table = find_table(argv[++i])) != NULL;
        else if (strcmp(argv[i], "--module") == 0)
            run.table = NULL;
        else if (strcmp(argv[i], "--dtype") == 0 && more)
            run.dtype = argv[++i];
        else if (strcmp(argv[i], "--threads") == 0 && more)
            run.threads = atoi(argv[++i]);
        else if (strcmp(argv[i], "--seed") == 0 && more)
            run.seed = strtoull(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--piece") == 0 && more)
            run.piece = atof(argv[++i]);
        else if (strcmp(argv[i], "--isa") == 0 && more)
            run.level = argv[++i];
        else if (argv[i][0] == '-')
            return usage();
        else
            run.only = argv[i];
    }
    if (!known)
        return usage();
    if (benching)
        return bench(device, run.dtype, run.only, run.threads);
    if (run.table != &wf_cpu_ops)
        run.level = "baseline"; /* only cpu's loops differ */
    return run_all(&run);
}
