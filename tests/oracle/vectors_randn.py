"""torch.randn on the CPU: single draws, and several draws from one generator (below 16 values it keeps the second normal of a pair)."""
import os

import torch
from safetensors.torch import save_file

from models import write_json

SEEDS = [0, 1234, 2**32 - 1, 2**63 + 5]
COUNTS = [1, 2, 5, 15, 16, 17, 31, 100, 1000]
RUNS = [(1, 1), (1, 2, 1), (5, 20), (20, 5), (5, 20, 5), (3, 16, 3, 17), (15, 1), (16, 16), (31, 7)]


def write(folder):
    tensors, entries = {}, []
    for seed in SEEDS:
        for run in [(n,) for n in COUNTS] + RUNS:
            gen, names = torch.Generator("cpu").manual_seed(seed), []
            for i, n in enumerate(run):
                names.append(f"{seed}_{n}" if len(run) == 1 else f"{seed}_{'_'.join(map(str, run))}_draw_{i}")
                tensors[names[-1]] = torch.randn(n, generator=gen)
            entries.append({"seed": str(seed), "draws": list(run), "tensors": names})
    save_file(tensors, os.path.join(folder, "randn.safetensors"))
    write_json(os.path.join(folder, "randn.json"), entries, None)
