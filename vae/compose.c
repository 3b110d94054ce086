#include "vae/compose.h"

#include "kernels/base/number.h"

#include <string.h>

struct wf_composer {
    struct wf_tiles tiles;
    struct wf_mem *mem;
    bool is_plan;
    int64_t channels;
    struct wf_size overlap;
    struct wf_tensor *above; /* of each column: the last rows of the last tile there, blended */
    struct wf_tensor left;   /* the last columns of the tile before, blended */
    float *rows, *columns;   /* their values; one piece a column of tiles */
    int64_t row_values;      /* of a piece */
};

/* What of a tile is kept for the next one along an axis, where it has that much. */
static int64_t overlap_of(int64_t tile, int64_t stride, int64_t frame)
{
    return tile > stride ? wf_smaller(tile - stride, frame) : 0;
}

static enum wf_status make_room(struct wf_composer *c, int64_t frames, struct wf_error *err)
{
    const struct wf_tiles *t = &c->tiles;
    const struct wf_tile most = wf_tiles_at(t, 0); /* no other is larger */
    const int64_t pixel = frames * c->channels;
    c->overlap = (struct wf_size){overlap_of(t->tile.height, t->stride.height, t->frame.height),
                                  overlap_of(t->tile.width, t->stride.width, t->frame.width)};
    c->row_values = pixel * c->overlap.height * most.width;
    const size_t rows = (size_t)(c->row_values * t->columns) * sizeof(float);
    const size_t columns = (size_t)(pixel * c->overlap.width * most.height) * sizeof(float);
    c->above = wf_calloc(c->mem, WF_MEM_MISC, (size_t)t->columns, sizeof *c->above);
    c->rows = wf_alloc(c->mem, WF_MEM_FRAMES, rows);
    c->columns = wf_alloc(c->mem, WF_MEM_FRAMES, columns);
    return c->above && c->rows && c->columns ? WF_OK
                                             : wf_fail_memory(err, "decode", rows + columns);
}

enum wf_status wf_composer_open(const struct wf_tiles *tiles, int64_t frames, int64_t channels,
                                struct wf_mem *mem, bool is_plan, struct wf_composer **composer,
                                struct wf_error *err)
{
    struct wf_composer *c = wf_calloc(mem, WF_MEM_MISC, 1, sizeof *c);
    *composer = c;
    if (!c)
        return wf_fail_memory(err, "decode", sizeof *c);
    *c = (struct wf_composer){.tiles = *tiles, .mem = mem, .is_plan = is_plan};
    c->channels = channels;
    const enum wf_status status = make_room(c, frames, err);
    if (status != WF_OK)
        wf_composer_close(composer);
    return status;
}

void wf_composer_close(struct wf_composer **composer)
{
    struct wf_composer *c = *composer;
    if (!c)
        return;
    wf_free(c->above);
    wf_free(c->rows);
    wf_free(c->columns);
    wf_free(c);
    *composer = NULL;
}

/* Line by line; the values of a pixel lie together. */
static void copy(struct wf_tensor to, struct wf_tensor from)
{
    const size_t bytes = (size_t)(to.dim[2] * to.dim[3]) * sizeof(float);
    for (int64_t t = 0; t < to.dim[0]; t++)
        for (int64_t h = 0; h < to.dim[1]; h++)
            memcpy((float *)to.data + t * to.stride[0] + h * to.stride[1],
                   (const float *)from.data + t * from.stride[0] + h * from.stride[1], bytes);
}

/* The last `count` rows or columns of a tile, into values of ours. */
static struct wf_tensor keep(struct wf_tensor tile, int axis, int64_t count, float *values)
{
    const int64_t n = wf_smaller(count, tile.dim[axis]);
    if (n <= 0)
        return (struct wf_tensor){0};
    const struct wf_tensor last = wf_tensor_slice(tile, axis, tile.dim[axis] - n, n);
    const struct wf_tensor kept = wf_tensor_of(values, WF_F32, 4, last.dim);
    copy(kept, last);
    return kept;
}

static void blend(struct wf_tensor before, struct wf_tensor tile, int axis, int64_t extent)
{
    if (extent > 0)
        wf_tile_blend(wf_tensor_slice(before, axis, before.dim[axis] - extent, extent), tile, axis);
}

void wf_composer_add(struct wf_composer *c, int64_t i, struct wf_tensor tile,
                     struct wf_tensor frames)
{
    const struct wf_tiles *t = &c->tiles;
    const struct wf_tile kept = wf_tiles_kept(t, i);
    const struct wf_size ramp = wf_tiles_ramp(t, i);
    const int64_t column = i % t->columns;
    if (c->is_plan)
        return;
    blend(c->above[column], tile, 1, ramp.height);
    blend(c->left, tile, 2, ramp.width);
    c->above[column] = keep(tile, 1, c->overlap.height, c->rows + column * c->row_values);
    c->left = keep(tile, 2, c->overlap.width, c->columns);
    const struct wf_tensor rows = wf_tensor_slice(frames, 1, kept.top, kept.height);
    copy(wf_tensor_slice(rows, 2, kept.left, kept.width),
         wf_tensor_slice(wf_tensor_slice(tile, 1, 0, kept.height), 2, 0, kept.width));
}
