/* oneDNN's GEMM and convolution: the only file that calls it (the C interface of 2.6 and of 3.x).
   Weights are packed once, when they are loaded; primitives are made once for each shape and kept.
   Used where oneDNN has its blocked kernels ("brg"), which need AVX-512; elsewhere our own loops
   are as fast. */
#include <omp.h>
#include <oneapi/dnnl/dnnl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/library.h"
#include "kernels/cpu/pack.h"

enum {
    CACHE = 256,    /* primitives that are kept */
    SLAB = 192,     /* output channels packed at a time: a multiple of oneDNN's blocks */
    SAMPLE_M = 512, /* the shapes that weights are packed for; they serve the others as well */
    SAMPLE_HW = 64,
    MAX_ARGS = 6,
};

/* What a primitive depends on; compared byte by byte, so made by memset and fields. */
struct key {
    dnnl_dims_t x, x_stride, w, y, y_stride; /* [n,c,t,h,w], or [m,k] and [m,n] */
    dnnl_dims_t before, after, stride;
    int rank, threads;
    dnnl_data_type_t type, y_type; /* of x and w, and of y */
    int act;
    int has_bias, has_gate, accumulate;
};

/* Argument places of an entry; scratch is oneDNN's working memory. */
enum { ARG_X, ARG_W, ARG_BIAS, ARG_Y, ARG_GATE, ARG_SCRATCH };

struct entry {
    struct key key;
    dnnl_primitive_t primitive; /* NULL: this shape has no fast one */
    dnnl_memory_t arg[MAX_ARGS];
    int gate_place; /* of its post-operation */
    size_t scratch_bytes;
    bool used;
};

/* Of all weights of one shape and type. */
struct layout {
    struct wf_layout base;
    struct layout *next;
    dnnl_memory_desc_t desc;
    int rank; /* 2: [k,n], 5: [o,c,t,h,w] */
    dnnl_dims_t dim;
    enum wf_dtype type;
    bool fast;                    /* else there is no desc: oneDNN has no fast kernel */
    struct wf_word_panels panels; /* where it is of this kind; width 0: it is not */
};

struct onednn {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    int next; /* entry to give way to a new one */
    struct entry cache[CACHE];
    struct layout *layouts;
    bool layouts_closed; /* no more of them: memory was short */
};

/* A blocked layout: strides of whole blocks, and what lies in a block, the outermost first. */
struct blocking {
    int count;
    dnnl_dims_t padded, stride, block, axis;
};

/* --- what 2.6 and 3.x say differently --- */

/* A memory descriptor is a value in 2.x and an object in 3.x. Here it is made by desc_by_* (or
   desc_part, desc_copy), handed on as desc_ref(&desc), and ended by desc_free. */
#if DNNL_VERSION_MAJOR >= 3

typedef const_dnnl_memory_desc_t desc_ref_t;

#define desc_by_strides dnnl_memory_desc_create_with_strides
#define desc_by_tag dnnl_memory_desc_create_with_tag
#define desc_part dnnl_memory_desc_create_submemory
#define desc_copy dnnl_memory_desc_clone

static desc_ref_t desc_ref(const dnnl_memory_desc_t *desc)
{
    return *desc;
}

static void desc_free(dnnl_memory_desc_t *desc)
{
    dnnl_memory_desc_destroy(*desc);
    *desc = NULL;
}

static bool read_blocking(const dnnl_memory_desc_t *desc, struct blocking *b)
{
    const dnnl_dims_t *padded = NULL, *strides = NULL, *blocks = NULL, *axes = NULL;
    const bool known =
        dnnl_memory_desc_query(*desc, dnnl_query_padded_dims, (void *)&padded) == dnnl_success &&
        dnnl_memory_desc_query(*desc, dnnl_query_strides, (void *)&strides) == dnnl_success &&
        dnnl_memory_desc_query(*desc, dnnl_query_inner_nblks_s32, &b->count) == dnnl_success &&
        dnnl_memory_desc_query(*desc, dnnl_query_inner_blks, (void *)&blocks) == dnnl_success &&
        dnnl_memory_desc_query(*desc, dnnl_query_inner_idxs, (void *)&axes) == dnnl_success;
    if (!known)
        return false;
    memcpy(b->padded, *padded, sizeof b->padded);
    memcpy(b->stride, *strides, sizeof b->stride);
    memcpy(b->block, *blocks, sizeof b->block);
    memcpy(b->axis, *axes, sizeof b->axis);
    return true;
}

static dnnl_status_t append_act(dnnl_post_ops_t ops, dnnl_alg_kind_t kind)
{
    return dnnl_post_ops_append_eltwise(ops, kind, 1, 0);
}

static dnnl_status_t append_sum(dnnl_post_ops_t ops)
{
    return dnnl_post_ops_append_sum(ops, 1, 0, dnnl_data_type_undef);
}

static dnnl_status_t describe_matmul(dnnl_engine_t engine, desc_ref_t x, desc_ref_t w,
                                     desc_ref_t bias, desc_ref_t y,
                                     const_dnnl_primitive_attr_t attr, dnnl_primitive_desc_t *pd)
{
    return dnnl_matmul_primitive_desc_create(pd, engine, x, w, bias, y, attr);
}

static dnnl_status_t describe_conv(dnnl_engine_t engine, const struct key *k, desc_ref_t x,
                                   desc_ref_t w, desc_ref_t bias, desc_ref_t y,
                                   const_dnnl_primitive_attr_t attr, dnnl_primitive_desc_t *pd)
{
    const dnnl_dims_t dilation = {0};
    return dnnl_convolution_forward_primitive_desc_create(
        pd, engine, dnnl_forward_inference, dnnl_convolution_direct, x, w, bias, y, k->stride,
        dilation, k->before, k->after, attr);
}

#else

typedef const dnnl_memory_desc_t *desc_ref_t;

#define desc_by_strides dnnl_memory_desc_init_by_strides
#define desc_by_tag dnnl_memory_desc_init_by_tag
#define desc_part dnnl_memory_desc_init_submemory

static dnnl_status_t desc_copy(dnnl_memory_desc_t *to, desc_ref_t from)
{
    *to = *from;
    return dnnl_success;
}

static desc_ref_t desc_ref(const dnnl_memory_desc_t *desc)
{
    return desc;
}

static void desc_free(dnnl_memory_desc_t *desc)
{
    (void)desc;
}

static bool read_blocking(const dnnl_memory_desc_t *desc, struct blocking *b)
{
    const dnnl_blocking_desc_t *d = &desc->format_desc.blocking;
    if (desc->format_kind != dnnl_blocked || desc->extra.flags)
        return false;
    b->count = d->inner_nblks;
    memcpy(b->padded, desc->padded_dims, sizeof b->padded);
    memcpy(b->stride, d->strides, sizeof b->stride);
    memcpy(b->block, d->inner_blks, sizeof b->block);
    memcpy(b->axis, d->inner_idxs, sizeof b->axis);
    return true;
}

static dnnl_status_t append_act(dnnl_post_ops_t ops, dnnl_alg_kind_t kind)
{
    return dnnl_post_ops_append_eltwise(ops, 1, kind, 1, 0);
}

static dnnl_status_t append_sum(dnnl_post_ops_t ops)
{
    return dnnl_post_ops_append_sum(ops, 1);
}

static dnnl_status_t describe_matmul(dnnl_engine_t engine, desc_ref_t x, desc_ref_t w,
                                     desc_ref_t bias, desc_ref_t y,
                                     const_dnnl_primitive_attr_t attr, dnnl_primitive_desc_t *pd)
{
    dnnl_matmul_desc_t desc;
    const dnnl_status_t status = dnnl_matmul_desc_init(&desc, x, w, bias, y);
    return status == dnnl_success ? dnnl_primitive_desc_create(pd, &desc, attr, engine, NULL)
                                  : status;
}

static dnnl_status_t describe_conv(dnnl_engine_t engine, const struct key *k, desc_ref_t x,
                                   desc_ref_t w, desc_ref_t bias, desc_ref_t y,
                                   const_dnnl_primitive_attr_t attr, dnnl_primitive_desc_t *pd)
{
    dnnl_convolution_desc_t desc;
    const dnnl_status_t status =
        dnnl_convolution_forward_desc_init(&desc, dnnl_forward_inference, dnnl_convolution_direct,
                                           x, w, bias, y, k->stride, k->before, k->after);
    return status == dnnl_success ? dnnl_primitive_desc_create(pd, &desc, attr, engine, NULL)
                                  : status;
}

#endif

/* --- opening and closing --- */

static enum wf_status failed(struct wf_backend *be, dnnl_status_t status)
{
    if (status == dnnl_out_of_memory)
        return wf_fail(be->err, WF_FAILED, "oneDNN: out of memory; choose a smaller size");
    return wf_fail(be->err, WF_FAILED, "oneDNN: failed with status %d; build with WEFT_ONEDNN=OFF",
                   (int)status);
}

#define TRY_DNNL(be, call)                                                                         \
    do {                                                                                           \
        const dnnl_status_t dnnl_status_ = (call);                                                 \
        if (dnnl_status_ != dnnl_success)                                                          \
            return failed(be, dnnl_status_);                                                       \
    } while (0)

static void destroy_entry(struct entry *e)
{
    dnnl_primitive_destroy(e->primitive);
    for (int i = 0; i < MAX_ARGS; i++)
        dnnl_memory_destroy(e->arg[i]);
    *e = (struct entry){0};
}

static void onednn_close(struct wf_backend *be, void *state)
{
    (void)be;
    struct onednn *lib = state;
    for (int i = 0; i < CACHE; i++)
        destroy_entry(&lib->cache[i]);
    for (struct layout *w = lib->layouts, *next; w; w = next) {
        next = w->next;
        if (w->fast)
            desc_free(&w->desc);
        free(w);
    }
    dnnl_stream_destroy(lib->stream);
    dnnl_engine_destroy(lib->engine);
    wf_free(lib);
}

/* Holds oneDNN down to the instruction set that our loops were held down to, for tests. */
static void limit_isa(const struct wf_backend *be)
{
    const char *isa = wf_cpu_of(be)->loops->name;
    if (strcmp(isa, "avx2") == 0)
        dnnl_set_max_cpu_isa(dnnl_cpu_isa_avx2);
    else if (strcmp(isa, "baseline") == 0)
        dnnl_set_max_cpu_isa(dnnl_cpu_isa_sse41);
}

static enum wf_status onednn_open(struct wf_backend *be, void **state)
{
    limit_isa(be);
    struct onednn *lib = wf_calloc(be->mem, WF_MEM_MISC, 1, sizeof *lib);
    if (!lib)
        return wf_fail_memory(be->err, "oneDNN", sizeof *lib);
    dnnl_status_t status = dnnl_engine_create(&lib->engine, dnnl_cpu, 0);
    if (status == dnnl_success)
        status = dnnl_stream_create(&lib->stream, lib->engine, dnnl_stream_default_flags);
    if (status != dnnl_success) {
        onednn_close(be, lib);
        return failed(be, status);
    }
    const dnnl_version_t *version = dnnl_version(); /* of the library that runs */
    const size_t used = strlen(be->about);
    snprintf(be->about + used, sizeof be->about - used, ", oneDNN %d.%d.%d", version->major,
             version->minor, version->patch);
    *state = lib;
    return WF_OK;
}

static bool onednn_is_fast(void *state, enum wf_dtype dtype)
{
    (void)state;
    const unsigned needed = dnnl_cpu_isa_avx512_core_bf16;
    return dtype == WF_F32 || ((unsigned)dnnl_get_effective_cpu_isa() & needed) == needed;
}

/* --- primitives --- */

static dnnl_data_type_t type_of(enum wf_dtype dtype)
{
    return dtype == WF_BF16 ? dnnl_bf16 : dnnl_f32;
}

static bool has_fast_kernel(const_dnnl_primitive_desc_t pd)
{
    const char *name = NULL;
    return dnnl_primitive_desc_query(pd, dnnl_query_impl_info_str, 0, (void *)&name) ==
               dnnl_success &&
           name && strncmp(name, "brg", 3) == 0;
}

static dnnl_alg_kind_t act_kind(enum wf_act act)
{
    return act == WF_ACT_GELU_TANH  ? dnnl_eltwise_gelu_tanh
           : act == WF_ACT_GELU_ERF ? dnnl_eltwise_gelu_erf
                                    : dnnl_eltwise_swish;
}

/* The key's epilogue: activation, gate, sum. */
static dnnl_status_t make_attr(const struct key *k, desc_ref_t gate, dnnl_primitive_attr_t *attr)
{
    dnnl_post_ops_t ops = NULL;
    dnnl_status_t status = dnnl_primitive_attr_create(attr);
    if (status == dnnl_success)
        status = dnnl_primitive_attr_set_scratchpad_mode(*attr, dnnl_scratchpad_mode_user);
    if (status == dnnl_success)
        status = dnnl_post_ops_create(&ops);
    if (status == dnnl_success && k->act != WF_ACT_NONE)
        status = append_act(ops, act_kind((enum wf_act)k->act));
    if (status == dnnl_success && k->has_gate)
        status = dnnl_post_ops_append_binary(ops, dnnl_binary_mul, gate);
    if (status == dnnl_success && k->accumulate)
        status = append_sum(ops);
    if (status == dnnl_success)
        status = dnnl_primitive_attr_set_post_ops(*attr, ops);
    if (ops)
        dnnl_post_ops_destroy(ops);
    return status;
}

/* The descriptors of a key's operands; w is its owner's. */
struct descs {
    dnnl_memory_desc_t x, bias, y, gate;
    desc_ref_t w;
};

static void free_descs(struct descs *d)
{
    desc_free(&d->x);
    desc_free(&d->bias);
    desc_free(&d->y);
    desc_free(&d->gate);
}

static dnnl_status_t make_descs(const struct key *k, desc_ref_t w, struct descs *d)
{
    const dnnl_dims_t vector = {k->y[1]}, row = {1, k->y[1]};
    memset(d, 0, sizeof *d);
    d->w = w;
    dnnl_status_t status = desc_by_strides(&d->x, k->rank, k->x, k->type, k->x_stride);
    if (status == dnnl_success)
        status = desc_by_strides(&d->y, k->rank, k->y, k->y_type, k->y_stride);
    if (status == dnnl_success)
        status = desc_by_tag(&d->gate, 2, row, dnnl_f32, dnnl_ab);
    if (status == dnnl_success && k->rank == 2)
        status = desc_by_tag(&d->bias, 2, row, dnnl_f32, dnnl_ab);
    else if (status == dnnl_success)
        status = desc_by_tag(&d->bias, 1, vector, dnnl_f32, dnnl_a);
    if (status != dnnl_success)
        free_descs(d);
    return status;
}

/* *pd stays NULL where oneDNN does not know the combination. */
static dnnl_status_t describe(const struct onednn *lib, const struct key *k, const struct descs *d,
                              dnnl_primitive_desc_t *pd)
{
    const desc_ref_t x = desc_ref(&d->x), y = desc_ref(&d->y);
    const desc_ref_t bias = k->has_bias ? desc_ref(&d->bias) : NULL;
    dnnl_primitive_attr_t attr = NULL;
    dnnl_status_t status = make_attr(k, desc_ref(&d->gate), &attr);
    if (status == dnnl_success && k->rank == 2)
        status = describe_matmul(lib->engine, x, d->w, bias, y, attr, pd);
    else if (status == dnnl_success)
        status = describe_conv(lib->engine, k, x, d->w, bias, y, attr, pd);
    if (attr)
        dnnl_primitive_attr_destroy(attr);
    return status == dnnl_unimplemented ? dnnl_success : status;
}

static dnnl_status_t make_args(const struct onednn *lib, const struct descs *d,
                               const_dnnl_primitive_desc_t pd, struct entry *e)
{
    const desc_ref_t scratch = dnnl_primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0);
    const desc_ref_t descs[MAX_ARGS] = {
        [ARG_X] = desc_ref(&d->x),
        [ARG_W] = d->w,
        [ARG_BIAS] = e->key.has_bias ? desc_ref(&d->bias) : NULL,
        [ARG_Y] = desc_ref(&d->y),
        [ARG_GATE] = e->key.has_gate ? desc_ref(&d->gate) : NULL,
        [ARG_SCRATCH] = scratch,
    };
    e->scratch_bytes = dnnl_memory_desc_get_size(scratch);
    e->gate_place = e->key.act != WF_ACT_NONE;
    dnnl_status_t status = dnnl_success;
    for (int i = 0; i < MAX_ARGS && status == dnnl_success; i++) {
        if (descs[i])
            status = dnnl_memory_create(&e->arg[i], descs[i], lib->engine, DNNL_MEMORY_NONE);
    }
    return status;
}

static dnnl_status_t fill_entry(const struct onednn *lib, desc_ref_t w, struct entry *e)
{
    struct descs d;
    dnnl_primitive_desc_t pd = NULL;
    dnnl_status_t status = make_descs(&e->key, w, &d);
    if (status != dnnl_success)
        return status;
    status = describe(lib, &e->key, &d, &pd);
    if (status == dnnl_success && pd && has_fast_kernel(pd)) {
        status = dnnl_primitive_create(&e->primitive, pd);
        if (status == dnnl_success)
            status = make_args(lib, &d, pd, e);
    }
    if (pd)
        dnnl_primitive_desc_destroy(pd);
    free_descs(&d);
    return status;
}

/* The primitive for a key, from the cache or new. */
static enum wf_status find_entry(struct wf_backend *be, struct onednn *lib, const struct key *k,
                                 desc_ref_t w, struct entry **found)
{
    for (int i = 0; i < CACHE && lib->cache[i].used; i++) {
        if (memcmp(&lib->cache[i].key, k, sizeof *k) == 0) {
            *found = &lib->cache[i];
            return WF_OK;
        }
    }
    struct entry *e = &lib->cache[lib->next];
    destroy_entry(e);
    e->key = *k;
    const dnnl_status_t status = fill_entry(lib, w, e);
    if (status != dnnl_success) {
        destroy_entry(e);
        return failed(be, status);
    }
    e->used = true;
    lib->next = (lib->next + 1) % CACHE;
    *found = e;
    return WF_OK;
}

/* OpenMP's settings of the calling thread, which are its owner's. */
struct team {
    int threads, dynamic;
};

/* oneDNN cuts its work by what the settings promise, and loses the parts of threads that do not
   come; so they promise what is granted, and it is granted whatever the load. */
static struct team enter_team(const struct wf_backend *be)
{
    const struct team before = {omp_get_max_threads(), omp_get_dynamic()};
    omp_set_num_threads(wf_cpu_threads(be));
    omp_set_dynamic(0);
    return before;
}

static void leave_team(struct team before)
{
    omp_set_num_threads(before.threads);
    omp_set_dynamic(before.dynamic);
}

static enum wf_status run_entry(struct wf_backend *be, struct onednn *lib, const struct entry *e,
                                void *const data[MAX_ARGS])
{
    const int place[MAX_ARGS] = {
        [ARG_X] = DNNL_ARG_SRC,
        [ARG_W] = DNNL_ARG_WEIGHTS,
        [ARG_BIAS] = DNNL_ARG_BIAS,
        [ARG_Y] = DNNL_ARG_DST,
        [ARG_GATE] = DNNL_ARG_ATTR_MULTIPLE_POST_OP(e->gate_place) | DNNL_ARG_SRC_1,
        [ARG_SCRATCH] = DNNL_ARG_SCRATCHPAD,
    };
    dnnl_exec_arg_t args[MAX_ARGS];
    int count = 0;
    for (int i = 0; i < MAX_ARGS; i++) {
        if (!e->arg[i])
            continue;
        TRY_DNNL(be, dnnl_memory_set_data_handle(e->arg[i], data[i]));
        args[count++] = (dnnl_exec_arg_t){place[i], e->arg[i]};
    }
    TRY_DNNL(be, dnnl_primitive_execute(e->primitive, lib->stream, count, args));
    TRY_DNNL(be, dnnl_stream_wait(lib->stream));
    return WF_OK;
}

static size_t thread_scratch(const struct entry *e)
{
    return e->scratch_bytes / (size_t)e->key.threads + 1;
}

static enum wf_status run_key(struct wf_backend *be, struct onednn *lib, const struct key *k,
                              const struct wf_layout *w, void *data[MAX_ARGS], bool *done)
{
    struct entry *e = NULL;
    const struct team before = enter_team(be);
    enum wf_status status = find_entry(be, lib, k, desc_ref(&((const struct layout *)w)->desc), &e);
    if (status == WF_OK && e->primitive) {
        status = wf_cpu_scratch(be, "oneDNN", thread_scratch(e));
        data[ARG_SCRATCH] = wf_cpu_of(be)->scratch;
        if (status == WF_OK)
            status = run_entry(be, lib, e, data);
        *done = true;
    }
    leave_team(before);
    return status;
}

static size_t key_scratch(struct wf_backend *be, struct onednn *lib, const struct key *k,
                          const struct wf_layout *w)
{
    struct entry *e = NULL;
    const struct team before = enter_team(be);
    const enum wf_status status =
        find_entry(be, lib, k, desc_ref(&((const struct layout *)w)->desc), &e);
    leave_team(before);
    return status == WF_OK && e->primitive ? thread_scratch(e) : 0;
}

static struct key empty_key(const struct wf_backend *be)
{
    struct key k;
    memset(&k, 0, sizeof k); /* padding as well */
    k.threads = wf_cpu_threads(be);
    return k;
}

static void gemm_key(struct key *k, int64_t m, int64_t n, int64_t depth)
{
    k->rank = 2;
    k->x[0] = k->y[0] = m;
    k->x[1] = k->w[0] = depth;
    k->y[1] = k->w[1] = n;
    k->x_stride[0] = depth;
    k->y_stride[0] = n;
    k->x_stride[1] = k->y_stride[1] = 1;
}

static struct key key_of_gemm(const struct wf_backend *be, const struct wf_gemm *a)
{
    struct key k = empty_key(be);
    gemm_key(&k, a->x.dim[0], a->y.dim[1], a->x.dim[1]);
    if (a->x.dim[0] > 1) { /* a stride of one row has no meaning */
        k.x_stride[0] = a->x.stride[0];
        k.y_stride[0] = a->y.stride[0];
    }
    k.type = type_of(a->x.dtype);
    k.y_type = type_of(a->y.dtype);
    k.act = (int)a->act;
    k.has_bias = a->bias != NULL;
    k.has_gate = a->gate.data != NULL;
    k.accumulate = a->accumulate;
    return k;
}

static enum wf_status onednn_gemm(struct wf_backend *be, void *state, const struct wf_gemm *a,
                                  const struct wf_layout *layout, void *room, bool *done)
{
    const struct key k = key_of_gemm(be, a);
    void *data[MAX_ARGS] = {[ARG_X] = a->x.data,
                            [ARG_W] = room,
                            [ARG_BIAS] = a->bias ? a->bias->tensor.data : NULL,
                            [ARG_Y] = a->y.data,
                            [ARG_GATE] = a->gate.data};
    return run_key(be, state, &k, layout, data, done);
}

static size_t onednn_gemm_scratch(struct wf_backend *be, void *state, const struct wf_gemm *a,
                                  const struct wf_layout *layout)
{
    const struct key k = key_of_gemm(be, a);
    return key_scratch(be, state, &k, layout);
}

/* Dense channels-last strides of dims [n,c,t,h,w]. */
static void channels_last(const dnnl_dims_t dim, dnnl_dims_t stride)
{
    stride[1] = 1;
    stride[4] = dim[1];
    stride[3] = stride[4] * dim[4];
    stride[2] = stride[3] * dim[3];
    stride[0] = stride[2] * dim[2];
}

static void conv_key(struct key *k, const int64_t w[5], int64_t frames, int64_t height,
                     int64_t width, int64_t out_height, int64_t out_width)
{
    const dnnl_dims_t x = {1, w[1], frames, height, width};
    const dnnl_dims_t y = {1, w[0], 1, out_height, out_width};
    k->rank = 5;
    memcpy(k->x, x, sizeof x);
    memcpy(k->w, w, 5 * sizeof *w);
    memcpy(k->y, y, sizeof y);
    channels_last(k->x, k->x_stride);
    channels_last(k->y, k->y_stride);
    k->stride[0] = k->stride[1] = k->stride[2] = 1;
}

/* No output sees nothing but padding: 2.6 gets those wrong. */
static bool conv_is_usual(const struct wf_conv *a)
{
    const int64_t *w = a->w->dim;
    return a->pad_front + a->pad_back < w[2] && a->pad_h[0] < w[3] && a->pad_h[1] < w[3] &&
           a->pad_w[0] < w[4] && a->pad_w[1] < w[4];
}

static struct key key_of_conv(const struct wf_backend *be, const struct wf_conv *a)
{
    struct key k = empty_key(be);
    conv_key(&k, a->w->dim, a->x.dim[0], a->x.dim[1], a->x.dim[2], a->y.dim[1], a->y.dim[2]);
    k.before[0] = a->pad_front;
    k.after[0] = a->pad_back;
    for (int i = 0; i < 2; i++) {
        k.before[1 + i] = i == 0 ? a->pad_h[0] : a->pad_w[0];
        k.after[1 + i] = i == 0 ? a->pad_h[1] : a->pad_w[1];
        k.stride[1 + i] = a->stride_hw;
    }
    k.type = type_of(a->x.dtype);
    k.y_type = type_of(a->y.dtype);
    k.has_bias = a->bias != NULL;
    k.accumulate = a->accumulate;
    return k;
}

static enum wf_status onednn_conv(struct wf_backend *be, void *state, const struct wf_conv *a,
                                  const struct wf_layout *layout, void *room, bool *done)
{
    if (!conv_is_usual(a))
        return WF_OK;
    const struct key k = key_of_conv(be, a);
    void *data[MAX_ARGS] = {[ARG_X] = a->x.data,
                            [ARG_W] = room,
                            [ARG_BIAS] = a->bias ? a->bias->tensor.data : NULL,
                            [ARG_Y] = a->y.data};
    return run_key(be, state, &k, layout, data, done);
}

static size_t onednn_conv_scratch(struct wf_backend *be, void *state, const struct wf_conv *a,
                                  const struct wf_layout *layout)
{
    if (!conv_is_usual(a))
        return 0;
    const struct key k = key_of_conv(be, a);
    return key_scratch(be, state, &k, layout);
}

/* --- weights --- */

/* The layout that oneDNN likes for weights of the key; *fast says whether it has a fast kernel. */
static dnnl_status_t choose_layout(const struct onednn *lib, const struct key *k,
                                   dnnl_memory_desc_t *layout, bool *fast)
{
    struct descs d;
    dnnl_memory_desc_t any;
    dnnl_primitive_desc_t pd = NULL;
    dnnl_status_t status = desc_by_tag(&any, k->rank, k->w, k->type, dnnl_format_tag_any);
    if (status != dnnl_success)
        return status;
    status = make_descs(k, desc_ref(&any), &d);
    if (status == dnnl_success) {
        status = describe(lib, k, &d, &pd);
        free_descs(&d);
    }
    *fast = status == dnnl_success && pd && has_fast_kernel(pd);
    if (*fast)
        status = desc_copy(layout, dnnl_primitive_desc_query_md(pd, dnnl_query_weights_md, 0));
    if (pd)
        dnnl_primitive_desc_destroy(pd);
    desc_free(&any);
    return status;
}

/* A product such as the parameter will be used in. */
static struct key sample_key(const struct wf_backend *be, const struct wf_param *p)
{
    struct key k = empty_key(be);
    if (p->kind == WF_PARAM_LINEAR)
        gemm_key(&k, SAMPLE_M, p->dim[0], p->dim[1]);
    else
        conv_key(&k, p->dim, p->dim[2], SAMPLE_HW + p->dim[3] - 1, SAMPLE_HW + p->dim[4] - 1,
                 SAMPLE_HW, SAMPLE_HW);
    k.type = type_of(wf_operand_type(be, p));
    k.y_type = dnnl_f32;
    return k;
}

static dnnl_status_t reorder(const struct onednn *lib, desc_ref_t from, const void *src,
                             desc_ref_t to, void *dst)
{
    dnnl_primitive_desc_t pd = NULL;
    dnnl_primitive_t primitive = NULL;
    dnnl_memory_t memory[2] = {NULL, NULL};
    dnnl_status_t status =
        dnnl_reorder_primitive_desc_create(&pd, from, lib->engine, to, lib->engine, NULL);
    if (status == dnnl_success)
        status = dnnl_primitive_create(&primitive, pd);
    if (status == dnnl_success)
        status = dnnl_memory_create(&memory[0], from, lib->engine, (void *)src);
    if (status == dnnl_success)
        status = dnnl_memory_create(&memory[1], to, lib->engine, dst);
    if (status == dnnl_success) {
        const dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, memory[0]}, {DNNL_ARG_TO, memory[1]}};
        status = dnnl_primitive_execute(primitive, lib->stream, 2, args);
    }
    if (status == dnnl_success)
        status = dnnl_stream_wait(lib->stream);
    for (int i = 0; i < 2; i++)
        dnnl_memory_destroy(memory[i]);
    dnnl_primitive_destroy(primitive);
    if (pd)
        dnnl_primitive_desc_destroy(pd);
    return status;
}

/* Whether a layout of [k,n] is panels of words, which we pack ourselves: several times faster. */
static struct wf_word_panels panels_of(const struct layout *w)
{
    struct blocking b;
    const int64_t per = w->type == WF_BF16 ? 2 : 1; /* values of a word */
    const int blocks = per == 2 ? 3 : 2;
    if (w->rank != 2 || !read_blocking(&w->desc, &b) || b.count != blocks || b.axis[0] != 0 ||
        b.axis[1] != 1 || (per == 2 && (b.axis[2] != 0 || b.block[2] != 2)) || b.block[1] % 16)
        return (struct wf_word_panels){.width = 0};
    const int64_t width = b.block[1], words = b.padded[0] / per;
    if (b.stride[0] != b.block[0] * width * per || b.stride[1] != words * width * per ||
        words % b.block[0])
        return (struct wf_word_panels){.width = 0};
    return (struct wf_word_panels){
        .type = w->type, .outputs = w->dim[1], .depth = w->dim[0], .width = width, .words = words};
}

/* The dense values of a file, in the order of the library's axes. */
static dnnl_status_t dense_desc(const struct layout *w, const dnnl_dims_t dim, enum wf_dtype type,
                                dnnl_memory_desc_t *dense)
{
    return desc_by_tag(dense, w->rank, dim, type_of(type), w->rank == 2 ? dnnl_ba : dnnl_abcde);
}

/* Packs `count` output channels from `first` on; slab has their dense values. */
static dnnl_status_t pack_slab(const struct onednn *lib, const struct layout *w, int64_t first,
                               int64_t count, const void *slab, enum wf_dtype type, void *room)
{
    const int axis = w->rank == 2 ? 1 : 0; /* of the output channels */
    dnnl_dims_t dim, offset = {0};
    dnnl_memory_desc_t dense, packed;
    memcpy(dim, w->dim, sizeof dim);
    dim[axis] = count;
    offset[axis] = first;
    dnnl_status_t status = dense_desc(w, dim, type, &dense);
    if (status != dnnl_success)
        return status;
    status = desc_part(&packed, desc_ref(&w->desc), dim, offset);
    if (status == dnnl_success) {
        status = reorder(lib, desc_ref(&dense), slab, desc_ref(&packed), room);
        desc_free(&packed);
    }
    desc_free(&dense);
    return status;
}

static size_t slab_bytes(const struct layout *w, enum wf_dtype source, int64_t *each,
                         enum wf_dtype *type)
{
    const int64_t outputs = w->dim[w->rank == 2 ? 1 : 0], most = outputs < SLAB ? outputs : SLAB;
    *type = source == w->type ? source : WF_F32;
    *each = 1; /* values of an output channel */
    for (int i = 0; i < w->rank; i++)
        *each *= w->dim[i];
    *each /= outputs;
    return (size_t)(most * *each) * wf_dtype_bytes(*type);
}

static struct wf_cpu_need onednn_need_pack(struct wf_backend *be, const struct wf_layout *layout,
                                           enum wf_dtype source)
{
    const struct layout *w = (const struct layout *)layout;
    enum wf_dtype type;
    int64_t each;
    (void)be;
    return w->panels.width ? wf_pack_words_need(&w->panels, source)
                           : (struct wf_cpu_need){.passing = slab_bytes(w, source, &each, &type)};
}

/* In slabs of output channels: read by all threads, then brought into the library's layout. Values
   that need no rounding are not converted either. */
static enum wf_status pack_slabs(struct wf_backend *be, const struct onednn *lib,
                                 const struct layout *w, const struct wf_source *src, void *room)
{
    enum wf_dtype type;
    int64_t each;
    const size_t bytes = slab_bytes(w, src->dtype, &each, &type);
    const int64_t outputs = w->dim[w->rank == 2 ? 1 : 0];
    void *slab = wf_alloc(be->mem, WF_MEM_WEIGHTS, bytes);
    if (!slab)
        return wf_fail_memory(be->err, "weights", bytes);
    enum wf_status status = WF_OK;
    for (int64_t first = 0; first < outputs && status == WF_OK; first += SLAB) {
        const int64_t left = outputs - first, count = left < SLAB ? left : SLAB;
        status = wf_cpu_read(be, src, first * each, count * each, slab, type);
        if (status == WF_OK) {
            const dnnl_status_t packed = pack_slab(lib, w, first, count, slab, type, room);
            status = packed == dnnl_success ? WF_OK : failed(be, packed);
        }
    }
    wf_free(slab);
    return status;
}

static enum wf_status onednn_pack(struct wf_backend *be, void *state,
                                  const struct wf_layout *layout, const struct wf_source *src,
                                  void *room)
{
    const struct layout *w = (const struct layout *)layout;
    if (w->panels.width)
        return wf_pack_words(be, &w->panels, src, room);
    const struct team before = enter_team(be);
    const enum wf_status status = pack_slabs(be, state, w, src, room);
    leave_team(before);
    return status;
}

static enum wf_status onednn_unpack(struct wf_backend *be, void *state,
                                    const struct wf_layout *layout, const void *room, float *dense)
{
    const struct layout *w = (const struct layout *)layout;
    dnnl_memory_desc_t desc;
    TRY_DNNL(be, dense_desc(w, w->dim, WF_F32, &desc));
    const struct team before = enter_team(be);
    const dnnl_status_t status = reorder(state, desc_ref(&w->desc), room, desc_ref(&desc), dense);
    leave_team(before);
    desc_free(&desc);
    return status == dnnl_success ? WF_OK : failed(be, status);
}

/* Asked for the first time. A layout that cannot be made, for want of memory too, is none: it has
   to stay what it was when its room was measured. */
static const struct layout *new_layout(const struct wf_backend *be, struct onednn *lib,
                                       const struct key *k, enum wf_dtype type)
{
    struct layout *w = lib->layouts_closed ? NULL : calloc(1, sizeof *w);
    lib->layouts_closed = !w;
    if (!w)
        return NULL;
    *w = (struct layout){.next = lib->layouts, .rank = k->rank, .type = type};
    lib->layouts = w;
    memcpy(w->dim, k->w, sizeof w->dim);
    const struct team before = enter_team(be);
    if (choose_layout(lib, k, &w->desc, &w->fast) != dnnl_success)
        w->fast = false;
    leave_team(before);
    if (w->fast) {
        w->base.bytes = dnnl_memory_desc_get_size(desc_ref(&w->desc));
        w->panels = panels_of(w);
    }
    return w;
}

static const struct wf_layout *onednn_layout(const struct wf_backend *be, void *state,
                                             const struct wf_param *p)
{
    struct onednn *lib = state;
    const struct key k = sample_key(be, p);
    const enum wf_dtype type = wf_operand_type(be, p);
    const struct layout *found = lib->layouts;
    while (found && (found->rank != k.rank || found->type != type ||
                     memcmp(found->dim, k.w, sizeof k.w) != 0))
        found = found->next;
    if (!found)
        found = new_layout(be, lib, &k, type);
    return found && found->fast ? &found->base : NULL;
}

const struct wf_library wf_onednn = {
    .open = onednn_open,
    .close = onednn_close,
    .is_fast = onednn_is_fast,
    .layout = onednn_layout,
    .pack = onednn_pack,
    .need_pack = onednn_need_pack,
    .unpack = onednn_unpack,
    .gemm = onednn_gemm,
    .conv = onednn_conv,
    .gemm_scratch = onednn_gemm_scratch,
    .conv_scratch = onednn_conv_scratch,
};
