#include "kernels/plan/plan.h"

#include <stdlib.h>
#include <sys/mman.h>

#include "kernels/ref/ref.h"

struct block {
    struct block *next;
    struct wf_mem *account;
    void *data;
    size_t bytes;
    enum wf_mem_tag tag;
};

/* be->state */
struct plan {
    struct wf_backend *like;
    struct block *first;
};

static enum wf_status plan_open(struct wf_backend *be)
{
    be->state = calloc(1, sizeof(struct plan));
    be->is_plan = true;
    return be->state ? WF_OK : wf_fail_memory(be->err, "plan", sizeof(struct plan));
}

void wf_plan_stand_for(struct wf_backend *be, struct wf_backend *like)
{
    struct plan *p = be->state;
    p->like = like;
    be->compute = like->compute;
    be->device = like->device;
    be->kept = like->kept;
    be->piece = like->piece;
}

static void plan_close(struct wf_backend *be)
{
    struct plan *p = be->state;
    while (p->first)
        be->ops.give(be, p->first->data);
    free(p);
    be->state = NULL;
}

static void *take(struct wf_backend *be, struct wf_mem *account, enum wf_mem_tag tag, size_t bytes)
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
    *block = (struct block){p->first, account, data, bytes, tag};
    p->first = block;
    wf_mem_hold(account, tag, bytes);
    return data;
}

/* Memory of the device, where that has its own. */
static struct wf_mem *account_of(const struct wf_backend *be)
{
    return be->device.own_memory ? be->device_mem : be->mem;
}

static void *plan_take(struct wf_backend *be, enum wf_mem_tag tag, size_t bytes)
{
    return take(be, account_of(be), tag, bytes);
}

static void *plan_take_host(struct wf_backend *be, enum wf_mem_tag tag, size_t bytes)
{
    return take(be, be->mem, tag, bytes);
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
    wf_mem_drop(block->account, block->tag, block->bytes);
    (void)munmap(block->data, block->bytes ? block->bytes : 1);
    free(block);
}

static size_t plan_param_bytes(const struct wf_backend *be, const struct wf_param *p)
{
    const struct wf_backend *like = ((const struct plan *)be->state)->like;
    return like->ops.param_bytes(like, p);
}

/* What the other one would take besides; what it holds already is not held again. */
static void count_scratch(struct wf_backend *be, enum wf_op op, const void *args)
{
    struct wf_backend *like = ((const struct plan *)be->state)->like;
    struct wf_scratch scratch;
    like->ops.scratch(like, op, args, &scratch);
    if (scratch.kept > be->kept) {
        wf_mem_hold(account_of(be), WF_MEM_ACTIVATIONS, scratch.kept - be->kept);
        be->kept = scratch.kept;
    }
    wf_mem_hold(account_of(be), WF_MEM_ACTIVATIONS, scratch.passing);
    wf_mem_drop(account_of(be), WF_MEM_ACTIVATIONS, scratch.passing);
}

static enum wf_status plan_load_end(struct wf_backend *be, struct wf_param *p)
{
    count_scratch(be, WF_OP_LOAD, p);
    if (p->kind == WF_PARAM_VECTOR)
        p->tensor = wf_tensor_of(p->room, WF_F32, p->rank, p->dim);
    return WF_OK;
}

/* What an operation costs is counted before its slot is called, in ops.c. */
#define NOTHING(name)                                                                              \
    static enum wf_status plan_##name(struct wf_backend *be, const struct wf_##name *a)            \
    {                                                                                              \
        count_scratch(be, WF_OP_##name, a);                                                        \
        return WF_OK;                                                                              \
    }
WF_OPS(NOTHING)

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

const struct wf_ops wf_plan_ops = {.name = "plan",
                                   .base = &wf_ref_ops,
                                   .open = plan_open,
                                   .close = plan_close,
                                   .take = plan_take,
                                   .give = plan_give,
                                   .take_host = plan_take_host,
                                   .give_host = plan_give,
                                   .upload = plan_upload,
                                   .download = plan_download,
                                   .param_bytes = plan_param_bytes,
                                   .load_end = plan_load_end,
#define PLAN_SLOT(name) .name = plan_##name,
                                   WF_OPS(PLAN_SLOT)};
