#include "vae/layout.h"

#include "kernels/base/number.h"

enum { BLEND_TILE = 256, BLEND_OVERLAP = 64 }; /* pixels; diffusers' */

/* Latent frames of a causal decoder's chunk: a device with a queue wants more to do at a time. */
enum { CHUNK_LATENTS = 1, CHUNK_LATENTS_QUEUED = 4 };

/* --- chunks --- */

/* Latent frames that give at least the asked for frames: a chunk has no edges to see. */
static enum wf_status lay_out_causal(const struct wf_decode_settings *s, struct wf_decode_layout *l,
                                     struct wf_error *err)
{
    const int64_t temporal = l->vae->geometry.temporal, size = s->chunk_size;
    const int64_t usual = l->vae->be->device.queued ? CHUNK_LATENTS_QUEUED : CHUNK_LATENTS;
    if (s->chunk_overlap > 0)
        return wf_fail(err, WF_REFUSED,
                       "chunk-overlap: this decoder carries what it has seen from chunk to chunk, "
                       "so that there are no edges to blend; the nearest is 0");
    l->first = wf_smaller(l->whole, size ? 1 + wf_divided_up(size - 1, temporal) : usual);
    l->rest = wf_smaller(l->whole, size ? wf_divided_up(size, temporal) : usual);
    return WF_OK;
}

static enum wf_status lay_out_chunks(const struct wf_decode_settings *s, struct wf_decode_layout *l,
                                     struct wf_error *err)
{
    if (l->vae->geometry.causal)
        return lay_out_causal(s, l, err);
    const int64_t size = s->chunk_size ? s->chunk_size : l->whole;
    const int64_t usual = wf_smaller(l->vae->geometry.chunk_overlap, size - 1);
    return wf_chunks_init(&l->chunks, l->whole, size,
                          s->chunk_overlap < 0 ? usual : s->chunk_overlap, err);
}

struct wf_chunk wf_decode_chunk(const struct wf_decode_layout *l, int64_t i)
{
    if (!l->vae->geometry.causal)
        return wf_chunks_range(&l->chunks, i);
    if (i == 0)
        return (struct wf_chunk){0, l->first};
    const int64_t first = l->first + (i - 1) * l->rest;
    return (struct wf_chunk){first, wf_smaller(l->rest, l->whole - first)};
}

int64_t wf_decode_chunk_count(const struct wf_decode_layout *l)
{
    return l->vae->geometry.causal ? 1 + wf_divided_up(l->whole - l->first, l->rest)
                                   : l->chunks.count;
}

int64_t wf_decode_shared(const struct wf_decode_layout *l, int64_t i)
{
    return l->vae->geometry.causal ? 0 : wf_chunks_shared(&l->chunks, i);
}

int64_t wf_decode_final(const struct wf_decode_layout *l, int64_t i)
{
    const struct wf_chunk chunk = wf_decode_chunk(l, i);
    return l->vae->geometry.causal ? wf_vae_frames(l->vae, chunk.count, i == 0)
                                   : wf_chunks_final(&l->chunks, i) - chunk.first;
}

int64_t wf_decode_most_frames(const struct wf_decode_layout *l)
{
    const int64_t first = wf_vae_frames(l->vae, wf_decode_chunk(l, 0).count, true);
    const bool more = l->vae->geometry.causal && l->first < l->whole;
    const int64_t rest = more ? wf_vae_frames(l->vae, l->rest, false) : 0;
    return first > rest ? first : rest;
}

/* --- tiles --- */

static int64_t whole_latents(int64_t pixels, int64_t unit)
{
    return pixels < unit ? unit : pixels / unit * unit;
}

/* What was not asked for. */
static struct wf_size usual_tile(struct wf_size tile, int64_t unit)
{
    const int64_t usual = whole_latents(BLEND_TILE, unit);
    return (struct wf_size){tile.height ? tile.height : usual, tile.width ? tile.width : usual};
}

static int64_t usual_overlap(int64_t overlap, int64_t tile, int64_t unit)
{
    return overlap < 0 ? wf_smaller(BLEND_OVERLAP, tile / 2) / unit * unit : overlap;
}

static struct wf_size usual_overlaps(struct wf_size overlap, struct wf_size tile, int64_t unit)
{
    return (struct wf_size){usual_overlap(overlap.height, tile.height, unit),
                            usual_overlap(overlap.width, tile.width, unit)};
}

static enum wf_status lay_out_tiles(const struct wf_decode_settings *s, struct wf_decode_layout *l,
                                    struct wf_error *err)
{
    const int64_t unit = l->vae->geometry.spatial;
    const struct wf_size frame = wf_size_scaled(l->latents, unit);
    struct wf_size tile = s->tile;
    WF_TRY(wf_tiles_exact(&l->tiles, l->latents, l->latents, err)); /* one */
    if (s->tiling == WF_TILING_EXACT) {
        struct wf_tiles exact;
        l->exact = (struct wf_size){tile.height ? tile.height : frame.height,
                                    tile.width ? tile.width : frame.width};
        return wf_tiles_exact(&exact, frame, l->exact, err);
    }
    if (s->tiling == WF_TILING_NONE)
        return WF_OK;
    tile = usual_tile(tile, unit);
    return wf_tiles_blend(&l->tiles, l->latents, tile, usual_overlaps(s->overlap, tile, unit), unit,
                          err);
}

struct wf_tiles wf_decode_tiles(const struct wf_decode_layout *l)
{
    const int64_t scale = l->vae->geometry.spatial / l->vae->geometry.patch;
    struct wf_tiles tiles = l->tiles;
    tiles.frame = wf_size_scaled(tiles.frame, scale);
    tiles.tile = wf_size_scaled(tiles.tile, scale);
    tiles.stride = wf_size_scaled(tiles.stride, scale);
    return tiles;
}

/* --- both --- */

enum wf_status wf_decode_lay_out(const struct wf_vae *vae, const int64_t dims[4],
                                 const struct wf_decode_settings *settings,
                                 struct wf_decode_layout *layout, struct wf_error *err)
{
    *layout =
        (struct wf_decode_layout){.vae = vae, .latents = {dims[1], dims[2]}, .whole = dims[0]};
    if (dims[3] != vae->geometry.channels)
        return wf_fail(err, WF_FAILED, "decode: latents do not have the VAE's %lld channels",
                       (long long)vae->geometry.channels);
    WF_TRY(lay_out_chunks(settings, layout, err));
    return lay_out_tiles(settings, layout, err);
}

enum wf_status wf_decode_settle(const struct wf_vae *vae, const int64_t dims[4],
                                struct wf_decode_settings *s, struct wf_error *err)
{
    struct wf_decode_layout l;
    const int64_t unit = vae->geometry.spatial;
    WF_TRY(wf_decode_lay_out(vae, dims, s, &l, err));
    s->chunk_overlap = vae->geometry.causal ? 0 : l.chunks.overlap;
    if (!vae->geometry.causal)
        s->chunk_size = l.chunks.size;
    if (s->tiling == WF_TILING_EXACT)
        s->tile = l.exact;
    if (s->tiling != WF_TILING_BLEND)
        return WF_OK;
    s->tile = usual_tile(s->tile, unit);
    s->overlap = usual_overlaps(s->overlap, s->tile, unit);
    return WF_OK;
}
