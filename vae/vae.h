/* A video autoencoder's decoding half, behind one interface: a family fills the table, decode.c
 * calls it. */
#ifndef WEFT_VAE_VAE_H
#define WEFT_VAE_VAE_H

#include "io/weights/residency.h"
#include "kernels/base/arena.h"

/* What a family's latents are. */
struct wf_vae_geometry {
    int64_t channels; /* of a latent */
    int64_t spatial;  /* pixels a latent row or column */
    int64_t temporal; /* frames a latent frame; the first gives one */
};

struct wf_vae;

/* What a job keeps of one decode, between chunks: the first member of every family's own struct,
   which adds causal caches and its position. The VAE itself does not change while jobs run. */
struct wf_vae_state {
    /* Activations. The hidden frames lie in one arena while a stage writes its result to the other;
       scratch is a stage's own. */
    struct wf_arena hidden[2], scratch;
};

/* Bytes of a state's arenas. */
struct wf_vae_room {
    size_t hidden[2], scratch;
};

/* One thread at a time; the backend outlives the VAE. */
struct wf_vae_driver {
    const char *class_name; /* diffusers' */
    /* Reads the folder's config.json and finds and checks every weight; loads none. */
    enum wf_status (*open)(struct wf_residency *res, struct wf_mem *mem, struct wf_vae **vae,
                           struct wf_error *err);
    void (*close)(struct wf_vae *vae);
    /* Begins a clip. The VAE outlives the state. */
    enum wf_status (*begin)(struct wf_vae *vae, struct wf_vae_state **state, struct wf_error *err);
    /* The next latent frames z [T,h,w,channels] of the clip, dense f32, normalised as the denoiser
       leaves them, become frames [F,H,W,3] f32 within 0..1; F as wf_vae_frames says. */
    enum wf_status (*decode)(struct wf_vae_state *state, struct wf_tensor z,
                             struct wf_tensor frames, struct wf_error *err);
    void (*end)(struct wf_vae_state **state);
};

/* The first member of every family's own struct. */
struct wf_vae {
    const struct wf_vae_driver *driver;
    struct wf_backend *be;
    struct wf_mem *mem;
    struct wf_vae_geometry geometry;
};

/* Opens the family that the folder's config.json names. The residency is the caller's, empty so
   far, and is closed before the VAE. */
enum wf_status wf_vae_open(struct wf_residency *res, struct wf_mem *mem, struct wf_vae **vae,
                           struct wf_error *err);
void wf_vae_close(struct wf_vae **vae);

/* The arenas of a state: empty ones; given back; the most that they held so far; that much taken at
   once. */
void wf_vae_state_init(struct wf_vae_state *state, struct wf_backend *be);
void wf_vae_state_clear(struct wf_vae_state *state);
struct wf_vae_room wf_vae_room_used(const struct wf_vae_state *state);
enum wf_status wf_vae_reserve(struct wf_vae_state *state, const struct wf_vae_room *room,
                              struct wf_error *err);

/* Frames that latents frames give at the clip's start, or (first false) after it. */
int64_t wf_vae_frames(const struct wf_vae *vae, int64_t latent_frames, bool first);

extern const struct wf_vae_driver wf_vae_wan;

#endif
