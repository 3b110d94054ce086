/* What each operation takes: one struct an operation, named as it is.

   Contracts are written as `x [S,d]`: lengths by axis, slowest first. Unless an operation says so,
   every operand is f32, its last axis has stride 1, its other axes may have any stride, and outputs
   do not overlap inputs. A NaN in an operand is one in every result that depends on it (not in
   pack_u8).

   Products of matrices take both operands in one type, f32 or bf16, and add up in f32; which one,
   wf_operand_type says of a parameter. What feeds a product is written in that type by the
   operation before it: "y F32 or BF16" below. All else is f32.

   C and C++: a device's own kernels read it too. */
#ifndef WEFT_KERNELS_OP_H
#define WEFT_KERNELS_OP_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels/tensor.h"

struct wf_param;

enum wf_act { WF_ACT_NONE, WF_ACT_GELU_TANH, WF_ACT_GELU_ERF, WF_ACT_SILU };

/* y = act(x w^T + bias), or y += gate * act(x w^T + bias).
   x [M,K] of w's type, w LINEAR [N,K], bias VECTOR [N] or NULL, y [M,N] (F32 or BF16; F32 to
   accumulate), gate [N] (data NULL: 1). */
struct wf_gemm {
    struct wf_tensor x, y, gate;
    const struct wf_param *w, *bias;
    enum wf_act act;
    bool accumulate; /* gate needs it */
};

/* Channels-last convolution, y = conv(x) + bias, or y += conv(x) + bias.
   x [T,H,W,C] of w's type, w CONV [O,C,kt,kh,kw], bias VECTOR [O] or NULL, y [T',H',W',O]; each
   line [W,C] of x and y is dense, lines and frames may be apart, so both may be windows of larger
   pictures. All padding is zeros: pad_front and pad_back frames before the first and after the
   last, pad_h and pad_w rows and columns before and after. T' = (pad_front + T + pad_back - kt) /
   stride_t + 1; H' = (pad_h[0] + H + pad_h[1] - kh) / stride_hw + 1. */
struct wf_conv {
    struct wf_tensor x, y;
    const struct wf_param *w, *bias;
    int pad_front, pad_back, pad_h[2], pad_w[2];
    int stride_t, stride_hw; /* 1 or more */
    bool accumulate;
};

/* y = conv3x3(nearest 2x of x) + bias. x [T,H,W,C] of w's type, w UPCONV [O,C,1,3,3], bias VECTOR
   [O] or NULL, y [T,H',W',O]; lines dense, as in wf_conv. pad_h and pad_w, each 0 or 1: rows and
   columns of zeros before and after, of the small picture. On a side without, x's outermost line
   is seen by the kernel, but not doubled: it is what a window sees beyond its border. H' = 2 (H - 2
   + pad_h[0] + pad_h[1]): twice H where all are 1. A backend may add up weights before it rounds
   them to w's type. */
struct wf_upconv {
    struct wf_tensor x, y;
    const struct wf_param *w, *bias;
    int pad_h[2], pad_w[2];
};

/* y = softmax(scale * q k^T + bias) v, for each of N batches and each head; no S x L buffer is
   made. q [N,S,h,d], k [N,L,h,d], v [N,L,h,e], all of one type, F32 or BF16 (then a backend may
   round the softmax to bf16 before it multiplies v); y [N,S,h,e] (F32 or BF16). The biases serve
   all batches: rel_bias [h,S+L-1]: query i and key j get element j - i + S - 1; data NULL for none.
   key_bias [L]: added to every score of key j; data NULL for none. */
struct wf_attention {
    struct wf_tensor q, k, v, y;
    struct wf_tensor rel_bias, key_bias;
    float scale;
};

/* y = (x - mean) / sqrt(var + eps) * weight + shift, along the last axis; statistics in f32 or
   wider. x [M,d], y [M,d] (F32 or BF16; may be x), weight [d], shift [d]; data NULL: 1 and 0. */
struct wf_layer_norm {
    struct wf_tensor x, y, weight, shift;
    float eps;
};

enum wf_rms_form {
    WF_RMS_MEAN, /* x / sqrt(mean(x^2) + eps) * weight */
    WF_RMS_L2,   /* x / max(|x|, eps) * sqrt(d) * weight: the channel norm of Wan's VAE */
};

/* x [M,d], y [M,d] (F32 or BF16; may be x), weight [d] (data NULL: 1); act on the result. */
struct wf_rms_norm {
    struct wf_tensor x, y, weight;
    enum wf_rms_form form;
    enum wf_act act;
    float eps;
};

/* Group norm in three steps, so that a group may reach over pieces that are computed one after the
   other: statistics of pieces, those of the whole, and the pass that uses them.

   y[t,g] = {n, mean, m2} of the H W C/G values of group g in frame t: how many, their mean, the sum
   of their squared deviations from it; added up in double, in an order that x's dims decide.
   x [T,H,W,C], lines [W,C] dense (a window of a wider picture is such a one); y [T,G,3] dense; G
   divides C. */
struct wf_group_sums {
    struct wf_tensor x, y;
};

/* Statistics of parts become those of the whole, in double, from part 0 on: n is the sum of n[k],
   mean that of n[k] mean[k] / n, m2 that of m2[k] + n[k] (mean[k] - mean)^2. A part may be of no
   values: all three are 0. x [K,N,G,3], y [N,G,3] dense. */
struct wf_group_merge {
    struct wf_tensor x, y;
};

/* y = act((x - mean) / sqrt(m2 / n + eps) * weight + shift) with the statistics of the channel's
   group. x [T,H,W,C], y [T,H,W,C] (F32 or BF16; may be x), lines [W,C] dense; stats [T,G,3], G
   divides C (stride 0: one for all frames); weight [C], shift [C]. */
struct wf_group_apply {
    struct wf_tensor x, y, stats, weight, shift;
    enum wf_act act;
    float eps;
};

/* Rotates the pairs (2j, 2j+1) of each head: y0 = x0 cos - x1 sin, y1 = x0 sin + x1 cos.
   x [S,h,d], y [S,h,d] (F32 or BF16; may be x), cos and sin [S,d/2]. */
struct wf_rope {
    struct wf_tensor x, y, cos, sin;
};

/* y = c[0] x[0] + ... + c[terms-1] x[terms-1]; all operands have the same dims, each may be y. */
enum { WF_LINCOMB_TERMS = 5 };
struct wf_lincomb {
    struct wf_tensor x[WF_LINCOMB_TERMS], y;
    float c[WF_LINCOMB_TERMS];
    int terms;
};

/* y = clamp(x * weight + shift, low, high), weight and shift along the last axis; what is not
   finite becomes a NaN, so that no bound hides it.
   x [M,C], y [M,C] (may be x), weight [C], shift [C] (data NULL: 1 and 0). */
struct wf_affine {
    struct wf_tensor x, y, weight, shift;
    float low, high;
};

/* y = x, converted to nearest even where the types differ. The same dims, any strides; any two
   floating types, or one type. */
struct wf_copy {
    struct wf_tensor x, y;
};

/* y = act(x), dense, same dims; y may be x. */
struct wf_activate {
    struct wf_tensor x, y;
    enum wf_act act;
};

/* y = act(a) * b. a, b, y [M,n]; y F32 or BF16, may be a or b. */
struct wf_gated_act {
    struct wf_tensor a, b, y;
    enum wf_act act;
};

/* y[i] = row ids[i] of the TABLE [rows,d]; y [n,d]; ids are host memory that is read
   before the call returns, each below rows. */
struct wf_gather {
    struct wf_tensor y;
    const struct wf_param *table;
    const int32_t *ids;
};

/* y = 255 x rounded half to even, x within 0..1 (others are clamped); dense, y is U8. */
struct wf_pack_u8 {
    struct wf_tensor x, y;
};

/* Every operation, once: this list makes the table, the functions that models call, what ref
   declares, plan's stand-ins and checkops' lines. Each takes a struct of its name. To add one: its
   struct above and its name here, its contract in ops.c, its truth in ref/, its test in checkops.
 */
#define WF_OPS(X)                                                                                  \
    X(copy)                                                                                        \
    X(gemm)                                                                                        \
    X(conv)                                                                                        \
    X(upconv)                                                                                      \
    X(attention)                                                                                   \
    X(layer_norm)                                                                                  \
    X(rms_norm)                                                                                    \
    X(group_sums)                                                                                  \
    X(group_merge)                                                                                 \
    X(group_apply)                                                                                 \
    X(rope)                                                                                        \
    X(lincomb)                                                                                     \
    X(affine)                                                                                      \
    X(activate)                                                                                    \
    X(gated_act)                                                                                   \
    X(gather)                                                                                      \
    X(pack_u8)

#define WF_OP_NAME(name) WF_OP_##name,
enum wf_op { WF_OPS(WF_OP_NAME) WF_OP_COUNT, WF_OP_LOAD };

#endif
