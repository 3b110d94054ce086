/* Windows of a frame: what of it is computed at a time, and how that changes from the result of a
   computation to its operands. The windows of a frame's tiles are computed one after the other, row
   by row; neighbours have some of their pixels in common. */
#ifndef WEFT_TEMPORAL_WINDOW_H
#define WEFT_TEMPORAL_WINDOW_H

#include "kernels/tensor.h"

struct wf_size {
    int64_t height, width;
};

/* from .. to-1 of an axis, and where the next window along it begins: what lies before that is
   computed for the last time. */
struct wf_span {
    int64_t from, to, next;
};
enum { WF_SPAN_LAST = 1 << 30 }; /* as next: there is no other */

struct wf_window {
    struct wf_span h, w;
};

/* A tensor [T,h,w,C] whose pixels are those of a window. */
struct wf_part {
    struct wf_tensor t;
    struct wf_window at;
};

struct wf_size wf_size_scaled(struct wf_size size, int64_t scale);
struct wf_window wf_window_whole(struct wf_size frame);
/* Of a tile of those that partition the frame. */
struct wf_window wf_window_tile(struct wf_size frame, int64_t top, int64_t left,
                                struct wf_size tile);
/* With `reach` pixels more to every side, as far as the frame has them. */
struct wf_window wf_window_grown(struct wf_window at, int64_t reach, struct wf_size frame);
/* Of a frame of 1/scale the size: the pixels that the window's come from. */
struct wf_window wf_window_coarser(struct wf_window at, int64_t scale);
struct wf_window wf_window_finer(struct wf_window at, int64_t scale);
bool wf_window_same(struct wf_window a, struct wf_window b); /* the same pixels */

int64_t wf_window_height(struct wf_window at);
int64_t wf_window_width(struct wf_window at);
/* Those pixels of a part, which has them. */
struct wf_tensor wf_part_slice(struct wf_part part, struct wf_window at);
/* Rows above and below, or columns left and right, that a window grown by `reach` wants and the
   frame does not have. */
void wf_window_pads(struct wf_window at, int64_t reach, struct wf_size frame, int pad_h[2],
                    int pad_w[2]);

#endif
