/* Stable Video Diffusion, image to video: CLIP's image encoder, the VAE's encoder, the UNet and the
   VAE's decoder. */

#include "engine/encoders/clip_normalisation.h"
#include "engine/encoders/clip_vision.h"
#include "engine/models/family.h"
#include "engine/models/size.h"
#include "engine/place.h"
#include "io/file.h"
#include "io/image.h"
#include "temporal/svd_unet.h"
#include "vae/svd_encoder.h"

/* At most: of a clip, in pixels a side and in frames. */
enum { MOST_SIDE = 16384, MOST_FRAMES = 4096 };

/* The conditions, by number. */
enum { EMBEDS, LATENTS };

/* The arguments of diffusers' UNetSpatioTemporalConditionModel and AutoencoderKLTemporalDecoder. */
#define UNET_KEYS                                                                                  \
    "sample_size in_channels out_channels down_block_types up_block_types block_out_channels "     \
    "addition_time_embed_dim projection_class_embeddings_input_dim layers_per_block "              \
    "cross_attention_dim transformer_layers_per_block num_attention_heads num_frames"
#define VAE_KEYS                                                                                   \
    "in_channels out_channels down_block_types block_out_channels layers_per_block "               \
    "latent_channels sample_size scaling_factor force_upcast"

struct svd_pipeline {
    struct weft_model *model;
    struct wf_clip_vision *image_encoder;
    struct wf_clip_normalisation normalisation;
    struct wf_svd_encoder *vae_encoder;
    struct wf_svd_unet *unet;
};

/* A job's. */
struct svd_state {
    struct svd_pipeline *pipeline;
    struct wf_svd_run *run;
    struct wf_image image;
    int width, height;
    enum wf_image_fit fit;
    double noise;
    double ids[WF_SVD_IDS];
};

/* --- the model --- */

static void svd_close(void *pipeline)
{
    struct svd_pipeline *p = pipeline;
    wf_svd_unet_close(&p->unet);
    wf_svd_encoder_close(&p->vae_encoder);
    wf_clip_vision_close(&p->image_encoder);
    wf_free(p);
}

static enum wf_status check_widths(const struct svd_pipeline *p, struct wf_error *err)
{
    const struct wf_svd_unet_config *c = wf_svd_unet_get_config(p->unet);
    const int64_t latents = p->model->vae->geometry.channels;
    const int64_t embeds = wf_clip_vision_width(p->image_encoder);
    if (c->out_channels != latents || c->in_channels != 2 * latents)
        return wf_fail(err, WF_REFUSED,
                       "%s: the unet has %lld channels in and %lld out, the VAE %lld; expected "
                       "twice and once the VAE's, the parts are not of one model",
                       p->model->folder, (long long)c->in_channels, (long long)c->out_channels,
                       (long long)latents);
    if (c->cross_dim != embeds)
        return wf_fail(err, WF_REFUSED,
                       "%s: the unet's cross_attention_dim is %lld, the image encoder's "
                       "projection_dim %lld; the parts are not of one model",
                       p->model->folder, (long long)c->cross_dim, (long long)embeds);
    return WF_OK;
}

static enum wf_status open_parts(struct svd_pipeline *p, struct wf_error *err)
{
    struct weft_model *m = p->model;
    struct wf_residency *image, *vae, *unet;
    char path[WF_PATH_BYTES];
    WF_TRY(wf_model_open_vae(m, err));
    WF_TRY(wf_model_path(m, "feature_extractor/preprocessor_config.json", path, err));
    WF_TRY(wf_clip_normalisation_read(path, &p->normalisation, err));
    WF_TRY(wf_model_weights(m, "image_encoder", &image, err));
    WF_TRY(wf_clip_vision_open(image, m->engine->mem, &p->image_encoder, err));
    WF_TRY(wf_model_weights(m, "vae_encoder", &vae, err));
    WF_TRY(wf_svd_encoder_open(vae, m->engine->mem, &p->vae_encoder, err));
    WF_TRY(wf_model_weights(m, "unet", &unet, err));
    WF_TRY(wf_svd_unet_open(unet, m->engine->mem, &p->unet, err));
    return check_widths(p, err);
}

static enum wf_status svd_open(struct weft_model *model, void **pipeline, struct wf_error *err)
{
    struct svd_pipeline *p = wf_calloc(model->engine->mem, WF_MEM_MISC, 1, sizeof *p);
    if (!p)
        return wf_fail_memory(err, "model", sizeof *p);
    p->model = model;
    const enum wf_status status = open_parts(p, err);
    if (status != WF_OK) {
        svd_close(p);
        return status;
    }
    *pipeline = p;
    return WF_OK;
}

/* How many frames the model was trained with stands in the UNet's configuration. */
static enum wf_status svd_read_defaults(const struct weft_model *model,
                                        struct wf_defaults *defaults, struct wf_error *err)
{
    char path[WF_PATH_BYTES];
    struct wf_json config = {0};
    int64_t frames = defaults->num_frames;
    WF_TRY(wf_model_path(model, "unet/config.json", path, err));
    if (!wf_file_is_there(path))
        return WF_OK; /* what decodes alone needs no UNet */
    WF_TRY(wf_json_open(path, &config, err));
    const enum wf_status status = wf_json_int(&config, "num_frames", 1, MOST_FRAMES, &frames, err);
    wf_json_close(&config);
    defaults->num_frames = (int)frames;
    return status;
}

static enum wf_status svd_check(struct weft_model *model, const struct weft_request *r,
                                int64_t dims[4], struct wf_error *err)
{
    const struct wf_vae_geometry *g = &model->vae->geometry;
    WF_TRY(wf_size_check_side("width", r->width, g->spatial, MOST_SIDE, err));
    WF_TRY(wf_size_check_side("height", r->height, g->spatial, MOST_SIDE, err));
    if (r->num_frames < 1 || r->num_frames > MOST_FRAMES)
        return wf_fail(err, WF_REFUSED, "frames: %d is not possible; choose 1 to %d", r->num_frames,
                       MOST_FRAMES);
    dims[0] = r->num_frames;
    dims[1] = r->height / g->spatial;
    dims[2] = r->width / g->spatial;
    dims[3] = g->channels;
    return WF_OK;
}

/* --- a job --- */

static void svd_finish(void *state)
{
    struct svd_state *s = state;
    wf_svd_run_close(&s->run);
    wf_image_close(&s->image);
    wf_free(s);
}

/* In even steps from the first frame to the last. */
static double svd_guidance(const struct weft_request *r, int64_t frame, int64_t frames)
{
    const double part = frames > 1 ? (double)frame / (double)(frames - 1) : 0;
    return r->min_guidance_scale + part * (r->max_guidance_scale - r->min_guidance_scale);
}

static enum wf_status svd_prepare(void *pipeline, const struct weft_request *r, int halves,
                                  void **state, struct wf_error *err)
{
    static const enum wf_image_fit fits[] = {[WEFT_FIT_STRETCH] = WF_FIT_STRETCH,
                                             [WEFT_FIT_CROP] = WF_FIT_CROP,
                                             [WEFT_FIT_PAD] = WF_FIT_PAD};
    struct svd_pipeline *p = pipeline;
    struct wf_mem *mem = p->model->engine->mem;
    struct svd_state *s = wf_calloc(mem, WF_MEM_MISC, 1, sizeof *s);
    if (!s)
        return wf_fail_memory(err, "job", sizeof *s);
    *s = (struct svd_state){
        .pipeline = p,
        .width = r->width,
        .height = r->height,
        .fit = fits[r->fit],
        .noise = r->noise_aug_strength,
        /* The model learned a rate less one. */
        .ids = {(double)r->fps_num / r->fps_den - 1, r->motion_bucket_id, r->noise_aug_strength}};
    enum wf_status status = wf_model_backend(p->model, "unet")->is_plan
                                ? wf_image_measure(r->image, mem, &s->image, err)
                                : wf_image_read(r->image, mem, &s->image, err);
    if (status == WF_OK)
        status = wf_svd_run_open(p->unet, halves, &s->run, err);
    if (status != WF_OK) {
        svd_finish(s);
        return status;
    }
    *state = s;
    return WF_OK;
}

/* --- encoding --- */

/* From where it was computed to the denoiser. */
static enum wf_status bring(const struct svd_state *s, struct wf_backend *from, struct wf_tensor x,
                            struct wf_tensor y)
{
    struct wf_backend *to = wf_model_backend(s->pipeline->model, "unet");
    return from == to ? wf_copy(to, &(struct wf_copy){.x = x, .y = y}) : wf_cross(from, x, to, y);
}

/* What an encoder is given, as diffusers makes it of the picture: values [rows,columns,3]. */
static enum wf_status clip_pixels(const struct svd_state *s, int size, float *values,
                                  struct wf_error *err)
{
    const struct svd_pipeline *p = s->pipeline;
    const struct wf_clip_normalisation *n = &p->normalisation;
    WF_TRY(wf_image_antialias(&s->image, size, size, values, p->model->engine->mem, err));
    for (size_t i = 0; !s->image.blank && i < (size_t)size * (size_t)size * 3; i++)
        values[i] = (values[i] - n->mean[i % 3]) / n->std[i % 3];
    return WF_OK;
}

/* noise [3,height,width], as torch draws it. */
static void add_noise(const struct svd_state *s, const struct wf_image *image, const float *noise,
                      float *values)
{
    const size_t pixels = (size_t)image->width * (size_t)image->height;
    for (size_t i = 0; i < 3 * pixels; i++) {
        const float value = (float)image->rgb[i] / 255.0f;
        values[i] = 2.0f * value - 1.0f + (float)s->noise * noise[i % 3 * pixels + i / 3];
    }
}

static enum wf_status vae_pixels(const struct svd_state *s, struct wf_generator *generator,
                                 float *values, struct wf_error *err)
{
    struct wf_mem *mem = s->pipeline->model->engine->mem;
    struct wf_image image = {0};
    float *noise = NULL;
    WF_TRY(
        wf_generator_normal(generator, mem, (size_t)s->width * (size_t)s->height * 3, &noise, err));
    const enum wf_status status =
        wf_image_resize(&s->image, s->width, s->height, s->fit, mem, &image, err);
    if (status == WF_OK && !image.blank)
        add_noise(s, &image, noise, values);
    wf_image_close(&image);
    wf_free(noise);
    return status;
}

/* values: room for the pixels, on the host. */
static enum wf_status encode_embeds(const struct svd_state *s, struct wf_backend *be,
                                    struct wf_arena *arena, float *values, struct wf_tensor embeds,
                                    struct wf_error *err)
{
    const struct svd_pipeline *p = s->pipeline;
    const int size = (int)wf_clip_vision_size(p->image_encoder);
    struct wf_tensor pixels, out;
    WF_TRY(clip_pixels(s, size, values, err));
    WF_TRY(wf_tensor_new(arena, WF_F32, &pixels, err, WF_DIMS(size, size, 3)));
    WF_TRY(wf_tensor_new(arena, WF_F32, &out, err, 2, embeds.dim));
    WF_TRY(wf_upload(be, pixels, values));
    WF_TRY(wf_clip_vision_encode(p->image_encoder, pixels, out, arena, err));
    return bring(s, be, out, embeds);
}

static enum wf_status encode_latents(const struct svd_state *s, struct wf_backend *be,
                                     struct wf_arena *arena, const float *values,
                                     struct wf_tensor latents, struct wf_error *err)
{
    struct wf_tensor pixels, out;
    WF_TRY(wf_tensor_new(arena, WF_F32, &pixels, err, WF_DIMS(1, s->height, s->width, 3)));
    WF_TRY(wf_tensor_new(arena, WF_F32, &out, err, 4, latents.dim));
    WF_TRY(wf_upload(be, pixels, values));
    WF_TRY(wf_svd_encoder_encode(s->pipeline->vae_encoder, pixels, out, arena, err));
    return bring(s, be, out, latents);
}

/* Room for pixels on the host. */
static enum wf_status new_pixels(const struct svd_state *s, size_t count, float **values,
                                 struct wf_error *err)
{
    *values =
        wf_alloc(s->pipeline->model->engine->mem, WF_MEM_ACTIVATIONS, count * sizeof **values);
    return *values ? WF_OK : wf_fail_memory(err, "image", count * sizeof **values);
}

static enum wf_status image_embeds(const struct svd_state *s, struct wf_tensor embeds,
                                   struct wf_error *err)
{
    struct wf_backend *be = wf_model_backend(s->pipeline->model, "image_encoder");
    const size_t size = (size_t)wf_clip_vision_size(s->pipeline->image_encoder);
    struct wf_arena own;
    float *values;
    WF_TRY(new_pixels(s, size * size * 3, &values, err));
    wf_arena_init(&own, wf_backend_source(be));
    const enum wf_status status = encode_embeds(s, be, &own, values, embeds, err);
    wf_arena_close(&own);
    wf_free(values);
    return status;
}

static enum wf_status image_latents(const struct svd_state *s, struct wf_generator *generator,
                                    struct wf_tensor latents, struct wf_error *err)
{
    struct wf_backend *be = wf_model_backend(s->pipeline->model, "vae");
    struct wf_arena own;
    float *values;
    WF_TRY(new_pixels(s, (size_t)s->width * (size_t)s->height * 3, &values, err));
    wf_arena_init(&own, wf_backend_source(be));
    enum wf_status status = vae_pixels(s, generator, values, err);
    if (status == WF_OK)
        status = encode_latents(s, be, &own, values, latents, err);
    wf_arena_close(&own);
    wf_free(values);
    return status;
}

static enum wf_status svd_encode(void *state, struct wf_generator *generator,
                                 struct wf_arena *arena, struct wf_condition *conditions,
                                 struct wf_error *err)
{
    const struct svd_state *s = state;
    const struct svd_pipeline *p = s->pipeline;
    const struct wf_vae_geometry *g = &p->model->vae->geometry;
    struct wf_condition *embeds = &conditions[EMBEDS], *latents = &conditions[LATENTS];
    embeds->rows = 1;
    WF_TRY(wf_tensor_new(arena, WF_F32, &embeds->value, err,
                         WF_DIMS(1, wf_clip_vision_width(p->image_encoder))));
    WF_TRY(wf_tensor_new(arena, WF_F32, &latents->value, err,
                         WF_DIMS(1, s->height / g->spatial, s->width / g->spatial, g->channels)));
    WF_TRY(image_embeds(s, embeds->value, err));
    return image_latents(s, generator, latents->value, err);
}

static enum wf_status svd_condition(void *state, const struct wf_condition *conditions,
                                    struct wf_arena *arena, struct wf_error *err)
{
    struct svd_state *s = state;
    (void)arena;
    wf_image_close(&s->image);
    return wf_svd_set_condition(s->run, conditions[EMBEDS].value, conditions[LATENTS].value, s->ids,
                                err);
}

static enum wf_status svd_denoise(void *state, struct wf_tensor latents, double timestep,
                                  const struct wf_tensor *prediction, struct wf_arena *arena,
                                  struct wf_pool *pool, struct wf_error *err)
{
    const struct svd_state *s = state;
    (void)arena;
    return wf_svd_forward(s->run, latents, timestep, prediction, pool, err);
}

const struct wf_family wf_family_svd = {
    .name = "svd",
    .pipelines = {"StableVideoDiffusionPipeline"},
    .vae_class = "AutoencoderKLTemporalDecoder",
    .components = {{.name = "feature_extractor"},
                   {.name = "image_encoder", .base = "model", .stage = WEFT_STAGE_ENCODE},
                   {.name = "vae_encoder", .stage = WEFT_STAGE_ENCODE, .part_of = "vae"},
                   {.name = "unet",
                    .base = "diffusion_pytorch_model",
                    .stage = WEFT_STAGE_DENOISE,
                    .keys = UNET_KEYS},
                   {.name = "scheduler"},
                   {.name = "vae",
                    .base = "diffusion_pytorch_model",
                    .stage = WEFT_STAGE_DECODE,
                    .keys = VAE_KEYS,
                    /* One layer a block: diffusers makes the attention, and goes past it. */
                    .unread = "encoder. quant_conv. decoder.mid_block.attentions."}},
    .denoiser = "unet",
    .conditions = {[EMBEDS] = {"image_embeds", "the embeddings of the image"},
                   [LATENTS] = {"image_latents", "the latents of the image"}},
    .takes = WEFT_TAKES_IMAGE | WEFT_TAKES_GUIDANCE_RANGE | WEFT_TAKES_MOTION,
    .prediction = WF_PREDICT_V,
    .defaults = {.width = 1024,
                 .height = 576,
                 .num_frames = 14,
                 .steps = 25,
                 .fps_num = 7,
                 .fps_den = 1,
                 .motion_bucket_id = 127,
                 .min_guidance_scale = 1,
                 .max_guidance_scale = 3,
                 .noise_aug_strength = 0.02},
    .read_defaults = svd_read_defaults,
    .open = svd_open,
    .close = svd_close,
    .check = svd_check,
    .guidance = svd_guidance,
    .prepare = svd_prepare,
    .finish = svd_finish,
    .encode = svd_encode,
    .condition = svd_condition,
    .denoise = svd_denoise,
};
