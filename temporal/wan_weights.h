/* Inside Wan's denoiser: its weights, and what a run keeps. */
#ifndef WEFT_TEMPORAL_WAN_WEIGHTS_H
#define WEFT_TEMPORAL_WAN_WEIGHTS_H

#include "temporal/layers.h"
#include "temporal/wan_transformer.h"

struct wf_wan_attention {
    struct wf_layer q, k, v, out;
    struct wf_param norm_q, norm_k;
};

struct wf_wan_block {
    int group;
    struct wf_wan_attention self, cross;
    struct wf_param norm2_weight, norm2_bias; /* before cross-attention; with cross_attn_norm */
    struct wf_layer ffn_in, ffn_out;
    struct wf_param table; /* shift, scale, gate of self-attention, then of the feed-forward */
};

/* What a prompt is to the network. */
struct wf_wan_text {
    struct wf_tensor context;  /* [L,d] for products: the real rows, then one for all padding, if
                                  there is any */
    struct wf_tensor key_bias; /* [L]: 0, and ln(count) for the row that stands for count rows */
    struct wf_tensor *keys;    /* [L,d] a layer; data NULL until the first forward */
    struct wf_tensor *values;
};

struct wf_wan {
    struct wf_wan_config config;
    struct wf_backend *be;
    struct wf_mem *mem;
    struct wf_residency *res;
    int64_t d;

    int embed_group, head_group;
    struct wf_layer patch_embedding, time_1, time_2, time_proj, text_1, text_2, proj_out;
    struct wf_param table; /* shift and scale of the head */
    struct wf_wan_block *blocks;
};

struct wf_wan_run {
    struct wf_wan *wan;
    struct wf_wan_text texts[WF_WAN_HALVES];
    int64_t grid[3];           /* tokens along each axis that the tables are for; 0: none */
    struct wf_tensor cos, sin; /* [tokens,head_dim/2] */
};

/* Makes the rotary tables for that grid of tokens, if they are not. */
enum wf_status wf_wan_set_positions(struct wf_wan_run *run, const int64_t grid[3]);
/* Memory that stays until the run gives it back. */
enum wf_status wf_wan_take(const struct wf_wan *w, enum wf_dtype dtype, struct wf_tensor *t,
                           int rank, const int64_t *dims);

/* What the layer takes. */
static inline enum wf_dtype wf_wan_type_for(const struct wf_wan *w, const struct wf_layer *layer)
{
    return wf_operand_type(w->be, &layer->weight);
}

#endif
