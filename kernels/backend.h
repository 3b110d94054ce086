/* The device layer: one table of operations. `ref` fills it in plain C and is the truth; `cpu`
   starts from `ref` and overrides what it does faster. Models call the wf_* functions below, which
   check the shape contract and count the work before they call the slot.

   One thread at a time uses a backend.

   A backend works in the order of the calls: operations, copies, uploads, give, unload and load_end
   each have their place in it, done or not when the call returns; wf_sync waits for all of them.
   Memory given back, a room loaded anew, an arena's mark released: what was called before still
   reads it, what comes after never does. A failure may be told by a later call.
 */
#ifndef WEFT_KERNELS_BACKEND_H
#define WEFT_KERNELS_BACKEND_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/base/mem.h"
#include "kernels/base/status.h"
#include "kernels/op.h"
#include "kernels/source.h"
#include "kernels/tensor.h"

struct wf_arena_source;
struct wf_backend;

/* A model's parameter: first described, then loaded by a backend, which may lay it out in a way of
   its own, into a room that the caller has. */
enum wf_param_kind {
    WF_PARAM_VECTOR, /* small, any rank, kept as a dense f32 tensor: biases, gains, tables of shifts
                      */
    WF_PARAM_TABLE,  /* rows that are looked up: each is read when it is gathered */
    WF_PARAM_LINEAR, /* [out,in] of wf_gemm */
    WF_PARAM_CONV,   /* [out,in,kt,kh,kw] of wf_conv; a file's [out,in,kh,kw] has kt = 1 */
    WF_PARAM_UPCONV, /* [out,in,1,3,3] of wf_upconv */
};

struct wf_param {
    enum wf_param_kind kind;
    int rank;
    int64_t dim[5];
    bool keep_f32; /* LINEAR, CONV, UPCONV: never rounded to bf16 */
    enum wf_param_state {
        WF_PARAM_DESCRIBED,
        WF_PARAM_LOADING,
        WF_PARAM_LOADED,
        WF_PARAM_LET_GO, /* loaded, but held by nobody: not to be used */
    } state;
    void *room;                     /* from load_begin to unload; a TABLE has none */
    const struct wf_source *source; /* while it is loading; a TABLE's while it is loaded */
    struct wf_tensor tensor;        /* VECTOR: the values. Others: the backend's choice */
    const void *layout;             /* the backend's own: how the room is laid out */
};

/* Working memory, in bytes: what is kept for the calls to come (the most that any call wanted), and
   what is given back when a call ends. */
struct wf_scratch {
    size_t kept, passing;
};

/* What work is counted by: multiplications and additions of the first three, bytes read and written
   of a pass over memory, bytes of parameters that are brought in. */
enum wf_kind {
    WF_KIND_GEMM,
    WF_KIND_CONV,
    WF_KIND_ATTENTION,
    WF_KIND_PASS,
    WF_KIND_LOAD,
    WF_KINDS
};

struct wf_tally {
    double work[WF_KINDS], seconds[WF_KINDS];
};

/* What a slot left empty is comes from `base`; every slot is filled in the end. */
struct wf_ops {
    const char *name;
    const struct wf_ops *base; /* NULL: none */

    enum wf_status (*open)(struct wf_backend *be);
    /* Whether products of that type are faster here than those of f32. */
    bool (*is_fast)(const struct wf_backend *be, enum wf_dtype dtype);
    void (*close)(struct wf_backend *be);

    /* Device memory, at least 64-byte aligned; NULL when short. Any thread. */
    void *(*take)(struct wf_backend *be, enum wf_mem_tag tag, size_t bytes);
    void (*give)(struct wf_backend *be, void *ptr); /* NULL is allowed */
    /* Host memory that transfers are fastest from and to; NULL when short. Any thread. */
    void *(*take_host)(struct wf_backend *be, enum wf_mem_tag tag, size_t bytes);
    void (*give_host)(struct wf_backend *be, void *ptr); /* NULL is allowed */
    enum wf_status (*sync)(struct wf_backend *be);
    /* Dense tensors of the same dims and type between host and device; done when it returns. */
    enum wf_status (*upload)(struct wf_backend *be, const struct wf_tensor *dst, const void *src);
    enum wf_status (*download)(struct wf_backend *be, void *dst, const struct wf_tensor *src);
    /* Begins a download to dst, of take_host; it has its place in the order like an operation, so
       src may be given or written by later calls. Until wait, dst is not read. */
    enum wf_status (*download_begin)(struct wf_backend *be, void *dst, const struct wf_tensor *src,
                                     uint64_t *ticket);
    enum wf_status (*wait)(struct wf_backend *be, uint64_t ticket);

    /* What an operation takes beside its operands, or with WF_OP_LOAD what loading a described
       parameter takes beside its room; args is the operation's struct, or the parameter. Nothing is
       computed and no operand looked into. For the plan. */
    void (*scratch)(struct wf_backend *be, enum wf_op op, const void *args,
                    struct wf_scratch *scratch);
    /* Bytes that a parameter takes in its room; looks only at its description and be->compute. 0:
       it has none (a TABLE). */
    size_t (*param_bytes)(const struct wf_backend *be, const struct wf_param *p);
    /* Begins to fill p->room from p->source, which is read in bounded pieces; may leave everything
       to load_end, which tells of a failure. Who still reads the room is waited for. */
    enum wf_status (*load_begin)(struct wf_backend *be, struct wf_param *p);
    enum wf_status (*load_end)(struct wf_backend *be, struct wf_param *p);
    /* Of one that is loading or loaded; the room stays the caller's. */
    void (*unload)(struct wf_backend *be, struct wf_param *p);

#define WF_OP_SLOT(name)                                                                           \
    enum wf_status (*name)(struct wf_backend * be, const struct wf_##name *args);
    WF_OPS(WF_OP_SLOT)
};

/* Constant once the backend is open. */
struct wf_device {
    bool queued;     /* operations may still run when the call returns */
    bool own_memory; /* what take gives is not the host's, and counts on an account of its own */
    size_t memory;   /* bytes of that which were free when it was opened; 0: the host's */
    int processors, threads; /* of a GPU: SMs, and the threads that each holds; 0: it is none */
};

struct wf_backend {
    struct wf_ops ops;         /* a copy: what is not overridden is ref's */
    struct wf_mem *mem;        /* the host's account */
    struct wf_mem *device_mem; /* of what take gives; mem, where that is the host's memory */
    struct wf_error *err;      /* where a failing call leaves its message */
    void *state;               /* the backend's own */
    const char *path; /* for tests, how the last product was computed: "library", "own", "pairs" */
    struct wf_device device;
    char about[64];        /* what it chose on this machine: "avx512, oneDNN 2.6.3"; "" */
    enum wf_dtype compute; /* of products that are wide enough: F32 or BF16 */
    int ordinal;           /* of the devices of its kind: 1 of "cuda:1" */
    int threads;           /* asked for; OpenMP may grant fewer: see base/threads.h */
    bool is_plan; /* computes nothing: memory is never touched, parameters are never read */
    struct wf_tally tally;  /* since the caller cleared it; seconds of the calls, of a device with a
                               queue its own, where it is profiled */
    bool profiled;          /* the caller asks for those; it costs a little */
    size_t kept;            /* bytes of working memory that it holds */
    double rates[WF_KINDS]; /* 0: not measured yet; see rates.h */
    const atomic_bool *cancel; /* once it is true, operations return WF_CANCELLED; NULL: never */
    double piece;              /* FLOPs after which that is asked again; 0: after the operation */
};

/* WF_REFUSED when a name is none of a device, "ref", "cpu", "cuda" or "cuda:1", and dtype none of
   products. Opens nothing. */
enum wf_status wf_backend_check_device(const char *name, struct wf_error *err);
enum wf_status wf_backend_check_dtype(const char *dtype, struct wf_error *err);
/* Whether the driver that a device needs is there; without it, opening need not be tried. */
bool wf_backend_has_driver(const char *name);
/* Opens a device. dtype: "f32" or "bf16" for products, NULL for what the device is fast at.
   threads: 0 for wf_thread_default. device_mem: the account of its memory, where it has one of its
   own; NULL: mem. *be is NULL on failure. err must outlive the backend. */
enum wf_status wf_backend_open(const char *name, const char *dtype, int threads, struct wf_mem *mem,
                               struct wf_mem *device_mem, struct wf_error *err,
                               struct wf_backend **be);
/* The same with a table that is not in the registry. */
enum wf_status wf_backend_open_table(const struct wf_ops *ops, const char *dtype, int threads,
                                     struct wf_mem *mem, struct wf_mem *device_mem,
                                     struct wf_error *err, struct wf_backend **be);
/* Opens one that stands in the place of `like`: it takes its types and rooms, computes nothing and
   counts everything, on the accounts on which `like` would hold it. like outlives it. */
enum wf_status wf_backend_open_plan(struct wf_backend *like, struct wf_mem *mem,
                                    struct wf_mem *device_mem, struct wf_error *err,
                                    struct wf_backend **be);
/* Opens another one of the same device, type, threads and accounts. */
enum wf_status wf_backend_open_same(const struct wf_backend *be, struct wf_backend **same);
void wf_backend_close(struct wf_backend **be);
/* Whether a device that is opened with that dtype computes as this one of the same does. */
bool wf_backend_suits(const struct wf_backend *be, const char *dtype);
const char *wf_backend_dtype(const struct wf_backend *be);       /* of products: "f32" or "bf16" */
struct wf_arena_source wf_backend_source(struct wf_backend *be); /* of activations */

/* The operations, with their contracts checked: a violation is a WF_FAILED that names it. */
enum wf_status wf_sync(struct wf_backend *be);
enum wf_status wf_upload(struct wf_backend *be, struct wf_tensor dst, const void *src);
enum wf_status wf_download(struct wf_backend *be, void *dst, struct wf_tensor src);
enum wf_status wf_download_begin(struct wf_backend *be, void *dst, struct wf_tensor src,
                                 uint64_t *ticket);
enum wf_status wf_wait(struct wf_backend *be, uint64_t ticket);
/* Dense tensors of the same dims and type from one backend's memory to another's, by the host; done
   when it returns. */
enum wf_status wf_cross(struct wf_backend *from, struct wf_tensor x, struct wf_backend *to,
                        struct wf_tensor y);
/* Bytes of a parameter's room, a multiple of WF_ROOM_ALIGN: several may lie in one piece of memory.
 */
enum { WF_ROOM_ALIGN = 256 };
size_t wf_param_bytes(const struct wf_backend *be, const struct wf_param *p);
/* Begins to load a described parameter into a room of that many bytes, of the backend's memory
   (NULL for a TABLE). src has the parameter's values, dense, of any floating type; it lives until
   load_end, a TABLE's until unload. */
enum wf_status wf_param_load_begin(struct wf_backend *be, struct wf_param *p, void *room,
                                   const struct wf_source *src);
/* What is called from here on may use it. A parameter that failed is described again. */
enum wf_status wf_param_load_end(struct wf_backend *be, struct wf_param *p);
enum wf_status wf_param_load(struct wf_backend *be, struct wf_param *p, void *room,
                             const struct wf_source *src);       /* both */
void wf_param_unload(struct wf_backend *be, struct wf_param *p); /* at any time */
/* F32 or BF16: what a LINEAR, CONV or UPCONV, loaded or not, is kept in and takes as x. BF16 where
   that is the backend's choice, the parameter is not marked keep_f32, and it has at least this many
   channels to add up: narrower layers cost little, and rounding a few channels turns their
   direction, which is all that Wan's channel norm passes on. */
enum { WF_BF16_LINEAR = 128, WF_BF16_CONV = 32 };
enum wf_dtype wf_operand_type(const struct wf_backend *be, const struct wf_param *p);
/* The same for the queries, keys and values of heads of that width. */
enum { WF_BF16_HEAD = 64 };
enum wf_dtype wf_attention_type(const struct wf_backend *be, int64_t width);
double wf_flops(const struct wf_tally *tally); /* multiplications and additions */
#define WF_OP_CALL(name)                                                                           \
    enum wf_status wf_##name(struct wf_backend *be, const struct wf_##name *args);
WF_OPS(WF_OP_CALL)

#endif
