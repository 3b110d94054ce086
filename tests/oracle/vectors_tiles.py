"""What AutoencoderKLWan's tiled decode does with tiles, a formula in the place of its decoder."""
import os
from types import SimpleNamespace

import torch
from diffusers.models.autoencoders import autoencoder_kl_wan

from models import write_json

SCALE = 2  # pixels a latent
# Height and width of the latents, then of a tile and of an overlap, in latents.
CASES = [
    (14, 9, 8, 6, 2, 2),  # a redundant last tile, 2 rows high
    (14, 14, 8, 8, 2, 2),  # on both axes
    (13, 5, 8, 6, 2, 3),  # the width fits into a tile, and into its stride not
    (13, 3, 8, 6, 2, 3),  # and into its stride
    (8, 11, 8, 4, 3, 1),  # a tile as high as the frame
    (9, 10, 4, 5, 3, 4),  # overlaps above half a tile
    (12, 12, 4, 6, 0, 0),  # no overlap
    (11, 7, 6, 3, 0, 1),
    (7, 19, 16, 16, 4, 4),
    (8, 6, 8, 6, 2, 2),  # not tiled
    (3, 5, 8, 6, 2, 2),  # nor this one
]


def value(tile, y, x):
    """A pixel of the tile that is decoded as number tile."""
    return ((tile * 37 + y * 11 + x * 7) % 61 - 30) / 32


def run(case, patch):
    """patch: 2.2's, which blends at half of the output's resolution; a latent then gives SCALE * patch pixels."""
    height, width, tile_height, tile_width, over_height, over_width = case
    windows = []

    def decode(z, **_):
        y, x = z[0, 0, 0], z[0, 1, 0]
        windows.append([int(y[0, 0]), int(x[0, 0]), *y.shape])
        rows, columns = (SCALE * n for n in y.shape)
        return torch.tensor([[value(len(windows) - 1, j, i) for i in range(columns)] for j in range(rows)])[None, None, None]

    kind, pixels = autoencoder_kl_wan.AutoencoderKLWan, SCALE * (patch or 1)
    vae = SimpleNamespace(
        use_tiling=True, spatial_compression_ratio=pixels, config=SimpleNamespace(patch_size=patch), clear_cache=lambda: None,
        post_quant_conv=lambda z: z, decoder=decode, _feat_map=None, tile_sample_min_height=tile_height * pixels,
        tile_sample_min_width=tile_width * pixels, tile_sample_stride_height=(tile_height - over_height) * pixels,
        tile_sample_stride_width=(tile_width - over_width) * pixels)
    for name in ("blend_v", "blend_h", "tiled_decode"):
        setattr(vae, name, getattr(kind, name).__get__(vae))
    latents = torch.stack(torch.meshgrid(torch.arange(float(height)), torch.arange(float(width)), indexing="ij"))[None, :, None]
    out = kind._decode(vae, latents).sample[0, 0, 0]
    return windows, [float(f"{v:.9g}") for v in out.flatten().tolist()]


def write(folder):
    autoencoder_kl_wan.unpatchify = lambda x, patch_size: x
    entries = []
    for case in CASES:
        windows, frame = run(case, None)
        assert run(case, 2) == (windows, frame)
        entries.append({"latents": case[:2], "tile": case[2:4], "overlap": case[4:], "windows": windows, "frame": frame})
    write_json(os.path.join(folder, "tiles.json"), {
        "scale": SCALE, "value": "((tile * 37 + y * 11 + x * 7) % 61 - 30) / 32", "cases": entries}, None)
