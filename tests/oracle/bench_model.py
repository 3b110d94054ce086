"""A folder to measure with: Wan 2.1 1.3B in bf16, every value drawn at random.

    bench_model.py --size          prints its bytes
    bench_model.py --out DIR       writes it

Denoiser and VAE have the published shapes; of the text encoder, which is not measured, only the width is the published one. A weight is
N(0, 1/fan_in), a gain near 1: zeros, or values that grow to infinity or shrink to subnormal ones, would not take the time that numbers
take. The values come from one pool of normals, which each tensor enters at another place: it has a prime length, so no two rows are
equal. Python's standard library is enough."""
import argparse
import array
import math
import pathlib
import random
import shutil

import sparse

POOL = 2**20 - 3  # a prime
TEXT = {"vocab": 256, "heads": 8, "ffn": 1024, "layers": 2}


def shapes():
    """By the file that holds them."""
    return {f"transformer/{sparse.STEM}": sparse.transformer_shapes(*sparse.MODELS["1.3b"][2:]),
            f"vae/{sparse.STEM}": sparse.vae_shapes(), "text_encoder/model": sparse.text_encoder_shapes("shared", **TEXT)}


def distribution(name, shape):
    """Mean and deviation, as models.py draws them."""
    leaf = name.split(".")[-1]
    if leaf == "gamma" or ("norm" in name and leaf == "weight"):
        return 1.0, 0.2
    if leaf == "bias":
        return 0.0, 0.1
    if leaf == "scale_shift_table":
        return 0.0, 0.4
    if name == "shared.weight" or "relative_attention_bias" in name:
        return 0.0, 1.0
    return 0.0, math.prod(shape[1:]) ** -0.5


class Pool:
    """Normals in bf16, scaled once for each distribution."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.normals = [self.random.gauss(0, 1) for _ in range(POOL)]
        self.scaled = {}

    def bytes_of(self, mean, deviation):
        if (mean, deviation) not in self.scaled:
            floats = array.array("f", [mean + deviation * value for value in self.normals])
            self.scaled[mean, deviation] = array.array("H", floats.tobytes())[1::2].tobytes()  # the upper halves
        return memoryview(self.scaled[mean, deviation])

    def write(self, file, count, mean, deviation):
        values, at, left = self.bytes_of(mean, deviation), 2 * self.random.randrange(POOL), 2 * count
        while left:
            part = values[at:at + left]
            file.write(part)
            at, left = 0, left - len(part)


def write_values(path, tensors, pool):
    with open(path, "wb") as file:
        file.write(sparse.header_of(tensors, "BF16", 2)[0])
        for name in sorted(tensors):
            pool.write(file, math.prod(tensors[name]), *distribution(name, tensors[name]))


def write_model(folder, tokenizer):
    configs = sparse.configs(*sparse.MODELS["1.3b"][2:])
    configs["text_encoder"].update(vocab_size=TEXT["vocab"], num_heads=TEXT["heads"], d_ff=TEXT["ffn"], num_layers=TEXT["layers"])
    sparse.write_configs(folder, configs)
    shutil.copytree(tokenizer, folder / "tokenizer")
    pool = Pool(seed=1)
    for stem, tensors in shapes().items():
        write_values(folder / f"{stem}.safetensors", tensors, pool)


def main():
    fixtures = pathlib.Path(__file__).resolve().parent.parent / "fixtures"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--size", action="store_true")
    what.add_argument("--out", type=pathlib.Path)
    args = parser.parse_args()
    if args.size:
        print(sum(2 * math.prod(shape) for tensors in shapes().values() for shape in tensors.values()))
    else:
        write_model(args.out, fixtures / "basic" / "model" / "tokenizer")


if __name__ == "__main__":
    main()
