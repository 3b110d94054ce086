#!/usr/bin/env python3
"""What Stable Video Diffusion makes of its picture: tiny CLIP vision towers and VAE encoders, and what transformers and diffusers compute
with them. Every expectation is compared with fp64's before it is kept."""
import argparse
import os
import shutil

os.environ.update(HF_HUB_OFFLINE="1")
import diffusers  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
from diffusers import AutoencoderKLTemporalDecoder  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection  # noqa: E402

import models  # noqa: E402
import record  # noqa: E402

CLIP = {  # the second is as wide as what is computed in bf16; patches leave two pixels over
    "clip_vision_a": (311, dict(hidden_size=32, intermediate_size=44, projection_dim=24, num_hidden_layers=3, num_attention_heads=4,
                                image_size=28, patch_size=7, hidden_act="gelu"), "f16"),
    "clip_vision_b": (312, dict(hidden_size=128, intermediate_size=136, projection_dim=20, num_hidden_layers=1, num_attention_heads=2,
                                image_size=14, patch_size=3, hidden_act="gelu_pytorch_tanh", layer_norm_eps=1e-3), "bf16"),
}
VAE = {  # height and width of the picture last
    "svd_encoder_a": (321, dict(widths=(32, 64, 32), layers=1), "f16", (24, 40)),
    "svd_encoder_b": (322, dict(widths=(32, 32), layers=2, latent_channels=3, force_upcast=False), "bf16", (18, 14)),
}


def start(folder):
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(os.path.join(folder, "expect"))
    return os.path.join(folder, "model"), os.path.join(folder, "expect")


def keep(expect, name, made, exact):
    """Records what fp64 confirms."""
    noise = (made.double() - exact).norm() / exact.norm()
    assert noise < 2e-6, (expect, noise)
    record.save(expect, name, **{name: made})
    print(f"{expect}/{name}: {tuple(made.shape)} std {made.std():.3f}, from fp64 {noise:.1e}", flush=True)


def write_clip(name, out, seed):
    own_seed, config, dtype = CLIP[name]
    gen = torch.Generator().manual_seed(own_seed + seed)
    model, expect = start(os.path.join(out, name))
    made = models.randomise(CLIPVisionModelWithProjection(CLIPVisionConfig(**config)), gen).to(models.DTYPES[dtype])
    made.save_pretrained(model)
    models.scrub(model)
    made = CLIPVisionModelWithProjection.from_pretrained(model, dtype=torch.float32)
    pixels = torch.randn(1, 3, config["image_size"], config["image_size"], generator=gen)
    embeds = made(pixels).image_embeds
    record.save(expect, "pixels", pixels=pixels[0].permute(1, 2, 0))
    keep(expect, "image_embeds", embeds, made.double()(pixels.double()).image_embeds)


def drop_decoder(model):
    """Nothing here reads it."""
    path = os.path.join(model, "diffusion_pytorch_model.safetensors")
    save_file({k: v for k, v in load_file(path).items() if not k.startswith("decoder.")}, path, {"format": "pt"})


def write_vae(name, out, seed):
    own_seed, config, dtype, size = VAE[name]
    gen = torch.Generator().manual_seed(own_seed + seed)
    model, expect = start(os.path.join(out, name))
    models.vae_svd(gen, **config).to(models.DTYPES[dtype]).save_pretrained(model)
    models.scrub(model)
    made = AutoencoderKLTemporalDecoder.from_pretrained(model, dtype=torch.float32)
    image = torch.rand(1, 3, *size, generator=gen) * 2 - 1
    mean = made.encode(image).latent_dist.mode()
    record.save(expect, "image", image=image.permute(0, 2, 3, 1))
    keep(expect, "latents", mean.permute(0, 2, 3, 1), made.double().encode(image.double()).latent_dist.mode().permute(0, 2, 3, 1))
    drop_decoder(model)


@torch.no_grad()
def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--out", required=True)
    ap.add_argument("--seed", type=int, default=0, help="added to every seed")
    args = ap.parse_args()
    torch.set_num_threads(2)
    models.quiet()
    print(f"diffusers {diffusers.__version__}, transformers {transformers.__version__}, torch {torch.__version__}")
    for name in CLIP:
        write_clip(name, args.out, args.seed)
    for name in VAE:
        write_vae(name, args.out, args.seed)


if __name__ == "__main__":
    main()
