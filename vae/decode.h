/* From latents to frames, chunk by chunk and tile by tile: the only loop over chunks, stages and
   tiles there is. A frame is handed on as soon as nothing can change it any more; memory does not
   grow with the clip's length. On a device with a queue the next chunk is decoded while the frames
   of one are handed on. */
#ifndef WEFT_VAE_DECODE_H
#define WEFT_VAE_DECODE_H

#include "vae/tiles.h"
#include "vae/vae.h"

struct wf_decoder;

enum wf_tiling {
    WF_TILING_NONE,
    WF_TILING_EXACT, /* the pixels of none, in less memory */
    WF_TILING_BLEND, /* each tile decoded for itself, and their overlaps blended, as diffusers does
                      */
};

/* Zeroed, but for chunk_overlap: the default chunks (causal: one latent frame, on a device with a
   queue four; else the whole clip), untiled. */
struct wf_decode_settings {
    int64_t chunk_size; /* in frames; causal: rounded up to whole latent frames. 0: the default */
    int64_t chunk_overlap; /* in frames; -1: the VAE's default, at most the chunk less one */
    enum wf_tiling tiling;
    struct wf_size tile;    /* in pixels; 0x0: blend 256x256, exact the whole frame */
    struct wf_size overlap; /* in pixels, of blend; -1x-1: 64x64, at most half the tile */
};

/* Whether latents of these dims [T,h,w,C] can be decoded so: WF_REFUSED in words, with the nearest
   that can be. What was left open is filled in, but for the size of chunks without edges. */
enum wf_status wf_decode_settle(const struct wf_vae *vae, const int64_t dims[4],
                                struct wf_decode_settings *settings, struct wf_error *err);

/* latents [T,h,w,C] dense f32 on the VAE's backend, alive until close. room: bytes of its
   activations, taken at once; 0: not known. Several decoders of one VAE may be open; each keeps its
   own state. */
enum wf_status wf_decoder_open(struct wf_vae *vae, struct wf_tensor latents,
                               const struct wf_decode_settings *settings, size_t room,
                               struct wf_decoder **dec, struct wf_error *err);
void wf_decoder_close(struct wf_decoder **dec);
size_t wf_decoder_room_used(const struct wf_decoder *dec); /* so far */

/* *frame becomes the next frame, host memory, dense f32 [H,W,3] within 0..1, valid until the next
   call; NULL after the last. */
enum wf_status wf_decoder_next(struct wf_decoder *dec, const float **frame, struct wf_error *err);

/* --- going on where another decoder of the same latents and settings was --- */

int64_t wf_decoder_chunks(const struct wf_decoder *dec);
/* Frames that are handed on once chunk i is decoded, and not with another one. */
int64_t wf_decoder_chunk_frames(const struct wf_decoder *dec, int64_t i);
/* Whether the device may decode a chunk while the one before is handed on, as it does at first. */
void wf_decoder_look_ahead(struct wf_decoder *dec, bool ahead);
/* Whether the last chunk's frames were handed on, all of them, and none has begun since. */
bool wf_decoder_at_edge(const struct wf_decoder *dec);
/* What the chunks to come need of those before an edge, beside the latents. The i-th causal cache,
   NULL after the last; and frames that the next chunk blends with, dense f32 in host memory: of dim
   0 none. */
struct wf_causal_cache *wf_decoder_cache(const struct wf_decoder *dec, int64_t i);
struct wf_tensor wf_decoder_shared(const struct wf_decoder *dec);
/* Of a new decoder: the next frame is the first of that chunk's own. The caller fills the caches
   and the shared frames. */
void wf_decoder_go_on(struct wf_decoder *dec, int64_t chunks);

#endif
