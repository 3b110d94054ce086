#include "engine/request.h"

#include <math.h>
#include <sys/random.h>

void wf_request_fill(struct weft_request *r, const struct wf_defaults *d)
{
    r->width = r->width ? r->width : d->width;
    r->height = r->height ? r->height : d->height;
    r->num_frames = r->num_frames ? r->num_frames : d->num_frames;
    r->steps = r->steps ? r->steps : d->steps;
    r->max_sequence_length =
        r->max_sequence_length ? r->max_sequence_length : d->max_sequence_length;
    if (r->guidance_scale < 0)
        r->guidance_scale = d->guidance_scale;
    if (!r->fps_num) {
        r->fps_num = d->fps_num;
        r->fps_den = d->fps_den;
    }
}

/* A pair of numbers of which one is given alone says nothing. */
static enum wf_status check_tiles(const struct weft_request *r, struct wf_error *err)
{
    if ((int)r->tiling < WEFT_TILING_AUTO || r->tiling > WEFT_TILING_BLEND)
        return wf_fail(err, WF_REFUSED, "tiling: %d is not known; use auto, none, exact or blend",
                       (int)r->tiling);
    if (r->tile_width < 0 || r->tile_height < 0 || !r->tile_width != !r->tile_height)
        return wf_fail(err, WF_REFUSED,
                       "tile-size: %dx%d is not possible; give a width and a height in pixels",
                       r->tile_width, r->tile_height);
    if ((r->tile_overlap_width < 0) != (r->tile_overlap_height < 0))
        return wf_fail(err, WF_REFUSED,
                       "tile-overlap: %dx%d is not possible; give a width and a height in pixels",
                       r->tile_overlap_width, r->tile_overlap_height);
    if (r->tiling == WEFT_TILING_NONE && r->tile_width)
        return wf_fail(err, WF_REFUSED,
                       "tile-size: %dx%d goes with tiles, and tiling is none; drop one of the two",
                       r->tile_width, r->tile_height);
    if (r->tiling != WEFT_TILING_BLEND && (r->tile_overlap_width > 0 || r->tile_overlap_height > 0))
        return wf_fail(err, WF_REFUSED,
                       "tile-overlap: %dx%d goes with tiling blend alone, whose tiles are blended "
                       "there; leave it away, or use blend",
                       r->tile_overlap_width, r->tile_overlap_height);
    return WF_OK;
}

enum wf_status wf_request_check(const struct weft_request *r, struct wf_error *err)
{
    WF_TRY(WF_CHECK_RESERVED(r, "request", err));
    if (r->fps_num < 1 || r->fps_den < 1 || (int64_t)r->fps_num * 1000 < r->fps_den ||
        r->fps_num > (int64_t)r->fps_den * 1000)
        return wf_fail(err, WF_REFUSED, "fps: %d/%d is not possible; choose 0.001 to 1000",
                       r->fps_num, r->fps_den);
    if (!isfinite(r->guidance_scale) || r->guidance_scale > 1000)
        return wf_fail(err, WF_REFUSED, "guidance-scale: %g is not possible; choose 0 to 1000",
                       r->guidance_scale);
    if (!isfinite(r->flow_shift) || r->flow_shift < 0 || r->flow_shift > 1e6)
        return wf_fail(err, WF_REFUSED,
                       "flow-shift: %g is not possible; choose above 0, to 1000000", r->flow_shift);
    if (r->decode_chunk_size < 0)
        return wf_fail(err, WF_REFUSED, "decode-chunk-size: %d is not possible; choose 1 or more",
                       r->decode_chunk_size);
    return check_tiles(r, err);
}

struct wf_decode_settings wf_request_decoding(const struct weft_request *r)
{
    const enum wf_tiling tilings[] = {[WEFT_TILING_AUTO] = WF_TILING_NONE,
                                      [WEFT_TILING_NONE] = WF_TILING_NONE,
                                      [WEFT_TILING_EXACT] = WF_TILING_EXACT,
                                      [WEFT_TILING_BLEND] = WF_TILING_BLEND};
    return (struct wf_decode_settings){
        .chunk_size = r->decode_chunk_size,
        .chunk_overlap = r->chunk_overlap < 0 ? -1 : r->chunk_overlap,
        .tiling = tilings[r->tiling],
        .tile = {r->tile_height, r->tile_width},
        .overlap = {r->tile_overlap_height, r->tile_overlap_width},
    };
}

enum wf_status wf_request_seed(const struct weft_request *request, uint64_t *seed,
                               struct wf_error *err)
{
    uint32_t drawn;
    *seed = request->seed;
    if (!request->random_seed)
        return WF_OK;
    if (getrandom(&drawn, sizeof drawn, 0) != (ssize_t)sizeof drawn)
        return wf_fail(err, WF_FAILED, "seed: the system gives no random number; use --seed");
    *seed = drawn;
    return WF_OK;
}
