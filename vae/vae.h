/* A video autoencoder's decoding half: a row of stages, behind one interface. A family fills the
   table; decode.c runs the stages over chunks and tiles. */
#ifndef WEFT_VAE_VAE_H
#define WEFT_VAE_VAE_H

#include "io/weights/residency.h"
#include "temporal/causal_cache.h"
#include "temporal/window.h"
#include "temporal/work.h"

/* What a stage has to see before any window of it can be computed. */
enum wf_vae_barrier {
    WF_VAE_FREE,       /* its reach */
    WF_VAE_FRAME,      /* the whole frame: it is never tiled exactly */
    WF_VAE_STATISTICS, /* those of its whole input, all frames of the chunk: see driver.survey */
};

/* Frames go in as [T,h,w,C] f32 and come out as [T',h scale,w scale,channels] f32. */
enum { WF_VAE_STAGES = 128 }; /* at most */
struct wf_vae_stage {
    int group;         /* of the residency: its weights */
    int64_t channels;  /* of its result */
    int scale;         /* pixels of its result along an axis, a pixel of its input */
    int reach;         /* pixels of its input around a window that the result there depends on */
    bool doubles_time; /* every frame but the clip's first becomes two */
    bool in_place;     /* where both are the same window, its result may take its input's place */
    bool holds, takes; /* its input is kept for a later stage; it is the one that takes it. One at a
                          time, of the same frames and size as the taker's own input */
    enum wf_vae_barrier barrier;
};

/* One call of a stage. */
struct wf_vae_pass {
    struct wf_part x;     /* at.h and at.w: at least what y's window reaches, coarser by scale */
    struct wf_part held;  /* where it takes; at least y's window, coarser by scale */
    struct wf_part y;     /* to be filled; lines at any pitch. In place: y is x */
    struct wf_size frame; /* of which x has a window */
    bool first;           /* x begins with the clip's first frame */
};

/* What a family's latents and frames are. */
struct wf_vae_geometry {
    int64_t channels;      /* of a latent */
    int64_t spatial;       /* pixels a latent row or column */
    int64_t temporal;      /* frames a latent frame; the first gives one where causal */
    int64_t patch;         /* the last stage gives [T,H/patch,W/patch,3 patch^2], as channel
                              (c patch + column) patch + row of a patch */
    bool causal;           /* looks back only, and carries what it has to: chunks have no edges */
    bool frames_first;     /* latents in files are [1,T,C,h,w], else [1,C,T,h,w] */
    int64_t chunk_overlap; /* in frames, where none is asked for; 0 where causal */
};

struct wf_vae;

/* What a job keeps of one decode, or of one tile of it where tiles know nothing of each other: the
   first member of every family's own struct, which adds causal caches. The VAE itself does not
   change while jobs run. */
struct wf_vae_state {
    struct wf_vae *vae;
    struct wf_work work; /* all that a stage takes is given back when it returns */
};

/* One thread at a time; the backend outlives the VAE. */
struct wf_vae_driver {
    const char *class_name; /* diffusers' */
    /* Reads the folder's config.json, finds and checks every weight, fills the row of stages and
       the geometry; loads nothing. */
    enum wf_status (*open)(struct wf_residency *res, struct wf_mem *mem, struct wf_vae **vae,
                           struct wf_error *err);
    void (*close)(struct wf_vae *vae);
    /* Begins a clip. The VAE and the pool outlive the state. */
    enum wf_status (*begin)(struct wf_vae *vae, struct wf_pool *pool, struct wf_vae_state **state,
                            struct wf_error *err);
    void (*end)(struct wf_vae_state **state);
    /* The i-th cache of what it carries from chunk to chunk, NULL after the last. NULL: there are
       none. */
    struct wf_causal_cache *(*cache)(struct wf_vae_state *state, int i);
    /* Of a stage with that barrier, before its runs: x is its whole input. NULL: there is none. */
    enum wf_status (*survey)(struct wf_vae_state *state, int stage, struct wf_tensor x,
                             struct wf_error *err);
    /* Computes y of a pass. The first stage's x are latents as the denoiser leaves them, the last
       one's y frames within -1..1 or a little beyond. Windows of the same frames come tile by tile,
       row by row; those of later frames after them. The stage's group is held. */
    enum wf_status (*run)(struct wf_vae_state *state, int stage, const struct wf_vae_pass *pass,
                          struct wf_error *err);
};

/* The first member of every family's own struct. */
struct wf_vae {
    const struct wf_vae_driver *driver;
    struct wf_residency *res;
    struct wf_backend *be;
    struct wf_mem *mem;
    struct wf_vae_geometry geometry;
    struct wf_vae_stage stages[WF_VAE_STAGES]; /* the family has its weights in a row of its own */
    int stage_count;
};

/* Opens the family that the folder's config.json names. The residency is the caller's, empty so
   far, and is closed before the VAE. */
enum wf_status wf_vae_open(struct wf_residency *res, struct wf_mem *mem, struct wf_vae **vae,
                           struct wf_error *err);
void wf_vae_close(struct wf_vae **vae);
/* The class names that are known, in a row. */
void wf_vae_names(char *out, size_t bytes);

/* For a family's open: adds a stage, begins its group of weights; *index is its place in the row.
 */
enum wf_status wf_vae_add_stage(struct wf_vae *vae, struct wf_vae_stage stage, int *index,
                                struct wf_error *err);
/* Frames that latents frames give at the clip's start, or (first false) after it. */
int64_t wf_vae_frames(const struct wf_vae *vae, int64_t latent_frames, bool first);

extern const struct wf_vae_driver wf_vae_wan, wf_vae_svd;

#endif
