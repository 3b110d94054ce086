/* Convolution and attention by cuDNN's graphs: a plan for each shape is looked for once and kept.
   Plans are made for a device that is there (a handle), or for one that is only described: those
   can be looked at, not run, so that every shape of a model is proven where no GPU is.

   Which engine a plan takes depends on shape, types and device alone: the first of cuDNN's own
   order that gives the same bits each time, keeps its operands as they are and wants no more
   workspace than there is. Sums are f32.

   One thread at a time uses a struct wf_graphs. A failure leaves its message in the wf_error of
   wf_graphs_open. */
#ifndef WEFT_KERNELS_CUDA_GRAPH_H
#define WEFT_KERNELS_CUDA_GRAPH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/base/dtype.h"
#include "kernels/base/status.h"

/* cudnnHandle_t and cudaStream_t are pointers to these. */
struct cudnnContext;
struct CUstream_st;

struct wf_graphs;
struct wf_graph_plan;

enum {
    WF_GRAPH_WORKSPACE = 64 << 20, /* bytes that a plan may want */
    WF_GRAPH_HEAD = 256,           /* widest head of an attention */
};

/* Whether this version of cuDNN, as cudnnGetVersion says it, may be used: 9.15 or later. From 9.8
   to 9.12 bf16 results are wrong. WF_REFUSED with a message. */
enum wf_status wf_graphs_check_version(size_t version, struct wf_error *err);

/* One of the two is given: a handle, which stays the caller's and outlives the graphs, or (handle
   NULL) a device description, the JSON text of cuDNN's device properties. err outlives the graphs.
   *graphs is NULL on failure. */
enum wf_status wf_graphs_open(struct cudnnContext *handle, const char *description,
                              struct wf_graphs **graphs, struct wf_error *err);
void wf_graphs_close(struct wf_graphs **graphs); /* ends its plans */

/* y = conv(x) + bias, or y += conv(x) + bias, channels-last: x [T,H,W,C] BF16, w [O,kt,kh,kw,C]
   BF16, bias [O] of y's type, y [T',H',W',O] BF16 or F32. Padding, strides and T', H', W' as
   struct wf_conv has them.

   Engines that are compiled beforehand take a BF16 y only, and a BF16 bias with it; F32 is compiled
   when its plan is made, 0.3 to 0.8 s a shape, so it is for what is rare. O and C are best
   multiples of 8: weights are padded when they are loaded. Each tensor spans less than 2^31
   elements: longer ones are cut by frames. */
struct wf_graph_conv {
    int64_t x[4], y[4];       /* y: what the rest says, checked */
    int64_t x_line;           /* elements from a line to the next; 0: frames are dense */
    int64_t x_frame, y_frame; /* from a frame to the next; 0: they follow each other */
    int64_t kernel[3];
    int64_t pad_front, pad_back, pad_h[2], pad_w[2];
    int64_t stride_t, stride_hw;
    enum wf_dtype y_type;
    bool has_bias;
    bool accumulate; /* y is F32 */
};

/* y = softmax(scale * q k^T + key_bias) v for each batch and head: q [N,S,h,d], k [N,L,h,d],
   v [N,L,h,e], y [N,S,h,e], all BF16; key_bias [L] F32. Heads wider than WF_GRAPH_HEAD, or of a
   width that is no multiple of 8, are not taken. There is no F32 y: cuDNN does not promise one
   (9.19 takes it without a word, 9.26 does not). Compiled when its plan is made, 0.3 to 1.5 s a
   shape. */
struct wf_graph_attention {
    int64_t batches, queries, keys, heads, width, value_width; /* N, S, L, h, d, e */
    /* Elements from one batch, row and head to the next; the last axis is dense. Each tensor spans
       less than 2^31 elements. */
    int64_t q_stride[3], k_stride[3], v_stride[3], y_stride[3];
    bool has_key_bias;
    float scale;
};

/* Whether cuDNN can compile kernels here. Where libnvrtc or libcuda is missing it says nothing, but
   offers no engine for what it would compile: then no attention is taken. */
enum wf_status wf_graphs_can_compile(struct wf_graphs *graphs, bool *can);

/* The plan of a shape, made now or before; the graphs' own, until they are closed. WF_OK with *plan
   NULL: no engine takes this shape, and the caller computes it by other means; that is remembered
   too. A failure is a shape that breaks what is said above, memory, or a library that is not there.
 */
enum wf_status wf_graph_conv(struct wf_graphs *graphs, const struct wf_graph_conv *shape,
                             struct wf_graph_plan **plan);
enum wf_status wf_graph_attention(struct wf_graphs *graphs, const struct wf_graph_attention *shape,
                                  struct wf_graph_plan **plan);

size_t wf_graph_plan_workspace(const struct wf_graph_plan *plan); /* WF_GRAPH_WORKSPACE at most */
/* Whether its kernel was compiled when the plan was made. */
bool wf_graph_plan_compiled(const struct wf_graph_plan *plan);

/* Device memory, each at a multiple of 16 bytes; what the shape has not is not looked at. */
struct wf_graph_pointers {
    const void *x, *w, *bias;         /* of a convolution */
    const void *q, *k, *v, *key_bias; /* of an attention */
    void *y;
};

/* Queues the plan on the stream; pointers is not read after the call. workspace: device memory of
   wf_graph_plan_workspace bytes at a multiple of 256; NULL where that is 0. */
enum wf_status wf_graph_run(struct wf_graphs *graphs, const struct wf_graph_plan *plan,
                            const struct wf_graph_pointers *pointers, void *workspace,
                            struct CUstream_st *stream);

#endif
