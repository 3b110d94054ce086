/* The softmax of attention that no library takes: a block has a row of scores, which it reads three
   times, the second and third time from the cache. */
#include <cmath>

#include "kernels/cuda/own/row.h"

namespace
{

struct softmax {
    const float *scores;
    struct wf_memory y;
    const float *rel_bias, *key_bias;
    int64_t rel_stride;
    int64_t rows, keys, first, queries; /* rows of a head */
    float scale;
};

struct slots {
    struct wf_slots<WF_THREADS> largest, sum;
};

__device__ inline float score(const struct softmax &p, const float *row, const float *rel,
                              int64_t key)
{
    float x = p.scale * row[key];
    if (rel)
        x += rel[key];
    if (p.key_bias)
        x += p.key_bias[key];
    return x;
}

/* A NaN is no largest score, but it is one in the sum, and so in all of the row. */
__global__ void __launch_bounds__(WF_THREADS) softmax_rows(struct softmax p)
{
    WF_SHARED(struct slots, slots);
    const struct wf_place place = wf_divide(blockIdx.x, p.rows); /* a head, a row of it */
    const int64_t start = int64_t{blockIdx.x} * p.keys;
    const float *row = p.scores + start, *rel = nullptr;
    if (p.rel_bias)
        rel = p.rel_bias + place.row * p.rel_stride + (p.queries - 1 - p.first - place.column);
    float largest = -INFINITY, sum = 0.0f;
    for (int64_t j = threadIdx.x; j < p.keys; j += WF_THREADS)
        largest = fmaxf(largest, score(p, row, rel, j));
    largest = wf_reduce_block<WF_THREADS>(largest, slots.largest, wf_largest());
    for (int64_t j = threadIdx.x; j < p.keys; j += WF_THREADS)
        sum += expf(score(p, row, rel, j) - largest);
    sum = wf_reduce_block<WF_THREADS>(sum, slots.sum, wf_sum());
    for (int64_t j = threadIdx.x; j < p.keys; j += WF_THREADS) {
        const float y = expf(score(p, row, rel, j) - largest) / sum;
        if (p.y.type == WF_BF16)
            static_cast<__nv_bfloat16 *>(p.y.data)[start + j] = wf_rounded<__nv_bfloat16>(y);
        else
            static_cast<float *>(p.y.data)[start + j] = y;
    }
}

} // namespace

int wf_own_softmax(const void *args, void *stream)
{
    const auto &a = *static_cast<const struct wf_own_softmax *>(args);
    struct softmax p = {};
    p.scores = static_cast<const float *>(a.scores.data);
    p.y = wf_memory_of(a.y);
    p.rel_bias = static_cast<const float *>(a.rel_bias.data);
    p.key_bias = static_cast<const float *>(a.key_bias.data);
    p.rel_stride = a.rel_bias.stride[0];
    p.rows = a.scores.dim[1];
    p.keys = a.scores.dim[2];
    p.first = a.first;
    p.queries = a.queries;
    p.scale = a.scale;
    return wf_launch(softmax_rows, static_cast<unsigned>(a.scores.dim[0] * p.rows), WF_THREADS,
                     stream, p);
}
