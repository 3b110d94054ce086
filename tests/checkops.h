/* checkops compares every operation of a backend, cpu's if not told otherwise, with ref's on random
   shapes, strides and values, with guards around every buffer. A value that is not a number has to
   come through: what hides it makes a black clip of a damaged weight. */
#ifndef WEFT_TESTS_CHECKOPS_H
#define WEFT_TESTS_CHECKOPS_H

#include "kernels/backend.h"

enum { REF, TESTED, BACKENDS, MAX_OPERANDS = 12, MAX_PARAMS = 3 };

enum layout {
    DENSE,
    GAPS,   /* gaps after rows, frames and so on; the last axis stays contiguous */
    LINES,  /* gaps after lines and frames: of [T,H,W,C] each line stays dense */
    ANYHOW, /* gaps everywhere and the axes in any order */
};

enum role { INPUT, OUTPUT };

/* The same values twice, once for each backend, with the original to find stray writes. */
struct operand {
    struct wf_tensor t[BACKENDS];
    unsigned char *map[BACKENDS]; /* pages, the last of them unreadable */
    unsigned char *bytes[BACKENDS], *original;
    size_t count, mapped;
    /* The same bytes, guards too, in the backend's memory, where that is not the host's: */
    struct wf_backend *owner[BACKENDS];
    unsigned char *block[BACKENDS], *copy[BACKENDS]; /* what was taken; where it begins there */
    enum role role;
    bool poisoned; /* one value is not a number */
};

struct check {
    struct wf_mem *mem;
    struct wf_error err;
    const struct wf_ops *table[BACKENDS];
    bool pieces; /* the tested one does an operation in pieces */
    struct wf_backend *be[BACKENDS];
    uint64_t random;
    const char *op;
    char label[256]; /* of the case at hand */
    struct operand operand[MAX_OPERANDS];
    int operands;
    struct wf_param param[MAX_PARAMS][BACKENDS];
    void *room[MAX_PARAMS][BACKENDS];
    struct wf_source source[MAX_PARAMS][BACKENDS]; /* a table's is read as long as it is loaded */
    int params;
    bool may_spread; /* padding times a weight that is not a number: skipped, or one too */
    int cases, failures;
};

/* Random numbers. */
int64_t pick(struct check *c, int64_t low, int64_t high); /* inclusive */
bool chance(struct check *c, int percent);
float uniform(struct check *c, float low, float high);
int64_t pick_of(struct check *c, int count, const int64_t *values);
#define PICK_OF(c, ...)                                                                            \
    pick_of(c, (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (int64_t[]){__VA_ARGS__})

/* Random values of -1..1 in a new operand of the case; now and then one is not a number. */
struct operand *make(struct check *c, enum role role, enum layout layout, enum wf_dtype dtype,
                     int rank, const int64_t *dims);
struct operand *make_values(struct check *c, enum role role, enum layout layout,
                            enum wf_dtype dtype, float low, float high, int rank,
                            const int64_t *dims);
/* The same in f32, all elements in low..high. */
struct operand *make_within(struct check *c, enum role role, enum layout layout, float low,
                            float high, int rank, const int64_t *dims);
/* Sets element i of a dense f32 operand before the backends run. */
void set_value(struct check *c, struct operand *o, int64_t i, float value);
/* The first value, on the host. Where the backend has memory of its own, the host's bytes are sent
   there when an operand is made, and come back when a case is finished or with fetch. */
void *host_values(const struct operand *o, int b);
void send(struct check *c, struct operand *o);
void fetch(struct check *c, struct operand *o);
/* A parameter with random values of -scale..scale, of a random file type, at odd addresses. */
struct wf_param *make_param(struct check *c, enum wf_param_kind kind, float scale, int rank,
                            const int64_t *dims);

/* The type of an output that may feed a product. */
enum wf_dtype feed_type(struct check *c);

void label(struct check *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
void fail(struct check *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
void expect_ok(struct check *c, enum wf_status status);
/* cpu's working memory is what its plan says, to the byte; less than that where our own loops lay
   out anew what the library had packed. begin before its call, end after it; the case's first
   parameter is the weight. */
struct counted {
    size_t live, planned;
};
struct counted begin_count(struct check *c, enum wf_op op, const void *args);
void end_count(struct check *c, const struct counted *counted);
/* Ends a case: outputs within a relative L2 error and, element by element, within the same share of
   the largest value (0: equal bytes), and beyond that a step of bf16 here and there where that is
   their type; guards, gaps and inputs untouched. Frees the operands. */
void finish(struct check *c, double tolerance);

/* One entry for each member of struct wf_ops. */
struct slot_test {
    size_t offset;
    const char *name;
    void (*run)(struct check *c);
};

#define TEST_OP(name) void test_##name(struct check *c);
WF_OPS(TEST_OP)
void test_transfer(struct check *c); /* take, give, upload, download, sync */
void test_load(struct check *c);     /* load, unload */
void test_open(struct check *c);     /* open, is_fast, close */
void test_contracts(struct check *c);
void expect_refusal(struct check *c, enum wf_status status, const char *word);
void expect_group_refusals(struct check *c);
void test_paths(struct check *c); /* cpu's: which way a product took */

int bench(const char *device, const char *dtype, const char *only, int threads);

double clock_seconds(void);
/* Multiplications and additions a second with operands of that type, at best, of the processor and
   not of the instruction set that WEFT_CPU_ISA allows. AMX is not among them. */
double peak_flops(enum wf_dtype type, int threads);
/* Bytes a second, read and written, of a plain pass from x to y. */
double peak_bytes(float *y, const float *x, int64_t count, int threads);

#endif
