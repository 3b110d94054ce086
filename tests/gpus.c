#include "tests/gpus.h"

#include <stdio.h>

const struct gpu gpus[GPUS] = {
    [GPU_A100] = {"sm_80", "NVIDIA A100-SXM4-40GB", 800, 108, 166912, 41943040, 2048, 32, 1410000,
                  1215000, 42405855232},
    [GPU_H100] = {"sm_90", "NVIDIA H100 80GB HBM3", 900, 132, 232448, 52428800, 2048, 32, 1980000,
                  2619000, 85045084160},
    [GPU_B200] = {"sm_100", "NVIDIA B200", 1000, 148, 232448, 132644864, 2048, 32, 1965000, 3996000,
                  191514214400},
    [GPU_RTX_5090] = {"sm_120", "NVIDIA GeForce RTX 5090", 1200, 170, 101376, 100663296, 1536, 24,
                      2407000, 14001000, 33700000000},
};

enum wf_status gpu_open_for(const struct gpu *d, struct wf_graphs **graphs, struct wf_error *err)
{
    char text[1536];
    snprintf(text, sizeof text,
             "{\"maxGridSize\":[2147483647,65535,65535],\"maxBlockSize\":[1024,1024,64],"
             "\"regsPerBlock\":65536,\"multiProcessorCount\":%d,\"warpSize\":32,"
             "\"maxSharedMemoryPerBlock\":49152,\"maxSharedMemoryPerBlockOptin\":%d,"
             "\"reservedSharedMemoryPerBlock\":1024,\"maxRegistersPerSM\":65536,"
             "\"maxCtasPerSM\":%d,\"maxThreadsPerBlock\":1024,\"maxThreadsPerSM\":%d,"
             "\"pciDeviceId\":0,\"isTccDriver\":0,\"supportCoopLaunch\":1,"
             "\"totalGlobalMem\":%lld,\"smClockRateKHz\":%d,\"memClockRateKHz\":%d,"
             "\"l2CacheSize\":%d,\"cudaDeviceId\":0,\"deviceVer\":%d,\"driverVer\":13000,"
             "\"deviceName\":\"%s\"}",
             d->processors, d->shared, d->blocks, d->threads, d->memory, d->clock, d->memory_clock,
             d->l2, d->version, d->model);
    return wf_graphs_open(NULL, text, graphs, err);
}

struct wf_graph_conv some_conv(void)
{
    return (struct wf_graph_conv){.x = {5, 20, 24, 96},
                                  .y = {5, 20, 24, 64},
                                  .kernel = {3, 3, 3},
                                  .pad_front = 2,
                                  .pad_h = {1, 1},
                                  .pad_w = {1, 1},
                                  .stride_t = 1,
                                  .stride_hw = 1,
                                  .y_type = WF_BF16,
                                  .has_bias = true};
}

struct wf_graph_attention some_attention(int64_t width)
{
    const int64_t heads = 2, row = heads * width;
    return (struct wf_graph_attention){.batches = 1,
                                       .queries = 100,
                                       .keys = 40,
                                       .heads = heads,
                                       .width = width,
                                       .value_width = width,
                                       .q_stride = {100 * row, row, width},
                                       .k_stride = {40 * row, row, width},
                                       .v_stride = {40 * row, row, width},
                                       .y_stride = {100 * row, row, width},
                                       .scale = 0.125f};
}
