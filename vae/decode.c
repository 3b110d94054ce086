#include "vae/decode.h"

#include <math.h>

#include "vae/compose.h"
#include "vae/layout.h"
#include "vae/row.h"

/* Frames on their way out, as the last stage gives them. */
struct place {
    struct wf_tensor device; /* [F,h,w,C], of the largest */
    float *host;             /* the same, on the host */
    uint64_t ticket;         /* of their download */
};

enum { PLACES = 3, TILE_PLACES = 2 };

struct wf_decoder {
    struct wf_decode_layout layout;
    struct wf_vae *vae;
    struct wf_backend *be;
    struct wf_tensor latents;
    struct wf_pool pool;
    struct wf_row *rows; /* one a blended tile */
    /* Chunk i is in place i % places: one more where the device decodes one ahead, and where a
       chunk blends with the one before. */
    struct place chunks[PLACES], tiles[TILE_PLACES];
    int64_t places, tile_places;
    bool ahead; /* the device can decode the next chunk while this one is handed on */
    bool waits; /* it shall not */
    struct wf_composer *composer; /* NULL: no blended tiles */
    float *frame;                 /* [H,W,3], the one that is handed on */
    int64_t begun, taken;         /* chunks */
    int64_t given;                /* frames of the last one taken */
};

/* --- opening --- */

static enum wf_status open_place(struct wf_decoder *d, struct place *p, bool on_device,
                                 int64_t rows, int64_t columns, struct wf_error *err)
{
    const int64_t patch = d->vae->geometry.patch;
    struct wf_tensor t = wf_tensor_of(
        NULL, WF_F32, WF_DIMS(wf_decode_most_frames(&d->layout), rows, columns, 3 * patch * patch));
    const size_t bytes = wf_tensor_bytes(&t);
    p->host = d->be->ops.take_host(d->be, WF_MEM_FRAMES, bytes);
    if (on_device)
        t.data = d->be->ops.take(d->be, WF_MEM_FRAMES, bytes);
    p->device = t;
    return p->host && (t.data || !on_device) ? WF_OK : wf_fail_memory(err, "decode", bytes);
}

static enum wf_status open_tiles(struct wf_decoder *d, const struct wf_tiles *tiles,
                                 struct wf_error *err)
{
    const int64_t patch = d->vae->geometry.patch;
    const struct wf_tile first = wf_tiles_at(tiles, 0); /* none is larger */
    d->tile_places = d->be->device.queued ? TILE_PLACES : 1;
    for (int64_t i = 0; i < d->tile_places; i++)
        WF_TRY(open_place(d, &d->tiles[i], true, first.height, first.width, err));
    return wf_composer_open(tiles, wf_decode_most_frames(&d->layout), 3 * patch * patch,
                            d->vae->mem, d->be->is_plan, &d->composer, err);
}

static enum wf_status open_rows(struct wf_decoder *d, struct wf_error *err)
{
    const struct wf_tiles *tiles = &d->layout.tiles;
    d->rows = wf_calloc(d->vae->mem, WF_MEM_MISC, (size_t)tiles->count, sizeof *d->rows);
    if (!d->rows)
        return wf_fail_memory(err, "decode", (size_t)tiles->count * sizeof *d->rows);
    for (int64_t i = 0; i < tiles->count; i++) {
        const struct wf_tile t = wf_tiles_at(tiles, i);
        d->rows[i] = (struct wf_row){.latents = {t.height, t.width}, .tile = d->layout.exact};
        WF_TRY(d->vae->driver->begin(d->vae, &d->pool, &d->rows[i].state, err));
    }
    return WF_OK;
}

static enum wf_status open_decoder(struct wf_decoder *d, const struct wf_decode_settings *settings,
                                   size_t room, struct wf_error *err)
{
    WF_TRY(wf_decode_lay_out(d->vae, d->latents.dim, settings, &d->layout, err));
    const struct wf_tiles tiles = wf_decode_tiles(&d->layout);
    const bool blends = tiles.count > 1, several = wf_decode_chunk_count(&d->layout) > 1;
    const int64_t patch = d->vae->geometry.patch;
    const bool shares = several && d->layout.chunks.overlap;
    const size_t bytes =
        (size_t)(tiles.frame.height * tiles.frame.width * patch * patch * 3) * sizeof *d->frame;
    if (!wf_pool_reserve(&d->pool, room))
        return wf_fail_memory(err, "decode", room);
    WF_TRY(open_rows(d, err));
    d->ahead = several && !blends && d->be->device.queued; /* blended tiles are waited for */
    d->places = 1 + d->ahead + shares;
    for (int64_t i = 0; i < d->places; i++)
        WF_TRY(open_place(d, &d->chunks[i], !blends, tiles.frame.height, tiles.frame.width, err));
    if (blends)
        WF_TRY(open_tiles(d, &tiles, err));
    d->frame = wf_alloc(d->vae->mem, WF_MEM_FRAMES, bytes);
    return d->frame ? WF_OK : wf_fail_memory(err, "decode", bytes);
}

enum wf_status wf_decoder_open(struct wf_vae *vae, struct wf_tensor latents,
                               const struct wf_decode_settings *settings, size_t room,
                               struct wf_decoder **dec, struct wf_error *err)
{
    *dec = NULL;
    struct wf_decoder *d = wf_calloc(vae->mem, WF_MEM_MISC, 1, sizeof *d);
    if (!d)
        return wf_fail_memory(err, "decode", sizeof *d);
    d->vae = vae;
    d->be = vae->be;
    d->latents = latents;
    wf_pool_init(&d->pool, wf_backend_source(vae->be));
    const enum wf_status status = open_decoder(d, settings, room, err);
    if (status != WF_OK) {
        wf_decoder_close(&d);
        return status;
    }
    *dec = d;
    return WF_OK;
}

static void close_places(struct wf_decoder *d, const struct place *places, int count)
{
    for (int i = 0; i < count; i++) {
        d->be->ops.give(d->be, places[i].device.data);
        d->be->ops.give_host(d->be, places[i].host);
    }
}

void wf_decoder_close(struct wf_decoder **dec)
{
    struct wf_decoder *d = *dec;
    if (!d)
        return;
    if (d->be->device.queued) /* frames that nobody waits for may still be on their way */
        (void)wf_sync(d->be);
    for (int64_t i = 0; d->rows && i < d->layout.tiles.count; i++) {
        if (d->rows[i].state)
            d->vae->driver->end(&d->rows[i].state);
    }
    close_places(d, d->chunks, PLACES);
    close_places(d, d->tiles, TILE_PLACES);
    wf_composer_close(&d->composer);
    wf_pool_close(&d->pool);
    wf_free(d->frame);
    wf_free(d->rows);
    wf_free(d);
    *dec = NULL;
}

size_t wf_decoder_room_used(const struct wf_decoder *dec)
{
    return dec->pool.peak;
}

/* --- a chunk --- */

static struct wf_tensor tile_latents(struct wf_tensor z, struct wf_tile t)
{
    return wf_tensor_slice(wf_tensor_slice(z, 1, t.top, t.height), 2, t.left, t.width);
}

/* Dense room of a place for `frames` of a tile's size. */
static struct wf_tensor place_tensor(const struct place *p, int64_t frames, int64_t height,
                                     int64_t width)
{
    return wf_tensor_of(p->device.data, WF_F32, WF_DIMS(frames, height, width, p->device.dim[3]));
}

static struct wf_tensor on_host(struct wf_tensor t, const struct place *p)
{
    t.data = p->host;
    return t;
}

static enum wf_status begin_tile(struct wf_decoder *d, int64_t i, struct wf_tensor z, bool first,
                                 struct wf_tensor y, struct wf_error *err)
{
    struct place *p = &d->tiles[i % d->tile_places];
    const struct wf_tile t = wf_tiles_at(&d->layout.tiles, i);
    WF_TRY(wf_row_run(&d->rows[i], tile_latents(z, t), y, first, err));
    return wf_download_begin(d->be, p->host, y, &p->ticket);
}

/* Where tile i of the chunk lies, on the device. */
static struct wf_tensor tile_frames(const struct wf_decoder *d, const struct wf_tiles *tiles,
                                    int64_t i, int64_t frames)
{
    const struct wf_tile t = wf_tiles_at(tiles, i);
    return place_tensor(&d->tiles[i % d->tile_places], frames, t.height, t.width);
}

static enum wf_status end_tile(struct wf_decoder *d, const struct wf_tiles *tiles, int64_t i,
                               struct wf_tensor frames)
{
    const struct place *p = &d->tiles[i % d->tile_places];
    WF_TRY(wf_wait(d->be, p->ticket));
    wf_composer_add(d->composer, i, on_host(tile_frames(d, tiles, i, frames.dim[0]), p), frames);
    return WF_OK;
}

/* A tile is composed while a device with a queue decodes the next one. */
static enum wf_status decode_blended(struct wf_decoder *d, struct wf_tensor z, bool first,
                                     struct wf_tensor frames, struct wf_error *err)
{
    const struct wf_tiles tiles = wf_decode_tiles(&d->layout);
    const int64_t ahead = d->tile_places - 1;
    for (int64_t i = 0; i < tiles.count + ahead; i++) {
        if (i < tiles.count)
            WF_TRY(begin_tile(d, i, z, first, tile_frames(d, &tiles, i, frames.dim[0]), err));
        if (i >= ahead)
            WF_TRY(end_tile(d, &tiles, i - ahead, frames));
    }
    return WF_OK;
}

static int64_t frames_of(const struct wf_decoder *d, int64_t chunk)
{
    return wf_vae_frames(d->vae, wf_decode_chunk(&d->layout, chunk).count, chunk == 0);
}

/* Decodes the next chunk, or on a device with a queue lets it be decoded. */
static enum wf_status begin_chunk(struct wf_decoder *d, struct wf_error *err)
{
    const struct wf_chunk chunk = wf_decode_chunk(&d->layout, d->begun);
    const bool first = chunk.first == 0;
    struct place *p = &d->chunks[d->begun % d->places];
    const struct wf_tensor z = wf_tensor_slice(d->latents, 0, chunk.first, chunk.count);
    const struct wf_tensor frames =
        place_tensor(p, frames_of(d, d->begun), p->device.dim[1], p->device.dim[2]);
    if (d->composer) {
        WF_TRY(decode_blended(d, z, first, on_host(frames, p), err));
    } else {
        WF_TRY(wf_row_run(&d->rows[0], z, frames, first, err));
        WF_TRY(wf_download_begin(d->be, p->host, frames, &p->ticket));
    }
    d->begun++;
    return WF_OK;
}

/* --- chunk edges --- */

/* out = (1 - w) out + w new on the frames that both chunks have; out is in the new one from here
   on. */
static void blend_chunks(const struct wf_decoder *d, int64_t chunk)
{
    const int64_t shared = wf_decode_shared(&d->layout, chunk);
    if (!shared || d->be->is_plan)
        return;
    const struct place *p = &d->chunks[chunk % d->places], *b = &d->chunks[(chunk - 1) % d->places];
    const int64_t values = p->device.stride[0], skipped = frames_of(d, chunk - 1) - shared;
    for (int64_t j = 0; j < shared; j++) {
        const float ours = (float)wf_chunks_weight(&d->layout.chunks, chunk, j), theirs = 1 - ours;
        const float *before = b->host + (skipped + j) * values;
        float *now = p->host + j * values;
        for (int64_t k = 0; k < values; k++)
            now[k] = before[k] * theirs + now[k] * ours;
    }
}

/* The chunk before is handed on, but for what it shares with this one: its place is free once that
   is blended. */
static enum wf_status take_chunk(struct wf_decoder *d, struct wf_error *err)
{
    if (d->begun == d->taken)
        WF_TRY(begin_chunk(d, err));
    const int64_t chunk = d->taken++;
    const bool ahead = d->ahead && !d->waits && d->begun < wf_decode_chunk_count(&d->layout);
    const enum wf_status status = ahead ? begin_chunk(d, err) : WF_OK;
    if (!d->composer)
        WF_TRY(wf_wait(d->be, d->chunks[chunk % d->places].ticket));
    blend_chunks(d, chunk);
    d->given = 0;
    return status;
}

/* --- frames --- */

/* From -1..1 to 0..1; what is not finite becomes a NaN, so that no bound hides it. */
static float unit(float x)
{
    const float y = x * 0.5f + 0.5f;
    return !isfinite(y) ? NAN : y < 0 ? 0 : y > 1 ? 1 : y;
}

/* A line of pixels from the last stage's, each of which has patch x patch of them. */
static void put_line(const float *pixel, int64_t count, int64_t patch, int64_t row, float *out)
{
    for (int64_t w = 0; w < count; w++, pixel += 3 * patch * patch)
        for (int64_t column = 0; column < patch; column++, out += 3)
            for (int64_t c = 0; c < 3; c++)
                out[c] = unit(pixel[(c * patch + column) * patch + row]);
}

static void put_frame(const struct wf_decoder *d, const float *from)
{
    const int64_t patch = d->vae->geometry.patch, *dim = d->chunks[0].device.dim;
    for (int64_t h = 0; h < dim[1] * patch; h++)
        put_line(from + h / patch * dim[2] * dim[3], dim[2], patch, h % patch,
                 d->frame + h * dim[2] * patch * 3);
}

enum wf_status wf_decoder_next(struct wf_decoder *d, const float **frame, struct wf_error *err)
{
    *frame = NULL;
    if (!d->taken || d->given == wf_decode_final(&d->layout, d->taken - 1)) {
        if (d->taken == wf_decode_chunk_count(&d->layout))
            return WF_OK;
        WF_TRY(take_chunk(d, err));
    }
    const struct place *p = &d->chunks[(d->taken - 1) % d->places];
    if (!d->be->is_plan)
        put_frame(d, p->host + d->given * p->device.stride[0]);
    *frame = d->frame;
    d->given++;
    return WF_OK;
}

/* --- going on --- */

int64_t wf_decoder_chunks(const struct wf_decoder *d)
{
    return wf_decode_chunk_count(&d->layout);
}

int64_t wf_decoder_chunk_frames(const struct wf_decoder *d, int64_t i)
{
    return wf_decode_final(&d->layout, i);
}

void wf_decoder_look_ahead(struct wf_decoder *d, bool ahead)
{
    d->waits = !ahead;
}

bool wf_decoder_at_edge(const struct wf_decoder *d)
{
    return d->begun == d->taken &&
           (!d->taken || d->given == wf_decode_final(&d->layout, d->taken - 1));
}

struct wf_causal_cache *wf_decoder_cache(const struct wf_decoder *d, int64_t i)
{
    struct wf_causal_cache *(*cache)(struct wf_vae_state *, int) = d->vae->driver->cache;
    int64_t count = 0; /* of one row: all have as many */
    while (cache && cache(d->rows[0].state, (int)count))
        count++;
    if (!count || i / count >= d->layout.tiles.count)
        return NULL;
    return cache(d->rows[i / count].state, (int)(i % count));
}

struct wf_tensor wf_decoder_shared(const struct wf_decoder *d)
{
    const int64_t last = d->taken - 1;
    const struct place *p = &d->chunks[last % d->places];
    const struct wf_tensor all = on_host(p->device, p);
    const int64_t final = wf_decode_final(&d->layout, last);
    return wf_tensor_slice(all, 0, final, frames_of(d, last) - final);
}

void wf_decoder_go_on(struct wf_decoder *d, int64_t chunks)
{
    d->begun = d->taken = chunks;
    d->given = wf_decode_final(&d->layout, chunks - 1);
}
