/* Stable Video Diffusion, image to video: as much of it as the decoding needs. */
#include "engine/models/family.h"

/* The arguments of diffusers' AutoencoderKLTemporalDecoder. */
#define VAE_KEYS                                                                                   \
    "in_channels out_channels down_block_types block_out_channels layers_per_block "               \
    "latent_channels sample_size scaling_factor force_upcast"

static enum wf_status svd_open(struct weft_model *model, void **pipeline, struct wf_error *err)
{
    *pipeline = NULL;
    return wf_fail(err, WF_REFUSED,
                   "%s: this is a Stable Video Diffusion model, which does not generate yet; weft "
                   "decode works",
                   model->folder);
}

const struct wf_family wf_family_svd = {
    .name = "svd",
    .pipelines = {"StableVideoDiffusionPipeline"},
    .vae_class = "AutoencoderKLTemporalDecoder",
    .components = {{.name = "feature_extractor"},
                   {.name = "image_encoder", .base = "model", .stage = WEFT_STAGE_ENCODE},
                   {.name = "unet", .base = "diffusion_pytorch_model", .stage = WEFT_STAGE_DENOISE},
                   {.name = "scheduler"},
                   {.name = "vae",
                    .base = "diffusion_pytorch_model",
                    .stage = WEFT_STAGE_DECODE,
                    .keys = VAE_KEYS}},
    .denoiser = "unet",
    .defaults = {.width = 1024,
                 .height = 576,
                 .num_frames = 14,
                 .steps = 25,
                 .guidance_scale = 3,
                 .fps_num = 7,
                 .fps_den = 1},
    .open = svd_open,
};
