#!/usr/bin/env python3
"""Runs weft on Stable Video Diffusion models that nobody has seen, and compares it with diffusers: conditions, every step's latents, frames, in
f32 and bf16, in chunks, under every policy."""
import argparse
import json
import os
import random
import subprocess
import sys
import tempfile

os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1")
import torch  # noqa: E402
from safetensors.torch import load_file  # noqa: E402

import models  # noqa: E402
import svd  # noqa: E402


def weft(args, case, folder, image, out, *more):
    line = [args.weft, "generate", os.path.join(folder, "model"), "-i", image, "-W", case["width"], "-H", case["height"], "-f",
            case["num_frames"], "--steps", case["steps"], "-s", case["seed"], "--fps", case["fps"], "--min-guidance-scale",
            case["min_guidance_scale"], "--max-guidance-scale", case["max_guidance_scale"], "--motion-bucket-id", case["motion_bucket_id"],
            "--noise-aug-strength", case["noise_aug_strength"], "--threads", 2, "--progress", "none", "-y", *more]
    if out:
        line += ["-o", os.path.join(out, "frames.safetensors")]
    done = subprocess.run([str(word) for word in line], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, line))}\n{done.stderr}")
    return done.stdout


def tensor(folder, name):
    (value,) = load_file(os.path.join(folder, name + ".safetensors")).values()
    return value.double()


def distance(a, b):
    return ((a - b).norm() / a.norm().clamp_min(1e-30)).item()


def near(expected, found):
    return ((expected - found).abs() <= 1 / 255 + 1e-9).double().mean().item()


class Checks:
    def __init__(self):
        self.bad = 0

    def __call__(self, what, value, ok):
        if not ok:
            self.bad += 1
            print(f"  FAILED {what}: {value}")


def check_numbers(args, case, folder, image, pipe, check):
    seen, out = svd.run(pipe, case, image), os.path.join(folder, "out")
    os.makedirs(out, exist_ok=True)
    weft(args, case, folder, image, out, "--dtype", "f32", "--device", args.device, "--dump", out)
    for name in ("image_embeds", "image_latents"):
        d = distance(seen[name].double(), tensor(out, name))
        check(name, d, d <= 1e-4)
    worst = 0
    for i, x in enumerate(seen["steps"]):
        worst = max(worst, distance(x.double(), tensor(out, f"latents_step_{i:03d}")))
    check("latents", worst, worst <= 2e-4)
    frames, part = tensor(out, "frames"), near(seen["frames"].double(), tensor(out, "frames"))
    check("frames", part, part >= 0.999)
    return seen, frames, worst, part


def check_chunks(args, case, folder, image, pipe, latents, check):
    for chunk in {1, 4, case["num_frames"]}:
        with torch.no_grad():
            frames = pipe.decode_latents(latents, case["num_frames"], chunk)
            frames = pipe.video_processor.postprocess_video(frames, output_type="pt")[0].permute(0, 2, 3, 1)
        out = os.path.join(folder, "chunk")
        os.makedirs(out, exist_ok=True)
        weft(args, case, folder, image, out, "--dtype", "f32", "--device", args.device, "--decode-chunk-size", chunk, "--chunk-overlap", 0)
        part = near(frames.double(), tensor(out, "frames"))
        check(f"chunks of {chunk}", part, part >= 0.999)


def check_ways(args, case, folder, image, frames, expected, check):
    """Policies give the same bits, exact tiles nearly so, bf16 the same clip; the plan is the run."""
    out = os.path.join(folder, "way")
    os.makedirs(out, exist_ok=True)
    for policy in ("none", "group", "sequential"):
        report = os.path.join(out, "report.json")
        weft(args, case, folder, image, out, "--dtype", "f32", "--device", args.device, "--offload", policy, "--report", report)
        check(policy, "bits differ", torch.equal(frames, tensor(out, "frames")))
        plan = json.loads(weft(args, case, folder, image, None, "--dtype", "f32", "--device", args.device, "--offload", policy, "--plan",
                               "--json"))
        with open(report) as f:
            stages = json.load(f)["stages"]
        for p, r in zip(plan["stages"], stages):
            off = abs(p["peak_host_bytes"] / max(r["peak_host_bytes"], 1) - 1)
            check(f"plan of {p['name']} under {policy}", (p["peak_host_bytes"], r["peak_host_bytes"]), off <= 0.03)
    weft(args, case, folder, image, out, "--dtype", "f32", "--device", args.device, "--tiling", "exact", "--tile-size", "32x24")
    d = distance(frames, tensor(out, "frames"))
    check("exact tiles", d, d <= 1e-4)
    weft(args, case, folder, image, out, "--dtype", "bf16", "--device", args.device)
    mse = ((tensor(out, "frames") - expected.double()) ** 2).mean()
    psnr = -10 * torch.log10(mse).item()
    check("bf16", psnr, psnr >= 40)
    return psnr


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--weft", default="build/weft")
    ap.add_argument("--device", default="cpu")
    ap.add_argument("--count", type=int, default=5)
    ap.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    args = ap.parse_args()
    torch.set_num_threads(2)
    models.quiet()
    check = Checks()
    for i in range(args.count):
        case = svd.draw(args.seed + i)
        with tempfile.TemporaryDirectory() as folder:
            svd.build(case, os.path.join(folder, "model"))
            image = os.path.join(folder, "image." + case["image"])
            svd.draw_picture(case, image)
            pipe = svd.load(os.path.join(folder, "model"))
            seen, frames, worst, part = check_numbers(args, case, folder, image, pipe, check)
            check_chunks(args, case, folder, image, pipe, seen["steps"][-1], check)
            psnr = check_ways(args, case, folder, image, frames, seen["frames"], check)
        print(f"seed {args.seed + i}: {case['width']}x{case['height']}x{case['num_frames']}, {len(case['unet']['widths'])} levels, "
              f"{case['steps']} steps, {case['store']}, {case['image']} {case['image_size']}: latents {worst:.1e}, near {part:.5f}, "
              f"bf16 {psnr:.1f} dB", flush=True)
    print(f"{check.bad} failed")
    sys.exit(check.bad > 0)


if __name__ == "__main__":
    main()
