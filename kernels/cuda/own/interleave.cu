/* The four small pictures of a doubling convolution as one large one. */
#include "kernels/cuda/own/device.h"

namespace
{

struct interleave {
    struct wf_memory z, y;
    const float *bias;
    int64_t z_frame, y_frame, y_line;               /* strides */
    int64_t frames, height, width, channels, quads; /* of y; quads of a pixel */
};

__global__ void __launch_bounds__(WF_THREADS) interleave_pixels(struct interleave p)
{
    const struct wf_place of_pixel = wf_divide(wf_thread(), p.quads);
    const struct wf_place of_row = wf_divide(of_pixel.row, p.width);
    const struct wf_place of_frame = wf_divide(of_row.row, p.height);
    const int64_t t = of_frame.row, h = of_frame.column, w = of_row.column;
    if (t >= p.frames)
        return;
    const int64_t o = of_pixel.column * WF_QUAD, z_width = p.width / 2 + 1;
    const int count = wf_left(p.channels, o);
    const int64_t z = t * p.z_frame + ((h + 1) / 2 * z_width + (w + 1) / 2) * 4 * p.channels +
                      (2 * (h % 2) + w % 2) * p.channels + o;
    struct wf_quad q = wf_load_quad(p.z, z, count);
#pragma unroll
    for (int j = 0; j < WF_QUAD; j++) {
        if (p.bias && j < count)
            q.v[j] += p.bias[o + j];
    }
    wf_store_quad(p.y, t * p.y_frame + h * p.y_line + w * p.channels + o, count, q);
}

} // namespace

int wf_own_interleave(const void *args, void *stream)
{
    const auto &a = *static_cast<const struct wf_own_interleave *>(args);
    struct interleave p = {};
    p.z = wf_memory_of(a.z);
    p.y = wf_memory_of(a.y);
    p.bias = a.bias;
    p.z_frame = a.z.stride[0];
    p.y_frame = a.y.stride[0];
    p.y_line = a.y.stride[1];
    p.frames = a.y.dim[0];
    p.height = a.y.dim[1];
    p.width = a.y.dim[2];
    p.channels = a.y.dim[3];
    p.quads = (p.channels + WF_QUAD - 1) / WF_QUAD;
    p.z.wide &= p.channels % WF_QUAD == 0; /* each parity's channels start at a quad */
    p.y.wide &= p.channels % WF_QUAD == 0;
    return wf_launch_apart(interleave_pixels,
                           wf_blocks(p.frames * p.height * p.width * p.quads, WF_THREADS),
                           WF_THREADS, stream, p);
}
