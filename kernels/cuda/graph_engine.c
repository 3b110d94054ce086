#include "kernels/cuda/graph_build.h"

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

/* A plan of one configuration, kept in found if it keeps to the rules. */
static void try_engine(const struct wf_graph_device *device, struct wf_build *b,
                       cudnnBackendDescriptor_t config, struct wf_graph_engine *found)
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
    if (device->handle)
        wf_build_set(b, plan, CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, 1,
                     &device->handle);
    else
        wf_build_link(b, plan, CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, device->described);
    wf_build_done(b, plan);
    wf_build_get(b, plan, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, 1,
                 &workspace);
    if (!wf_build_goes_on(b) || workspace > WF_GRAPH_WORKSPACE)
        return;
    found->plan = wf_build_keep(b);
    found->workspace = workspace;
    found->compiled = behaviour & 1u << CUDNN_BEHAVIOR_NOTE_RUNTIME_COMPILATION;
}

int wf_graph_ask(const struct wf_graph_device *device, struct wf_build *b,
                 cudnnBackendDescriptor_t graph, cudnnBackendHeurMode_t mode, int most,
                 cudnnBackendDescriptor_t *configs)
{
    cudnnBackendDescriptor_t heuristics = wf_build_make(b, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
    wf_build_link(b, heuristics, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph);
    wf_build_set(b, heuristics, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode);
    if (device->described)
        wf_build_link(b, heuristics, CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, device->described);
    wf_build_done(b, heuristics);
    for (int i = 0; i < most; i++)
        configs[i] = wf_build_make(b, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
    return (int)wf_build_get(b, heuristics, CUDNN_ATTR_ENGINEHEUR_RESULTS,
                             CUDNN_TYPE_BACKEND_DESCRIPTOR, most, configs);
}

/* One that breaks is passed over, as cuDNN's own front end does, unless nothing else is found; but
   what fails for want of memory would make it another choice. */
enum wf_status wf_graph_search(const struct wf_graph_device *device, cudnnBackendDescriptor_t graph,
                               const char *what, struct wf_graph_engine *found,
                               struct wf_error *err)
{
    const cudnnBackendHeurMode_t modes[] = {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK};
    enum { MOST = WF_GRAPH_MADE - 1 };
    struct wf_error trouble = {0};
    bool no_memory = false;
    for (size_t m = 0; m < sizeof modes / sizeof *modes && !found->plan && !no_memory; m++) {
        struct wf_build list = {.err = &trouble, .what = what};
        cudnnBackendDescriptor_t configs[MOST];
        const int count = wf_graph_ask(device, &list, graph, modes[m], MOST, configs);
        for (int i = 0; i < count && !found->plan && !no_memory; i++) {
            struct wf_build one = {.err = &trouble, .what = what};
            try_engine(device, &one, configs[i], found);
            no_memory = one.no_memory;
            wf_build_end(&one);
        }
        no_memory |= list.no_memory;
        wf_build_end(&list);
    }
    if (found->plan || trouble.status == WF_OK)
        return WF_OK;
    *err = trouble;
    return WF_FAILED;
}
