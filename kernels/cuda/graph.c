#include "kernels/cuda/graph.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cuda/graph_build.h"

struct wf_graph_plan {
    struct wf_graph_plan *next;
    struct wf_graph_key key;
    cudnnBackendDescriptor_t plan; /* NULL: no engine takes it */
    int64_t workspace;
    bool compiled;
    float scale;
    int bound_count;
    int64_t bound[WF_GRAPH_BOUND];
};

struct wf_graphs {
    struct wf_error *err;
    cudnnHandle_t handle;            /* NULL: the device is only described */
    cudnnBackendDescriptor_t device; /* its description; NULL where there is a handle */
    struct CUstream_st *stream;      /* the handle's */
    bool has_stream;                 /* it was set by us */
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
    g->device = b.status == WF_OK ? wf_build_keep(&b) : NULL;
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
    g->handle = handle;
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
        if (p->plan)
            cudnnBackendDestroyDescriptor(p->plan);
        free(p);
    }
    if (g->device)
        cudnnBackendDestroyDescriptor(g->device);
    free(g);
    *graphs = NULL;
}

struct wf_error *wf_graphs_error(const struct wf_graphs *graphs)
{
    return graphs->err;
}

/* --- choosing an engine --- */

/* Notes of an engine, as bits. */
static uint32_t notes(struct wf_build *b, cudnnBackendDescriptor_t engine,
                      cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type)
{
    enum { MOST = 32 };
    int32_t note[MOST]; /* both kinds of note are enums of that size */
    uint32_t bits = 0;
    _Static_assert(sizeof(cudnnBackendNumericalNote_t) == sizeof *note, "a note");
    _Static_assert(sizeof(cudnnBackendBehaviorNote_t) == sizeof *note, "a note");
    const int64_t count = wf_build_get(b, engine, name, type, MOST, note);
    for (int64_t i = 0; i < count; i++)
        bits |= 1u << note[i];
    return bits;
}

/* The same bits each time, operands and sums in their own types. */
static bool is_exact(uint32_t numerical)
{
    const uint32_t unwanted = 1u << CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC |
                              1u << CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS |
                              1u << CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION |
                              1u << CUDNN_NUMERICAL_NOTE_FFT | 1u << CUDNN_NUMERICAL_NOTE_WINOGRAD |
                              1u << CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_4x4 |
                              1u << CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_6x6 |
                              1u << CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_13x13;
    return !(numerical & unwanted);
}

/* A plan of one configuration, kept in p if it keeps to the rules. */
static void try_engine(const struct wf_graphs *g, struct wf_build *b,
                       cudnnBackendDescriptor_t config, struct wf_graph_plan *p)
{
    int64_t workspace = 0;
    cudnnBackendDescriptor_t engine = wf_build_make(b, CUDNN_BACKEND_ENGINE_DESCRIPTOR);
    wf_build_get(b, config, CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &engine);
    const uint32_t numerical =
        notes(b, engine, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE);
    const uint32_t behaviour =
        notes(b, engine, CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE, CUDNN_TYPE_BEHAVIOR_NOTE);
    if (!is_exact(numerical))
        return;
    cudnnBackendDescriptor_t plan = wf_build_make(b, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
    wf_build_link(b, plan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, config);
    if (g->handle)
        wf_build_set(b, plan, CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, 1, &g->handle);
    else
        wf_build_link(b, plan, CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, g->device);
    wf_build_done(b, plan);
    wf_build_get(b, plan, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, 1,
                 &workspace);
    if (!wf_build_goes_on(b) || workspace > WF_GRAPH_WORKSPACE)
        return;
    p->plan = wf_build_keep(b);
    p->workspace = workspace;
    p->compiled = behaviour & 1u << CUDNN_BEHAVIOR_NOTE_RUNTIME_COMPILATION;
}

/* cuDNN's engines for the graph in its own order, at most `most`; how many. */
static int ask(const struct wf_graphs *g, struct wf_build *b, cudnnBackendDescriptor_t graph,
               cudnnBackendHeurMode_t mode, int most, cudnnBackendDescriptor_t *configs)
{
    cudnnBackendDescriptor_t heuristics = wf_build_make(b, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
    wf_build_link(b, heuristics, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph);
    wf_build_set(b, heuristics, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode);
    if (g->device)
        wf_build_link(b, heuristics, CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, g->device);
    wf_build_done(b, heuristics);
    for (int i = 0; i < most; i++)
        configs[i] = wf_build_make(b, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
    return (int)wf_build_get(b, heuristics, CUDNN_ATTR_ENGINEHEUR_RESULTS,
                             CUDNN_TYPE_BACKEND_DESCRIPTOR, most, configs);
}

/* The first engine that keeps to the rules. One that breaks is passed over, as cuDNN's own front
   end does, unless nothing else is found; but what fails for want of memory would be another
   choice. */
static enum wf_status search(const struct wf_graphs *g, cudnnBackendDescriptor_t graph,
                             const char *what, struct wf_graph_plan *p)
{
    const cudnnBackendHeurMode_t modes[] = {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK};
    enum { MOST = WF_GRAPH_MADE - 1 };
    struct wf_error trouble = {0};
    bool no_memory = false;
    for (size_t m = 0; m < sizeof modes / sizeof *modes && !p->plan && !no_memory; m++) {
        struct wf_build list = {.err = &trouble, .what = what};
        cudnnBackendDescriptor_t configs[MOST];
        const int count = ask(g, &list, graph, modes[m], MOST, configs);
        for (int i = 0; i < count && !p->plan && !no_memory; i++) {
            struct wf_build one = {.err = &trouble, .what = what};
            try_engine(g, &one, configs[i], p);
            no_memory = one.no_memory;
            wf_build_end(&one);
        }
        no_memory |= list.no_memory;
        wf_build_end(&list);
    }
    if (p->plan || trouble.status == WF_OK)
        return WF_OK;
    *g->err = trouble;
    return WF_FAILED;
}

/* --- plans by shape --- */

/* The described operations as one graph. */
static cudnnBackendDescriptor_t make_graph(const struct wf_graphs *g, struct wf_build *b)
{
    cudnnBackendDescriptor_t graph = wf_build_make(b, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
    wf_build_set(b, graph, CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR,
                 b->op_count, b->op);
    if (g->handle)
        wf_build_set(b, graph, CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1, &g->handle);
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
    return wf_build_goes_on(b) ? search(g, graph, b->what, p) : b->status;
}

enum wf_status wf_graph_is_offered(const struct wf_graphs *g, const char *what, const void *shape,
                                   void (*describe)(struct wf_build *b, const void *shape),
                                   bool *offered)
{
    struct wf_build b = {.err = g->err, .what = what}, list = {.err = g->err, .what = what};
    cudnnBackendDescriptor_t config;
    describe(&b, shape);
    cudnnBackendDescriptor_t graph = make_graph(g, &b);
    *offered = wf_build_goes_on(&b) && ask(g, &list, graph, CUDNN_HEUR_MODE_A, 1, &config) > 0;
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
    *plan = p->plan ? p : NULL;
    return WF_OK;
}

size_t wf_graph_plan_workspace(const struct wf_graph_plan *plan)
{
    return (size_t)plan->workspace;
}

bool wf_graph_plan_compiled(const struct wf_graph_plan *plan)
{
    return plan->compiled;
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
    const cudnnStatus_t status = cudnnSetStream(g->handle, stream);
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
    if (!g->handle)
        return wf_fail(g->err, WF_FAILED, "cuDNN: %s: the device is only described", b.what);
    cudnnBackendDescriptor_t pack = bind(&b, plan, pointers, workspace);
    if (wf_build_goes_on(&b) && wf_build_good(&b, set_stream(g, stream), "set stream"))
        wf_build_good(&b, cudnnBackendExecute(g->handle, plan->plan, pack), "execute");
    if (b.not_taken)
        b.status = wf_fail(g->err, WF_FAILED, "cuDNN: %s: not supported", b.what);
    wf_build_end(&b);
    return b.status;
}
