/* Wan 2.1's denoiser, as diffusers' WanTransformer3DModel computes it. */
#ifndef WEFT_TEMPORAL_WAN_TRANSFORMER_H
#define WEFT_TEMPORAL_WAN_TRANSFORMER_H

#include "io/weights/residency.h"
#include "kernels/base/arena.h"

struct wf_wan_config {
    int64_t patch[3]; /* frames, rows, columns of a token */
    int64_t heads, head_dim;
    int64_t in_channels, out_channels;
    int64_t text_dim, freq_dim, ffn_dim, layers;
    int64_t rope_max; /* tokens along an axis at most */
    bool cross_attn_norm;
    double eps;
};

/* The prompt and the negative prompt: the two halves of guidance. */
enum { WF_WAN_HALVES = 2 };

struct wf_wan;

/* What one run keeps from step to step: the texts' keys and values, the positions' tables. The
   denoiser itself does not change while runs go on; several may be open, and used in turns. */
struct wf_wan_run;

/* Reads the folder's config.json and finds and checks every weight; loads none. The residency is
   the caller's, empty so far, and is closed before the denoiser. */
enum wf_status wf_wan_open(struct wf_residency *res, struct wf_mem *mem, struct wf_wan **wan,
                           struct wf_error *err);
void wf_wan_close(struct wf_wan **wan);
const struct wf_wan_config *wf_wan_get_config(const struct wf_wan *wan);

/* The denoiser outlives the run. */
enum wf_status wf_wan_run_open(struct wf_wan *wan, struct wf_wan_run **run, struct wf_error *err);
void wf_wan_run_close(struct wf_wan_run **run);

/* Gives one half its text: embeds [n,text_dim] f32 are the rows of the prompt, of total rows in
   all; the rest are zeros that take part in attention, and are computed as one. n is 1 or more and
   at most total. The keys and values of every layer are computed in the next forward and kept until
   the text changes. */
enum wf_status wf_wan_set_text(struct wf_wan_run *run, int half, struct wf_tensor embeds,
                               int64_t total, struct wf_arena *arena, struct wf_error *err);

/* velocity[i] = the prediction for half i, i < halves; latents [T,h,w,in], velocity [T,h,w,out],
   dense f32. Each block's weights are acquired once for all halves. timestep is on the scale
   0..1000. */
enum wf_status wf_wan_forward(struct wf_wan_run *run, struct wf_tensor latents, double timestep,
                              int halves, const struct wf_tensor *velocity, struct wf_arena *arena,
                              struct wf_error *err);

#endif
