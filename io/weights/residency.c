#include "io/weights/residency.h"

#include <stdio.h>
#include <string.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

struct weight {
    struct wf_param *param;
    const struct wf_st_tensor *tensor;
};

struct group {
    int first, count; /* of its weights */
    int users;        /* acquired and not yet released */
    bool loaded;
};

struct wf_residency {
    enum wf_offload policy;
    bool passes_once;
    struct wf_checkpoint *ckpt;
    struct wf_backend *be;
    struct wf_mem *mem;
    struct weight *weights;
    struct group *groups;
    int weight_count, weight_room;
    int group_count, group_room;
};

enum wf_status wf_residency_open(enum wf_offload policy, struct wf_checkpoint *ckpt,
                                 struct wf_backend *be, struct wf_mem *mem,
                                 struct wf_residency **res, struct wf_error *err)
{
    *res = wf_calloc(mem, WF_MEM_MISC, 1, sizeof **res);
    if (!*res)
        return wf_fail_memory(err, "weights", sizeof **res);
    **res = (struct wf_residency){.policy = policy, .ckpt = ckpt, .be = be, .mem = mem};
    return WF_OK;
}

void wf_residency_pass_once(struct wf_residency *res)
{
    res->passes_once = true;
}

/* Room for one more element: doubles the array when it is full. */
static enum wf_status grow(struct wf_mem *mem, void **array, int count, int *room, size_t size,
                           struct wf_error *err)
{
    if (count < *room)
        return WF_OK;
    const int wider = *room ? 2 * *room : 64;
    void *copy = wf_calloc(mem, WF_MEM_MISC, (size_t)wider, size);
    if (!copy)
        return wf_fail_memory(err, "weights", (size_t)wider * size);
    if (count)
        memcpy(copy, *array, (size_t)count * size);
    wf_free(*array);
    *array = copy;
    *room = wider;
    return WF_OK;
}

enum wf_status wf_residency_group(struct wf_residency *res, int *group, struct wf_error *err)
{
    void *array = res->groups;
    WF_TRY(grow(res->mem, &array, res->group_count, &res->group_room, sizeof *res->groups, err));
    res->groups = array;
    res->groups[res->group_count] = (struct group){.first = res->weight_count};
    *group = res->group_count++;
    return WF_OK;
}

/* "[4096, 1536]" */
static void dims_text(char *text, size_t bytes, int rank, const int64_t *dims)
{
    size_t used = (size_t)snprintf(text, bytes, "[");
    for (int i = 0; i < rank && used < bytes; i++)
        used +=
            (size_t)snprintf(text + used, bytes - used, i ? ", %lld" : "%lld", (long long)dims[i]);
    if (used < bytes)
        snprintf(text + used, bytes - used, "]");
}

static bool same_dims(const struct wf_st_tensor *t, enum wf_param_kind kind, int rank,
                      const int64_t *dims)
{
    const bool is_conv = kind == WF_PARAM_CONV || kind == WF_PARAM_UPCONV;
    if (t->rank == rank)
        return memcmp(t->dim, dims, (size_t)rank * sizeof *dims) == 0;
    return is_conv && rank == 5 && dims[2] == 1 && t->rank == 4 && t->dim[0] == dims[0] &&
           t->dim[1] == dims[1] && t->dim[2] == dims[3] && t->dim[3] == dims[4];
}

static enum wf_status unknown_type(const struct wf_st_tensor *t, struct wf_error *err)
{
    return wf_fail(
        err, WF_REFUSED,
        "%s: tensor %s is of type %s, which is not supported; use the model's weights in "
        "BF16, F16 or F32",
        t->path, t->name, t->type);
}

/* The tensor of that name, of a floating type and with those dims. */
static enum wf_status find(const struct wf_residency *res, enum wf_param_kind kind,
                           const char *name, int rank, const int64_t *dims,
                           const struct wf_st_tensor **found, struct wf_error *err)
{
    char expected[128], actual[192];
    dims_text(expected, sizeof expected, rank, dims);
    const struct wf_st_tensor *t = wf_checkpoint_find(res->ckpt, name);
    const struct wf_st_tensor *other = t ? NULL : wf_checkpoint_left_out(res->ckpt, name);
    if (other || (t && t->dtype > WF_BF16))
        return unknown_type(other ? other : t, err);
    if (!t)
        return wf_fail(err, WF_REFUSED,
                       "%s: its weights have no tensor %s %s; config.json and weights do not "
                       "belong together, download the folder again",
                       wf_checkpoint_config(res->ckpt)->path, name, expected);
    dims_text(actual, sizeof actual, t->rank, t->dim);
    if (!same_dims(t, kind, rank, dims))
        return wf_fail(err, WF_REFUSED,
                       "%s: tensor %s is %s, expected %s; config.json and weights do not belong "
                       "together, download the folder again",
                       t->path, name, actual, expected);
    *found = t;
    return WF_OK;
}

/* A parameter in its kind's form: a LINEAR has two axes, a convolution five. */
static struct wf_param describe(enum wf_param_kind kind, int rank, const int64_t *dims)
{
    struct wf_param p = {.kind = kind, .rank = rank};
    memcpy(p.dim, dims, (size_t)rank * sizeof *dims);
    if (kind == WF_PARAM_LINEAR) {
        for (int i = 2; i < rank; i++)
            p.dim[1] *= dims[i];
        p.rank = 2;
        p.dim[2] = p.dim[3] = p.dim[4] = 0;
    } else if ((kind == WF_PARAM_CONV || kind == WF_PARAM_UPCONV) && rank == 4) {
        p.rank = 5;
        p.dim[4] = dims[3];
        p.dim[3] = dims[2];
        p.dim[2] = 1;
    }
    return p;
}

enum wf_status wf_residency_add(struct wf_residency *res, struct wf_param *p,
                                enum wf_param_kind kind, const char *name, int rank,
                                const int64_t *dims, struct wf_error *err)
{
    const int most = (int)(sizeof p->dim / sizeof *p->dim);
    if (res->group_count == 0 || rank < 1 || rank > most)
        return wf_fail(err, WF_FAILED, "weights: tensor %s cannot be declared here (rank %d)", name,
                       rank);
    const struct wf_st_tensor *tensor;
    WF_TRY(find(res, kind, name, rank, dims, &tensor, err));
    void *array = res->weights;
    WF_TRY(grow(res->mem, &array, res->weight_count, &res->weight_room, sizeof *res->weights, err));
    res->weights = array;
    *p = describe(kind, rank, dims);
    res->weights[res->weight_count++] = (struct weight){p, tensor};
    res->groups[res->group_count - 1].count++;
    return WF_OK;
}

void wf_residency_prefetch(struct wf_residency *res, int group)
{
    if (group < 0 || group >= res->group_count || res->groups[group].loaded || res->be->is_plan)
        return;
    const struct group *g = &res->groups[group];
    for (int i = 0; i < g->count; i++)
        wf_st_prefetch(res->weights[g->first + i].tensor);
}

/* Unloads the first count weights of a group. */
static void unload(struct wf_residency *res, const struct group *g, int count)
{
    for (int i = 0; i < count; i++)
        wf_param_unload(res->be, res->weights[g->first + i].param);
}

static void unload_group(struct wf_residency *res, struct group *g)
{
    if (g->loaded)
        unload(res, g, g->count);
    g->loaded = false;
    g->users = 0;
}

static enum wf_status load(struct wf_residency *res, const struct group *g, struct wf_error *err)
{
    for (int i = 0; i < g->count; i++) {
        const struct weight *w = &res->weights[g->first + i];
        const enum wf_status status = wf_param_load(res->be, w->param, &w->tensor->source);
        if (status != WF_OK) {
            if (err && err != res->be->err && res->be->err)
                *err = *res->be->err;
            unload(res, g, i);
            return status;
        }
    }
    return WF_OK;
}

enum wf_status wf_residency_acquire(struct wf_residency *res, int group, struct wf_error *err)
{
    if (group < 0 || group >= res->group_count)
        return wf_fail(err, WF_FAILED, "weights: there is no group %d", group);
    struct group *g = &res->groups[group];
    if (!g->loaded)
        WF_TRY(load(res, g, err));
    g->loaded = true;
    g->users++;
    return WF_OK;
}

void wf_residency_release(struct wf_residency *res, int group)
{
    if (group < 0 || group >= res->group_count || res->groups[group].users == 0)
        return;
    struct group *g = &res->groups[group];
    g->users--;
    if (g->users == 0 && res->passes_once && res->policy != WF_OFFLOAD_NONE)
        unload_group(res, g);
}

static void unload_all(struct wf_residency *res)
{
    for (int i = 0; i < res->group_count; i++)
        unload_group(res, &res->groups[i]);
}

/* Free blocks of up to 32 MB may stay with the process else. */
static void give_back_heap(void)
{
#ifdef __GLIBC__
    (void)malloc_trim(0);
#endif
}

void wf_residency_stage_end(struct wf_residency *res)
{
    if (res->policy == WF_OFFLOAD_NONE)
        return;
    unload_all(res);
    give_back_heap();
}

void wf_residency_close(struct wf_residency **res)
{
    struct wf_residency *r = *res;
    if (!r)
        return;
    unload_all(r);
    give_back_heap();
    wf_free(r->weights);
    wf_free(r->groups);
    wf_free(r);
    *res = NULL;
}
