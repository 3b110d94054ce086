#include "kernels/cuda/graph.h"

#include <stdlib.h>
#include <string.h>

#include "kernels/cuda/graph_build.h"

struct wf_graph_plan {
    struct wf_graph_plan *next;
    struct wf_graph_key key;
    struct wf_graph_engine engine;
    float scale;
    int bound_count;
    int64_t bound[WF_GRAPH_BOUND];
};

struct wf_graphs {
    struct wf_error *err;
    struct wf_graph_device device;
    struct CUstream_st *stream; /* the handle's */
    bool has_stream;            /* it was set by us */
    struct wf_graph_plan *first;
};

/* --- opening --- */

enum wf_status wf_graphs_check_version(size_t version, struct wf_error *err)
{
    enum { LEAST = 91500 };
    if (version >= LEAST)
        return WF_OK;
    return wf_fail(err, WF_REFUSED,
                   "cuDNN: version %zu.%zu.%zu is too old: 9.8 to 9.12 give wrong bf16 results; "
                   "install cuDNN 9.15 or later",
                   version / 10000, version / 100 % 100, version % 100);
}

static enum wf_status describe_device(struct wf_graphs *g, const char *description)
{
    struct wf_build b = {.err = g->err, .what = "device description"};
    cudnnBackendDescriptor_t device = wf_build_make(&b, CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR);
    wf_build_set(&b, device, CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, CUDNN_TYPE_CHAR,
                 (int64_t)strlen(description), description);
    wf_build_done(&b, device);
    if (b.not_taken)
        b.status = wf_fail(b.err, WF_FAILED, "cuDNN: %s: not supported", b.what);
    g->device.described = b.status == WF_OK ? wf_build_keep(&b) : NULL;
    wf_build_end(&b);
    return b.status;
}

enum wf_status wf_graphs_open(struct cudnnContext *handle, const char *description,
                              struct wf_graphs **graphs, struct wf_error *err)
{
    *graphs = NULL;
    WF_TRY(wf_graphs_check_version(cudnnGetVersion(), err));
    struct wf_graphs *g = calloc(1, sizeof *g);
    if (!g)
        return wf_fail_memory(err, "cuDNN", sizeof *g);
    g->err = err;
    g->device.handle = handle;
    const enum wf_status status = handle ? WF_OK : describe_device(g, description);
    if (status == WF_OK)
        *graphs = g;
    else
        wf_graphs_close(&g);
    return status;
}

void wf_graphs_close(struct wf_graphs **graphs)
{
    struct wf_graphs *g = *graphs;
    if (!g)
        return;
    for (struct wf_graph_plan *p = g->first, *next; p; p = next) {
        next = p->next;
        if (p->engine.plan)
            cudnnBackendDestroyDescriptor(p->engine.plan);
        free(p);
    }
    if (g->device.described)
        cudnnBackendDestroyDescriptor(g->device.described);
    free(g);
    *graphs = NULL;
}

struct wf_error *wf_graphs_error(const struct wf_graphs *graphs)
{
    return graphs->err;
}

/* --- plans by shape --- */

/* The described operations as one graph. */
static cudnnBackendDescriptor_t make_graph(const struct wf_graphs *g, struct wf_build *b)
{
    cudnnBackendDescriptor_t graph = wf_build_make(b, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
    wf_build_set(b, graph, CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR,
                 b->op_count, b->op);
    if (g->device.handle)
        wf_build_set(b, graph, CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1,
                     &g->device.handle);
    wf_build_done(b, graph);
    return graph;
}

static enum wf_status make_plan(const struct wf_graphs *g, struct wf_build *b,
                                struct wf_graph_plan *p)
{
    cudnnBackendDescriptor_t graph = make_graph(g, b);
    p->scale = b->scale;
    p->bound_count = b->bound_count;
    memcpy(p->bound, b->bound, sizeof p->bound);
    if (!wf_build_goes_on(b))
        return b->status;
    return wf_graph_search(&g->device, graph, b->what, &p->engine, g->err);
}

enum wf_status wf_graph_is_offered(const struct wf_graphs *g, const char *what, const void *shape,
                                   void (*describe)(struct wf_build *b, const void *shape),
                                   bool *offered)
{
    struct wf_build b = {.err = g->err, .what = what}, list = {.err = g->err, .what = what};
    cudnnBackendDescriptor_t config;
    describe(&b, shape);
    cudnnBackendDescriptor_t graph = make_graph(g, &b);
    *offered = wf_build_goes_on(&b) &&
               wf_graph_ask(&g->device, &list, graph, CUDNN_HEUR_MODE_A, 1, &config) > 0;
    wf_build_end(&list);
    wf_build_end(&b);
    return b.status == WF_OK ? list.status : b.status;
}

/* A shape that was not met before. */
static enum wf_status add_plan(struct wf_graphs *g, const struct wf_graph_key *key,
                               struct wf_build *b, struct wf_graph_plan **plan)
{
    struct wf_graph_plan *p = calloc(1, sizeof *p);
    if (!p)
        return wf_fail_memory(g->err, "cuDNN", sizeof *p);
    p->key = *key;
    const enum wf_status status = make_plan(g, b, p);
    if (status != WF_OK) {
        free(p);
        return status;
    }
    p->next = g->first;
    *plan = g->first = p;
    return WF_OK;
}

enum wf_status wf_graph_find(struct wf_graphs *g, const struct wf_graph_key *key, const char *what,
                             const void *shape,
                             void (*describe)(struct wf_build *b, const void *shape),
                             struct wf_graph_plan **plan)
{
    struct wf_graph_plan *p = g->first;
    *plan = NULL;
    while (p && memcmp(&p->key, key, sizeof *key) != 0)
        p = p->next;
    if (!p) {
        struct wf_build b = {.err = g->err, .what = what};
        describe(&b, shape);
        const enum wf_status status = add_plan(g, key, &b, &p);
        wf_build_end(&b);
        WF_TRY(status);
    }
    *plan = p->engine.plan ? p : NULL;
    return WF_OK;
}

size_t wf_graph_plan_workspace(const struct wf_graph_plan *plan)
{
    return (size_t)plan->engine.workspace;
}

bool wf_graph_plan_compiled(const struct wf_graph_plan *plan)
{
    return plan->engine.compiled;
}

/* --- running --- */

static const void *pointer_of(const struct wf_graph_plan *plan, const struct wf_graph_pointers *p,
                              int64_t uid)
{
    switch ((enum wf_graph_uid)uid) {
    case WF_UID_X:
        return p->x;
    case WF_UID_W:
        return p->w;
    case WF_UID_BIAS:
        return p->bias;
    case WF_UID_Q:
        return p->q;
    case WF_UID_K:
        return p->k;
    case WF_UID_V:
        return p->v;
    case WF_UID_KEY_BIAS:
        return p->key_bias;
    case WF_UID_SCALE:
        return &plan->scale;
    case WF_UID_Y:
    case WF_UID_SUM:
        return p->y;
    case WF_UID_VIRTUAL:
        break;
    }
    return NULL;
}

static cudnnStatus_t set_stream(struct wf_graphs *g, struct CUstream_st *stream)
{
    if (g->has_stream && g->stream == stream)
        return CUDNN_STATUS_SUCCESS;
    g->stream = stream;
    const cudnnStatus_t status = cudnnSetStream(g->device.handle, stream);
    g->has_stream = status == CUDNN_STATUS_SUCCESS;
    return status;
}

/* What the plan's tensors are, this time. */
static cudnnBackendDescriptor_t bind(struct wf_build *b, const struct wf_graph_plan *plan,
                                     const struct wf_graph_pointers *pointers, void *workspace)
{
    const void *at[WF_GRAPH_BOUND];
    for (int i = 0; i < plan->bound_count; i++) {
        at[i] = pointer_of(plan, pointers, plan->bound[i]);
        if (!at[i] && b->status == WF_OK)
            b->status = wf_fail(b->err, WF_FAILED, "cuDNN: %s: operand %d is missing", b->what,
                                (int)plan->bound[i]);
    }
    cudnnBackendDescriptor_t pack = wf_build_make(b, CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
    wf_build_set(b, pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, plan->bound_count,
                 plan->bound);
    wf_build_set(b, pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR,
                 plan->bound_count, at);
    wf_build_set(b, pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, &workspace);
    wf_build_done(b, pack);
    return pack;
}

enum wf_status wf_graph_run(struct wf_graphs *g, const struct wf_graph_plan *plan,
                            const struct wf_graph_pointers *pointers, void *workspace,
                            struct CUstream_st *stream)
{
    struct wf_build b = {.err = g->err, .what = "a plan that is run"};
    cudnnBackendDescriptor_t pack = bind(&b, plan, pointers, workspace);
    if (wf_build_goes_on(&b) && !g->device.handle)
        b.status = wf_fail(g->err, WF_FAILED, "cuDNN: %s: the device is only described", b.what);
    if (wf_build_goes_on(&b) && wf_build_good(&b, set_stream(g, stream), "set stream"))
        wf_build_good(&b, cudnnBackendExecute(g->device.handle, plan->engine.plan, pack),
                      "execute");
    if (b.not_taken)
        b.status = wf_fail(g->err, WF_FAILED, "cuDNN: %s: not supported", b.what);
    wf_build_end(&b);
    return b.status;
}
