# SPDX-License-Identifier: Apache-2.0
"""Trains the VAE's decoder alone on what the transformer makes: a drawn clip's latents get some noise, the transformer takes
it off in a few steps, and the decoder learns to give the drawn clip back. The encoder, and so the latents, stay as they are."""
import argparse
import copy
import math
import random
import time

import torch
from diffusers import AutoencoderKLWan, WanTransformer3DModel
from transformers import UMT5EncoderModel

import fastwan
import shapes
import text

a = argparse.ArgumentParser(description=__doc__)
a.add_argument("--vae", required=True)
a.add_argument("--dit", required=True, help="folder with transformer/ and text_encoder/")
a.add_argument("--spiece", required=True)
a.add_argument("--out", required=True)
a.add_argument("--minutes", type=float, default=15)
a.add_argument("--lr", type=float, default=6e-4)
a.add_argument("--guidance", type=float, default=2.5)
a.add_argument("--most", type=float, default=0.5, help="the highest noise level to start from")
a.add_argument("--threads", type=int, default=2)
a = a.parse_args()
torch.set_num_threads(a.threads)
torch.manual_seed(21)
random.seed(21)
BF, GRAD, DECAY, L = torch.bfloat16, 0.5, 0.995, 24
vae = AutoencoderKLWan.from_pretrained(a.vae, torch_dtype=torch.float32)
mean, std = (torch.tensor(vae.config[k]).view(1, -1, 1, 1, 1) for k in ("latents_mean", "latents_std"))
dit = WanTransformer3DModel.from_pretrained(a.dit + "/transformer", torch_dtype=torch.float32).eval()
enc = UMT5EncoderModel.from_pretrained(a.dit + "/text_encoder", dtype=torch.float32).eval()
tok = text.tokenizer(a.spiece)
ema = copy.deepcopy(vae).requires_grad_(False)
part = [(n, p) for n, p in vae.named_parameters() if n.startswith(("decoder", "post_quant"))]
matrices = [p for n, p in part if p.ndim >= 4 and min(p.shape[:2]) >= 16 and "conv_in" not in n and "conv_out" not in n]
others = [p for _, p in part if id(p) not in {id(q) for q in matrices}]
opts = fastwan.optimizers(matrices, others, a.lr, decay=0, momentum=0.9)
P, E = [p for _, p in part], [dict(ema.named_parameters())[n] for n, _ in part]


@torch.no_grad()
def condition(texts):
    ids = [tok(t).input_ids[:L - 1] for t in texts]
    n = torch.tensor([len(x) for x in ids])
    mask = torch.arange(L)[None] < n[:, None]
    m = torch.tensor([x + [0] * (L - len(x)) for x in ids])
    return enc(m, mask.long()).last_hidden_state * mask[..., None], fastwan.text_bias(n, L)


@torch.no_grad()
def remade(z, p, s):
    """Normalised latents, noised to level s and cleaned again in a few guided steps."""
    txt = condition([f"a {shapes.NAMES[p['color'][0]]} {shapes.SHAPES[p['shape'][0]]} moves {shapes.DIRS[p['dir'][0]]}", ""])
    x = (1 - s) * z + s * torch.randn_like(z)
    lv = [s * k / 4 for k in (4, 3, 2, 1, 0)]
    for now, then in zip(lv, lv[1:]):
        c, u = fastwan.dit(dit, x.repeat(2, 1, 1, 1, 1), torch.full((2,), 1000 * now), *txt).chunk(2)
        x = x + (then - now) * (u + a.guidance * (c - u))
    return x


def clip(T, lo=0.1, hi=None):
    p = shapes.scenes(1)
    x = shapes.render(p)
    with torch.no_grad(), torch.autocast("cpu", dtype=BF):
        z = (fastwan.encode(vae, x)[:, :16].float() - mean) / std
    if random.random() < 0.75:
        z = remade(z, p, random.uniform(lo, hi or a.most))
    return x[:, :, :1 + 4 * (T - 1)], (z * std + mean)[:, :, :T]


test = [shapes.render(shapes.scenes(1)) for _ in range(12)]


def psnr(m):
    with torch.no_grad(), torch.autocast("cpu", dtype=BF):
        e = [((x - fastwan.decode(m, fastwan.encode(m, x)[:, :16]).float().clamp(-1, 1)) / 2).square().mean((0, 1, 3, 4)) for x in test]
    e = -10 * torch.stack(e).log10()
    return e.mean().item(), e[:, 0].mean().item()


print("PSNR of clips %.2f dB, of first frames %.2f dB" % psnr(ema), flush=True)
t0 = saved = time.time()
step, acc = 0, []
while (progress := (time.time() - t0) / (a.minutes * 60)) < 1:
    fastwan.set_lr(opts, a.lr * min(1, (step + 1) / 30) * (0.5 * (1 + math.cos(math.pi * progress)) * 0.99 + 0.01))
    for _ in range(2):
        x, z = clip(random.choice((2, 3, 5)))
        with torch.autocast("cpu", dtype=BF):
            d = fastwan.decode(vae, z.contiguous(memory_format=torch.channels_last_3d)).float() - x
        l1 = d.abs().mean()
        grad = d.diff(dim=-1).abs().mean() + d.diff(dim=-2).abs().mean() + 0.5 * d.diff(dim=2).abs().mean()
        (0.5 * (l1 + GRAD * grad)).backward()
        acc.append((l1.item(), grad.item()))
    torch.nn.utils.clip_grad_norm_(others, 0.5)
    for o in opts:
        o.step()
    for p in vae.parameters():
        p.grad = None
    step += 1
    with torch.no_grad():
        torch._foreach_lerp_(E, P, 1 - min(DECAY, step / (step + 9)))
    if step % 50 == 0:
        print("step %d, %.0f s, L1 %.4f, gradient %.4f" % (step, time.time() - t0, *torch.tensor(acc).mean(0).tolist()), flush=True)
        acc = []
    if time.time() - saved > 120:
        saved = time.time()
        ema.save_pretrained(a.out)
ema.save_pretrained(a.out)
print("done, %d steps, PSNR of clips %.2f dB, of first frames %.2f dB" % (step, *psnr(ema)))
