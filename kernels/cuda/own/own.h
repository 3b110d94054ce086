/* The kernels that no library has, each behind a launcher: it queues the work on a stream (a
   cudaStream_t) and returns 0 or the error code of CUDA. args points to the struct that is named
   beside it, which holds device addresses; it is read before the launcher returns.

   Every launcher computes the same bits whatever its operands' addresses are; 16-byte alignment of
   rows makes it faster. Nothing here adds up in an order that changes from run to run. */
#ifndef WEFT_KERNELS_CUDA_OWN_OWN_H
#define WEFT_KERNELS_CUDA_OWN_OWN_H

#include "kernels/op.h"

#ifdef __cplusplus
extern "C" {
/* A launcher and its struct have one name, as operations have. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
#endif

/* What a product's epilogue could not do: y = act(x + bias), or y += gate * act(x + bias).
   x, y [..,N] of any rank (F32 or BF16; y F32 to accumulate, may be x otherwise), bias [N] (data
   NULL: 0), gate [N] (data NULL: 1; needs accumulate). */
struct wf_own_gate {
    struct wf_tensor x, y, bias, gate;
    enum wf_act act;
    bool accumulate;
};

/* y = softmax(scale * scores + biases) along the keys, for some rows of the queries.
   scores [h,R,L] dense: queries first .. first + R - 1; y [h,R,L] dense (F32 or BF16; F32 may be
   scores). rel_bias [h,S+L-1]: query i and key j get element j - i + S - 1, S is `queries`;
   key_bias [L]; data NULL for none. */
struct wf_own_softmax {
    struct wf_tensor scores, y, rel_bias, key_bias;
    float scale;
    int64_t first, queries;
};

/* wf_conv with f32 sums and without tensor cores, for what cuDNN does not take.
   x [T,H,W,C] (F32 or BF16), weight dense [o,kt,kh,kw,C] of x's type, bias [o] or NULL, y
   [T',H',W',o] (F32 or BF16; F32 to accumulate); lines dense. Frames behind the last are zeros,
   as many as y's length asks for. */
struct wf_own_conv {
    struct wf_tensor x, y;
    const void *weight;
    const float *bias;
    int64_t o, kt, kh, kw;
    int pad_front, pad_h[2], pad_w[2];
    int stride_t, stride_hw;
    bool accumulate;
};

/* The second half of wf_upconv, after a 2x2 convolution with the weights of WF_OWN_UPCONV and
   wf_upconv's paddings: y[t,2i+a,2j+b,o] = z[t,i+a,j+b,(2a+b)*O+o] + bias[o].
   z [T,H+1,W+1,4*O] (F32 or BF16), its frames dense, y [T,2H,2W,O] (F32 or BF16), its lines dense;
   bias [O] or NULL. */
struct wf_own_interleave {
    struct wf_tensor z, y;
    const float *bias;
};

/* wf_group_sums in two steps: parts are what the first one leaves for the second, so many bytes,
   aligned to 16. */
struct wf_own_group_sums {
    struct wf_tensor x, y;
    void *parts;
};
int64_t wf_own_group_sums_bytes(const struct wf_tensor *x);

/* How a parameter lies in its room. */
enum wf_own_layout {
    WF_OWN_DENSE,  /* as in the file */
    WF_OWN_CONV,   /* [O,C,kt,kh,kw] as [O,kt,kh,kw,C] */
    WF_OWN_UPCONV, /* [O,C,1,3,3] as four 2x2 kernels [4*O,2,2,C], channel (2a+b)*O+o for output
                      pixels of parity a, b; each tap is the f32 sum of those that meet one pixel */
};

/* Brings a piece of a parameter's values into its room: first .. first + count - 1 of the dense
   values in the file's order, of which src has the first one. WF_OWN_UPCONV: both are multiples of
   9. src is F32, F16 or BF16, aligned to its element; the room is F32 or BF16. */
struct wf_own_load {
    const void *src;
    enum wf_dtype from;
    int64_t first, count;
    enum wf_own_layout layout;
    int64_t dim[5]; /* of the parameter; DENSE: not read */
    void *dst;      /* the room */
    enum wf_dtype to;
};

/* Sets bytes. */
struct wf_own_fill {
    void *dst;
    int64_t bytes;
    unsigned char value;
};

/* Those without a struct here take the operation's own, under its contract. */
int wf_own_copy(const void *args, void *stream);
int wf_own_layer_norm(const void *args, void *stream);
int wf_own_rms_norm(const void *args, void *stream);
int wf_own_group_sums(const void *args, void *stream);
int wf_own_group_merge(const void *args, void *stream);
int wf_own_group_apply(const void *args, void *stream);
int wf_own_rope(const void *args, void *stream);
int wf_own_lincomb(const void *args, void *stream);
int wf_own_affine(const void *args, void *stream);
int wf_own_activate(const void *args, void *stream);
int wf_own_gated_act(const void *args, void *stream);
int wf_own_pack_u8(const void *args, void *stream);
int wf_own_gate(const void *args, void *stream);
int wf_own_softmax(const void *args, void *stream);
int wf_own_conv(const void *args, void *stream);
int wf_own_interleave(const void *args, void *stream);
int wf_own_load(const void *args, void *stream);
int wf_own_fill(const void *args, void *stream);

#ifdef __cplusplus
#pragma GCC diagnostic pop
}
#endif

#endif
