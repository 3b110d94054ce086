/* Inside Stable Video Diffusion's denoiser: its weights, what a run keeps, and what one forward
   shares between blocks. */
#ifndef WEFT_TEMPORAL_SVD_WEIGHTS_H
#define WEFT_TEMPORAL_SVD_WEIGHTS_H

#include "temporal/group_norm.h"
#include "temporal/svd_unet.h"

/* A residual block within frames, and one along time behind it. */
struct wf_svd_resnet {
    int64_t in, out;
    struct wf_group_norm norm1, norm2, time_norm1, time_norm2;
    struct wf_layer conv1, conv2, emb, time_conv1, time_conv2, time_emb;
    struct wf_layer shortcut; /* where the width changes */
    float spatial;            /* the share of the part within frames */
};

struct wf_svd_norm {
    struct wf_param weight, shift;
};

struct wf_svd_self_attention {
    struct wf_svd_norm norm;
    struct wf_layer q, k, v, out;
};

struct wf_svd_feed {
    struct wf_svd_norm norm;
    struct wf_layer in, out;
};

/* The condition is one token: whatever the query, attention gives its value. */
struct wf_svd_cross {
    struct wf_layer v, out;
    int index; /* among those of the denoiser */
};

struct wf_svd_block {
    struct wf_svd_feed first; /* along time alone */
    struct wf_svd_self_attention self;
    struct wf_svd_cross cross;
    struct wf_svd_feed feed;
};

struct wf_svd_transformer {
    int64_t width, heads;
    int blocks;
    struct wf_group_norm norm;
    struct wf_layer in, out, position_1, position_2;
    struct wf_svd_block *within, *over_time; /* blocks of each */
    float spatial;                           /* the share of the part within frames */
    int index;                               /* among those of the denoiser */
};

enum wf_svd_step_kind { WF_SVD_BLOCK, WF_SVD_DOWN, WF_SVD_UP };

/* The network is a row of steps. */
struct wf_svd_step {
    enum wf_svd_step_kind kind;
    int group;
    bool pops;  /* BLOCK: what was kept last is put behind its input */
    bool keeps; /* its result, for the way up */
    struct wf_svd_resnet resnet;
    bool attends;
    struct wf_svd_transformer transformer;
    struct wf_layer conv; /* DOWN, UP */
    /* UP: the same weights, for sizes that are not doubled; a group of their own, so that they are
       loaded where they are used. */
    struct wf_layer plain;
    int plain_group;
};

/* At most: of each level the layers down, one more up, a sampler each way; two in the middle. */
enum { WF_SVD_STEPS = WF_SVD_UNET_LEVELS * (2 * WF_SVD_UNET_LAYERS + 3) + 2 };

struct wf_svd_unet {
    struct wf_svd_unet_config config;
    struct wf_backend *be;
    struct wf_mem *mem;
    struct wf_residency *res;
    int embed_group, head_group;
    struct wf_layer conv_in, time_1, time_2, ids_1, ids_2, conv_out;
    struct wf_group_norm norm_out;
    struct wf_svd_step *steps;
    int step_count;
    int crosses, transformers; /* how many there are */
};

struct wf_svd_run {
    struct wf_svd_unet *unet;
    int halves;
    struct wf_tensor context; /* [halves,cross_dim] */
    struct wf_tensor image;   /* [1,h,w,in-out] */
    double ids[WF_SVD_IDS];
    struct wf_tensor added;      /* [1,D]: of the ids; data NULL until the first forward */
    int64_t frames;              /* that the positions are for; 0: none yet */
    struct wf_tensor *values;    /* by cross: [halves,width]; data NULL until the first forward */
    struct wf_tensor *positions; /* by transformer: [T,width]; likewise */
};

struct wf_svd_pass {
    struct wf_svd_run *run;
    struct wf_work work;
    struct wf_backend *be;
    int64_t frames;       /* T, of a half; the halves lie one after the other */
    struct wf_tensor emb; /* [1,D]: silu of time and ids */
};

enum wf_status wf_svd_unet_read_config(const struct wf_json *json,
                                       struct wf_svd_unet_config *config, struct wf_error *err);
/* Reads the configuration and declares every weight in the order of its use; loads none. */
enum wf_status wf_svd_unet_declare(struct wf_svd_unet *u, struct wf_error *err);

/* y [halves T,h,w,out] from x [halves T,h,w,..] with skip's channels behind x's (data NULL: none).
   The group is held, as in what follows. */
enum wf_status wf_svd_resnet_run(const struct wf_svd_pass *p, const struct wf_svd_resnet *r,
                                 struct wf_tensor x, struct wf_tensor skip, struct wf_tensor y);
/* y [n,H,W,C] from x [n,h,w,C]: half as many rows and columns, rounded up; twice as many, by an
   UPCONV; or to a size that wf_svd_doubles denies, one row or column less than twice, by the same
   weights as a CONV. */
enum wf_status wf_svd_halve(const struct wf_svd_pass *p, const struct wf_layer *layer,
                            struct wf_tensor x, struct wf_tensor y);
bool wf_svd_doubles(struct wf_tensor x, struct wf_tensor y);
enum wf_status wf_svd_double(const struct wf_svd_pass *p, const struct wf_layer *layer,
                             struct wf_tensor x, struct wf_tensor y);
enum wf_status wf_svd_enlarge(const struct wf_svd_pass *p, const struct wf_layer *layer,
                              struct wf_tensor x, struct wf_tensor y);
/* x [halves T,h,w,C] += what the transformer makes of it. */
enum wf_status wf_svd_transformer_run(const struct wf_svd_pass *p,
                                      const struct wf_svd_transformer *t, struct wf_tensor x);

/* A copy that stays until the run gives it back; *kept is set when it is there. */
enum wf_status wf_svd_keep(const struct wf_svd_unet *u, struct wf_tensor t, struct wf_tensor *kept);
/* y = layer(x), x [M,in] f32 and y [M,out] f32, whatever type the layer takes. */
enum wf_status wf_svd_linear(const struct wf_svd_pass *p, const struct wf_layer *layer,
                             struct wf_tensor x, enum wf_act act, struct wf_tensor y);
/* x += v [1,C] or [C] in every row of x [..,C]. */
enum wf_status wf_svd_add_row(struct wf_backend *be, struct wf_tensor v, struct wf_tensor x);

/* Of a 3x3 convolution of pictures. */
#define WF_SVD_PADDED .pad_h = {1, 1}, .pad_w = {1, 1}, .stride_t = 1

static inline struct wf_tensor wf_svd_half(const struct wf_svd_pass *p, struct wf_tensor t,
                                           int half)
{
    return wf_tensor_slice(t, 0, half * p->frames, p->frames);
}

#endif
