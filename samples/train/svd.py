# SPDX-License-Identifier: Apache-2.0
"""Trains a tiny Stable Video Diffusion on clips whose first frame says what will move where, and writes its folder.

usage: svd.py WORK vae [--minutes 12] | svd.py WORK unet [--minutes 45] | svd.py WORK assemble OUT | svd.py WORK still OUT.png

A circle moves to the right, a square down, a triangle to the left; from where it is, at its own size and in its own colour."""
import argparse
import copy
import math
import os
import time

import torch
from diffusers import AutoencoderKLTemporalDecoder, EulerDiscreteScheduler, UNetSpatioTemporalConditionModel
from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModelWithProjection

import shapes

SIZE, FRAMES, CROSS = 64, 10, 32
BF = torch.bfloat16


def clips(n):
    """[n, FRAMES, 3, SIZE, SIZE] in -1..1."""
    u = torch.rand
    p = {"color": torch.randint(0, 5, (n,)), "shape": torch.randint(0, 3, (n,)), "r": 9 + 3 * u(n)}
    way, edge = 26.0, p["r"] + 2
    low, high = edge, SIZE - edge
    at = lambda a, b: a + (b - a) * u(n)
    right, down, left = p["shape"] == 0, p["shape"] == 1, p["shape"] == 2
    p["x0"] = torch.where(right, at(low, high - way), torch.where(left, at(low + way, high), at(low, high)))
    p["y0"] = torch.where(down, at(low, high - way), at(low, high))
    p["dx"], p["dy"] = way * (right.float() - left.float()), way * down.float()
    grey = lambda: 0.04 + 0.07 * u(n, 1) + 0.01 * (u(n, 3) - 0.5) + torch.tensor([0., 0., 0.02])
    p["bg0"], p["bg1"], p["ang"] = grey(), grey(), u(n) * 2 * math.pi
    return shapes.render(p, FRAMES, SIZE).transpose(1, 2)


def make_vae():
    vae = AutoencoderKLTemporalDecoder(block_out_channels=(32, 32, 64), layers_per_block=1, latent_channels=4, sample_size=SIZE,
                                       down_block_types=("DownEncoderBlock2D",) * 3, scaling_factor=1.0, force_upcast=True)
    vae.encoder.conv_out.bias.data[4:] = -5
    return vae


def make_unet():
    return UNetSpatioTemporalConditionModel(
        sample_size=SIZE // 4, block_out_channels=(64, 96), layers_per_block=1, num_attention_heads=(2, 3), cross_attention_dim=CROSS,
        down_block_types=("DownBlockSpatioTemporal", "CrossAttnDownBlockSpatioTemporal"),
        up_block_types=("CrossAttnUpBlockSpatioTemporal", "UpBlockSpatioTemporal"), addition_time_embed_dim=32,
        projection_class_embeddings_input_dim=96, num_frames=FRAMES)


def make_image_encoder():
    """Of random values: the first frame's latents say all that is to be known."""
    torch.manual_seed(7)
    return CLIPVisionModelWithProjection(CLIPVisionConfig(hidden_size=32, intermediate_size=64, projection_dim=CROSS, num_hidden_layers=2,
                                                          num_attention_heads=2, image_size=224, patch_size=32, hidden_act="gelu")).eval()


class Trainer:
    """AdamW with a rate that rises and falls, and a moving average of the weights."""

    def __init__(self, model, minutes, rate, path):
        self.model, self.ema, self.path = model, copy.deepcopy(model).requires_grad_(False), path
        self.opt = torch.optim.AdamW(model.parameters(), rate, betas=(0.9, 0.98), weight_decay=1e-3)
        self.began = self.saved = time.time()
        self.minutes, self.rate, self.step, self.losses = minutes, rate, 0, []

    def progress(self):
        return (time.time() - self.began) / (60 * self.minutes)

    def take(self, loss):
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        done = min(1, self.progress())
        for group in self.opt.param_groups:
            group["lr"] = self.rate * min(1, (self.step + 1) / 100) * (0.5 * (1 + math.cos(math.pi * done)) * 0.98 + 0.02)
        self.opt.step()
        self.opt.zero_grad(set_to_none=True)
        self.step += 1
        with torch.no_grad():
            torch._foreach_lerp_(list(self.ema.parameters()), list(self.model.parameters()), 1 - min(0.997, self.step / (self.step + 9)))
        self.losses.append(loss.item())
        if self.step % 50 == 0:
            print(f"step {self.step}, {time.time() - self.began:.0f} s, loss {sum(self.losses) / len(self.losses):.4f}", flush=True)
            self.losses = []
        if time.time() - self.saved > 120:
            self.save()

    def save(self):
        self.saved = time.time()
        self.ema.save_pretrained(self.path)


def train_vae(work, minutes):
    t = Trainer(make_vae(), minutes, 2e-3, os.path.join(work, "vae"))
    while t.progress() < 1:
        x = clips(2)[:, :5] if t.progress() < 0.8 else clips(1)
        frames = x.flatten(0, 1)
        with torch.autocast("cpu", dtype=BF):
            d = t.model.encode(frames).latent_dist
            z = d.mean + torch.randn_like(d.mean) * d.std
            y = t.model.decode(z, num_frames=x.shape[1]).sample.float()
        e = y - frames
        gradient = e.diff(dim=-1).abs().mean() + e.diff(dim=-2).abs().mean()
        t.take(e.abs().mean() + 0.5 * gradient + 3e-4 * 0.5 * (d.mean ** 2 + d.var - d.logvar - 1).float().mean())
    t.save()
    with torch.no_grad():
        x = clips(16)
        z = t.ema.encode(x.flatten(0, 1)).latent_dist.mode()
        y = t.ema.decode(z, num_frames=FRAMES).sample.clamp(-1, 1)
    t.ema.register_to_config(scaling_factor=round(1 / z.std().item(), 5))
    t.save()
    print(f"PSNR {-10 * (((y - x.flatten(0, 1)) / 2) ** 2).mean().log10():.2f} dB, latents' deviation {z.std():.3f}")


def train_unet(work, minutes):
    vae = AutoencoderKLTemporalDecoder.from_pretrained(os.path.join(work, "vae")).eval()
    t = Trainer(make_unet(), minutes, 2e-3, os.path.join(work, "unet"))
    print(sum(p.numel() for p in t.model.parameters()), "parameters")
    batch, store = 8, []
    while t.progress() < 1:
        if len(store) < 6000:                                            # latents of clips are kept: encoding them again costs a third
            with torch.no_grad(), torch.autocast("cpu", dtype=BF):
                x = clips(batch)
                z = vae.encode(x.flatten(0, 1)).latent_dist.mode().unflatten(0, (batch, FRAMES)).float()
                first = vae.encode(x[:, 0] + 0.02 * torch.randn_like(x[:, 0])).latent_dist.mode().float()
            store += list(zip(z.to(torch.float16), first.to(torch.float16)))
        pick = torch.randint(0, len(store), (batch,)) if len(store) >= 6000 else range(len(store) - batch, len(store))
        z = torch.stack([store[i][0] for i in pick]).float() * vae.config.scaling_factor
        first = torch.stack([store[i][1] for i in pick]).float()
        keep = (torch.rand(batch) > 0.12).float()
        u = (torch.arange(batch) + torch.rand(batch)) / batch
        sigma = torch.exp(0.4 + 1.7 * torch.erfinv(2 * u.clamp(1e-3, 1 - 1e-3) - 1) * 2 ** 0.5).view(-1, 1, 1, 1, 1)
        x = z + sigma * torch.randn_like(z)
        scale = (sigma ** 2 + 1).sqrt()
        image = (first * keep.view(-1, 1, 1, 1))[:, None].expand(-1, FRAMES, -1, -1, -1)
        ids = torch.tensor([[6.0, 127.0, 0.02]]).expand(batch, -1)
        with torch.autocast("cpu", dtype=BF):
            v = t.model(torch.cat([x / scale, image], 2), 0.25 * sigma.flatten().log(), torch.zeros(batch, 1, CROSS), ids, return_dict=False)[0]
        target = (x / scale ** 2 - z) * scale / sigma
        t.take((v.float() - target).square().mean())
    t.save()


def assemble(work, out):
    """One folder in bf16."""
    parts = {"vae": AutoencoderKLTemporalDecoder.from_pretrained(os.path.join(work, "vae")),
             "unet": UNetSpatioTemporalConditionModel.from_pretrained(os.path.join(work, "unet")), "image_encoder": make_image_encoder()}
    for name, model in parts.items():
        model.to(BF).save_pretrained(os.path.join(out, name))
    EulerDiscreteScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", prediction_type="v_prediction", sigma_max=700.0, sigma_min=0.002,
        steps_offset=1, timestep_spacing="leading", timestep_type="continuous", use_karras_sigmas=True).save_pretrained(f"{out}/scheduler")
    CLIPImageProcessor(crop_size=224, size=224).save_pretrained(f"{out}/feature_extractor")
    index = {"_class_name": "StableVideoDiffusionPipeline", "_diffusers_version": "0.42.0",
             "feature_extractor": ["transformers", "CLIPImageProcessor"], "image_encoder": ["transformers", "CLIPVisionModelWithProjection"],
             "scheduler": ["diffusers", "EulerDiscreteScheduler"], "unet": ["diffusers", "UNetSpatioTemporalConditionModel"],
             "vae": ["diffusers", "AutoencoderKLTemporalDecoder"]}
    import json
    for name, value in ("model_index.json", index), ("weft.json", {"width": SIZE, "height": SIZE, "steps": 20}):
        with open(os.path.join(out, name), "w") as f:
            json.dump(value, f, indent=1)
            f.write("\n")


def still(out):
    from PIL import Image
    x = clips(1)[0, 0]
    Image.fromarray(((x + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()).save(out)


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("work")
    a.add_argument("what", choices=["vae", "unet", "assemble", "still"])
    a.add_argument("out", nargs="?")
    a.add_argument("--minutes", type=float, default=12)
    a.add_argument("--threads", type=int, default=2)
    a.add_argument("--seed", type=int, default=1)
    a = a.parse_args()
    torch.set_num_threads(a.threads)
    torch.manual_seed(a.seed)
    if a.what == "vae":
        train_vae(a.work, a.minutes)
    elif a.what == "unet":
        train_unet(a.work, a.minutes)
    elif a.what == "assemble":
        assemble(a.work, a.out)
    else:
        still(a.out)


if __name__ == "__main__":
    main()
