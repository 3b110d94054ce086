/* From latents to frames, chunk by chunk: the only loop over chunks there is. A frame is handed on
   as soon as its chunk is decoded; memory does not grow with the clip's length. On a device with a
   queue the next chunk is decoded while the frames of one are handed on. */
#ifndef WEFT_VAE_DECODE_H
#define WEFT_VAE_DECODE_H

#include "vae/vae.h"

struct wf_decoder;

/* latents [T,h,w,C] dense f32 on the VAE's backend, alive until close. chunk_size: output frames a
   chunk, rounded up to whole latent frames; 0: one latent frame. The pixels are the same for every
   chunk size. room: of its activations, taken at once. Several decoders of one VAE may be open;
   each keeps its own state. */
enum wf_status wf_decoder_open(struct wf_vae *vae, struct wf_tensor latents, int64_t chunk_size,
                               const struct wf_vae_room *room, struct wf_decoder **dec,
                               struct wf_error *err);
void wf_decoder_close(struct wf_decoder **dec);
struct wf_vae_room wf_decoder_room_used(const struct wf_decoder *dec); /* so far */

/* *frame becomes the next frame, host memory, dense f32 [H,W,3] within 0..1, valid until the next
   call; NULL after the last. */
enum wf_status wf_decoder_next(struct wf_decoder *dec, const float **frame, struct wf_error *err);

#endif
