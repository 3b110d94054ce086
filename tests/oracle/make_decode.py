#!/usr/bin/env python3
"""The decoder alone, cut along time and space: tiny VAEs of three families, and what diffusers makes of their latents in chunks of frames
and in blended tiles. Every expectation is computed a second way before it is kept."""
import argparse
import json
import os
import shutil

os.environ.update(HF_HUB_OFFLINE="1")
import diffusers  # noqa: E402
import torch  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

import decode  # noqa: E402
import models  # noqa: E402
import record  # noqa: E402

STEP = 3  # of frames in tiles, rows and columns 0, 3, 6 ... are kept: prime to every scale, so each place in a tile's borders comes


def case(latents="latents", step=1, chunk=0, overlap=0, tile=None, tile_overlap=None):
    return dict(latents=latents, step=step, chunk=chunk, overlap=overlap, tile=tile, tile_overlap=tile_overlap)


def tiles(width, height, over_width, over_height, **rest):
    return case("latents_tiles", STEP, tile=(width, height), tile_overlap=(over_width, over_height), **rest)


# Name: seed, what makes the VAE, with what, type of its file, pipeline (None: the VAE's folder alone), latents (frames, rows, columns), cases.
FIXTURES = {
    "vae_tiles": (
        211, models.vae, dict(base=2, decoder_base=3, mult=(1, 2, 4, 4), blocks=1), "f16", "WanPipeline", {"latents_tiles": (2, 10, 12)},
        [case("latents_tiles", STEP),
         tiles(64, 48, 16, 16),                           # the last row of tiles is redundant
         tiles(96, 48, 32, 16),                           # as wide as the frame, and yet two columns
         tiles(48, 48, 32, 40),                           # overlaps of more than half a tile
         tiles(40, 24, 0, 0),
         tiles(96, 80, 32, 32)]),                         # the whole frame
    "vae_22": (
        221, models.vae_22, dict(base=2, decoder_base=8, mult=(1, 2, 4, 2), blocks=1), "bf16", None,
        {"latents": (5, 4, 3), "latents_tiles": (2, 7, 8)},
        [*(case("latents", STEP, chunk) for chunk in (0, 1, 9, 17)),
         case("latents_tiles", STEP),
         tiles(64, 48, 16, 16),                           # the last row of tiles is redundant
         tiles(64, 112, 16, 32),                          # as high as the frame, and yet two rows
         tiles(80, 64, 48, 48)]),                         # overlaps of more than half a tile
    "vae_svd": (
        231, models.vae_svd, dict(widths=(32, 64, 32, 32)), "bf16", None, {"latents": (9, 2, 3), "latents_tiles": (9, 7, 8)},
        [*(case(chunk=chunk) for chunk in (1, 4, 9)),
         case(chunk=5, overlap=2),                        # the last chunk starts early and shares 4 frames, one of them with two chunks
         case(chunk=4, overlap=1),
         case("latents_tiles", STEP, chunk=9),
         tiles(32, 24, 8, 8, chunk=9),                    # the last row of tiles is redundant
         tiles(64, 32, 24, 24, chunk=4),                  # as wide as the frame; more than half a tile's height
         tiles(32, 24, 8, 8, chunk=5, overlap=2)]),
}


def draw_latents(vae, shape, gen):
    frames, rows, columns = shape
    if decode.is_svd(vae):
        return torch.randn(1, frames, 4, rows, columns, generator=gen)
    return 1.2 * torch.randn(1, vae.config.z_dim, frames, rows, columns, generator=gen)


def second_way(vae, latents, c):
    """The same frames by other code: Wan without caches, its tiles blended here; SVD's tiles blended by Wan's code."""
    if not decode.is_svd(vae):
        return decode.wan_whole(vae, latents, c["tile"], c["tile_overlap"])
    whole_chunk = c["chunk"] == latents.shape[1]
    if c["tile"] and whole_chunk:
        return decode.svd_tiled_by_wan(vae, latents, c["tile"], c["tile_overlap"])
    if c["tile"] is None and c["overlap"] == 0:
        return decode.frames_of(decode.svd(vae, latents, c["chunk"], 0, None, None))
    return by_hand(vae, latents, c)


def by_hand(vae, latents, c):
    """Chunks that share frames, as a weighted sum of them all: what a chunk brings takes its share from what the ones before left."""
    frames = latents.shape[1]
    ranges = decode.chunk_ranges(frames, c["chunk"], c["overlap"])
    weights, total, end = torch.zeros(len(ranges), frames), 0, 0
    for i, (first, count) in enumerate(ranges):
        ramp, shared = torch.ones(count), end - first
        ramp[:shared] = (torch.arange(shared) + 0.5) / max(shared, 1)
        weights[:, first : first + count] *= 1 - ramp
        weights[i, first : first + count] = ramp
        end = first + count
    for (first, count), weight in zip(ranges, weights):
        video = decode.svd(vae, latents[:, first : first + count], count, 0, c["tile"], c["tile_overlap"])
        total = total + torch.nn.functional.pad(video, (0, 0, 0, 0, first, frames - first - count)) * weight.view(1, 1, -1, 1, 1)
    return decode.frames_of(total)


def file_name(c):
    name = "frames" if c["latents"] == "latents" else "frames_tiles"
    if c["chunk"]:
        name += f"_chunk{c['chunk']}" + (f"-{c['overlap']}" if c["overlap"] else "")
    if c["tile"]:
        name += "_tile{}x{}".format(*c["tile"]) + "-{}x{}".format(*c["tile_overlap"])
    return name + ".safetensors"


def entry(c, frames):
    """A case as tests read it."""
    out = {"latents": c["latents"] + ".safetensors", "frames": frames, "step": c["step"], "decode_chunk_size": c["chunk"],
           "chunk_overlap": c["overlap"], "tiling": "blend" if c["tile"] else "none"}
    if c["tile"]:
        out.update(tile_size="{}x{}".format(*c["tile"]), tile_overlap="{}x{}".format(*c["tile_overlap"]))
    return out


def build(name, folder, seed):
    """Writes the model: the VAE's folder alone, or within a pipeline's. Returns it as read from there, and the generator."""
    own_seed, make, config, dtype, pipeline = FIXTURES[name][:5]
    gen, model = torch.Generator().manual_seed(own_seed + seed), os.path.join(folder, "model")
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(os.path.join(folder, "expect"))
    made = make(gen, **config).to(models.DTYPES[dtype])
    path = os.path.join(model, "vae") if pipeline else model
    made.save_pretrained(path)
    if pipeline:
        models.write_index(model, pipeline, made)
    models.scrub(folder)
    return type(made).from_pretrained(path, dtype=torch.float32), gen


def drop_encoder(folder):
    """A third of the bytes of SVD's VAE; nothing here reads them."""
    path = os.path.join(folder, "model", "diffusion_pytorch_model.safetensors")
    kept = {k: v for k, v in load_file(path).items() if not k.startswith(("encoder.", "quant_conv."))}
    save_file(kept, path, {"format": "pt"})


def describe(frames, other, plain):
    edge = ((frames == 0) | (frames == 1)).float().mean()
    line = f"{tuple(frames.shape)} std {frames.std():.3f}, clamped {100 * edge:.2f} %, second way {(frames - other).abs().max():.1e}"
    if plain is not None:
        line += f", from uncut: {100 * ((frames - plain).abs() > 1 / 255).float().mean():.0f} % off by more than 1/255"
    return line


@torch.no_grad()
def write(name, folder, seed):
    vae, gen = build(name, folder, seed)
    expect, sizes, cases = os.path.join(folder, "expect"), FIXTURES[name][5], FIXTURES[name][6]
    latents = {k: draw_latents(vae, shape, gen) for k, shape in sizes.items()}
    entries, written = [], {}
    for k, x in latents.items():
        record.save(expect, k, latents=x)
    for c in cases:
        x, uncut = latents[c["latents"]], decode.run(vae, latents[c["latents"]])
        arguments = {k: c[k] for k in ("chunk", "overlap", "tile", "tile_overlap")}
        frames, other = decode.run(vae, x, **arguments), second_way(vae, x, c)
        assert (frames - other).abs().max() < 2e-5, (name, c)
        same = next((f for f, old in written.items() if old[0] == c["latents"] and torch.equal(old[1], frames)), None)
        if same is None:
            record.save(expect, file_name(c)[: -len(".safetensors")], frames=frames[:, :: c["step"], :: c["step"]])
            written[file_name(c)] = (c["latents"], frames)
            print(f"{name}/{file_name(c)}: {describe(frames, other, None if torch.equal(frames, uncut) else uncut)}", flush=True)
        entries.append(entry(c, same or file_name(c)))
    with open(os.path.join(expect, "cases.json"), "w", encoding="utf-8") as f:
        f.write("[\n" + ",\n".join(" " + json.dumps(e) for e in entries) + "\n]\n")
    if decode.is_svd(vae):
        drop_encoder(folder)


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--out", required=True)
    ap.add_argument("--only", choices=FIXTURES, nargs="*", default=list(FIXTURES))
    ap.add_argument("--seed", type=int, default=0, help="added to every seed")
    args = ap.parse_args()
    torch.set_num_threads(2)
    models.quiet()
    print(f"diffusers {diffusers.__version__}, torch {torch.__version__}")
    for name in args.only:
        write(name, os.path.join(args.out, name), args.seed)


if __name__ == "__main__":
    main()
