#!/usr/bin/env python3
"""Values that need no model: group norm, random numbers, schedules, text rules, tiles. make_vectors.py --out DIR"""
import argparse
import importlib.util
import os

os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1")
import models  # noqa: E402
import vectors_group_norm  # noqa: E402
import vectors_randn  # noqa: E402
import vectors_schedulers  # noqa: E402
import vectors_text  # noqa: E402
import vectors_tiles  # noqa: E402


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--out", required=True)
    folder = ap.parse_args().out
    assert importlib.util.find_spec("ftfy") is None, "diffusers would clean prompts with ftfy: uninstall it"
    os.makedirs(folder, exist_ok=True)
    models.quiet()
    for part in (vectors_group_norm, vectors_randn, vectors_schedulers, vectors_text, vectors_tiles):
        part.write(folder)


if __name__ == "__main__":
    main()
