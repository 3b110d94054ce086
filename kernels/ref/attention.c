#include <math.h>

#include "kernels/ref/ref.h"

/* Query s of a batch's head. */
struct query {
    int64_t batch, s, head;
};

/* Where row s of the query's batch and head starts, of an operand [N,S,h,d]. */
static int64_t head_row(const struct wf_tensor *t, const struct query *at, int64_t s)
{
    return at->batch * t->stride[0] + s * t->stride[1] + at->head * t->stride[2];
}

/* Fills score[L] with exp(score - the largest) and returns the sum. */
static double softmax(const struct wf_attention *a, const struct query *at, double *score)
{
    const int64_t width = a->q.dim[3], keys = a->k.dim[1];
    const int64_t q = head_row(&a->q, at, at->s);
    const float *key_bias = a->key_bias.data;
    const float *rel_bias = a->rel_bias.data ? wf_row(&a->rel_bias, at->head) : NULL;
    double largest = -INFINITY, sum = 0;
    for (int64_t j = 0; j < keys; j++) {
        const int64_t k = head_row(&a->k, at, j);
        double dot = 0;
        for (int64_t i = 0; i < width; i++)
            dot += (double)wf_get(&a->q, q + i) * (double)wf_get(&a->k, k + i);
        score[j] = (double)a->scale * dot;
        if (rel_bias)
            score[j] += (double)rel_bias[j - at->s + a->q.dim[1] - 1];
        if (key_bias)
            score[j] += (double)key_bias[j];
        largest = fmax(largest, score[j]);
    }
    for (int64_t j = 0; j < keys; j++) {
        score[j] = exp(score[j] - largest);
        sum += score[j];
    }
    return sum;
}

static void attend(const struct wf_attention *a, const struct query *at, double *score)
{
    const double sum = softmax(a, at, score);
    const int64_t y = head_row(&a->y, at, at->s);
    for (int64_t i = 0; i < a->v.dim[3]; i++) {
        double value = 0;
        for (int64_t j = 0; j < a->k.dim[1]; j++)
            value += score[j] * (double)wf_get(&a->v, head_row(&a->v, at, j) + i);
        wf_set(&a->y, y + i, value / sum);
    }
}

enum wf_status wf_ref_attention(struct wf_backend *be, const struct wf_attention *a)
{
    const int64_t keys = a->k.dim[1], heads = a->q.dim[2], queries = a->q.dim[1];
    double *score = wf_calloc(be->mem, WF_MEM_ACTIVATIONS, (size_t)keys, sizeof *score);
    if (!score)
        return wf_fail_memory(be->err, "attention", (unsigned long long)keys * sizeof *score);
    for (int64_t row = 0; row < wf_tensor_rows(&a->q); row++)
        attend(a, &(const struct query){row / heads / queries, row / heads % queries, row % heads},
               score);
    wf_free(score);
    return WF_OK;
}
