# SPDX-License-Identifier: Apache-2.0
"""Draws clips and writes their latents, in files of a few hundred that the transformer's trainer picks up as they come.
The first file's mean and deviation go into the VAE's config, if it has none yet."""
import argparse
import json
import os
import time

import torch
from diffusers import AutoencoderKLWan

import fastwan
import shapes

a = argparse.ArgumentParser(description=__doc__)
a.add_argument("--vae", required=True, help="folder of the trained VAE")
a.add_argument("--out", required=True, help="folder for the latents")
a.add_argument("--clips", type=int, default=8000)
a.add_argument("--chunk", type=int, default=500)
a.add_argument("--seed", type=int, default=11)
a.add_argument("--threads", type=int, default=2)
a = a.parse_args()
torch.set_num_threads(a.threads)
os.makedirs(a.out, exist_ok=True)
vae = AutoencoderKLWan.from_pretrained(a.vae, torch_dtype=torch.float32).eval()
t0 = time.time()
for k in range(0, a.clips, a.chunk):
    path = os.path.join(a.out, "%d-%06d.pt" % (a.seed, k))
    if os.path.exists(path):
        continue
    torch.manual_seed(a.seed * 1000003 + k)
    p = shapes.scenes(a.chunk)
    lat = []
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        for i in range(a.chunk):
            lat.append(fastwan.encode(vae, shapes.render({n: v[i:i + 1] for n, v in p.items()}))[:, :16].bfloat16())
    torch.save(dict(latents=torch.cat(lat), **{n: p[n] for n in ("color", "shape", "dir")}), path + ".new")
    os.rename(path + ".new", path)
    print("%d clips, %.0f s" % (k + a.chunk, time.time() - t0), flush=True)
    if not any(vae.config.latents_mean):
        x = torch.cat(lat).float()
        c = os.path.join(a.vae, "config.json")
        j = json.load(open(c))
        j["latents_mean"] = [round(v, 5) for v in x.mean((0, 2, 3, 4)).tolist()]
        j["latents_std"] = [round(v, 5) for v in x.std((0, 2, 3, 4)).tolist()]
        json.dump(j, open(c, "w"), indent=2)
        vae = AutoencoderKLWan.from_pretrained(a.vae, torch_dtype=torch.float32).eval()
