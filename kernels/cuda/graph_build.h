/* Inside graph*.c: a graph while it is described, and how a described one becomes a plan. */
#ifndef WEFT_KERNELS_CUDA_GRAPH_BUILD_H
#define WEFT_KERNELS_CUDA_GRAPH_BUILD_H

#include <cudnn_backend.h>

#include "kernels/cuda/graph.h"

/* What a plan's tensors are bound by. */
enum wf_graph_uid {
    WF_UID_X = 1,
    WF_UID_W,
    WF_UID_BIAS,
    WF_UID_Q,
    WF_UID_K,
    WF_UID_V,
    WF_UID_KEY_BIAS,
    WF_UID_SCALE, /* one float of the host */
    WF_UID_Y,
    WF_UID_SUM,     /* what is added to: y too */
    WF_UID_VIRTUAL, /* from here on: tensors that are never in memory */
};

enum { WF_GRAPH_BOUND = 8, WF_GRAPH_MADE = 64, WF_GRAPH_OPS = 12 };

/* A plan depends on these numbers alone; made by its builder, 0 beyond what that has to say. */
struct wf_graph_key {
    int64_t at[32];
};

/* Descriptors that are made together, so that one place ends them all. Once a call did not succeed
   those that follow do nothing: builders test nothing, who called the builder looks at status and
   not_taken. Begun by err and what, all else 0. */
struct wf_build {
    struct wf_error *err;
    enum wf_status status;
    bool not_taken;   /* cuDNN says that this is not supported: an answer, no failure */
    bool no_memory;   /* status tells of that */
    const char *what; /* the shape, in messages */
    float scale;      /* of WF_UID_SCALE */
    int made_count, op_count, bound_count, virtual_count;
    cudnnBackendDescriptor_t made[WF_GRAPH_MADE];
    cudnnBackendDescriptor_t op[WF_GRAPH_OPS];
    int64_t bound[WF_GRAPH_BOUND]; /* uids of the tensors that are in memory */
};

struct wf_graph_tensor {
    int64_t uid; /* WF_UID_VIRTUAL: the next of these */
    cudnnDataType_t type;
    int rank;
    int64_t dim[5], stride[5];
};

static inline bool wf_build_goes_on(const struct wf_build *b)
{
    return b->status == WF_OK && !b->not_taken;
}
/* Whether a call succeeded; notes what it was if not. */
bool wf_build_good(struct wf_build *b, cudnnStatus_t status, const char *call);
cudnnBackendDescriptor_t wf_build_make(struct wf_build *b, cudnnBackendDescriptorType_t type);
void wf_build_set(struct wf_build *b, cudnnBackendDescriptor_t d, cudnnBackendAttributeName_t name,
                  cudnnBackendAttributeType_t type, int64_t count, const void *value);
void wf_build_link(struct wf_build *b, cudnnBackendDescriptor_t d, cudnnBackendAttributeName_t name,
                   cudnnBackendDescriptor_t to);
void wf_build_type(struct wf_build *b, cudnnBackendDescriptor_t d, cudnnBackendAttributeName_t name,
                   cudnnDataType_t type);
/* Reads an attribute of at most count values; how many it has here, 0 after a failure. */
int64_t wf_build_get(struct wf_build *b, cudnnBackendDescriptor_t d,
                     cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
                     int64_t count, void *values);
void wf_build_done(struct wf_build *b, cudnnBackendDescriptor_t d);
cudnnBackendDescriptor_t wf_build_tensor(struct wf_build *b, const struct wf_graph_tensor *tensor);
/* The last thing that is set of an operation: it is done, and belongs to the graph. */
void wf_build_op(struct wf_build *b, cudnnBackendDescriptor_t op);
/* y = mode(x, other), in f32; other NULL where mode takes one operand. */
void wf_build_pointwise(struct wf_build *b, cudnnPointwiseMode_t mode, cudnnBackendDescriptor_t x,
                        cudnnBackendDescriptor_t other, cudnnBackendDescriptor_t y);
/* Takes the descriptor made last out of the build: it is the caller's. */
cudnnBackendDescriptor_t wf_build_keep(struct wf_build *b);
void wf_build_end(struct wf_build *b); /* ends what was made */

cudnnDataType_t wf_graph_type(enum wf_dtype dtype); /* of F32 and BF16 */
/* Whether a tensor of these steps between elements stays below 2^31 of them. */
bool wf_graph_is_small(int rank, const int64_t *dim, const int64_t *stride);

/* One of the two. */
struct wf_graph_device {
    cudnnHandle_t handle;               /* NULL: the device is only described */
    cudnnBackendDescriptor_t described; /* NULL where there is a handle */
};

/* What is chosen for a graph. */
struct wf_graph_engine {
    cudnnBackendDescriptor_t plan; /* NULL: no engine takes it */
    int64_t workspace;
    bool compiled;
};

/* cuDNN's engines for the graph in its own order, at most `most`; how many. They belong to b. */
int wf_graph_ask(const struct wf_graph_device *device, struct wf_build *b,
                 cudnnBackendDescriptor_t graph, cudnnBackendHeurMode_t mode, int most,
                 cudnnBackendDescriptor_t *configs);
/* The first engine that keeps to the rules of graph.h; its plan is the caller's. *found was zeros.
 */
enum wf_status wf_graph_search(const struct wf_graph_device *device, cudnnBackendDescriptor_t graph,
                               const char *what, struct wf_graph_engine *found,
                               struct wf_error *err);

/* The plan of that key. describe adds the operations of a shape to a build; it is called when the
   key was not met before. what: the shape, in messages. */
enum wf_status wf_graph_find(struct wf_graphs *graphs, const struct wf_graph_key *key,
                             const char *what, const void *shape,
                             void (*describe)(struct wf_build *b, const void *shape),
                             struct wf_graph_plan **plan);
/* Whether cuDNN has any engine for it; none is tried. */
enum wf_status wf_graph_is_offered(const struct wf_graphs *graphs, const char *what,
                                   const void *shape,
                                   void (*describe)(struct wf_build *b, const void *shape),
                                   bool *offered);
struct wf_error *wf_graphs_error(const struct wf_graphs *graphs);

#endif
