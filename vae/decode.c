#include "vae/decode.h"

#include "kernels/base/arena.h"

/* Frames of a chunk on their way out. */
struct chunk {
    struct wf_tensor device; /* [F,H,W,3] of the largest chunk */
    float *host;             /* the same, on the host */
    int64_t frames;
    uint64_t ticket; /* of their download */
};

enum { CHUNKS = 2 };

struct wf_decoder {
    struct wf_vae *vae;
    struct wf_vae_state *state;
    struct wf_tensor latents;
    int64_t chunk_first, chunk_rest; /* latent frames of the first chunk and of the others */
    int64_t position;                /* latent frames whose decoding is begun */
    struct chunk chunks[CHUNKS];     /* the second where the device decodes one ahead */
    int64_t begun, taken, arrived;   /* chunks; the i-th is in place i % room */
    int64_t room;
    const struct chunk *present; /* whose frames are handed on */
    int64_t given;               /* of them */
};

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Latent frames that give at least chunk_size frames. */
static void plan_chunks(struct wf_decoder *d, int64_t chunk_size)
{
    const int64_t temporal = d->vae->geometry.temporal, whole = d->latents.dim[0];
    const int64_t size = chunk_size < 1 ? 1 : chunk_size;
    d->chunk_first = smaller(whole, 1 + (size - 1) / temporal + ((size - 1) % temporal != 0));
    d->chunk_rest = smaller(whole, size / temporal + (size % temporal != 0));
}

static enum wf_status make_chunk(struct wf_decoder *d, struct chunk *c, int64_t frames,
                                 struct wf_error *err)
{
    struct wf_backend *be = d->vae->be;
    const int64_t scale = d->vae->geometry.spatial;
    struct wf_tensor room = wf_tensor_of(
        NULL, WF_F32, WF_DIMS(frames, d->latents.dim[1] * scale, d->latents.dim[2] * scale, 3));
    const size_t bytes = wf_tensor_bytes(&room);
    room.data = be->ops.take(be, WF_MEM_FRAMES, bytes);
    c->device = room;
    c->host = be->ops.take_host(be, WF_MEM_FRAMES, bytes);
    return room.data && c->host ? WF_OK : wf_fail_memory(err, "decode", bytes);
}

static enum wf_status make_room(struct wf_decoder *d, struct wf_error *err)
{
    const int64_t first = wf_vae_frames(d->vae, d->chunk_first, true);
    const int64_t rest = wf_vae_frames(d->vae, d->chunk_rest, false);
    const int64_t frames = d->chunk_first < d->latents.dim[0] && rest > first ? rest : first;
    d->room = d->vae->be->device.queued ? CHUNKS : 1;
    for (int i = 0; i < d->room; i++)
        WF_TRY(make_chunk(d, &d->chunks[i], frames, err));
    return WF_OK;
}

static enum wf_status open_decoder(struct wf_decoder *d, int64_t chunk_size,
                                   const struct wf_vae_room *room, struct wf_error *err)
{
    plan_chunks(d, chunk_size);
    WF_TRY(d->vae->driver->begin(d->vae, &d->state, err));
    WF_TRY(wf_vae_reserve(d->state, room, err));
    return make_room(d, err);
}

enum wf_status wf_decoder_open(struct wf_vae *vae, struct wf_tensor latents, int64_t chunk_size,
                               const struct wf_vae_room *room, struct wf_decoder **dec,
                               struct wf_error *err)
{
    *dec = NULL;
    if (latents.rank != 4 || latents.dim[3] != vae->geometry.channels)
        return wf_fail(err, WF_FAILED, "decode: latents do not have the VAE's %lld channels",
                       (long long)vae->geometry.channels);
    struct wf_decoder *d = wf_calloc(vae->mem, WF_MEM_MISC, 1, sizeof *d);
    if (!d)
        return wf_fail_memory(err, "decode", sizeof *d);
    d->vae = vae;
    d->latents = latents;
    const enum wf_status status = open_decoder(d, chunk_size, room, err);
    if (status != WF_OK) {
        wf_decoder_close(&d);
        return status;
    }
    *dec = d;
    return WF_OK;
}

void wf_decoder_close(struct wf_decoder **dec)
{
    struct wf_decoder *d = *dec;
    if (!d)
        return;
    if (d->state)
        d->vae->driver->end(&d->state);
    d->vae->driver->stage_end(d->vae);
    struct wf_backend *be = d->vae->be;
    if (d->begun > d->arrived) /* frames that nobody waits for are still on their way */
        (void)wf_sync(be);
    for (int i = 0; i < CHUNKS; i++) {
        be->ops.give(be, d->chunks[i].device.data);
        be->ops.give_host(be, d->chunks[i].host);
    }
    wf_free(d);
    *dec = NULL;
}

struct wf_vae_room wf_decoder_room_used(const struct wf_decoder *dec)
{
    return wf_vae_room_used(dec->state);
}

static bool is_begun(const struct wf_decoder *d)
{
    return d->position == d->latents.dim[0];
}

/* Decodes the next chunk, or on a device with a queue lets it be decoded. */
static enum wf_status begin_chunk(struct wf_decoder *d, struct wf_error *err)
{
    const bool first = d->position == 0;
    const int64_t count =
        smaller(first ? d->chunk_first : d->chunk_rest, d->latents.dim[0] - d->position);
    const struct wf_tensor z = wf_tensor_slice(d->latents, 0, d->position, count);
    struct chunk *c = &d->chunks[d->begun % d->room];
    c->frames = wf_vae_frames(d->vae, count, first);
    const struct wf_tensor frames = wf_tensor_slice(c->device, 0, 0, c->frames);
    WF_TRY(d->vae->driver->decode(d->state, z, frames, err));
    WF_TRY(wf_download_begin(d->vae->be, c->host, frames, &c->ticket));
    d->position += count;
    d->begun++;
    return WF_OK;
}

/* The one before is handed on: its place is free. */
static enum wf_status take_chunk(struct wf_decoder *d, struct wf_error *err)
{
    if (d->begun == d->taken)
        WF_TRY(begin_chunk(d, err));
    d->present = &d->chunks[d->taken++ % d->room];
    d->given = 0;
    if (d->room > 1 && !is_begun(d))
        WF_TRY(begin_chunk(d, err));
    WF_TRY(wf_wait(d->vae->be, d->present->ticket));
    d->arrived = d->taken;
    return WF_OK;
}

enum wf_status wf_decoder_next(struct wf_decoder *d, const float **frame, struct wf_error *err)
{
    *frame = NULL;
    if (!d->present || d->given == d->present->frames) {
        if (d->begun == d->taken && is_begun(d))
            return WF_OK;
        WF_TRY(take_chunk(d, err));
    }
    *frame = d->present->host + d->given * d->present->device.stride[0];
    d->given++;
    return WF_OK;
}
