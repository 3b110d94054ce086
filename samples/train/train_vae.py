# SPDX-License-Identifier: Apache-2.0
"""Trains the VAE on cuts of drawn clips, and writes the moving average of its weights as a diffusers folder."""
import argparse
import copy
import math
import time

import torch

import fastwan
import shapes

a = argparse.ArgumentParser(description=__doc__)
a.add_argument("--out", required=True)
a.add_argument("--minutes", type=float, default=16)
a.add_argument("--lr", type=float, default=2e-3)
a.add_argument("--threads", type=int, default=2)
a = a.parse_args()
torch.set_num_threads(a.threads)
torch.manual_seed(1)
KL, GRAD, DECAY, BF = 3e-4, 0.5, 0.995, torch.bfloat16
vae = fastwan.make_vae()
ema = copy.deepcopy(vae).requires_grad_(False)
matrices = [p for n, p in vae.named_parameters() if p.ndim >= 4 and min(p.shape[:2]) >= 16 and "conv_in" not in n and "conv_out" not in n]
others = [p for p in vae.parameters() if id(p) not in {id(q) for q in matrices}]
opts = fastwan.optimizers(matrices, others, a.lr, decay=1e-3, momentum=0.9)
test = shapes.render(shapes.scenes(8))


def psnr(m):
    with torch.no_grad(), torch.autocast("cpu", dtype=BF):
        e = [((x - fastwan.decode(m, fastwan.encode(m, x)[:, :16]).float().clamp(-1, 1)) / 2).square().mean() for x in test.split(1)]
    return (-10 * torch.stack(e).log10()).mean().item()


t0 = saved = time.time()
step, acc = 0, []
while (progress := (time.time() - t0) / (a.minutes * 60)) < 1:
    fastwan.set_lr(opts, a.lr * min(1, (step + 1) / 80) * (0.5 * (1 + math.cos(math.pi * progress)) * 0.99 + 0.01))
    x = shapes.crops(4, 64, 9) if progress < 0.65 else shapes.crops(2, 64, 17) if progress < 0.88 else shapes.render(shapes.scenes(1))
    with torch.autocast("cpu", dtype=BF):
        m, lv = fastwan.encode(vae, x).float().chunk(2, 1)
        lv = lv.clamp(-30, 20)
        d = fastwan.decode(vae, m + torch.randn_like(m) * (0.5 * lv).exp()).float() - x
    l1 = d.abs().mean()
    grad = d.diff(dim=-1).abs().mean() + d.diff(dim=-2).abs().mean() + 0.5 * d.diff(dim=2).abs().mean()
    kl = 0.5 * (m * m + lv.exp() - lv - 1).mean()
    (l1 + GRAD * grad + KL * kl).backward()
    torch.nn.utils.clip_grad_norm_(others, 0.5)
    for o in opts:
        o.step()
    for p in vae.parameters():
        p.grad = None
    step += 1
    with torch.no_grad():
        torch._foreach_lerp_(list(ema.parameters()), list(vae.parameters()), 1 - min(DECAY, step / (step + 9)))
    acc.append((l1.item(), grad.item(), kl.item()))
    if step % 100 == 0:
        print("step %d, %.0f s, L1 %.4f, gradient %.4f, KL %.3f, PSNR %.2f dB" % (
            step, time.time() - t0, *torch.tensor(acc).mean(0).tolist(), psnr(ema)), flush=True)
        acc = []
    if time.time() - saved > 120:
        saved = time.time()
        ema.save_pretrained(a.out)
ema.save_pretrained(a.out)
print("done, %d steps, %.2f dB" % (step, psnr(ema)))
