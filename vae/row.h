/* Running a VAE's row of stages over the frames of a chunk: whole, or tile by tile to the pixels
   that it has whole. */
#ifndef WEFT_VAE_ROW_H
#define WEFT_VAE_ROW_H

#include "vae/tiles.h"
#include "vae/vae.h"

/* Of a decode, or of one blended tile of it. */
struct wf_row {
    struct wf_vae_state *state;
    struct wf_size latents; /* of a frame */
    struct wf_size tile;    /* in pixels, of exact tiles; 0x0: none */
};

/* From latents z [T,h,w,C] to frames y [F,h spatial / patch,w spatial / patch,3 patch^2], as the
   last stage gives them; both may have gaps between lines and frames. first: z begins with the
   clip's first frame; calls follow each other as the clip's frames do. */
enum wf_status wf_row_run(const struct wf_row *row, struct wf_tensor z, struct wf_tensor y,
                          bool first, struct wf_error *err);

#endif
