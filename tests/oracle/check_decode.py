#!/usr/bin/env python3
"""weft's decoder against diffusers on models that nobody has seen: random VAEs of three families, whole, in chunks of frames, in exact and
in blended tiles.

check_decode.py --weft BUILD/weft [--seed 7] [--rounds 2] [--families wan21 wan22 svd] [--device cpu]

A line a case, then a summary; exit status 1 if a bound is missed. What weft's f32 is held to, in f64:
  none         diffusers, of the same chunks (Wan: any chunk size gives the whole decode; SVD: overlaps blended as decode.py has it)
  exact tiles  diffusers as above; and weft's own frames without tiles, to rounding
  blend        diffusers' tiles (SVD: as decode.py has them)"""
import argparse
import dataclasses
import os
import random
import subprocess
import sys
import tempfile

os.environ.update(HF_HUB_OFFLINE="1")
import torch  # noqa: E402
from safetensors.torch import load_file  # noqa: E402

import decode  # noqa: E402
import models  # noqa: E402
import record  # noqa: E402

FAMILIES = ("wan21", "wan22", "svd")
SHARE = {"none": 0.9999, "exact": 0.9999, "blend": 0.999, "chunks": 0.999}     # of samples within 1/255 of diffusers
OWN = {"wan21": 1e-5, "wan22": 1e-5, "svd": 1e-4}                              # relative L2 from weft's own frames, uncut or without tiles
EXACT_TILES = [(64, 64), (96, 48), (48, 112)]


@dataclasses.dataclass
class Case:
    """One run of weft: the options that cut, as the command line has them. chunk 0: not given."""
    tiling: str = "none"
    chunk: int = 0
    overlap: int = 0
    tile: tuple = None
    tile_overlap: tuple = None

    def options(self, plain):
        words = ["--decode-chunk-size", str(self.chunk)] if self.chunk else []
        if plain:
            return words
        words += ["--chunk-overlap", str(self.overlap), "--tiling", self.tiling]
        if self.tile:
            words += ["--tile-size", "{}x{}".format(*self.tile)]
        if self.tile_overlap is not None:
            words += ["--tile-overlap", "{}x{}".format(*self.tile_overlap)]
        return words

    def key(self):
        return "chunks" if self.overlap and self.tiling == "none" else self.tiling


# --- models ---

WAN_MULTS = [(1, 2, 4, 4), (1, 2, 2, 4), (2, 1, 1, 2), (1, 3, 2, 4)]
WAN22_MULTS = [(1, 2, 4, 4), (1, 2, 4, 2), (2, 4, 2, 2), (1, 4, 2, 1)]       # what both AvgDown3D and DupUp3D can divide
SVD_WIDTHS = [(32, 64, 64, 64), (64, 32, 96, 32), (32, 32, 64, 96), (96, 64, 32, 64)]
TEMPORAL = [(False, True, True), (True, False, True), (True, True, False)]


def draw_model(family, draw, gen):
    if family == "svd":
        config = dict(widths=draw.choice(SVD_WIDTHS))
        return models.vae_svd(gen, **config), config
    config = dict(base=draw.choice([2, 3, 4]), decoder_base=draw.choice([3, 4, 5, 8, 12, 16]), blocks=draw.choice([1, 2]))
    if family == "wan22":
        config.update(mult=draw.choice(WAN22_MULTS), z_dim=draw.choice([8, 12, 16, 48]))
        return models.vae_22(gen, **config), config
    config.update(mult=draw.choice(WAN_MULTS), temporal=draw.choice(TEMPORAL))
    return models.vae(gen, **config), config


def save_model(model, family, folder, bare):
    """The VAE's folder alone, or within a pipeline's."""
    model.save_pretrained(folder if bare else os.path.join(folder, "vae"))
    if not bare:
        models.write_index(folder, "StableVideoDiffusionPipeline" if family == "svd" else "WanPipeline", model)


def draw_latents(model, family, draw, gen):
    if family == "svd":
        return torch.randn(1, draw.randint(2, 11), 4, draw.randint(5, 9), draw.randint(5, 14), generator=gen)
    rows, columns = (draw.randint(3, 9), draw.randint(3, 9)) if family == "wan22" else (draw.randint(4, 15), draw.randint(4, 15))
    return 1.2 * torch.randn(1, model.config.z_dim, draw.randint(1, 5), rows, columns, generator=gen)


# --- cases ---


def draw_tile(scale, size, draw):
    """A blended tile and its overlap, in whole latents along both axes; at most along one as large as the frame or larger."""
    tile, overlap, larger = [], [], draw.choice([None, None, 0, 1])
    for axis, pixels in enumerate(size):
        all_latents = pixels // scale
        latents = all_latents + draw.randint(0, 1) if axis == larger else draw.randint(2, all_latents - 1)
        tile.append(latents * scale)
        overlap.append(draw.randint(0, latents - 1) * scale)
    return tuple(tile), tuple(overlap)


def svd_chunks(frames, draw):
    """Chunk size and overlap."""
    size = draw.randint(2, frames + 2)
    return (1, 0), (draw.randint(1, frames), 0), (size, draw.randint(1, size - 1)), (frames + 3, 0), (0, 0)


def draw_cases(family, latents, scale, draw):
    """Uncut first."""
    frames, size = latents.shape[1] if family == "svd" else 4 * latents.shape[2] - 3, (latents.shape[4] * scale, latents.shape[3] * scale)
    chunks = svd_chunks(frames, draw) if family == "svd" else [(n, 0) for n in (1, draw.randint(1, frames), frames, frames + 3)]
    cases = [Case()] + [Case(chunk=n, overlap=k) for n, k in chunks if n]
    odd = (draw.randint(17, max(18, size[0])), draw.randint(17, max(18, size[1])))
    for tile in EXACT_TILES + [odd]:
        n, k = draw.choice(chunks)
        cases.append(Case("exact", n, k, tile))
    for _ in range(3):
        n, k = draw.choice(chunks)
        cases.append(Case("blend", n, k, *draw_tile(scale, size, draw)))
    return cases


# --- running and comparing ---


def run_weft(args, model, latents, case, out):
    """weft's frames; None, with what it said, where it fails."""
    command = [args.weft, "decode", model, latents, "--format", "safetensors", "-o", out, "--device", args.device, "--dtype", "f32",
               *case.options(args.plain), "-y", "-q"]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    if done.returncode:
        print(f"     exit status {done.returncode}: {done.stderr.strip()}")
        return None
    return load_file(out)["frames"]


def expected(model, latents, case, known):
    """diffusers' frames; known: what it has computed for this model."""
    blend, chunks = case.tiling == "blend", (case.chunk, case.overlap) if decode.is_svd(model) else (0, 0)
    key = (*chunks, case.tile if blend else None, case.tile_overlap if blend else None)
    if key not in known:
        known[key] = decode.run(model, latents, *key)
    return known[key]


def relative(a, b):
    return ((a - b).double().norm() / b.double().norm()).item()


def own_reference(family, case, seen):
    """What weft gave without tiles: uncut for Wan, of the same chunks for SVD; None where nothing must be the same."""
    if case.tiling == "blend" or case == Case() or (family == "svd" and case.tiling == "none"):
        return None
    chunks = (case.chunk, case.overlap) if family == "svd" else (0, 0)
    return seen.get(chunks)


def judge(family, case, frames, want, own):
    """Whether the bounds are met, and the line that says how well."""
    if frames is None or frames.shape != want.shape:
        return False, f"shape {None if frames is None else tuple(frames.shape)}, expected {tuple(want.shape)}"
    share, error = ((frames - want).abs() <= 1 / 255 + 1e-7).double().mean().item(), relative(frames, want)
    good, line = share >= SHARE[case.key()], f"{100 * share:.4f} % within 1/255, relative L2 {error:.1e}"
    if own is not None:
        good, line = good and relative(frames, own) <= OWN[family], f"{line}, from own uncut {relative(frames, own):.1e}"
    return good, line


def check_model(args, family, number, work):
    """The number of cases that met their bounds, and of those that did not."""
    draw, gen = random.Random(f"{family} {args.seed} {number}"), torch.Generator().manual_seed(1000 * args.seed + number)
    bare = draw.random() < 0.5 and not args.plain
    model, config = draw_model(family, draw, gen)
    folder, path, out = (os.path.join(work, f"{family}_{number}{end}") for end in ("", "_latents.safetensors", "_out.safetensors"))
    save_model(model, family, folder, bare)
    latents = draw_latents(model, family, draw, gen)
    record.save(work, os.path.basename(path)[: -len(".safetensors")], latents=latents)
    model, latents = model.double(), latents.double()          # torch's group norm in f32 loses 1e-3 where a tile is almost constant
    print(f"{family} {number}: {config}, latents {tuple(latents.shape)}, {'the VAE alone' if bare else 'a pipeline'}", flush=True)
    seen, known, tally = {}, {}, {True: 0, False: 0}
    cases = draw_cases(family, latents, decode.scale_of(model), draw)
    if family == "svd":                                        # exact tiles are compared with the same chunks without tiles
        cases[1:1] = [Case(chunk=c.chunk, overlap=c.overlap) for c in cases if c.tiling == "exact"]
    for case in dict.fromkeys(map(dataclasses.astuple, cases)):
        case = Case(*case)
        if case.tiling not in args.tiling or (args.plain and case.overlap):
            continue
        frames, want = run_weft(args, folder, path, case, out), expected(model, latents, case, known)
        good, line = judge(family, case, frames, want, own_reference(family, case, seen))
        if case.tiling == "none" and frames is not None:
            seen[case.chunk, case.overlap] = frames
        tally[good] += 1
        print(f"{'ok  ' if good else 'FAIL'} {family} {number} {' '.join(case.options(False))}: {line}", flush=True)
    return tally[True], tally[False]


def arguments():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--weft", required=True, help="the program")
    ap.add_argument("--seed", type=int, default=0)
    ap.add_argument("--rounds", type=int, default=2, help="models a family")
    ap.add_argument("--families", nargs="+", choices=FAMILIES, default=FAMILIES)
    ap.add_argument("--tiling", nargs="+", choices=["none", "exact", "blend"], default=["none", "exact", "blend"])
    ap.add_argument("--device", default="cpu")
    ap.add_argument("--threads", type=int, default=2, help="of torch")
    ap.add_argument("--work", help="keep models, latents and frames there")
    ap.add_argument("--plain", action="store_true", help="a weft that has no --tiling and --chunk-overlap: only what needs neither")
    args = ap.parse_args()
    if args.plain:
        args.tiling = ["none"]
    if "exact" in args.tiling:
        args.tiling = ["none", *args.tiling]                   # what exact tiles are compared with
    return args


@torch.no_grad()
def main():
    args = arguments()
    torch.set_num_threads(args.threads)
    models.quiet()
    passed = failed = 0
    with tempfile.TemporaryDirectory() as temporary:
        work = args.work or temporary
        os.makedirs(work, exist_ok=True)
        for family in args.families:
            for number in range(args.rounds):
                good, bad = check_model(args, family, number, work)
                passed, failed = passed + good, failed + bad
    print(f"{passed} passed, {failed} failed")
    return failed > 0 or passed == 0


if __name__ == "__main__":
    sys.exit(main())
