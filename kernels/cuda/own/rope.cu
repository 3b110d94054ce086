/* Rotary positions. */
#include "kernels/cuda/own/device.h"

namespace
{

enum { BLOCK = 128 };

struct rope {
    struct wf_memory x, y;
    const float *cosine, *sine;
    int64_t x_stride[2], y_stride[2]; /* of a token, of a head */
    int64_t cosine_stride, sine_stride;
    int heads, width, quads; /* quads of a head */
};

/* A block turns a token: its heads share the angles. */
__global__ void __launch_bounds__(BLOCK) turn(struct rope p)
{
    const int64_t s = blockIdx.x;
    const float *cosine = p.cosine + s * p.cosine_stride, *sine = p.sine + s * p.sine_stride;
    for (int i = static_cast<int>(threadIdx.x); i < p.heads * p.quads; i += BLOCK) {
        const int head = i / p.quads, at = i % p.quads * WF_QUAD;
        const int count = wf_left(p.width, at);
        const struct wf_quad x =
            wf_load_quad(p.x, s * p.x_stride[0] + head * p.x_stride[1] + at, count);
        struct wf_quad y = {};
#pragma unroll
        for (int j = 0; j < WF_QUAD; j += 2) {
            if (j >= count)
                break;
            const float c = cosine[(at + j) / 2], n = sine[(at + j) / 2];
            y.v[j] = x.v[j] * c - x.v[j + 1] * n;
            y.v[j + 1] = x.v[j] * n + x.v[j + 1] * c;
        }
        wf_store_quad(p.y, s * p.y_stride[0] + head * p.y_stride[1] + at, count, y);
    }
}

} // namespace

int wf_own_rope(const void *args, void *stream)
{
    const auto &a = *static_cast<const struct wf_rope *>(args);
    struct rope p = {};
    p.x = wf_memory_of(a.x);
    p.y = wf_memory_of(a.y);
    p.cosine = static_cast<const float *>(a.cos.data);
    p.sine = static_cast<const float *>(a.sin.data);
    for (int i = 0; i < 2; i++) {
        p.x_stride[i] = a.x.stride[i];
        p.y_stride[i] = a.y.stride[i];
    }
    p.cosine_stride = a.cos.stride[0];
    p.sine_stride = a.sin.stride[0];
    p.heads = static_cast<int>(a.x.dim[1]);
    p.width = static_cast<int>(a.x.dim[2]);
    p.quads = (p.width + WF_QUAD - 1) / WF_QUAD;
    return wf_launch_apart(turn, static_cast<unsigned>(a.x.dim[0]), BLOCK, stream, p);
}
