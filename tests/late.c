#include "tests/late.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "kernels/ref/ref.h"

/* Memory as the caller sees it, and where its values are. */
struct block {
    struct block *next;
    unsigned char *shown; /* nobody may read or write there */
    unsigned char *real;
    size_t bytes;
};

#define MEMBER(name) struct wf_##name name;

struct item {
    struct item *next;
    enum { OPERATION, IN, OUT, FREE } kind;
    enum wf_op op;
    union {
        WF_OPS(MEMBER)
    } args;
    struct wf_param param[2]; /* as they were when it was called */
    void *stage;              /* values that it brings with it; freed with it */
    void *dst;                /* IN, OUT */
    const void *src;
    size_t bytes;
    struct block *block; /* FREE */
};

struct late {
    struct block *blocks;
    struct item *first, **end;
    uint64_t tickets;
};

static struct late *late_of(const struct wf_backend *be)
{
    return be->state;
}

/* --- memory --- */

static void *real(const struct wf_backend *be, const void *shown)
{
    for (const struct block *b = late_of(be)->blocks; shown && b; b = b->next) {
        const unsigned char *at = shown;
        if (at >= b->shown && at < b->shown + b->bytes)
            return b->real + (at - b->shown);
    }
    return NULL;
}

static void *late_take(struct wf_backend *be, enum wf_mem_tag tag, size_t bytes)
{
    struct block *b = malloc(sizeof *b);
    bytes = bytes ? bytes : 1;
    unsigned char *memory = b ? wf_alloc(be->mem, tag, bytes) : NULL;
    void *shown =
        memory ? mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
               : MAP_FAILED;
    if (shown == MAP_FAILED) {
        wf_free(memory);
        free(b);
        return NULL;
    }
    memset(memory, 0xff, bytes); /* NaN, until it is written */
    *b = (struct block){late_of(be)->blocks, shown, memory, bytes};
    late_of(be)->blocks = b;
    return shown;
}

static void free_block(struct late *late, struct block *block)
{
    struct block **link = &late->blocks;
    while (*link != block)
        link = &(*link)->next;
    *link = block->next;
    (void)munmap(block->shown, block->bytes);
    wf_free(block->real);
    free(block);
}

/* --- the queue --- */

static enum wf_status new_item(struct wf_backend *be, int kind, struct item **item)
{
    struct late *late = late_of(be);
    *item = calloc(1, sizeof **item);
    if (!*item)
        return wf_fail_memory(be->err, "late", sizeof **item);
    (*item)->kind = kind;
    *late->end = *item;
    late->end = &(*item)->next;
    return WF_OK;
}

static enum wf_status compute(struct wf_backend *be, const struct item *i)
{
    switch (i->op) {
#define RUN(name)                                                                                  \
    case WF_OP_##name:                                                                             \
        return wf_ref_##name(be, &i->args.name);
        WF_OPS(RUN)
    case WF_OP_COUNT:
    case WF_OP_LOAD:
        break;
    }
    return WF_FAILED;
}

static enum wf_status run_item(struct wf_backend *be, const struct item *i)
{
    if (i->kind == OPERATION)
        return compute(be, i);
    if (i->kind == FREE)
        free_block(late_of(be), i->block);
    else
        memcpy(i->dst, i->src, i->bytes);
    return WF_OK;
}

/* Everything that was called is done; the first failure is told. */
static enum wf_status catch_up(struct wf_backend *be)
{
    struct late *late = late_of(be);
    enum wf_status status = WF_OK;
    for (struct item *i = late->first, *next; i; i = next) {
        next = i->next;
        const enum wf_status one = status == WF_OK || i->kind == FREE ? run_item(be, i) : WF_OK;
        status = status == WF_OK ? one : status;
        free(i->stage);
        free(i);
    }
    late->first = NULL;
    late->end = &late->first;
    return status;
}

static void late_give(struct wf_backend *be, void *ptr)
{
    struct block *block = late_of(be)->blocks;
    struct item *item;
    while (block && block->shown != ptr)
        block = block->next;
    if (block && new_item(be, FREE, &item) == WF_OK)
        item->block = block;
}

static enum wf_status late_sync(struct wf_backend *be)
{
    return catch_up(be);
}

/* Values that are at src now, to be at dst in their turn. */
static enum wf_status bring(struct wf_backend *be, void *dst, const void *src, size_t bytes)
{
    struct item *item;
    WF_TRY(new_item(be, IN, &item));
    item->stage = malloc(bytes ? bytes : 1);
    if (!item->stage)
        return wf_fail_memory(be->err, "late", bytes);
    memcpy(item->stage, src, bytes);
    item->src = item->stage;
    item->dst = dst;
    item->bytes = bytes;
    return WF_OK;
}

static enum wf_status late_upload(struct wf_backend *be, const struct wf_tensor *dst,
                                  const void *src)
{
    return bring(be, real(be, dst->data), src, wf_tensor_bytes(dst));
}

static enum wf_status late_download_begin(struct wf_backend *be, void *dst,
                                          const struct wf_tensor *src, uint64_t *ticket)
{
    struct item *item;
    WF_TRY(new_item(be, OUT, &item));
    item->dst = dst;
    item->src = real(be, src->data);
    item->bytes = wf_tensor_bytes(src);
    memset(dst, 0xff, item->bytes);
    *ticket = ++late_of(be)->tickets;
    return WF_OK;
}

static enum wf_status late_wait(struct wf_backend *be, uint64_t ticket)
{
    return ticket ? catch_up(be) : wf_fail(be->err, WF_FAILED, "late: a wait for nothing");
}

static enum wf_status late_download(struct wf_backend *be, void *dst, const struct wf_tensor *src)
{
    uint64_t ticket;
    WF_TRY(late_download_begin(be, dst, src, &ticket));
    return late_wait(be, ticket);
}

/* --- parameters --- */

/* A loader may write from here on: whoever still reads the room finds no number. */
static enum wf_status late_load_begin(struct wf_backend *be, struct wf_param *p)
{
    const size_t bytes = wf_ref_param_bytes(be, p);
    unsigned char *nothing = bytes ? malloc(bytes) : NULL;
    if (!bytes)
        return WF_OK;
    if (!nothing)
        return wf_fail_memory(be->err, "late", bytes);
    memset(nothing, 0xff, bytes);
    const enum wf_status status = bring(be, real(be, p->room), nothing, bytes);
    free(nothing);
    return status;
}

static enum wf_status late_load_end(struct wf_backend *be, struct wf_param *p)
{
    struct wf_param staged = *p;
    const size_t bytes = wf_ref_param_bytes(be, p);
    if (p->kind == WF_PARAM_TABLE)
        return WF_OK;
    staged.room = malloc(bytes);
    if (!staged.room)
        return wf_fail_memory(be->err, "late", bytes);
    enum wf_status status = wf_ref_load_end(be, &staged);
    if (status == WF_OK)
        status = bring(be, real(be, p->room), staged.room, bytes);
    free(staged.room);
    p->tensor = staged.tensor;
    p->tensor.data = p->room;
    return status;
}

/* --- operations --- */

/* Where the tensors and parameters of an operation's struct are, one more than their offsets. */
#define AT(name, member) offsetof(struct wf_##name, member) + 1
static const struct {
    size_t tensor[WF_LINCOMB_TERMS + 1], param[2];
} operands[WF_OP_COUNT] = {
    [WF_OP_copy] = {{AT(copy, x), AT(copy, y)}, {0}},
    [WF_OP_gemm] = {{AT(gemm, x), AT(gemm, y), AT(gemm, gate)}, {AT(gemm, w), AT(gemm, bias)}},
    [WF_OP_conv] = {{AT(conv, x), AT(conv, y)}, {AT(conv, w), AT(conv, bias)}},
    [WF_OP_upconv] = {{AT(upconv, x), AT(upconv, y)}, {AT(upconv, w), AT(upconv, bias)}},
    [WF_OP_attention] = {{AT(attention, q), AT(attention, k), AT(attention, v), AT(attention, y),
                          AT(attention, rel_bias), AT(attention, key_bias)},
                         {0}},
    [WF_OP_layer_norm] = {{AT(layer_norm, x), AT(layer_norm, y), AT(layer_norm, weight),
                           AT(layer_norm, shift)},
                          {0}},
    [WF_OP_rms_norm] = {{AT(rms_norm, x), AT(rms_norm, y), AT(rms_norm, weight)}, {0}},
    [WF_OP_rope] = {{AT(rope, x), AT(rope, y), AT(rope, cos), AT(rope, sin)}, {0}},
    [WF_OP_lincomb] = {{AT(lincomb, x[0]), AT(lincomb, x[1]), AT(lincomb, x[2]), AT(lincomb, x[3]),
                        AT(lincomb, x[4]), AT(lincomb, y)},
                       {0}},
    [WF_OP_affine] = {{AT(affine, x), AT(affine, y), AT(affine, weight), AT(affine, shift)}, {0}},
    [WF_OP_activate] = {{AT(activate, x), AT(activate, y)}, {0}},
    [WF_OP_gated_act] = {{AT(gated_act, a), AT(gated_act, b), AT(gated_act, y)}, {0}},
    [WF_OP_gather] = {{AT(gather, y)}, {0}},
    [WF_OP_group_sums] = {{AT(group_sums, x), AT(group_sums, y)}, {0}},
    [WF_OP_group_merge] = {{AT(group_merge, x), AT(group_merge, y)}, {0}},
    [WF_OP_group_apply] = {{AT(group_apply, x), AT(group_apply, y), AT(group_apply, stats),
                            AT(group_apply, weight), AT(group_apply, shift)},
                           {0}},
    [WF_OP_pack_u8] = {{AT(pack_u8, x), AT(pack_u8, y)}, {0}},
};

static void find_tensor(const struct wf_backend *be, struct wf_tensor *t)
{
    t->data = real(be, t->data);
}

/* Rows of a file, by ids that are the caller's: read at once, copied in their turn. */
static enum wf_status read_rows(struct wf_backend *be, struct item *i)
{
    const struct wf_gather gather = i->args.gather;
    struct wf_gather rows = gather;
    rows.y = wf_tensor_of(NULL, WF_F32, gather.y.rank, gather.y.dim);
    i->stage = rows.y.data = malloc(wf_tensor_bytes(&rows.y));
    i->op = WF_OP_copy;
    i->args.copy = (struct wf_copy){.x = rows.y, .y = gather.y};
    return i->stage ? wf_ref_gather(be, &rows)
                    : wf_fail_memory(be->err, "late", wf_tensor_bytes(&rows.y));
}

/* All that the call may look at is in the item from here on. */
static enum wf_status keep_operands(struct wf_backend *be, struct item *i)
{
    unsigned char *args = (unsigned char *)&i->args;
    for (size_t t = 0; t < sizeof operands->tensor / sizeof *operands->tensor; t++) {
        const size_t at = operands[i->op].tensor[t];
        if (at)
            find_tensor(be, (struct wf_tensor *)(void *)(args + at - 1));
    }
    for (size_t p = 0; p < 2; p++) {
        const size_t at = operands[i->op].param[p];
        const struct wf_param **param = (const struct wf_param **)(void *)(args + at - 1);
        if (!at || !*param)
            continue;
        i->param[p] = **param;
        find_tensor(be, &i->param[p].tensor);
        *param = &i->param[p];
    }
    return i->op == WF_OP_gather ? read_rows(be, i) : WF_OK;
}

#define LATE(name)                                                                                 \
    static enum wf_status late_##name(struct wf_backend *be, const struct wf_##name *a)            \
    {                                                                                              \
        struct item *item;                                                                         \
        WF_TRY(new_item(be, OPERATION, &item));                                                    \
        item->op = WF_OP_##name;                                                                   \
        item->args.name = *a;                                                                      \
        return keep_operands(be, item);                                                            \
    }
WF_OPS(LATE)

/* --- the table --- */

static enum wf_status late_open(struct wf_backend *be)
{
    struct late *late = calloc(1, sizeof *late);
    be->state = late;
    be->device.queued = true;
    if (!late)
        return wf_fail_memory(be->err, "late", sizeof *late);
    late->end = &late->first;
    return WF_OK;
}

static void late_close(struct wf_backend *be)
{
    struct late *late = late_of(be);
    (void)catch_up(be);
    while (late->blocks)
        free_block(late, late->blocks);
    free(late);
    be->state = NULL;
}

const struct wf_ops late_ops = {.name = "late",
                                .base = &wf_ref_ops,
                                .open = late_open,
                                .close = late_close,
                                .take = late_take,
                                .give = late_give,
                                .sync = late_sync,
                                .upload = late_upload,
                                .download = late_download,
                                .download_begin = late_download_begin,
                                .wait = late_wait,
                                .load_begin = late_load_begin,
                                .load_end = late_load_end,
#define LATE_SLOT(name) .name = late_##name,
                                WF_OPS(LATE_SLOT)};
