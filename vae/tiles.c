#include "vae/tiles.h"

#include "kernels/base/number.h"

/* --- what can be ---------------------------------------------------------------------------------
 */

/* The multiple of unit next to value, within low..high, which are multiples. */
static int64_t nearest(int64_t value, int64_t unit, int64_t low, int64_t high)
{
    if (value < low)
        return low;
    if (value >= high)
        return high;
    const int64_t over = value % unit;
    return value - over + (over >= unit - over ? unit : 0);
}

static enum wf_status check_multiple(const char *option, const char *axis, int64_t value,
                                     int64_t unit, int64_t low, int64_t high, struct wf_error *err)
{
    if (value < low)
        return wf_fail(err, WF_REFUSED, "%s: %s %lld is below %lld pixel%s; the nearest is %lld",
                       option, axis, (long long)value, (long long)low, low == 1 ? "" : "s",
                       (long long)low);
    if (value % unit)
        return wf_fail(err, WF_REFUSED,
                       "%s: %s %lld is not a multiple of %lld pixels; the nearest is %lld", option,
                       axis, (long long)value, (long long)unit,
                       (long long)nearest(value, unit, low, high));
    return WF_OK;
}

static enum wf_status check_tile(const char *axis, int64_t tile, int64_t unit, struct wf_error *err)
{
    return check_multiple("tile-size", axis, tile, unit, unit, INT64_MAX - INT64_MAX % unit, err);
}

static enum wf_status check_overlap(const char *axis, int64_t overlap, int64_t tile, int64_t unit,
                                    struct wf_error *err)
{
    if (overlap >= tile)
        return wf_fail(err, WF_REFUSED,
                       "tile-overlap: %s %lld is not below the tile's %lld pixel%s; the nearest is "
                       "%lld",
                       axis, (long long)overlap, (long long)tile, tile == 1 ? "" : "s",
                       (long long)(tile - unit));
    return check_multiple("tile-overlap", axis, overlap, unit, 0, tile - unit, err);
}

static enum wf_status check_frame(struct wf_size frame, struct wf_error *err)
{
    if (frame.height < 1 || frame.width < 1)
        return wf_fail(err, WF_FAILED, "decode: a frame of %lldx%lld", (long long)frame.width,
                       (long long)frame.height);
    return WF_OK;
}

/* --- enumeration ---------------------------------------------------------------------------------
 */

static int64_t starts(int64_t frame, int64_t stride)
{
    return frame / stride + (frame % stride != 0);
}

static enum wf_status enumerate(struct wf_tiles *tiles, struct wf_error *err)
{
    tiles->rows = starts(tiles->frame.height, tiles->stride.height);
    tiles->columns = starts(tiles->frame.width, tiles->stride.width);
    if (__builtin_mul_overflow(tiles->rows, tiles->columns, &tiles->count))
        return wf_fail(err, WF_REFUSED,
                       "tile-size: %lld x %lld tiles are too many; take larger ones",
                       (long long)tiles->columns, (long long)tiles->rows);
    return WF_OK;
}

enum wf_status wf_tiles_exact(struct wf_tiles *tiles, struct wf_size frame, struct wf_size tile,
                              struct wf_error *err)
{
    WF_TRY(check_frame(frame, err));
    WF_TRY(check_tile("width", tile.width, 1, err));
    WF_TRY(check_tile("height", tile.height, 1, err));
    *tiles = (struct wf_tiles){.frame = frame, .tile = tile, .stride = tile};
    return enumerate(tiles, err);
}

enum wf_status wf_tiles_blend(struct wf_tiles *tiles, struct wf_size frame, struct wf_size tile,
                              struct wf_size overlap, int64_t scale, struct wf_error *err)
{
    if (scale < 1)
        return wf_fail(err, WF_FAILED, "decode: %lld pixels a latent", (long long)scale);
    WF_TRY(check_frame(frame, err));
    WF_TRY(check_tile("width", tile.width, scale, err));
    WF_TRY(check_tile("height", tile.height, scale, err));
    WF_TRY(check_overlap("width", overlap.width, tile.width, scale, err));
    WF_TRY(check_overlap("height", overlap.height, tile.height, scale, err));
    tile = (struct wf_size){tile.height / scale, tile.width / scale};
    *tiles = (struct wf_tiles){.frame = frame, .tile = tile};
    if (frame.height <= tile.height && frame.width <= tile.width)
        tiles->stride = frame;
    else
        tiles->stride = (struct wf_size){tile.height - overlap.height / scale,
                                         tile.width - overlap.width / scale};
    return enumerate(tiles, err);
}

struct wf_tile wf_tiles_at(const struct wf_tiles *tiles, int64_t i)
{
    const int64_t top = i / tiles->columns * tiles->stride.height;
    const int64_t left = i % tiles->columns * tiles->stride.width;
    return (struct wf_tile){.top = top,
                            .left = left,
                            .height = wf_smaller(tiles->tile.height, tiles->frame.height - top),
                            .width = wf_smaller(tiles->tile.width, tiles->frame.width - left)};
}

struct wf_tile wf_tiles_kept(const struct wf_tiles *tiles, int64_t i)
{
    struct wf_tile kept = wf_tiles_at(tiles, i);
    kept.height = wf_smaller(kept.height, tiles->stride.height);
    kept.width = wf_smaller(kept.width, tiles->stride.width);
    return kept;
}

struct wf_size wf_tiles_ramp(const struct wf_tiles *tiles, int64_t i)
{
    /* A tile is never higher or wider than the one before it, so its own size bounds the ramp. */
    const struct wf_tile tile = wf_tiles_at(tiles, i);
    struct wf_size ramp = {0, 0};
    if (tile.top > 0)
        ramp.height = wf_smaller(tile.height, tiles->tile.height - tiles->stride.height);
    if (tile.left > 0)
        ramp.width = wf_smaller(tile.width, tiles->tile.width - tiles->stride.width);
    return ramp;
}

struct wf_tile wf_tile_scaled(struct wf_tile tile, int64_t scale)
{
    return (struct wf_tile){.top = tile.top * scale,
                            .left = tile.left * scale,
                            .height = tile.height * scale,
                            .width = tile.width * scale};
}

/* --- blending ------------------------------------------------------------------------------------
 */

double wf_tile_weight(int64_t x, int64_t extent)
{
    return (double)x / (double)extent;
}

/* Of equal dims, one weight for all. */
static void blend(struct wf_tensor before, struct wf_tensor tile, double weight)
{
    const float theirs = (float)(1 - weight), ours = (float)weight;
    const int last = tile.rank - 1;
    const int64_t rows = wf_tensor_rows(&tile);
    for (int64_t row = 0; row < rows; row++) {
        const float *from = (const float *)before.data + wf_tensor_row(&before, row);
        float *to = (float *)tile.data + wf_tensor_row(&tile, row);
        for (int64_t k = 0; k < tile.dim[last]; k++) {
            float *value = to + k * tile.stride[last];
            *value = from[k * before.stride[last]] * theirs + *value * ours;
        }
    }
}

void wf_tile_blend(struct wf_tensor before, struct wf_tensor tile, int axis)
{
    const int64_t extent = before.dim[axis];
    for (int64_t x = 0; x < extent; x++)
        blend(wf_tensor_slice(before, axis, x, 1), wf_tensor_slice(tile, axis, x, 1),
              wf_tile_weight(x, extent));
}
