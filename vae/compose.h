/* Blended tiles become frames, on the host: each blends with the tiles above it and to its left as
   they are once they are blended themselves. */
#ifndef WEFT_VAE_COMPOSE_H
#define WEFT_VAE_COMPOSE_H

#include "kernels/base/mem.h"
#include "vae/tiles.h"

struct wf_composer;

/* tiles: in the pixels of what is composed; frames [F,H,W,C] with at most `frames` of them.
   is_plan: only the memory is taken. */
enum wf_status wf_composer_open(const struct wf_tiles *tiles, int64_t frames, int64_t channels,
                                struct wf_mem *mem, bool is_plan, struct wf_composer **composer,
                                struct wf_error *err);
void wf_composer_close(struct wf_composer **composer);
/* Tile i [F,h,w,C], dense f32, host memory, is blended in place and its part of the frames
   [F,H,W,C] filled. Tiles come in their order, the first begins new frames. */
void wf_composer_add(struct wf_composer *composer, int64_t i, struct wf_tensor tile,
                     struct wf_tensor frames);

#endif
