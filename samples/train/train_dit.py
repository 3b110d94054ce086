# SPDX-License-Identifier: Apache-2.0
"""Trains the transformer and the text encoder together, by rectified flow, on the latents of encode.py. Writes the moving
average of the weights as OUT/transformer and OUT/text_encoder every few minutes, and the optimizers' weights as OUT/raw.pt."""
import argparse
import copy
import glob
import os
import random
import time

import torch
from diffusers import AutoencoderKLWan, WanTransformer3DModel
from transformers import UMT5EncoderModel

import fastwan
import shapes
import text

a = argparse.ArgumentParser(description=__doc__)
a.add_argument("--latents", required=True, help="folder of encode.py")
a.add_argument("--vae", required=True, help="folder of the VAE (for the latents' mean and deviation)")
a.add_argument("--spiece", required=True, help="spiece.model")
a.add_argument("--out", required=True)
a.add_argument("--minutes", type=float, default=90)
a.add_argument("--init", help="start from this folder's transformer/ and text_encoder/")
a.add_argument("--raw", help="start from this raw.pt (with --init for the average)")
a.add_argument("--lr", type=float, default=2e-3)
a.add_argument("--flat", type=float, default=0.4, help="fraction of the time before the rate falls, linearly to 0")
a.add_argument("--batch", type=int, default=24)
a.add_argument("--first", type=float, default=6, help="weight of the first latent frame (its values vary half as much as the others')")
a.add_argument("--ones", type=float, default=0.06, help="fraction of steps on first frames alone")
a.add_argument("--high", type=float, default=0.0, help="fraction of the clips with noise of level 0.75 to 1, where places are chosen")
a.add_argument("--ema", type=float, default=0.999)
a.add_argument("--seed", type=int, default=5)
a.add_argument("--threads", type=int, default=2)
a.add_argument("--no-compile", action="store_true")
a = a.parse_args()
torch.set_num_threads(a.threads)
torch.manual_seed(a.seed)
random.seed(a.seed)
DROP, L, SHIFT = 0.1, 24, 3.0
# fraction of the time, latent frames, batch: short clips first, if nothing is learned yet
FULL = 1 + (shapes.FRAMES - 1) // 4
STAGES = [(1.0, FULL, a.batch)] if a.init else [(0.12, 1, 64), (0.13, 3, a.batch), (0.75, FULL, a.batch)]

cfg = AutoencoderKLWan.load_config(a.vae)
mean, std = torch.tensor(cfg["latents_mean"]).view(-1, 1, 1, 1), torch.tensor(cfg["latents_std"]).view(-1, 1, 1, 1)
tok = text.tokenizer(a.spiece)
if a.init:
    dit = WanTransformer3DModel.from_pretrained(os.path.join(a.init, "transformer"), torch_dtype=torch.float32)
    enc = UMT5EncoderModel.from_pretrained(os.path.join(a.init, "text_encoder"), dtype=torch.float32)
else:
    dit, enc = fastwan.make_dit(), text.encoder(len(tok))
net = torch.nn.ModuleList([dit, enc]).train()
ema = copy.deepcopy(net).requires_grad_(False)
if a.raw:
    net.load_state_dict(torch.load(a.raw))
if not a.no_compile:
    fastwan.run_block = torch.compile(fastwan.block, dynamic=False)

seen, X, labels = set(), None, []


def load_latents():
    """Adds the files that are new."""
    global X
    new = sorted(set(glob.glob(os.path.join(a.latents, "*.pt"))) - seen)
    for f in new:
        d = torch.load(f)
        x = ((d["latents"].float() - mean) / std).bfloat16()
        X = x if X is None else torch.cat([X, x])
        labels.extend(zip(d["color"].tolist(), d["shape"].tolist(), d["dir"].tolist()))
        seen.add(f)
    return bool(new)


cache = {}


def condition(idx):
    ids = []
    for i in idx:
        c, s, d = labels[i]
        t = "" if random.random() < DROP else shapes.caption(shapes.NAMES[c], shapes.SHAPES[s], shapes.DIRS[d])
        if t not in cache:
            cache[t] = tok(t).input_ids
        ids.append(cache[t][:L - 1])
    n = torch.tensor([len(x) for x in ids])
    m = torch.zeros(len(ids), L, dtype=torch.long)
    for k, x in enumerate(ids):
        m[k, :len(x)] = torch.tensor(x)
    mask = torch.arange(L)[None] < n[:, None]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        h = enc(m, mask.long()).last_hidden_state.float()
    return h * mask[..., None], fastwan.text_bias(n, L)


def levels(B):
    """Noise levels: 60 % as the sampler's shifted ones, 40 % more where shapes form; a.high of all moved to the top. Stratified."""
    u = (torch.randperm(B) + torch.rand(B)) / B
    s = torch.where(torch.rand(B) < 0.6, SHIFT * u / (1 + (SHIFT - 1) * u), 0.2 + 0.65 * u)
    return torch.where(torch.rand(B) < a.high, 0.75 + 0.25 * u, s)


def save():
    e_dit, e_enc = ema
    e_dit.save_pretrained(os.path.join(a.out, "transformer"))
    e_enc.save_pretrained(os.path.join(a.out, "text_encoder"))
    torch.save(net.state_dict(), os.path.join(a.out, "raw.pt"))


while not load_latents():
    time.sleep(5)
matrices = [p for p in dit.blocks.parameters() if p.ndim == 2]
others = [p for p in net.parameters() if id(p) not in {id(q) for q in matrices}]
opts = fastwan.optimizers(matrices, others, a.lr)
P, E = list(net.parameters()), list(ema.parameters())
t0 = time.time()
step, acc, saved, looked = 0, [], t0, t0
by_s, n_s, by_t = torch.zeros(5), torch.zeros(5), []
order, pos = torch.randperm(len(X)), 0
while (progress := (time.time() - t0) / (a.minutes * 60)) < 1:
    at = 0
    for part, T, B in STAGES:
        at += part
        if progress < at:
            break
    if T > 1 and random.random() < a.ones:
        T, B = 1, 64
    fastwan.set_lr(opts, a.lr * min(1, (step + 1) / 50) * min(1.0, max(0.01, (1 - progress) / (1 - a.flat))))
    B = min(B, len(X))
    if pos + B > len(order):
        order, pos = torch.randperm(len(X)), 0
    idx, pos = order[pos:pos + B], pos + B
    x0 = X[idx][:, :, :T].float()
    s = levels(B)
    sv, n = s.view(-1, 1, 1, 1, 1), torch.randn_like(x0)
    v = fastwan.dit(dit, (1 - sv) * x0 + sv * n, 1000 * s, *condition(idx.tolist()))
    per = (v - (n - x0)).square().mean((1, 3, 4))          # sample, frame
    w = torch.ones(T)
    w[0] = a.first if T > 1 else 1
    loss = (per * w).sum(1).mean() / w.sum()
    loss.backward()
    gn = torch.nn.utils.clip_grad_norm_(P, 1.0)
    for o in opts:
        o.step()
    for p in P:
        p.grad = None
    step += 1
    with torch.no_grad():
        k = a.ema if a.init else min(a.ema, (step + 1) / (step + 20))
        torch._foreach_lerp_(E, P, 1 - k)
    if T > 1:
        b = (s * 5).long().clamp(0, 4)
        by_s.index_add_(0, b, per.mean(1).detach())
        n_s.index_add_(0, b, torch.ones(B))
        by_t.append(per.mean(0).detach()[[0, -1]])
    acc.append((loss.item(), gn.item()))
    if step % 50 == 0:
        l, g = torch.tensor(acc).mean(0).tolist()
        print("step %d, %.0f s, %d clips, T %d, loss %.4f, gradient %.2f, by level %s, first and last frame %s" % (
            step, time.time() - t0, len(X), T, l, g, " ".join("%.3f" % z for z in by_s / n_s.clamp_min(1)),
            " ".join("%.3f" % z for z in torch.stack(by_t[-50:]).mean(0)) if by_t else "-"), flush=True)
        acc, by_t = [], []
        by_s.zero_()
        n_s.zero_()
    if time.time() - looked > 60:
        looked = time.time()
        if load_latents():
            order, pos = torch.randperm(len(X)), 0
    if time.time() - saved > 240:
        saved = time.time()
        save()
save()
print("done, %d steps" % step)
