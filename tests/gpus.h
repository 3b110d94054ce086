/* The kinds of GPU that weft is built for, as cuDNN describes them, and small shapes to ask for. */
#ifndef WEFT_TESTS_GPUS_H
#define WEFT_TESTS_GPUS_H

#include "kernels/cuda/graph.h"

struct gpu {
    const char *name, *model;
    int version, processors, shared, l2, threads, blocks;
    int clock, memory_clock; /* kHz */
    long long memory;
};

enum { GPU_A100, GPU_H100, GPU_B200, GPU_RTX_5090, GPUS };
extern const struct gpu gpus[GPUS];

/* As wf_graphs_open. */
enum wf_status gpu_open_for(const struct gpu *device, struct wf_graphs **graphs,
                            struct wf_error *err);

/* Small ones; what a case changes of them, it does itself. */
struct wf_graph_conv some_conv(void);
struct wf_graph_attention some_attention(int64_t width);

#endif
