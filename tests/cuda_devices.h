/* The kinds of GPU that weft is built for, as cuDNN describes them, and small shapes to ask for. */
#ifndef WEFT_TESTS_CUDA_DEVICES_H
#define WEFT_TESTS_CUDA_DEVICES_H

#include "kernels/cuda/graph.h"

struct cuda_device {
    const char *name, *gpu;
    int version, processors, shared, l2, threads, blocks;
    int clock, memory_clock; /* kHz */
    long long memory;
};

enum { CUDA_A100, CUDA_H100, CUDA_B200, CUDA_RTX_5090, CUDA_DEVICES };
extern const struct cuda_device cuda_devices[CUDA_DEVICES];

/* As wf_graphs_open. */
enum wf_status cuda_open_for(const struct cuda_device *device, struct wf_graphs **graphs,
                             struct wf_error *err);

/* Small ones; what a case changes of them, it does itself. */
struct wf_graph_conv cuda_some_conv(void);
struct wf_graph_attention cuda_some_attention(int64_t width);

#endif
