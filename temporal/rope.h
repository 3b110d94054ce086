/* Rotary position tables over frames, rows and columns. */
#ifndef WEFT_TEMPORAL_ROPE_H
#define WEFT_TEMPORAL_ROPE_H

#include <stdint.h>

/* Fills cos and sin, dense [frames*rows*cols, head_dim/2], tokens t-major, then row, then column.
   Of the head's width, rows and columns get 2*floor(head_dim/6) each and frames the rest, in the
   order frame, row, column; pair j of an axis of width n turns by position * 10000^(-2j/n),
   computed in double (diffusers' WanRotaryPosEmbed). head_dim is even. */
void wf_rope_table_3d(float *cos_out, float *sin_out, int64_t frames, int64_t rows, int64_t cols,
                      int64_t head_dim);

#endif
