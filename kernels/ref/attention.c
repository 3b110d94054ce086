#include <math.h>

#include "kernels/ref/ref.h"

/* Where row s of head `head` of an operand [S,h,d] starts. */
static int64_t head_row(const struct wf_tensor *t, int64_t s, int64_t head)
{
    return s * t->stride[0] + head * t->stride[1];
}

/* Fills score[L] with exp(score - the largest) and returns the sum. */
static double softmax(const struct wf_attention *a, int64_t s, int64_t head, double *score)
{
    const int64_t width = a->q.dim[2], keys = a->k.dim[0];
    const int64_t q = head_row(&a->q, s, head);
    const float *key_bias = a->key_bias.data;
    const float *rel_bias = a->rel_bias.data ? wf_row(&a->rel_bias, head) : NULL;
    double largest = -INFINITY, sum = 0;
    for (int64_t j = 0; j < keys; j++) {
        const int64_t k = head_row(&a->k, j, head);
        double dot = 0;
        for (int64_t i = 0; i < width; i++)
            dot += (double)wf_get(&a->q, q + i) * (double)wf_get(&a->k, k + i);
        score[j] = (double)a->scale * dot;
        if (rel_bias)
            score[j] += (double)rel_bias[j - s + a->q.dim[0] - 1];
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

enum wf_status wf_ref_attention(struct wf_backend *be, const struct wf_attention *a)
{
    const int64_t keys = a->k.dim[0];
    double *score = wf_calloc(be->mem, WF_MEM_ACTIVATIONS, (size_t)keys, sizeof *score);
    if (!score)
        return wf_fail_memory(be->err, "attention", (unsigned long long)keys * sizeof *score);
    for (int64_t s = 0; s < a->q.dim[0]; s++) {
        for (int64_t head = 0; head < a->q.dim[1]; head++) {
            const double sum = softmax(a, s, head, score);
            const int64_t y = head_row(&a->y, s, head);
            for (int64_t i = 0; i < a->v.dim[2]; i++) {
                double value = 0;
                for (int64_t j = 0; j < keys; j++)
                    value += score[j] * (double)wf_get(&a->v, head_row(&a->v, j, head) + i);
                wf_set(&a->y, y + i, value / sum);
            }
        }
    }
    wf_free(score);
    return WF_OK;
}
