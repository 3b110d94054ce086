/* Long operations in pieces, on devices that are waited for: a caller that wants to stop waits for
   a piece alone, a fraction of a second. Results are those of the pieces; what they share out is
   rows of a product, frames and lines of a convolution, batches and queries of attention, none of
   which depends on another. */
#ifndef WEFT_KERNELS_PIECES_H
#define WEFT_KERNELS_PIECES_H

#include "kernels/backend.h"

/* As the slots; operands are checked. WF_CANCELLED between two pieces. */
enum wf_status wf_gemm_in_pieces(struct wf_backend *be, const struct wf_gemm *a);
enum wf_status wf_conv_in_pieces(struct wf_backend *be, const struct wf_conv *a);
enum wf_status wf_upconv_in_pieces(struct wf_backend *be, const struct wf_upconv *a);
enum wf_status wf_attention_in_pieces(struct wf_backend *be, const struct wf_attention *a);

#endif
