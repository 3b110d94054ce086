/* Wan 2.1, text to video: UMT5, the Wan transformer, the causal VAE. */
#include <string.h>

#include "engine/encoders/umt5.h"
#include "engine/models/family.h"
#include "engine/models/size.h"
#include "engine/place.h"
#include "engine/text/text.h"
#include "temporal/wan_transformer.h"

enum { MAX_TEXT = 4096 };

/* The arguments of diffusers' WanTransformer3DModel and AutoencoderKLWan. */
#define TRANSFORMER_KEYS                                                                           \
    "patch_size num_attention_heads attention_head_dim in_channels out_channels text_dim "         \
    "freq_dim ffn_dim num_layers cross_attn_norm qk_norm eps image_dim added_kv_proj_dim "         \
    "rope_max_seq_len pos_embed_seq_len"
#define VAE_KEYS                                                                                   \
    "base_dim decoder_base_dim z_dim dim_mult num_res_blocks attn_scales temperal_downsample "     \
    "dropout latents_mean latents_std is_residual in_channels out_channels patch_size "            \
    "scale_factor_temporal scale_factor_spatial"

struct wan_pipeline {
    struct weft_model *model;
    struct wf_tokenizer *tokenizer; /* a twin's: borrowed */
    struct wf_umt5 *text_encoder;
    struct wf_wan *transformer;
};

/* A job's. */
struct wan_state {
    struct wan_pipeline *pipeline;
    struct wf_wan_run *run;
    int halves;
    int64_t rows;            /* max_sequence_length of the request */
    int32_t *ids[WF_HALVES]; /* rows of them, the second after the first */
    int id_count[WF_HALVES];
};

static void wan_close(void *pipeline)
{
    struct wan_pipeline *p = pipeline;
    wf_wan_close(&p->transformer);
    wf_umt5_close(&p->text_encoder);
    if (!p->model->twin_of)
        wf_tokenizer_close(&p->tokenizer);
    wf_free(p);
}

/* Wan 2.2 has the same class: a second transformer, or a time step a token. */
static enum wf_status refuse_unsupported(const struct wf_json *index, struct wf_error *err)
{
    bool per_token = false;
    WF_TRY(wf_json_bool(index, "expand_timesteps", &per_token, err));
    const json_t *boundary = json_object_get(index->root, "boundary_ratio");
    const json_t *second = json_array_get(json_object_get(index->root, "transformer_2"), 1);
    if (per_token || (boundary && !json_is_null(boundary)) || (second && !json_is_null(second)))
        return wf_fail(err, WF_REFUSED,
                       "%s: this is a Wan 2.2 model, which is not supported yet; use a Wan 2.1 "
                       "text-to-video folder; weft decode works",
                       index->path);
    return WF_OK;
}

static enum wf_status check_widths(const struct wan_pipeline *p, struct wf_error *err)
{
    const struct wf_wan_config *c = wf_wan_get_config(p->transformer);
    const struct wf_vae_geometry *g = &p->model->vae->geometry;
    if (c->in_channels != g->channels || c->out_channels != g->channels)
        return wf_fail(
            err, WF_REFUSED,
            "%s: the transformer has %lld channels in and %lld out, the VAE %lld; the parts "
            "are not of one model",
            p->model->folder, (long long)c->in_channels, (long long)c->out_channels,
            (long long)g->channels);
    if (c->text_dim != wf_umt5_width(p->text_encoder))
        return wf_fail(err, WF_REFUSED,
                       "%s: the transformer's text_dim is %lld, the text encoder's d_model %d; the "
                       "parts are not of one model",
                       p->model->folder, (long long)c->text_dim, wf_umt5_width(p->text_encoder));
    if (wf_tokenizer_size(p->tokenizer) > wf_umt5_vocabulary(p->text_encoder))
        return wf_fail(
            err, WF_REFUSED,
            "%s: the tokenizer has %d pieces, the text encoder's vocabulary %d; the parts are "
            "not of one model",
            p->model->folder, wf_tokenizer_size(p->tokenizer), wf_umt5_vocabulary(p->text_encoder));
    return WF_OK;
}

static enum wf_status open_tokenizer(struct wan_pipeline *p, struct wf_error *err)
{
    const struct weft_model *m = p->model;
    char path[WF_PATH_BYTES];
    if (m->twin_of) {
        p->tokenizer = ((const struct wan_pipeline *)m->twin_of->pipeline)->tokenizer;
        return WF_OK;
    }
    WF_TRY(wf_model_path(m, "tokenizer", path, err));
    return wf_tokenizer_open(path, m->engine->mem, &p->tokenizer, err);
}

static enum wf_status open_parts(struct wan_pipeline *p, struct wf_error *err)
{
    struct weft_model *m = p->model;
    const struct weft_engine *e = m->engine;
    struct wf_residency *text, *transformer;
    WF_TRY(refuse_unsupported(&m->index, err));
    WF_TRY(wf_model_open_vae(m, err));
    WF_TRY(open_tokenizer(p, err));
    WF_TRY(wf_model_weights(m, "text_encoder", &text, err));
    WF_TRY(wf_umt5_open(text, e->mem, &p->text_encoder, err));
    WF_TRY(wf_model_weights(m, "transformer", &transformer, err));
    WF_TRY(wf_wan_open(transformer, e->mem, &p->transformer, err));
    return check_widths(p, err);
}

static enum wf_status wan_open(struct weft_model *model, void **pipeline, struct wf_error *err)
{
    struct wan_pipeline *p = wf_calloc(model->engine->mem, WF_MEM_MISC, 1, sizeof *p);
    if (!p)
        return wf_fail_memory(err, "model", sizeof *p);
    p->model = model;
    const enum wf_status status = open_parts(p, err);
    if (status != WF_OK) {
        wan_close(p);
        return status;
    }
    *pipeline = p;
    return WF_OK;
}

/* A token spans patch latent frames; the first latent frame is one frame, the others are temporal
 * frames. */
static enum wf_status check_frames(int frames, int64_t temporal, int64_t patch, int64_t most,
                                   struct wf_error *err)
{
    const int64_t unit = temporal * patch, least = 1 + temporal * (patch - 1);
    if (frames < 1 || (frames - least) % unit)
        return wf_fail(err, WF_REFUSED,
                       "frames: %d is not a multiple of %lld plus %lld; the nearest is %lld",
                       frames, (long long)unit, (long long)(least % unit),
                       (long long)wf_size_nearest(frames, unit, least));
    if ((frames - 1) / temporal + 1 > most)
        return wf_fail(err, WF_REFUSED, "frames: %d is more than this model can do; at most %lld",
                       frames, (long long)((most - 1) * temporal + 1));
    return WF_OK;
}

static enum wf_status wan_check(struct weft_model *model, const struct weft_request *r,
                                int64_t dims[4], struct wf_error *err)
{
    const struct wan_pipeline *p = model->pipeline;
    const struct wf_wan_config *c = wf_wan_get_config(p->transformer);
    const struct wf_vae_geometry *g = &model->vae->geometry;
    WF_TRY(wf_size_check_side("width", r->width, g->spatial * c->patch[2],
                              c->rope_max * g->spatial * c->patch[2], err));
    WF_TRY(wf_size_check_side("height", r->height, g->spatial * c->patch[1],
                              c->rope_max * g->spatial * c->patch[1], err));
    WF_TRY(check_frames(r->num_frames, g->temporal, c->patch[0], c->rope_max * c->patch[0], err));
    if (r->max_sequence_length < 1 || r->max_sequence_length > MAX_TEXT)
        return wf_fail(err, WF_REFUSED, "max-sequence-length: %d is not possible; choose 1 to %d",
                       r->max_sequence_length, MAX_TEXT);
    dims[0] = (r->num_frames - 1) / g->temporal + 1;
    dims[1] = r->height / g->spatial;
    dims[2] = r->width / g->spatial;
    dims[3] = g->channels;
    return WF_OK;
}

static enum wf_status read_prompt(struct wan_state *s, int half, const char *text,
                                  struct wf_error *err)
{
    const struct weft_engine *engine = s->pipeline->model->engine;
    char *clean = NULL;
    int whole = 0;
    WF_TRY(wf_prompt_clean(text ? text : "", engine->mem, &clean, err));
    const enum wf_status status = wf_tokenizer_encode(
        s->pipeline->tokenizer, clean, s->ids[half], (int)s->rows, &s->id_count[half], &whole, err);
    wf_free(clean);
    if (status == WF_OK && whole > s->rows)
        wf_log(engine, WEFT_LOG_WARNING,
               "%s: %d tokens, of which the first %d are used; shorten it, or raise "
               "--max-sequence-length",
               half ? "negative prompt" : "prompt", whole, (int)s->rows);
    return status;
}

static void wan_finish(void *state)
{
    struct wan_state *s = state;
    wf_wan_run_close(&s->run);
    wf_free(s->ids[0]);
    wf_free(s);
}

static enum wf_status open_state(struct wan_state *s, const struct weft_request *r,
                                 struct wf_error *err)
{
    const char *const texts[WF_HALVES] = {r->prompt, r->negative_prompt};
    const size_t rows = (size_t)s->rows;
    s->ids[0] = wf_calloc(s->pipeline->model->engine->mem, WF_MEM_MISC, WF_HALVES * rows,
                          sizeof *s->ids[0]);
    if (!s->ids[0])
        return wf_fail_memory(err, "prompt", WF_HALVES * rows * sizeof *s->ids[0]);
    s->ids[1] = s->ids[0] + rows;
    for (int half = 0; half < s->halves; half++)
        WF_TRY(read_prompt(s, half, texts[half], err));
    return wf_wan_run_open(s->pipeline->transformer, &s->run, err);
}

static enum wf_status wan_prepare(void *pipeline, const struct weft_request *r, int halves,
                                  void **state, struct wf_error *err)
{
    struct wan_pipeline *p = pipeline;
    struct wan_state *s = wf_calloc(p->model->engine->mem, WF_MEM_MISC, 1, sizeof *s);
    if (!s)
        return wf_fail_memory(err, "job", sizeof *s);
    s->pipeline = p;
    s->halves = halves;
    s->rows = r->max_sequence_length;
    const enum wf_status status = open_state(s, r, err);
    if (status != WF_OK) {
        wan_finish(s);
        return status;
    }
    *state = s;
    return WF_OK;
}

static enum wf_status new_embeds(const struct wan_state *s, struct wf_arena *arena,
                                 struct wf_tensor *embeds, struct wf_error *err)
{
    for (int half = 0; half < s->halves; half++)
        WF_TRY(wf_tensor_new(arena, WF_F32, &embeds[half], err,
                             WF_DIMS(s->id_count[half], wf_umt5_width(s->pipeline->text_encoder))));
    return WF_OK;
}

static enum wf_status encode_texts(const struct wan_state *s, struct wf_arena *arena,
                                   const struct wf_tensor *embeds, struct wf_error *err)
{
    struct wf_umt5_text texts[WF_HALVES];
    for (int half = 0; half < s->halves; half++)
        texts[half] = (struct wf_umt5_text){s->ids[half], s->id_count[half], embeds[half]};
    return wf_umt5_encode(s->pipeline->text_encoder, texts, s->halves, arena, err);
}

/* The embeddings come to where the transformer computes. */
static enum wf_status encode_there(const struct wan_state *s, struct wf_arena *arena,
                                   struct wf_tensor *embeds, struct wf_error *err)
{
    const struct weft_model *m = s->pipeline->model;
    struct wf_backend *from = wf_model_backend(m, "text_encoder");
    struct wf_backend *to = wf_model_backend(m, "transformer");
    struct wf_tensor there[WF_HALVES];
    struct wf_arena own;
    WF_TRY(new_embeds(s, arena, embeds, err));
    if (from == to)
        return encode_texts(s, arena, embeds, err);
    wf_arena_init(&own, wf_backend_source(from));
    enum wf_status status = new_embeds(s, &own, there, err);
    if (status == WF_OK)
        status = encode_texts(s, &own, there, err);
    for (int half = 0; half < s->halves && status == WF_OK; half++)
        status = wf_cross(from, there[half], to, embeds[half]);
    wf_arena_close(&own);
    return status;
}

static enum wf_status wan_encode(void *state, struct wf_generator *generator,
                                 struct wf_arena *arena, struct wf_condition *conditions,
                                 struct wf_error *err)
{
    const struct wan_state *s = state;
    struct wf_tensor embeds[WF_HALVES];
    (void)generator;
    WF_TRY(encode_there(s, arena, embeds, err));
    for (int half = 0; half < s->halves; half++)
        conditions[half] = (struct wf_condition){.value = embeds[half], .rows = s->rows};
    return WF_OK;
}

static enum wf_status wan_condition(void *state, const struct wf_condition *conditions,
                                    struct wf_arena *arena, struct wf_error *err)
{
    const struct wan_state *s = state;
    for (int half = 0; half < s->halves; half++)
        WF_TRY(wf_wan_set_text(s->run, half, conditions[half].value, s->rows, arena, err));
    return WF_OK;
}

static double wan_guidance(const struct weft_request *r, int64_t frame, int64_t frames)
{
    (void)frame, (void)frames;
    return r->guidance_scale;
}

static enum wf_status wan_denoise(void *state, struct wf_tensor latents, double timestep,
                                  const struct wf_tensor *prediction, struct wf_arena *arena,
                                  struct wf_pool *pool, struct wf_error *err)
{
    const struct wan_state *s = state;
    (void)pool;
    return wf_wan_forward(s->run, latents, timestep, s->halves, prediction, arena, err);
}

const struct wf_family wf_family_wan = {
    .name = "wan",
    .pipelines = {"WanPipeline"},
    .vae_class = "AutoencoderKLWan",
    .components = {{.name = "tokenizer"},
                   {.name = "text_encoder",
                    .base = "model",
                    .stage = WEFT_STAGE_ENCODE,
                    .unread = "shared. encoder.embed_tokens."},
                   {.name = "transformer",
                    .base = "diffusion_pytorch_model",
                    .stage = WEFT_STAGE_DENOISE,
                    .keys = TRANSFORMER_KEYS},
                   {.name = "scheduler"},
                   {.name = "vae",
                    .base = "diffusion_pytorch_model",
                    .stage = WEFT_STAGE_DECODE,
                    .keys = VAE_KEYS,
                    .unread = "encoder. quant_conv."}},
    .denoiser = "transformer",
    .conditions = {{"prompt_embeds", "the embeddings of the prompt"},
                   {"negative_prompt_embeds", "the embeddings of the negative prompt"}},
    .takes = WEFT_TAKES_PROMPT | WEFT_TAKES_GUIDANCE | WEFT_TAKES_FLOW_SHIFT,
    .prediction = WF_PREDICT_FLOW,
    .defaults = {.width = 832,
                 .height = 480,
                 .num_frames = 81,
                 .steps = 50,
                 .max_sequence_length = 512,
                 .guidance_scale = 5,
                 .fps_num = 16,
                 .fps_den = 1,
                 .motion_bucket_id = -1,
                 .min_guidance_scale = -1,
                 .max_guidance_scale = -1,
                 .noise_aug_strength = -1},
    .open = wan_open,
    .close = wan_close,
    .check = wan_check,
    .prepare = wan_prepare,
    .finish = wan_finish,
    .encode = wan_encode,
    .guidance = wan_guidance,
    .condition = wan_condition,
    .denoise = wan_denoise,
};
