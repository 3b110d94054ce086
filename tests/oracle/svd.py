"""Tiny Stable Video Diffusion models, every parameter drawn anew, written as a pipeline's folder; and what diffusers makes of a picture with
them, in the layout of `weft generate --dump`."""
import os
import random

import diffusers
import PIL.Image
import torch
from diffusers import (EulerDiscreteScheduler, StableVideoDiffusionPipeline, UNetSpatioTemporalConditionModel)
from diffusers.utils import load_image
from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModelWithProjection

import models
import record

SCHEDULER = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", interpolation_type="linear", num_train_timesteps=1000,
                 prediction_type="v_prediction", sigma_max=700.0, sigma_min=0.002, steps_offset=1, timestep_spacing="leading",
                 timestep_type="continuous", use_karras_sigmas=True)
CROSS = {True: ("CrossAttnDownBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal"), False: ("DownBlockSpatioTemporal", "UpBlockSpatioTemporal")}


def unet(gen, cross, widths=(32, 64), layers=1, heads=(4, 2), attends=(True, False), attends_up=None, ids=16, blocks=1, frames=3):
    attends_up = attends[::-1] if attends_up is None else attends_up
    model = models.randomise(UNetSpatioTemporalConditionModel(
        sample_size=32, in_channels=8, out_channels=4, block_out_channels=tuple(widths), layers_per_block=layers,
        down_block_types=tuple(CROSS[a][0] for a in attends), up_block_types=tuple(CROSS[a][1] for a in attends_up),
        num_attention_heads=heads, cross_attention_dim=cross, addition_time_embed_dim=ids, projection_class_embeddings_input_dim=3 * ids,
        transformer_layers_per_block=blocks, num_frames=frames), gen)
    x = torch.randn(1, 3, 8, 16, 16, generator=gen)
    out = model(x, torch.tensor(0.3), torch.randn(1, 1, cross, generator=gen), torch.tensor([[6.0, 127.0, 0.02]]), return_dict=False)[0]
    model.conv_out.weight.data *= 0.8 / out.std()
    model.conv_out.bias.data *= 0.2
    return model


def image_encoder(gen, hidden=32, layers=2, heads=4, inner=40, projection=32, size=224, patch=32):
    config = CLIPVisionConfig(hidden_size=hidden, intermediate_size=inner, projection_dim=projection, num_hidden_layers=layers,
                              num_attention_heads=heads, image_size=size, patch_size=patch, hidden_act="gelu")
    model = CLIPVisionModelWithProjection(config)
    for name, p in model.named_parameters():
        gain = p.ndim == 1 and name.endswith("weight")
        std = 0.2 if gain else 0.1 if name.endswith("bias") else p[0].numel() ** -0.5 if p.ndim > 1 else 1.0
        p.data = torch.randn(p.shape, generator=gen) * (1.0 if "embedding" in name and "patch" not in name else std) + (1.0 if gain else 0.0)
    return model.eval()


def build(case, folder):
    gen = torch.Generator().manual_seed(case["weights_seed"])
    clip = case.get("clip", {})
    parts = {"image_encoder": image_encoder(gen, **clip),
             "unet": unet(gen, clip.get("projection", 32), **case["unet"]),
             "vae": models.vae_svd(gen, **case["vae"])}
    for name, model in parts.items():
        model.to(models.DTYPES[case.get("store", "f32")]).save_pretrained(os.path.join(folder, name), safe_serialization=True)
    EulerDiscreteScheduler(**{**SCHEDULER, **case.get("scheduler", {})}).save_pretrained(os.path.join(folder, "scheduler"))
    CLIPImageProcessor(crop_size=224, size=224).save_pretrained(os.path.join(folder, "feature_extractor"))
    models.write_json(os.path.join(folder, "model_index.json"), {
        "_class_name": "StableVideoDiffusionPipeline", "_diffusers_version": diffusers.__version__,
        "feature_extractor": ["transformers", "CLIPImageProcessor"], "image_encoder": ["transformers", "CLIPVisionModelWithProjection"],
        "scheduler": ["diffusers", "EulerDiscreteScheduler"], "unet": ["diffusers", "UNetSpatioTemporalConditionModel"],
        "vae": ["diffusers", "AutoencoderKLTemporalDecoder"]})
    models.scrub(folder)


def picture(seed, width, height):
    """Smooth colours and an edge: what a resize treats differently."""
    gen = torch.Generator().manual_seed(seed)
    small = torch.rand(1, 3, 5, 7, generator=gen)
    x = torch.nn.functional.interpolate(small, size=(height, width), mode="bicubic").clamp(0, 1)[0]
    x[:, height // 3:height // 2, width // 4:width // 2] = torch.rand(3, 1, 1, generator=gen)
    return PIL.Image.fromarray((x.permute(1, 2, 0) * 255).round().to(torch.uint8).numpy())


def draw_picture(case, path):
    image = picture(case["seed"] + 7, *case["image_size"])
    kwargs = {}
    if path.endswith(".jpg"):
        kwargs["quality"] = 88
        if case.get("orientation"):
            exif = PIL.Image.Exif()
            exif[0x0112] = case["orientation"]
            kwargs["exif"] = exif
    image.save(path, **kwargs)


def load(folder):
    pipe = StableVideoDiffusionPipeline.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    for part in (pipe.image_encoder, pipe.unet, pipe.vae):
        part.to(torch.float32)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@torch.no_grad()
def run(pipe, case, path, chunk=None, latents=None):
    seen = {"steps": []}

    def keep(name, function):
        def kept(*args, **kwargs):
            seen[name] = function(*args, **kwargs)
            return seen[name]
        return kept

    def keep_step(_pipe, _i, _t, kwargs):
        seen["steps"].append(kwargs["latents"].clone())
        return {}

    originals = pipe._encode_image, pipe._encode_vae_image, pipe.prepare_latents
    pipe._encode_image = keep("image_embeds", originals[0])
    pipe._encode_vae_image = keep("image_latents", originals[1])
    pipe.prepare_latents = keep("initial", originals[2])
    seen["frames"] = torch.from_numpy(pipe(
        load_image(path), height=case["height"], width=case["width"], num_frames=case["num_frames"], num_inference_steps=case["steps"],
        min_guidance_scale=case["min_guidance_scale"], max_guidance_scale=case["max_guidance_scale"], fps=case["fps"],
        motion_bucket_id=case["motion_bucket_id"], noise_aug_strength=case["noise_aug_strength"], decode_chunk_size=chunk, latents=latents,
        generator=torch.Generator("cpu").manual_seed(case["seed"]), callback_on_step_end=keep_step, output_type="np").frames[0])
    pipe._encode_image, pipe._encode_vae_image, pipe.prepare_latents = originals
    seen["image_embeds"], seen["image_latents"] = seen["image_embeds"][-1:], seen["image_latents"][-1:]
    return seen


def keep(folder, seen, pipe):
    os.makedirs(folder, exist_ok=True)
    record.save(folder, "image_embeds", image_embeds=seen["image_embeds"])
    record.save(folder, "image_latents", image_latents=seen["image_latents"])
    record.save(folder, "latents_initial", latents=seen["initial"] / pipe.scheduler.init_noise_sigma)
    for i, x in enumerate(seen["steps"]):
        record.save(folder, f"latents_step_{i:03d}", latents=x)
    record.save(folder, "latents", latents=seen["steps"][-1])
    record.save(folder, "frames", frames=seen["frames"])


def draw(seed):
    """A case from nowhere."""
    rng = random.Random(seed)
    pick = rng.choice
    levels = pick([2, 3, 3, 4])
    widths = [32 * rng.randint(1, 3) for _ in range(levels)]
    attends = [pick([True, True, False]) for _ in range(levels)]
    attends_up = [pick([True, False]) for _ in range(levels)]
    steps = pick([1, 2, 3, 4, 6])
    # One position at the deepest level, and a group of few channels there has next to no deviation: torch is 5e-4 from itself on two threads.
    least = max(4, 2 ** (levels - 1) + 1)
    frames = pick([2, 3, 5, 7])
    return dict(
        unet=dict(widths=widths, layers=pick([1, 2, [rng.randint(1, 2) for _ in range(levels)]]), heads=tuple(pick([1, 2, 4]) for _ in widths),
                  attends=attends, attends_up=attends_up, ids=pick([8, 16, 32]), blocks=pick([1, 1, 2]), frames=frames),
        vae=dict(widths=[32 * rng.randint(1, 2) for _ in range(4)], layers=pick([1, 2])),
        clip=dict(hidden=pick([16, 32, 48]), layers=rng.randint(1, 3), heads=pick([1, 2, 4]), inner=rng.randint(20, 80),
                  projection=pick([16, 24, 32]), patch=pick([28, 32, 56])),
        scheduler=dict(timestep_spacing=pick(["leading", "leading", "trailing"]), sigma_max=pick([700.0, 700.0, 80.0])),
        store=pick(["f32", "f16", "bf16"]), weights_seed=seed, seed=rng.getrandbits(31), width=8 * rng.randint(least, 12), height=8 * rng.randint(least, 12),
        num_frames=frames, steps=steps, min_guidance_scale=1.0, max_guidance_scale=pick([1.0, 3.0, round(rng.uniform(1.1, 4), 2)]),
        fps=rng.randint(1, 30), motion_bucket_id=rng.randint(0, 255), noise_aug_strength=pick([0.0, 0.02, round(rng.uniform(0, 0.3), 3)]),
        image=pick(["png", "jpg"]), image_size=(rng.randint(20, 400), rng.randint(20, 400)), orientation=pick([None, None, 3, 6, 8]))
