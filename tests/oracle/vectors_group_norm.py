"""torch's group norm and SiLU, in double: with the statistics of each frame, and with those of all frames."""
import os

import torch
from safetensors.torch import save_file

FRAMES, HEIGHT, WIDTH, CHANNELS, GROUPS, EPS = 3, 5, 7, 24, 4, 1e-6
# Mean and deviation of the values.
CASES = {"near": (0.3, 2.0), "far": (100.0, 0.1)}


def write(folder):
    gen, tensors = torch.Generator("cpu").manual_seed(11), {}
    tensors["weight"] = torch.randn(CHANNELS, generator=gen)
    tensors["shift"] = torch.randn(CHANNELS, generator=gen)
    weight, shift = tensors["weight"].double(), tensors["shift"].double()
    for name, (mean, deviation) in CASES.items():
        x = mean + deviation * torch.randn(FRAMES, HEIGHT, WIDTH, CHANNELS, generator=gen)
        frames = x.double().permute(0, 3, 1, 2)
        clip = frames.permute(1, 0, 2, 3).unsqueeze(0)
        each = torch.nn.functional.silu(torch.nn.functional.group_norm(frames, GROUPS, weight, shift, EPS))
        whole = torch.nn.functional.silu(torch.nn.functional.group_norm(clip, GROUPS, weight, shift, EPS))
        tensors[f"{name}_x"] = x
        tensors[f"{name}_frame"] = each.permute(0, 2, 3, 1).float().contiguous()
        tensors[f"{name}_clip"] = whole[0].permute(1, 2, 3, 0).float().contiguous()
    save_file(tensors, os.path.join(folder, "group_norm.safetensors"))
