#!/usr/bin/env python3
"""The decoder alone: tiny VAEs, and for 1, 2, 3 and 5 latent frames the normalised latents and the frames that diffusers makes of them."""
import argparse
import os
import shutil

os.environ.update(HF_HUB_OFFLINE="1")
import diffusers  # noqa: E402
import torch  # noqa: E402
from diffusers.video_processor import VideoProcessor  # noqa: E402

import models  # noqa: E402
import record  # noqa: E402

CONFIGS = {
    "vae_a": (dict(base=2, decoder_base=3, mult=(1, 2, 2, 4), blocks=2), "f32"),
    "vae_b": (dict(base=3, mult=(1, 2, 4, 4), blocks=1, temporal=(True, False, True)), "bf16"),
    "vae_c": (dict(base=2, decoder_base=8, mult=(2, 1, 1, 2), blocks=1), "f16"),
}
SIZES = {1: (5, 3), 2: (2, 3), 3: (3, 2), 5: (2, 2)}             # latent frames: latent rows, columns


@torch.no_grad()
def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--out", required=True)
    ap.add_argument("--seed", type=int, default=0)
    args = ap.parse_args()
    torch.set_num_threads(2)
    models.quiet()
    for i, (name, (config, dtype)) in enumerate(CONFIGS.items()):
        folder, gen = os.path.join(args.out, name), torch.Generator().manual_seed(100 + i + args.seed)
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(os.path.join(folder, "expect"))
        path = os.path.join(folder, "model", "vae")
        made = models.vae(gen, **config).to(models.DTYPES[dtype])
        made.save_pretrained(path)
        models.write_index(os.path.join(folder, "model"), "WanPipeline", made)
        models.scrub(folder)
        vae = diffusers.AutoencoderKLWan.from_pretrained(path, dtype=torch.float32)
        mean = torch.tensor(vae.config.latents_mean).view(1, 16, 1, 1, 1)
        inverse = 1.0 / torch.tensor(vae.config.latents_std).view(1, 16, 1, 1, 1)
        for frames, (h, w) in SIZES.items():
            x = 1.2 * torch.randn(1, 16, frames, h, w, generator=gen)
            video = vae.decode(x / inverse + mean, return_dict=False)[0]       # as pipeline_wan.py writes it
            video = VideoProcessor(vae_scale_factor=8).postprocess_video(video, output_type="pt")[0].permute(0, 2, 3, 1)
            record.save(os.path.join(folder, "expect"), f"decode_{frames}", latents=x, frames=video)
            edge = ((video == 0) | (video == 1)).float().mean()
            print(f"{name}: {tuple(video.shape)} std {video.std():.3f}, clamped {100 * edge:.2f} %")


if __name__ == "__main__":
    main()
