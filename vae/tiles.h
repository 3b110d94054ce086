/* Tiles of a frame: exact ones, which partition it, and blended ones, which overlap as diffusers'
   do (AutoencoderKLWan's tiled decode). Windows, ramps and weights; decode.c has the loop. */
#ifndef WEFT_VAE_TILES_H
#define WEFT_VAE_TILES_H

#include "temporal/window.h"

/* A window of a frame. */
struct wf_tile {
    int64_t top, left, height, width;
};

/* As wf_tiles_exact or wf_tiles_blend left it, in the frame's unit: pixels or latents. Row-major:
   tile i is in row i / columns. A single tile is the whole frame. */
struct wf_tiles {
    struct wf_size frame, tile;   /* tile: at most; those at the end of an axis may be less */
    struct wf_size stride;        /* from tile to tile; what lies beyond it is shared */
    int64_t rows, columns, count; /* of tiles */
};

/* frame and tile in pixels. The tile need not divide the frame and may be larger. WF_REFUSED, with
   the nearest value that would do, where the tile is below 1 pixel. */
enum wf_status wf_tiles_exact(struct wf_tiles *tiles, struct wf_size frame, struct wf_size tile,
                              struct wf_error *err);

/* frame in latents, each of scale x scale pixels; tile and overlap in pixels; *tiles in latents.
   Along an axis tiles start at 0, stride, 2 stride, ... below the frame's end, though the one
   before may have reached it. A frame that is on neither axis larger than a tile is one tile.
   WF_REFUSED, with the nearest value that would do, where the tile or the overlap is not whole
   latents, the tile is none or the overlap not below it. */
enum wf_status wf_tiles_blend(struct wf_tiles *tiles, struct wf_size frame, struct wf_size tile,
                              struct wf_size overlap, int64_t scale, struct wf_error *err);

/* In all of these 0 <= i < count. What is decoded. */
struct wf_tile wf_tiles_at(const struct wf_tiles *tiles, int64_t i);
/* Of that, what stands in the frame once it is blended: no two share anything, together they are
   the frame. */
struct wf_tile wf_tiles_kept(const struct wf_tiles *tiles, int64_t i);
/* Rows at the top that blend with the last ones of the tile above, and columns at the left that
   blend with the last ones of the tile to the left; 0 where there is no such tile. */
struct wf_size wf_tiles_ramp(const struct wf_tiles *tiles, int64_t i);

/* In another unit, scale times as fine: a tile's pixels from its latents. */
struct wf_tile wf_tile_scaled(struct wf_tile tile, int64_t scale);

/* The weight of a tile's own row or column x of the extent that blend, both in the unit that is
   blended; 1 - it is the neighbour's. 0 at x = 0, as diffusers has it. */
double wf_tile_weight(int64_t x, int64_t extent);
/* tile = before (1 - weight) + tile weight on the first rows or columns of a tile, in place. Both
   are f32 on the host, of any strides; before is the neighbour's last elements along the axis, as
   many as blend, and as large as the tile along the others. Vertically first, then horizontally,
   and in the order of the tiles: the neighbours are blended already. */
void wf_tile_blend(struct wf_tensor before, struct wf_tensor tile, int axis);

#endif
