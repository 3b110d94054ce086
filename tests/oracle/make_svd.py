#!/usr/bin/env python3
"""Build tiny Stable Video Diffusion models and record what diffusers makes of a picture with them: svd_*/{model,image.*,case.json,expect}."""
import argparse
import os
import shutil

os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1")
import torch  # noqa: E402

import models  # noqa: E402
import svd  # noqa: E402

CASES = {
    "svd_a": dict(                                               # sides that do not halve evenly, widths of each level, a picture turned by EXIF
        unet=dict(widths=(32, 64, 32), layers=[1, 1, 1], heads=(4, 2, 1), attends=(True, False, False), attends_up=(True, False, True), frames=5),
        vae=dict(widths=(32, 64, 32), layers=1), clip=dict(hidden=24, heads=2, projection=16, patch=56), store="f16", weights_seed=301,
        seed=11, width=48, height=40, num_frames=3, steps=3, min_guidance_scale=1.0, max_guidance_scale=2.5, fps=9, motion_bucket_id=90,
        noise_aug_strength=0.05, image="jpg", image_size=(70, 50), orientation=6),
    "svd_b": dict(                                               # no guidance, one step, several blocks in a transformer, blocks without
        unet=dict(widths=(32, 32), layers=[2, 1], heads=2, attends=(False, True), attends_up=(True, False), ids=8, blocks=[1, 2], frames=4),
        vae=dict(widths=(32, 32), layers=1), clip=dict(hidden=16, layers=1, heads=1, projection=24, patch=56), store="bf16",
        weights_seed=302, scheduler=dict(timestep_spacing="trailing"), seed=2**33 + 1, width=16, height=24, num_frames=2, steps=1,
        min_guidance_scale=1.0, max_guidance_scale=1.0, fps=1, motion_bucket_id=255, noise_aug_strength=0.0, image="png",
        image_size=(9, 31)),
}
KEYS = ["width", "height", "num_frames", "steps", "min_guidance_scale", "max_guidance_scale", "fps", "motion_bucket_id", "noise_aug_strength",
        "seed"]


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--out", required=True)
    ap.add_argument("--seed", type=int, default=0, help="added to every seed of the weights")
    args = ap.parse_args()
    torch.set_num_threads(2)
    models.quiet()
    for name, case in CASES.items():
        folder = os.path.join(args.out, name)
        shutil.rmtree(folder, ignore_errors=True)
        case = dict(case, weights_seed=case["weights_seed"] + args.seed)
        svd.build(case, os.path.join(folder, "model"))
        image = os.path.join(folder, "image." + case["image"])
        svd.draw_picture(case, image)
        pipe = svd.load(os.path.join(folder, "model"))
        seen = svd.run(pipe, case, image)
        svd.keep(os.path.join(folder, "expect"), seen, pipe)
        models.write_json(os.path.join(folder, "case.json"), dict({k: case[k] for k in KEYS}, image="image." + case["image"]))
        frames, last = seen["frames"], seen["steps"][-1]
        edge = ((frames == 0) | (frames == 1)).float().mean()
        print(f"{name}: latents std {last.std():.2f}, frames std {frames.std():.3f}, clamped {100 * edge:.2f} %")


if __name__ == "__main__":
    main()
