/* Tensors of the same dims, on the host: as few axes as all of them together allow. */
#ifndef WEFT_KERNELS_CUDA_OWN_AXES_H
#define WEFT_KERNELS_CUDA_OWN_AXES_H

#include "kernels/cuda/own/device.h"

/* Of N tensors; axis 0 is the slowest. rank is 1 or more. */
template <int N> struct wf_axes {
    int rank;
    int64_t dim[WF_MAX_RANK];
    int64_t stride[N][WF_MAX_RANK];
};

/* Whether axis `slow` only goes on where `fast` ends, in all of them. */
template <int N> bool wf_axes_join(const struct wf_axes<N> &a, int slow, int fast)
{
    for (int k = 0; k < N; k++) {
        if (a.stride[k][slow] != a.dim[fast] * a.stride[k][fast])
            return false;
    }
    return true;
}

/* Appends an axis, joined with the last one where that is possible. */
template <int N>
void wf_axes_append(struct wf_axes<N> &a, const struct wf_tensor *const (&t)[N], int axis)
{
    const int at = a.rank++;
    a.dim[at] = t[0]->dim[axis];
    for (int k = 0; k < N; k++)
        a.stride[k][at] = t[k]->stride[axis];
    if (at == 0 || !wf_axes_join(a, at - 1, at))
        return;
    a.dim[at - 1] *= a.dim[at];
    for (int k = 0; k < N; k++)
        a.stride[k][at - 1] = a.stride[k][at];
    a.rank--;
}

/* The axes in that order, without those of length 1; so there is room for one more, or all
   lengths are above 1. */
template <int N>
struct wf_axes<N> wf_axes_of(const struct wf_tensor *const (&t)[N], const int *order) {
    struct wf_axes<N> a = {
    };
    for (int i = 0; i < t[0]->rank; i++) {
        if (t[0]->dim[order[i]] != 1)
            wf_axes_append(a, t, order[i]);
    }
    if (a.rank == 0) {
        a.rank = 1;
        a.dim[0] = 1;
        for (int k = 0; k < N; k++)
            a.stride[k][0] = 1;
    }
    return a;
}

/* Makes the last axis contiguous in all of them, if need be by one of length 1. */
template <int N>
void wf_axes_end_in_rows(struct wf_axes<N> &a)
{
    bool contiguous = true;
    for (int k = 0; k < N; k++)
        contiguous = contiguous && a.stride[k][a.rank - 1] == 1;
    if (contiguous)
        return;
    a.dim[a.rank] = 1;
    for (int k = 0; k < N; k++)
        a.stride[k][a.rank] = 1;
    a.rank++;
}

/* Elements of all axes before the last `behind` ones. */
template <int N> int64_t wf_axes_count(const struct wf_axes<N> &a, int behind)
{
    int64_t count = 1;
    for (int i = 0; i < a.rank - behind; i++)
        count *= a.dim[i];
    return count;
}

/* Where line `index` along all axes but the last `behind` ones starts, in each of the tensors. */
template <int N>
__device__ inline void wf_axes_at(const struct wf_axes<N> &a, int behind, int64_t index,
                                  int64_t (&at)[N])
{
#pragma unroll
    for (int k = 0; k < N; k++)
        at[k] = 0;
    for (int i = a.rank - behind - 1; i >= 0; i--) {
        const struct wf_place p = i > 0 ? wf_divide(index, a.dim[i]) : wf_place{0, index};
#pragma unroll
        for (int k = 0; k < N; k++)
            at[k] += p.column * a.stride[k][i];
        index = p.row;
    }
}

#endif
