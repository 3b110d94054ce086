/* Stable Video Diffusion's denoiser, as diffusers' UNetSpatioTemporalConditionModel computes it. */
#ifndef WEFT_TEMPORAL_SVD_UNET_H
#define WEFT_TEMPORAL_SVD_UNET_H

#include "io/weights/residency.h"
#include "kernels/base/pool.h"

enum { WF_SVD_UNET_LEVELS = 8, WF_SVD_UNET_LAYERS = 8 /* of a level, at most */, WF_SVD_IDS = 3 };

/* By level, from the picture down. */
struct wf_svd_unet_config {
    int64_t in_channels, out_channels;
    int levels;
    int64_t widths[WF_SVD_UNET_LEVELS], layers[WF_SVD_UNET_LEVELS], heads[WF_SVD_UNET_LEVELS];
    int64_t blocks[WF_SVD_UNET_LEVELS]; /* of a transformer */
    bool attends_down[WF_SVD_UNET_LEVELS];
    bool attends_up[WF_SVD_UNET_LEVELS]; /* on the way up, from the deepest level */
    int64_t cross_dim, id_dim, ids_dim;  /* of the embedding, of an id's, of all ids' */
    int64_t num_frames;                  /* that it was trained with */
};

struct wf_svd_unet;

/* What one run keeps from step to step: the condition, and what layers make of it. The denoiser
   itself does not change while runs go on; several may be open, and used in turns. */
struct wf_svd_run;

/* Reads the folder's config.json and finds and checks every weight; loads none. The residency is
   the caller's, empty so far, and is closed before the denoiser. */
enum wf_status wf_svd_unet_open(struct wf_residency *res, struct wf_mem *mem,
                                struct wf_svd_unet **unet, struct wf_error *err);
void wf_svd_unet_close(struct wf_svd_unet **unet);
const struct wf_svd_unet_config *wf_svd_unet_get_config(const struct wf_svd_unet *unet);

/* halves: 1, or 2 where guidance is on. The denoiser outlives the run. */
enum wf_status wf_svd_run_open(struct wf_svd_unet *unet, int halves, struct wf_svd_run **run,
                               struct wf_error *err);
void wf_svd_run_close(struct wf_svd_run **run);

/* The condition of half 0: embeds [1,cross_dim] and image [1,h,w,in-out], dense f32; half 1 has
   zeros in the place of both. ids: frames a second less one, motion bucket, noise. */
enum wf_status wf_svd_set_condition(struct wf_svd_run *run, struct wf_tensor embeds,
                                    struct wf_tensor image, const double ids[WF_SVD_IDS],
                                    struct wf_error *err);

/* prediction[i] [T,h,w,out] of half i at latents [T,h,w,out] as the scheduler scales them, dense
   f32, of the condition's h and w. Working memory is the pool's, which has it back on success;
   after a failure the pool is to be closed. */
enum wf_status wf_svd_forward(struct wf_svd_run *run, struct wf_tensor latents, double timestep,
                              const struct wf_tensor *prediction, struct wf_pool *pool,
                              struct wf_error *err);

#endif
