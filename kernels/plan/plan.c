#include "kernels/plan/plan.h"

#include <stdlib.h>
#include <sys/mman.h>

#include "kernels/ref/ref.h"

struct block {
    struct block *next;
    void *data;
    size_t bytes;
    enum wf_mem_tag tag;
};

/* be->state */
struct plan {
    struct block *first;
};

static enum wf_status plan_open(struct wf_backend *be)
{
    be->state = calloc(1, sizeof(struct plan));
    be->is_plan = true;
    return be->state ? WF_OK : wf_fail_memory(be->err, "plan", sizeof(struct plan));
}

static void plan_close(struct wf_backend *be)
{
    struct plan *p = be->state;
    while (p->first)
        be->ops.give(be, p->first->data);
    free(p);
    be->state = NULL;
}

static void *plan_take(struct wf_backend *be, enum wf_mem_tag tag, size_t bytes)
{
    struct plan *p = be->state;
    struct block *block = malloc(sizeof *block);
    if (!block)
        return NULL;
    void *data = mmap(NULL, bytes ? bytes : 1, PROT_NONE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (data == MAP_FAILED) {
        free(block);
        return NULL;
    }
    *block = (struct block){.next = p->first, .data = data, .bytes = bytes, .tag = tag};
    p->first = block;
    wf_mem_hold(be->mem, tag, bytes);
    return data;
}

static void plan_give(struct wf_backend *be, void *ptr)
{
    struct plan *p = be->state;
    struct block **link = &p->first;
    while (*link && (*link)->data != ptr)
        link = &(*link)->next;
    struct block *block = *link;
    if (!block)
        return;
    *link = block->next;
    wf_mem_drop(be->mem, block->tag, block->bytes);
    (void)munmap(block->data, block->bytes ? block->bytes : 1);
    free(block);
}

/* The values of a parameter, in the type that they are kept in. */
static enum wf_status plan_load(struct wf_backend *be, struct wf_param *p,
                                const struct wf_source *src)
{
    if (p->kind == WF_PARAM_TABLE)
        return wf_ref_load(be, p, src); /* its rows are read later, if at all */
    const enum wf_dtype kept = p->kind == WF_PARAM_VECTOR ? WF_F32 : wf_operand_type(be, p);
    struct wf_tensor t = wf_tensor_of(NULL, kept, p->rank, p->dim);
    t.data = plan_take(be, WF_MEM_WEIGHTS, wf_tensor_bytes(&t));
    if (!t.data)
        return wf_fail_memory(be->err, "plan", wf_tensor_bytes(&t));
    p->tensor = t;
    return WF_OK;
}

/* What an operation costs is counted before its slot is called, in ops.c. */
#define NOTHING_1(name, type)                                                                      \
    static enum wf_status name(struct wf_backend *be, const type *a)                               \
    {                                                                                              \
        (void)be;                                                                                  \
        (void)a;                                                                                   \
        return WF_OK;                                                                              \
    }
NOTHING_1(plan_gemm, struct wf_gemm)
NOTHING_1(plan_conv, struct wf_conv)
NOTHING_1(plan_upconv, struct wf_upconv)
NOTHING_1(plan_attention, struct wf_attention)
NOTHING_1(plan_layer_norm, struct wf_layer_norm)
NOTHING_1(plan_rms_norm, struct wf_rms_norm)
NOTHING_1(plan_rope, struct wf_rope)
NOTHING_1(plan_lincomb, struct wf_lincomb)
NOTHING_1(plan_affine, struct wf_affine)

static enum wf_status plan_copy(struct wf_backend *be, const struct wf_tensor *dst,
                                const struct wf_tensor *src)
{
    (void)be;
    (void)dst;
    (void)src;
    return WF_OK;
}

static enum wf_status plan_upload(struct wf_backend *be, const struct wf_tensor *dst,
                                  const void *src)
{
    (void)be;
    (void)dst;
    (void)src;
    return WF_OK;
}

static enum wf_status plan_download(struct wf_backend *be, void *dst, const struct wf_tensor *src)
{
    (void)be;
    (void)dst;
    (void)src;
    return WF_OK;
}

static enum wf_status plan_act(struct wf_backend *be, const struct wf_tensor *y,
                               const struct wf_tensor *x, enum wf_act act)
{
    (void)be;
    (void)y;
    (void)x;
    (void)act;
    return WF_OK;
}

static enum wf_status plan_gated_act(struct wf_backend *be, const struct wf_tensor *y,
                                     const struct wf_tensor *a, const struct wf_tensor *b,
                                     enum wf_act act)
{
    (void)be;
    (void)y;
    (void)a;
    (void)b;
    (void)act;
    return WF_OK;
}

static enum wf_status plan_gather(struct wf_backend *be, const struct wf_tensor *y,
                                  const struct wf_param *table, const int32_t *ids)
{
    (void)be;
    (void)y;
    (void)table;
    (void)ids;
    return WF_OK;
}

const struct wf_ops wf_plan_ops = {
    .name = "plan",
    .open = plan_open,
    .is_fast = wf_ref_is_fast,
    .close = plan_close,
    .take = plan_take,
    .give = plan_give,
    .sync = wf_ref_sync,
    .copy = plan_copy,
    .upload = plan_upload,
    .download = plan_download,
    .load = plan_load,
    .unload = wf_ref_unload,
    .gemm = plan_gemm,
    .conv = plan_conv,
    .upconv = plan_upconv,
    .attention = plan_attention,
    .layer_norm = plan_layer_norm,
    .rms_norm = plan_rms_norm,
    .rope = plan_rope,
    .lincomb = plan_lincomb,
    .affine = plan_affine,
    .act = plan_act,
    .gated_act = plan_gated_act,
    .gather = plan_gather,
    .pack_u8 = plan_copy,
};
