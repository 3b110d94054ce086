# SPDX-License-Identifier: Apache-2.0
"""Samples clips with diffusers and measures them: colour, shape (the asked one's best fit, as intersection over union),
direction, drift to the side, distance to the edge; over the whole clip and in its very first frame."""
import argparse
import json
import os
import random
import time

import numpy as np
import torch
from diffusers import UniPCMultistepScheduler, WanPipeline
from PIL import Image

import shapes

a = argparse.ArgumentParser(description=__doc__)
a.add_argument("model")
a.add_argument("--clips", type=int, default=24)
a.add_argument("--steps", type=int)
a.add_argument("--guidance", type=float)
a.add_argument("--shift", type=float)
a.add_argument("--seed", type=int, default=1)
a.add_argument("--plain", action="store_true", help="only prompts of the plain form")
a.add_argument("--threads", type=int, default=2)
a.add_argument("--strip", help="a PNG of the first 16 clips, and with a number in it (%%d) of all")
a.add_argument("--quiet", action="store_true")
a = a.parse_args()
torch.set_num_threads(a.threads)
conf = json.load(open(os.path.join(a.model, "weft.json")))
W, H, F = conf["width"], conf["height"], conf["num_frames"]
steps, guidance = a.steps or conf["steps"], conf["guidance_scale"] if a.guidance is None else a.guidance
pipe = WanPipeline.from_pretrained(a.model, torch_dtype=torch.float32)
pipe.set_progress_bar_config(disable=True)
if a.shift:
    pipe.scheduler = UniPCMultistepScheduler.from_config(pipe.scheduler.config, flow_shift=a.shift)
rng = random.Random(a.seed)
combos = [(c, s, d) for c in shapes.NAMES for s in shapes.SHAPES for d in shapes.DIRS]
rng.shuffle(combos)
gy, gx = np.mgrid[:H, :W] + 0.5
rgb = shapes.RGB.numpy()


def ideal(k, cx, cy, area):
    if k == 0:
        return (gx - cx) ** 2 + (gy - cy) ** 2 < area / np.pi
    if k == 1:
        r = area ** 0.5 / 2
        return np.maximum(abs(gx - cx), abs(gy - cy)) < r
    r = (area / 2) ** 0.5
    y = gy - (cy - r / 3)
    return (y < r) & (r + y > 2 * abs(gx - cx))


def look(f):
    """One frame: centre, area, colour, fit of each shape, box, pixels that lie apart; None if it is empty."""
    m = f.max(-1) > 0.45
    if m.sum() < 60:
        return None
    seed = np.zeros_like(m)
    y, x = m.nonzero()
    k = np.abs(y - np.median(y)) + np.abs(x - np.median(x))
    seed[y[k.argmin()], x[k.argmin()]] = True
    while True:                                            # the part around the middle
        n = seed.copy()
        n[1:] |= seed[:-1]
        n[:-1] |= seed[1:]
        n[:, 1:] |= seed[:, :-1]
        n[:, :-1] |= seed[:, 1:]
        n &= m
        if (n == seed).all():
            break
        seed = n
    y, x = seed.nonzero()
    cx, cy, area = x.mean() + 0.5, y.mean() + 0.5, len(y)
    fit = []
    for k in range(3):
        t = ideal(k, cx, cy, area)
        fit.append((t & seed).sum() / (t | seed).sum())
    col = np.median(f[seed], 0)
    box = x.min(), y.min(), x.max(), y.max()
    return dict(c=(cx, cy), area=area, fit=np.array(fit), color=col, apart=int(m.sum() - area),
                ratio=(box[2] - box[0] + 1) / (box[3] - box[1] + 1), edge=min(box[0], box[1], W - 1 - box[2], H - 1 - box[3]))


res, clips = [], []
for i in range(a.clips):
    c, s, d = combos[i % 60]
    prompt = f"a {c} {s} moves {d}"
    if not a.plain and i % 2:
        prompt = rng.choice(shapes.captions(c, s, d)[1:])
        if rng.random() < 0.3:
            prompt = prompt[0].upper() + prompt[1:] + "."
    t0 = time.time()
    v = pipe(prompt, height=H, width=W, num_frames=F, num_inference_steps=steps, guidance_scale=guidance, output_type="np",
             generator=torch.Generator().manual_seed(a.seed * 100003 + i)).frames[0]
    t0 = time.time() - t0
    clips.append(v)
    L = [look(f) for f in v]
    if None in L:
        print("%-40s empty frames" % prompt)
        res.append(dict(time=t0))
        continue
    ci, si, di = shapes.NAMES.index(c), shapes.SHAPES.index(s), shapes.DIRS.index(d)
    hue = lambda q: int(((rgb - q["color"]) ** 2).sum(1).argmin())
    path = np.array([q["c"] for q in L])
    axis = 0 if di < 2 else 1
    go = path[-1] - path[0]
    seen = (0 if go[0] < 0 else 1) if abs(go[0]) > abs(go[1]) else (2 if go[1] < 0 else 3)
    r = dict(time=t0, color=all(hue(q) == ci for q in L[1:]), first_color=hue(L[0]) == ci,
             shape=int(np.mean([q["fit"] for q in L], 0).argmax()) == si, first_shape=int(L[0]["fit"].argmax()) == si,
             every_shape=all(int(q["fit"].argmax()) == si for q in L),
             direction=seen == di and abs(go[axis]) > 0.25 * W, travel=abs(go[axis]) / W,
             drift=float(np.ptp(path[:, 1 - axis])) / W, edge=min(q["edge"] for q in L), apart=max(q["apart"] for q in L),
             fit=float(np.mean([q["fit"][si] for q in L])), first_fit=float(L[0]["fit"][si]),
             ratio=float(np.mean([max(q["ratio"], 1 / q["ratio"]) for q in L])),
             tint=float(np.mean([np.abs(q["color"] - rgb[ci]).max() for q in L])),
             size=float(np.std([q["area"] for q in L]) / np.mean([q["area"] for q in L])))
    res.append(r)
    if not a.quiet:
        print("%-40s %s first %s  fit %.3f first %.3f  travel %.2f drift %.3f edge %3d apart %d box %.2f tint %.2f size +-%.2f  %.1f s" % (
            prompt, "".join("xO"[int(r[k])] for k in ("color", "shape", "direction")), "".join("xO"[int(r["first_" + k])] for k in ("color", "shape")),
            r["fit"], r["first_fit"], r["travel"], r["drift"], r["edge"], r["apart"], r["ratio"], r["tint"], r["size"], t0), flush=True)
pc = lambda *k: 100 * np.mean([all(r.get(q, False) for q in k) for r in res])
good = [r for r in res if "fit" in r]
mean = lambda k: np.mean([r[k] for r in good])
print("steps %d guidance %.1f seed %d, %d clips: colour %.0f%% direction %.0f%% shape %.0f%% (in every frame %.0f%%); first frame: colour %.0f%% shape %.0f%% both %.0f%%" % (
    steps, guidance, a.seed, len(res), pc("color"), pc("direction"), pc("shape"), pc("every_shape"), pc("first_color"), pc("first_shape"), pc("first_color", "first_shape")))
print("  fit %.3f, first %.3f, worst %.3f; travel %.2f, least %.2f; drift %.3f, most %.3f; touches the edge %.0f%%, margin %.1f; apart %.1f pixels; box %.3f; tint %.3f; size +-%.3f; median %.1f s a clip" % (
    mean("fit"), mean("first_fit"), min(r["fit"] for r in good), mean("travel"), min(r["travel"] for r in good), mean("drift"),
    max(r["drift"] for r in good), 100 * np.mean([r["edge"] <= 0 for r in good]), mean("edge"), mean("apart"), mean("ratio"),
    mean("tint"), mean("size"), np.median([r["time"] for r in res])))
if a.strip:
    at = [0, 1] + [round(k * (F - 1) / 4) for k in range(1, 5)]
    for n in range(0, len(clips) if "%" in a.strip else 16, 16):
        rows = [np.concatenate([v[f] for f in at], 1) for v in clips[n:n + 16]]
        rows += [np.zeros_like(rows[0])] * (16 - len(rows))
        im = np.concatenate([np.concatenate(rows[:8], 0), np.ones((8 * H, 8, 3)), np.concatenate(rows[8:], 0)], 1)
        Image.fromarray((im.clip(0, 1) * 255).round().astype("uint8")).save(a.strip % n if "%" in a.strip else a.strip)
