#!/usr/bin/env python3
"""Makes the pictures of README.md beside it: tiles and chunks of the decoder, by the program alone. Python's standard library is enough.

    samples/decode/make.py [--weft build/weft]
"""
import argparse
import array
import json
import math
import os
import random
import struct
import subprocess
import tempfile
import zlib

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
SHAPES = os.path.join(ROOT, "samples", "shapes")
SVD = os.path.join(ROOT, "tests", "fixtures", "vae_svd", "model")  # small and of random weights: what overlap does is the same
AMPLIFIED = 20
TILES = ["--tile-size", "64x64", "--tile-overlap", "16x16"]


# --- files ---

def read_tensor(path, name):
    with open(path, "rb") as f:
        size = struct.unpack("<Q", f.read(8))[0]
        entry = json.loads(f.read(size))[name]
        f.seek(8 + size + entry["data_offsets"][0])
        values = array.array("f", f.read(entry["data_offsets"][1] - entry["data_offsets"][0]))
    return entry["shape"], values


def write_tensor(path, name, shape, values):
    data = array.array("f", values).tobytes()
    header = json.dumps({name: {"dtype": "F32", "shape": shape, "data_offsets": [0, len(data)]}}).encode()
    header += b" " * (-len(header) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(header)) + header + data)


def write_png(path, width, height, rgb):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + rgb[y * width * 3:(y + 1) * width * 3] for y in range(height))
    with open(path, "wb") as f:
        f.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)))
        f.write(chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b""))


# --- the program ---

class Program:
    def __init__(self, weft, work):
        self.weft, self.work = weft, work

    def run(self, *arguments):
        subprocess.run([self.weft, *arguments, "-q", "-y"], check=True)

    def decode(self, model, latents, *options):
        out = os.path.join(self.work, "frames.safetensors")
        self.run("decode", model, latents, "-o", out, "--device", "cpu", "--dtype", "f32", *options)
        return read_tensor(out, "frames")

    def peak(self, model, latents, *options):
        out = subprocess.run([self.weft, "decode", model, latents, "--format", "null", "-o", "x", "--device", "cpu", "--dtype", "f32",
                              "--plan", "--json", *options], check=True, capture_output=True).stdout
        return max(s["peak_host_bytes"] for s in json.loads(out)["stages"])


# --- pictures ---

def frame_bytes(shape, values, t, other=None):
    """Frame t; or its difference from another clip's, amplified, around grey."""
    size = shape[1] * shape[2] * 3
    mine = values[t * size:(t + 1) * size]
    if other is None:
        return bytes(min(255, max(0, round(255 * v))) for v in mine)
    theirs = other[t * size:(t + 1) * size]
    return bytes(min(255, max(0, round(128 + 255 * AMPLIFIED * (a - b)))) for a, b in zip(mine, theirs))


def side_by_side(pictures, width, height, gap=4):
    rows = []
    for y in range(height):
        rows.append((b"\xff" * (3 * gap)).join(p[y * width * 3:(y + 1) * width * 3] for p in pictures))
    return width * len(pictures) + gap * (len(pictures) - 1), b"".join(rows)


def make_tiles(program):
    dump = os.path.join(program.work, "dump")
    program.run("generate", SHAPES, "-p", "a red circle moves right", "--seed", "7", "--device", "cpu", "--dtype", "f32",
                "--format", "null", "-o", "x", "--dump", dump)
    latents = os.path.join(dump, "latents.safetensors")
    shape, whole = program.decode(SHAPES, latents, "--tiling", "none")
    _, blend = program.decode(SHAPES, latents, "--tiling", "blend", *TILES)
    _, exact = program.decode(SHAPES, latents, "--tiling", "exact", "--tile-size", "64x64")
    t = shape[0] // 2
    pictures = [frame_bytes(shape, whole, t), frame_bytes(shape, blend, t), frame_bytes(shape, blend, t, whole),
                frame_bytes(shape, exact, t, whole)]
    width, rows = side_by_side(pictures, shape[2], shape[1])
    write_png(os.path.join(HERE, "tiles.png"), width, shape[1], rows)
    print("exact and untiled differ by", max(abs(a - b) for a, b in zip(exact, whole)), "at most")


def plot(path, title, x_label, y_label, curves):
    """curves: name -> [(x, y)]."""
    width, height, left, bottom, colours = 640, 300, 70, 40, ["#c0392b", "#2471a3", "#1e8449", "#7d3c98"]
    points = [p for c in curves.values() for p in c]
    most_x, most_y = max(p[0] for p in points), max(p[1] for p in points) * 1.08
    at = [lambda x: left + x / most_x * (width - left - 20), lambda y: height - bottom - y / most_y * (height - bottom - 40)]
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" font-size="12">',
           f'<rect width="{width}" height="{height}" fill="white"/><text x="{left}" y="20" font-size="14">{title}</text>',
           f'<text x="{width - 20}" y="{height - 8}" text-anchor="end">{x_label}</text><text x="8" y="36">{y_label}</text>']
    for i in range(5):
        value = most_y * i / 4
        out.append(f'<line x1="{left}" x2="{width - 20}" y1="{at[1](value):.1f}" y2="{at[1](value):.1f}" stroke="#ddd"/>'
                   f'<text x="{left - 6}" y="{at[1](value) + 4:.1f}" text-anchor="end">{value:.3g}</text>')
        out.append(f'<text x="{at[0](most_x * i / 4):.1f}" y="{height - 24}" text-anchor="middle">{most_x * i / 4:.4g}</text>')
    for (name, curve), colour, i in zip(curves.items(), colours, range(9)):
        line = " ".join(f"{at[0](x):.1f},{at[1](y):.1f}" for x, y in curve)
        out.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
                   f'<text x="{width - 24}" y="{40 + 15 * i}" fill="{colour}" text-anchor="end">{name}</text>')
    with open(path, "w", encoding="utf-8") as f:
        f.write("\n".join(out) + "\n</svg>\n")


def smooth_latents(frames, height, width, channels=4):
    """Noise that moves slowly: each frame is nearly the one before."""
    rng, keep = random.Random(3), 0.9
    now = [rng.gauss(0, 1) for _ in range(channels * height * width)]
    values = []
    for _ in range(frames):
        values += [0.18215 * 5 * v for v in now]
        now = [keep * v + math.sqrt(1 - keep * keep) * rng.gauss(0, 1) for v in now]
    return [1, frames, channels, height, width], values


def changes(shape, values):
    size = shape[1] * shape[2] * 3
    return [[values[(t + 1) * size + i] - values[t * size + i] for i in range(size)] for t in range(shape[0] - 1)]


def make_chunks(program):
    latents = os.path.join(program.work, "svd.safetensors")
    write_tensor(latents, "latents", *smooth_latents(25, 6, 8))
    whole = changes(*program.decode(SVD, latents))
    curves = {}
    for overlap in (0, 1, 2, 3):
        found = changes(*program.decode(SVD, latents, "--decode-chunk-size", "5", "--chunk-overlap", str(overlap)))
        errors = [sum(abs(a - b) for a, b in zip(x, y)) / len(x) for x, y in zip(found, whole)]
        curves[f"overlap {overlap}: at most {255 * max(errors):.2f}"] = [(t + 1, 255 * e) for t, e in enumerate(errors)]
        print("chunks of 5, overlap", overlap, "worst", 255 * max(errors))
    plot(os.path.join(HERE, "chunks.svg"), "Error of the change from frame to frame, chunks of 5 frames against all at once", "frame",
         "of 255", curves)


def make_memory(program):
    by_length, by_tile = {}, {}
    for name, options in (("untiled", ["--tiling", "none"]), ("exact, 64x64", ["--tiling", "exact", "--tile-size", "64x64"]),
                          ("blend, 64x64", ["--tiling", "blend", *TILES])):
        by_length[name] = []
        for t in (1, 2, 4, 8, 16, 32):
            path = os.path.join(program.work, "z.safetensors")
            write_tensor(path, "latents", [1, 16, t, 32, 32], [0.0] * (16 * t * 32 * 32))
            peak = program.peak(SHAPES, path, *options) - 4 * 16 * t * 32 * 32
            by_length[name].append((1 + 4 * (t - 1), peak / 1e6))
    path = os.path.join(program.work, "z.safetensors")
    write_tensor(path, "latents", [1, 16, 3, 64, 64], [0.0] * (16 * 3 * 64 * 64))
    for name in ("exact", "blend"):
        by_tile[name] = []
        for side in (64, 96, 128, 192, 256, 384, 512):
            tile = ["--tiling", name, "--tile-size", f"{side}x{side}"]
            by_tile[name].append((side, program.peak(SHAPES, path, *tile) / 1e6))
    plot(os.path.join(HERE, "length.svg"), "Memory of a decode of 256x256, the latents aside", "frames", "MB", by_length)
    plot(os.path.join(HERE, "tile.svg"), "Memory of a decode of 512x512", "pixels a side of a tile", "MB", by_tile)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--weft", default=os.path.join(ROOT, "build", "weft"))
    args = ap.parse_args()
    with tempfile.TemporaryDirectory() as work:
        program = Program(args.weft, work)
        make_tiles(program)
        make_chunks(program)
        make_memory(program)


if __name__ == "__main__":
    main()
