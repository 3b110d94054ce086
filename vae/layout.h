/* How a clip is decoded: its chunks along time and its tiles, from what was asked for. */
#ifndef WEFT_VAE_LAYOUT_H
#define WEFT_VAE_LAYOUT_H

#include "temporal/chunks.h"
#include "vae/decode.h"

struct wf_decode_layout {
    const struct wf_vae *vae;
    struct wf_size latents;  /* of a frame */
    int64_t whole;           /* latent frames of the clip */
    int64_t first, rest;     /* causal: latent frames of the first chunk and of the others */
    struct wf_chunks chunks; /* not causal */
    struct wf_size exact;    /* tiles in pixels; 0x0: none */
    struct wf_tiles tiles;   /* in latents; one, where they are not blended */
};

/* latents [T,h,w,C]. WF_REFUSED in words. */
enum wf_status wf_decode_lay_out(const struct wf_vae *vae, const int64_t dims[4],
                                 const struct wf_decode_settings *settings,
                                 struct wf_decode_layout *layout, struct wf_error *err);

/* The latent frames of chunk i, which there is. */
struct wf_chunk wf_decode_chunk(const struct wf_decode_layout *layout, int64_t i);
int64_t wf_decode_chunk_count(const struct wf_decode_layout *layout);
/* Frames of the chunk that the one before it has too, and frames from its first on that no later
   one changes. */
int64_t wf_decode_shared(const struct wf_decode_layout *layout, int64_t i);
int64_t wf_decode_final(const struct wf_decode_layout *layout, int64_t i);
/* Of any chunk, at most. */
int64_t wf_decode_most_frames(const struct wf_decode_layout *layout);
/* The tiles in the pixels of the last stage's frames. */
struct wf_tiles wf_decode_tiles(const struct wf_decode_layout *layout);

#endif
