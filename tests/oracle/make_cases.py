#!/usr/bin/env python3
"""Build tiny Wan models and record what diffusers computes with them.

make_cases.py --out DIR [--cases basic euler ...]         the committed cases
make_cases.py --out DIR --random 5 --seed 77 [--wide]     models nobody has seen; wide enough for bf16"""
import argparse
import os
import shutil
import sys

os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1")
import torch  # noqa: E402

import cases  # noqa: E402
import models  # noqa: E402
import record  # noqa: E402


def size(folder):
    return sum(os.path.getsize(os.path.join(r, f)) for r, _, fs in os.walk(folder) for f in fs)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--out", required=True)
    ap.add_argument("--cases", nargs="*", help=f"of: {' '.join(cases.CASES)}; default all")
    ap.add_argument("--random", type=int, default=0, metavar="N", help="instead, N cases drawn at random")
    ap.add_argument("--seed", type=int, default=0, help="added to every seed of the weights; with --random, of the draw")
    ap.add_argument("--wide", action="store_true", help="with --random: layers of 64 channels and more")
    ap.add_argument("--threads", type=int, default=2)
    args = ap.parse_args()
    torch.set_num_threads(args.threads)
    models.quiet()
    if args.random:
        draw = cases.draw_wide if args.wide else cases.draw
        todo = {f"random_{args.seed}_{i}": draw(args.seed * 1000 + i) for i in range(args.random)}
    else:
        unknown = set(args.cases or ()) - set(cases.CASES)
        if unknown:
            sys.exit(f"no such case: {' '.join(sorted(unknown))}")
        todo = {n: c for n, c in cases.CASES.items() if not args.cases or n in args.cases}
    for name, case in todo.items():
        folder = os.path.join(args.out, name)
        shutil.rmtree(folder, ignore_errors=True)
        case = dict(case, weights_seed=case["weights_seed"] + (0 if args.random else args.seed))
        spiece = models.build(case, os.path.join(folder, "model"))
        print(f"{name}: {record.record(case, folder, spiece)}, {size(folder) / 1e3:.0f} kB", flush=True)


if __name__ == "__main__":
    main()
