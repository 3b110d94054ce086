/* Sums of products by our own loops: rows of a left operand times a packed right one. */
#ifndef WEFT_KERNELS_CPU_MATRIX_H
#define WEFT_KERNELS_CPU_MATRIX_H

#include "kernels/cpu/cpu.h"

enum { WF_BLOCK_COLUMNS = 256 }; /* a multiple of every tile's width */

/* The right operand [depth,columns], in panels of the tile's width one after the other, each
   [depth,width] dense f32; columns that fill up the last panel are zeros. */
struct wf_panels {
    int64_t depth, columns;
    float *data;
};

/* The panels that a parameter has or would have, without data. */
struct wf_panels wf_panels_shape(const struct wf_backend *be, const struct wf_param *p);
size_t wf_panels_bytes(const struct wf_backend *be, int64_t depth, int64_t columns);
/* Packs columns into panels->data: source fills one column [depth] at a time, in any of the
   threads; `room` floats behind it are its own. */
typedef enum wf_status (*wf_column_source)(const void *context, int64_t column, float *values,
                                           struct wf_error *err);
enum wf_status wf_panels_pack(struct wf_backend *be, const struct wf_panels *panels, int64_t room,
                              wf_column_source source, const void *context);

/* The panels of a loaded LINEAR, CONV or UPCONV: its room, or, where the library laid that out, but
   has no fast way for the shape at hand, made for this call in *made, which is given back after it;
   else *made is NULL. */
enum wf_status wf_panels_of(struct wf_backend *be, const struct wf_param *p,
                            struct wf_panels *panels, void **made);

/* What making them takes, where they have to be made. */
size_t wf_panels_made_bytes(const struct wf_backend *be, const struct wf_param *p);
/* The library's layout of a parameter, loaded or not; NULL: ours. */
const struct wf_layout *wf_cpu_layout(const struct wf_backend *be, const struct wf_param *p);

/* An UPCONV's 2x2 kernel as the CONV that the library and the panels have: its outputs are the four
   cases of upconv (see conv.c), one after the other. */
struct wf_param wf_folded(const struct wf_param *p);

/* Elements from .. end - 1; none where end is not beyond from. */
struct wf_span {
    int64_t from, end;
};

/* left [frames,rows,depth] times a parameter. The work is split into blocks of rows and of columns;
   a result does not depend on the split. */
struct wf_product {
    const struct wf_param *right; /* its columns are as wf_panels_of says */
    int64_t frames, rows;
    const void *context;
    /* Elements from .. from + depth - 1 of `count` rows of a frame, to a [count] of pitch
       WF_TILE_PITCH. */
    void (*fill)(const void *context, const struct wf_loops *loops, int64_t frame, int64_t row,
                 int count, int64_t from, int depth, float *a);
    /* The part of the depth that a frame's sums go over: the rest is zeros. NULL: all of it. */
    struct wf_span (*span)(const void *context, int64_t frame);
    /* n sums of a row from a column on, at most WF_BLOCK_COLUMNS, to where they belong. */
    void (*finish)(const void *context, const struct wf_loops *loops, int64_t frame, int64_t row,
                   int64_t column, int n, const float *sums);
};

/* What that takes. */
struct wf_cpu_need wf_product_need(struct wf_backend *be, const struct wf_product *p);
enum wf_status wf_product_run(struct wf_backend *be, const char *where, const struct wf_product *p);

#endif
