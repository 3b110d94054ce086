# SPDX-License-Identifier: Apache-2.0
"""Puts the parts together as a diffusers WanPipeline folder in bf16, with a weft.json, and takes an older folder's place."""
import argparse
import json
import os
import shutil

import torch
from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanPipeline, WanTransformer3DModel
from transformers import UMT5EncoderModel

import shapes
import text

a = argparse.ArgumentParser(description=__doc__)
a.add_argument("--vae", required=True)
a.add_argument("--dit", required=True, help="folder with transformer/ and text_encoder/")
a.add_argument("--spiece", required=True)
a.add_argument("--out", required=True)
a.add_argument("--steps", type=int, default=10)
a.add_argument("--guidance", type=float, default=2.5)
a.add_argument("--shift", type=float, default=3.0)
a.add_argument("--fps", type=int, default=12)
a = a.parse_args()
BF = torch.bfloat16
pipe = WanPipeline(
    tokenizer=text.tokenizer(a.spiece), text_encoder=UMT5EncoderModel.from_pretrained(a.dit + "/text_encoder", dtype=BF),
    vae=AutoencoderKLWan.from_pretrained(a.vae, torch_dtype=BF),
    transformer=WanTransformer3DModel.from_pretrained(a.dit + "/transformer", torch_dtype=BF),
    scheduler=UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, num_train_timesteps=1000,
                                      flow_shift=a.shift, solver_order=2))
new = a.out.rstrip("/") + ".new"
shutil.rmtree(new, ignore_errors=True)
pipe.save_pretrained(new, safe_serialization=True)
shutil.copyfile(a.spiece, new + "/tokenizer/spiece.model")
json.dump(dict(pad_token="<pad>", eos_token="</s>", unk_token="<unk>"), open(new + "/tokenizer/special_tokens_map.json", "w"), indent=2)
json.dump(dict(width=shapes.SIZE, height=shapes.SIZE, num_frames=shapes.FRAMES, steps=a.steps, guidance_scale=a.guidance, fps=a.fps),
          open(new + "/weft.json", "w"), indent=2)
total = 0
for folder, _, files in os.walk(new):
    for f in files:
        path = os.path.join(folder, f)
        if f.endswith(".json"):                            # whatever local path the parts were loaded from is nobody's business
            j = json.load(open(path))
            if isinstance(j, dict) and j.pop("_name_or_path", None) is not None:
                json.dump(j, open(path, "w"), indent=2)
        os.chmod(path, 0o644)
        total += os.path.getsize(path)
old = a.out.rstrip("/") + ".old"
shutil.rmtree(old, ignore_errors=True)
if os.path.exists(a.out):
    os.rename(a.out, old)
os.rename(new, a.out)
shutil.rmtree(old, ignore_errors=True)
print("%s: %.2f MB" % (a.out, total / 1e6))
