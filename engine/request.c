#include "engine/request.h"

#include <math.h>
#include <stdbool.h>
#include <sys/random.h>

#include "engine/models/family.h"

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
    if (r->motion_bucket_id < 0)
        r->motion_bucket_id = d->motion_bucket_id;
    if (r->min_guidance_scale < 0)
        r->min_guidance_scale = d->min_guidance_scale;
    if (r->max_guidance_scale < 0)
        r->max_guidance_scale = d->max_guidance_scale;
    if (r->noise_aug_strength < 0)
        r->noise_aug_strength = d->noise_aug_strength;
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

static enum wf_status check_guidance(const struct weft_request *r, struct wf_error *err)
{
    const struct {
        const char *name;
        double value;
    } scales[] = {{"guidance-scale", r->guidance_scale},
                  {"min-guidance-scale", r->min_guidance_scale},
                  {"max-guidance-scale", r->max_guidance_scale}};
    for (size_t i = 0; i < sizeof scales / sizeof *scales; i++) {
        if (!isfinite(scales[i].value) || scales[i].value > 1000)
            return wf_fail(err, WF_REFUSED, "%s: %g is not possible; choose 0 to 1000",
                           scales[i].name, scales[i].value);
    }
    if (r->max_guidance_scale >= 0 && r->min_guidance_scale > r->max_guidance_scale)
        return wf_fail(
            err, WF_REFUSED,
            "min-guidance-scale: %g is above max-guidance-scale, %g; guidance grows from "
            "the first frame to the last",
            r->min_guidance_scale, r->max_guidance_scale);
    return WF_OK;
}

static enum wf_status check_image(const struct weft_request *r, struct wf_error *err)
{
    if ((int)r->fit < WEFT_FIT_STRETCH || r->fit > WEFT_FIT_PAD)
        return wf_fail(err, WF_REFUSED, "fit: %d is not known; use stretch, crop or pad",
                       (int)r->fit);
    if (!isfinite(r->noise_aug_strength) || r->noise_aug_strength > 1000)
        return wf_fail(err, WF_REFUSED, "noise-aug-strength: %g is not possible; choose 0 to 1000",
                       r->noise_aug_strength);
    return WF_OK;
}

enum wf_status wf_request_check(const struct weft_request *r, struct wf_error *err)
{
    WF_TRY(WF_CHECK_RESERVED(r, "request", err));
    if (r->fps_num < 1 || r->fps_den < 1 || (int64_t)r->fps_num * 1000 < r->fps_den ||
        r->fps_num > (int64_t)r->fps_den * 1000)
        return wf_fail(err, WF_REFUSED, "fps: %d/%d is not possible; choose 0.001 to 1000",
                       r->fps_num, r->fps_den);
    WF_TRY(check_guidance(r, err));
    WF_TRY(check_image(r, err));
    if (!isfinite(r->flow_shift) || r->flow_shift < 0 || r->flow_shift > 1e6)
        return wf_fail(err, WF_REFUSED,
                       "flow-shift: %g is not possible; choose above 0, to 1000000", r->flow_shift);
    if (r->decode_chunk_size < 0)
        return wf_fail(err, WF_REFUSED, "decode-chunk-size: %d is not possible; choose 1 or more",
                       r->decode_chunk_size);
    return check_tiles(r, err);
}

enum wf_status wf_request_check_taken(const struct weft_request *r, const struct wf_family *family,
                                      struct wf_error *err)
{
    const struct {
        const char *name;
        unsigned taken;
        bool set;
    } fields[] = {
        {"prompt", WEFT_TAKES_PROMPT, r->prompt},
        {"negative-prompt", WEFT_TAKES_PROMPT, r->negative_prompt},
        {"max-sequence-length", WEFT_TAKES_PROMPT, r->max_sequence_length},
        {"image", WEFT_TAKES_IMAGE, r->image},
        {"fit", WEFT_TAKES_IMAGE, r->fit},
        {"guidance-scale", WEFT_TAKES_GUIDANCE, r->guidance_scale > 0},
        {"min-guidance-scale", WEFT_TAKES_GUIDANCE_RANGE, r->min_guidance_scale >= 0},
        {"max-guidance-scale", WEFT_TAKES_GUIDANCE_RANGE, r->max_guidance_scale >= 0},
        {"motion-bucket-id", WEFT_TAKES_MOTION, r->motion_bucket_id >= 0},
        {"noise-aug-strength", WEFT_TAKES_MOTION, r->noise_aug_strength >= 0},
        {"flow-shift", WEFT_TAKES_FLOW_SHIFT, r->flow_shift > 0},
    };
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        if (fields[i].set && !(family->takes & fields[i].taken))
            return wf_fail(err, WF_REFUSED, "%s: a %s model does not take it; leave it away",
                           fields[i].name, family->name);
    }
    if (family->takes & WEFT_TAKES_IMAGE && !r->image)
        return wf_fail(err, WF_REFUSED,
                       "image: a %s model makes its clip from a picture, and none was given; give "
                       "-i FILE",
                       family->name);
    return WF_OK;
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
