"""Run diffusers in fp32 on the CPU and keep what it computes, in the layout of `weft generate --dump`."""
import os

import torch
from diffusers import WanPipeline
from safetensors.torch import save_file

import text
from models import write_json


def save(folder, name, **tensors):
    save_file({k: v.detach().to(torch.float32).contiguous() for k, v in tensors.items()}, os.path.join(folder, name + ".safetensors"))


def load(folder):
    pipe = WanPipeline.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    for part in (pipe.text_encoder, pipe.transformer, pipe.vae):
        assert all(p.dtype == torch.float32 for p in part.parameters())
    pipe.set_progress_bar_config(disable=True)
    return pipe


def run(pipe, case):
    """One pipeline call; returns every tensor that --dump names, and the frames."""
    seen = {"steps": []}
    prepare = pipe.prepare_latents

    def keep_initial(*args, **kwargs):
        seen["initial"] = prepare(*args, **kwargs)
        return seen["initial"]

    def keep_step(_pipe, _i, _t, kwargs):
        seen["steps"].append(kwargs["latents"].clone())
        seen.update(prompt_embeds=kwargs["prompt_embeds"], negative_prompt_embeds=kwargs["negative_prompt_embeds"])
        return {}

    if case["flow_shift"] is not None:
        key = "flow_shift" if "flow_shift" in pipe.scheduler.config else "shift"
        pipe.scheduler = type(pipe.scheduler).from_config(pipe.scheduler.config, **{key: case["flow_shift"]})
    pipe.prepare_latents = keep_initial
    seen["frames"] = pipe(
        prompt=case["prompt"], negative_prompt=case["negative_prompt"], height=case["height"], width=case["width"],
        num_frames=case["num_frames"], num_inference_steps=case["steps"], guidance_scale=case["guidance_scale"],
        max_sequence_length=case["max_sequence_length"], generator=torch.Generator("cpu").manual_seed(case["seed"]),
        callback_on_step_end=keep_step, callback_on_step_end_tensor_inputs=["latents", "prompt_embeds", "negative_prompt_embeds"],
        output_type="np").frames[0]
    return seen


def one_forward(pipe, case, embeds, folder):
    """The transformer alone: one forward at a timestep that no schedule lands on, and the hidden state after block 0."""
    gen = torch.Generator().manual_seed(case["seed"] + 1)
    shape = (1, 16, (case["num_frames"] - 1) // 4 + 1, case["height"] // 8, case["width"] // 8)
    latents, hidden = torch.randn(shape, generator=gen), []
    timestep = torch.tensor([517.0])
    hook = pipe.transformer.blocks[0].register_forward_hook(lambda m, a, out: hidden.append(out))
    out = pipe.transformer(hidden_states=latents, timestep=timestep, encoder_hidden_states=embeds, return_dict=False)[0]
    hook.remove()
    save(folder, "transformer", latents=latents, timestep=timestep, prompt_embeds=embeds, hidden_block_0=hidden[0], output=out)


@torch.no_grad()
def record(case, folder, spiece):
    """`folder` holds model/; case.json and expect/ are written beside it."""
    expect = os.path.join(folder, "expect")
    os.makedirs(expect, exist_ok=True)
    pipe = load(os.path.join(folder, "model"))
    length, guided = case["max_sequence_length"], case["guidance_scale"] > 1
    write_json(os.path.join(expect, "ids.json"), {
        "prompt_ids": text.ids(pipe.tokenizer, spiece, case["prompt"], length),
        "negative_ids": text.ids(pipe.tokenizer, spiece, case["negative_prompt"], length)}, None)
    seen = run(pipe, case)
    save(expect, "prompt_embeds", prompt_embeds=seen["prompt_embeds"])
    if guided:
        save(expect, "negative_prompt_embeds", negative_prompt_embeds=seen["negative_prompt_embeds"])
    save(expect, "latents_initial", latents=seen["initial"])
    for i, x in enumerate(seen["steps"]):
        save(expect, f"latents_step_{i:03d}", latents=x)
    save(expect, "latents", latents=seen["steps"][-1])
    frames = torch.from_numpy(seen["frames"])
    save(expect, "frames", frames=frames)
    if case.get("one_forward"):
        one_forward(pipe, case, seen["prompt_embeds"], expect)
    keys = ["prompt", "negative_prompt", "width", "height", "num_frames", "steps", "guidance_scale", "flow_shift", "max_sequence_length",
            "seed", "fps", "decode_chunk_sizes"]
    write_json(os.path.join(folder, "case.json"), {k: case[k] for k in keys})
    return summary(pipe, case, seen)


def summary(pipe, case, seen):
    """What to look at before a case is kept: sizes of the values, and how much of the result is fp32 rounding (against fp64)."""
    last, frames = seen["steps"][-1], torch.from_numpy(seen["frames"])
    pipe.to(torch.float64)
    again = run(pipe, case)
    noise = (again["steps"][-1] - last).norm() / last.norm()
    pixels = (torch.from_numpy(again["frames"]) - frames).abs().max().item()
    clamped = ((frames == 0) | (frames == 1)).float().mean().item()
    return (f"latents std {last.std():.2f} max {last.abs().max():.1f}, frames std {frames.std():.3f}, clamped {100 * clamped:.2f} %, "
            f"fp32 against fp64: latents {noise:.1e}, frames {pixels:.1e}")
