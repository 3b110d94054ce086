# SPDX-License-Identifier: Apache-2.0
"""Clips of one filled shape on a dark ground that moves along an axis, and their captions.

usage: shapes.py OUT.png    draws a few clips, one a row
"""
import math
import random
import sys

import torch

SIZE, FRAMES = 128, 17
COLORS = {"red": (0.90, 0.13, 0.13), "green": (0.13, 0.80, 0.25), "blue": (0.18, 0.35, 0.97),
          "yellow": (0.95, 0.85, 0.12), "white": (0.95, 0.95, 0.95)}
SHAPES = ["circle", "square", "triangle"]
DIRS = ["left", "right", "up", "down"]
NAMES = list(COLORS)
RGB = torch.tensor(list(COLORS.values()))


def captions(c, s, d):
    to = {"left": "to the left", "right": "to the right", "up": "upwards", "down": "downwards"}[d]
    return [f"a {c} {s} moves {d}", f"a {c} {s} moving {d}", f"the {c} {s} moves {d}", f"the {c} {s} is moving {d}",
            f"a {c} {s} goes {d}", f"a {c} {s} goes {to}", f"the {c} {s} slides {d}", f"a {c} {s} slides {to}",
            f"a {c} {s} is moving {to}", f"the {c} {s} travels {d}", f"{c} {s} moving {d}", f"{c} {s} {d}",
            f"a {c} {s} moves {to}", f"the {c} {s} travels {to}", f"a {c} {s} moving {to}"]


def caption(c, s, d, rng=random):
    """A random caption: the plain one in 40 %, sometimes a capital, a point, or a word that says nothing."""
    t = f"a {c} {s} moves {d}" if rng.random() < 0.4 else rng.choice(captions(c, s, d))
    if rng.random() < 0.06:
        w = t.split()
        w.insert(rng.randrange(len(w) + 1), "".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 7))))
        t = " ".join(w)
    if rng.random() < 0.15:
        t = t[0].upper() + t[1:]
    if rng.random() < 0.15:
        t += "."
    return t


def scenes(n, size=SIZE):
    """Parameters of n random clips: a dict of tensors. Shapes are of one size, move by half of the picture through its middle, and keep to
    one of three lanes that hardly overlap: a small transformer mixes places that do, and a circle between two of them comes out oval."""
    u = torch.rand
    combo = torch.randperm(max(n, 60))[:n] % 60           # every colour, shape and direction as often as the others
    p = {"color": combo % 5, "shape": combo // 5 % 3, "dir": combo // 15}
    k = size / 128
    across = 32 * k * torch.randint(1, 4, (n,))
    way = 64 * k * torch.tensor([-1., 1., -1., 1.])[p["dir"]]
    start = size / 2 - way / 2
    horiz, z = p["dir"] < 2, torch.zeros(n)
    p["r"] = torch.full((n,), 18 * k)                      # half the shape's extent
    p["x0"], p["y0"] = torch.where(horiz, start, across), torch.where(horiz, across, start)
    p["dx"], p["dy"] = torch.where(horiz, way, z), torch.where(horiz, z, way)
    tint = torch.tensor([0., 0., 0.02])
    p["bg0"] = 0.04 + 0.07 * u(n, 1) + 0.01 * (u(n, 3) - 0.5) + tint
    p["bg1"] = 0.04 + 0.07 * u(n, 1) + 0.01 * (u(n, 3) - 0.5) + tint
    p["ang"] = u(n) * 2 * math.pi
    return p


def render(p, frames=FRAMES, size=SIZE, view=None, f0=None, nf=None):
    """[n, 3, frames, h, w] in -1..1. view = (x, y, width) crops in space, f0 and nf in time."""
    n = len(p["r"])
    w = size if view is None else view[2]
    ox, oy = (torch.zeros(n), torch.zeros(n)) if view is None else (view[0].float(), view[1].float())
    nf = nf or frames
    t = ((torch.zeros(n) if f0 is None else f0.float())[:, None] + torch.arange(nf)) / (frames - 1)
    g = torch.arange(w) + 0.5
    x = g + ox[:, None, None] - (p["x0"][:, None] + p["dx"][:, None] * t)[..., None]
    y = g + oy[:, None, None] - (p["y0"][:, None] + p["dy"][:, None] * t)[..., None]
    x, y, r = x[:, :, None, :], y[:, :, :, None], p["r"][:, None, None, None]
    a = torch.empty(n, nf, w, w)
    for k in range(3):
        i = (p["shape"] == k).nonzero()[:, 0]
        if not len(i):
            continue
        X, Y, R = x[i], y[i], r[i]
        if k == 0:
            d = R - torch.sqrt(X * X + Y * Y)
        elif k == 1:
            d = torch.minimum(R - X.abs(), R - Y.abs())
        else:                                              # apex up, as wide as high
            d = torch.minimum(R - Y, (R + Y - 2 * X.abs()) / math.sqrt(5))
        a[i] = (d + 0.5).clamp(0, 1)
    gx, gy = (g + ox[:, None]) / size - 0.5, (g + oy[:, None]) / size - 0.5
    c, s = p["ang"].cos()[:, None, None], p["ang"].sin()[:, None, None]
    gr = (0.5 + 0.7 * (c * gx[:, None, :] + s * gy[:, :, None])).clamp(0, 1)[:, None]
    bg = p["bg0"][:, :, None, None] * (1 - gr) + p["bg1"][:, :, None, None] * gr
    a, fg = a[:, None], RGB[p["color"]][:, :, None, None, None]
    return (bg[:, :, None] * (1 - a) + fg * a) * 2 - 1


def crops(n, w, nf, frames=FRAMES, size=SIZE):
    """Cuts in space and time that mostly hold the shape, for the VAE."""
    p = scenes(n, size)
    f0 = torch.randint(0, frames - nf + 1, (n,))
    t = (f0 + nf * torch.rand(n)) / (frames - 1)
    at = lambda q, d: (p[q] + p[d] * t - w / 2 + (torch.rand(n) - 0.5) * w * 0.8).clamp(0, size - w).floor()
    return render(p, frames, size, (at("x0", "dx"), at("y0", "dy"), w), f0, nf)


if __name__ == "__main__":
    from PIL import Image
    v = render(scenes(8))
    rows = [torch.cat([c[:, f] for f in (0, 4, 8, 12, 16)], 2) for c in v]
    Image.fromarray(((torch.cat(rows, 1) + 1) * 127.5).byte().permute(1, 2, 0).numpy()).save(sys.argv[1])
