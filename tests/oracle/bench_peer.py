"""What diffusers takes for a clip that weft made: bench_peer.py MODEL WEFT_REPORT GUIDANCE PROMPT OUT

Size, steps, threads and type are those of WEFT_REPORT; OUT is written in its manner. As bench_weft does, it first makes a clip of one
step that is not measured; torch counts the operations there."""
import json
import os
import resource
import sys
import time

os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1")
import diffusers  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
from diffusers import WanPipeline  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}


def load(folder, dtype):
    for logging in diffusers.utils.logging, transformers.utils.logging:
        logging.disable_progress_bar()
    pipe = WanPipeline.from_pretrained(folder, dtype=DTYPES[dtype], local_files_only=True)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def embed(pipe, prompt, guidance):
    """Once, as weft does it: the text encoder is not measured."""
    with torch.inference_mode():
        embeds, negative = pipe.encode_prompt(prompt, do_classifier_free_guidance=guidance > 1, max_sequence_length=512)
    return {"prompt_embeds": embeds, "negative_prompt_embeds": negative, "guidance_scale": guidance}


def denoise(pipe, clip, embeds, steps):
    """Latents, and the seconds of each step: from its first forward until the scheduler is done."""
    begun, ended = [], []

    def step_ends(*_):
        ended.append(time.perf_counter())
        return {}

    hook = pipe.transformer.register_forward_pre_hook(lambda *_: begun.append(time.perf_counter()))
    latents = pipe(height=clip["height"], width=clip["width"], num_frames=clip["frames"], num_inference_steps=steps, output_type="latent",
                   generator=torch.Generator().manual_seed(0), callback_on_step_end=step_ends, **embeds).frames
    hook.remove()
    forwards = len(begun) // steps
    return latents, [end - begin for begin, end in zip(begun[::forwards], ended)]


def decode(pipe, latents):
    """Seconds; the latents as the pipeline hands them to the decoder."""
    mean, std = (torch.tensor(getattr(pipe.vae.config, f"latents_{key}")).view(1, -1, 1, 1, 1) for key in ("mean", "std"))
    latents = (latents * std + mean).to(pipe.vae.dtype)
    began = time.perf_counter()
    with torch.inference_mode():
        pipe.vae.decode(latents, return_dict=False)
    return time.perf_counter() - began


def warm_up(pipe, clip, embeds):
    """Operations of a step and of the decoding."""
    with FlopCounterMode(display=False) as step:
        latents, _ = denoise(pipe, clip, embeds, 1)
    with FlopCounterMode(display=False) as decoding:
        decode(pipe, latents)
    return step.get_total_flops(), decoding.get_total_flops()


def measure(pipe, clip, embeds):
    step_flops, decode_flops = warm_up(pipe, clip, embeds)
    latents, seconds = denoise(pipe, clip, embeds, clip["steps"])
    return [{"name": "denoise", "seconds": sum(seconds), "flops": step_flops * clip["steps"], "step_seconds": seconds},
            {"name": "decode", "seconds": decode(pipe, latents), "flops": decode_flops}]


def main():
    folder, report, guidance, prompt, out = sys.argv[1:]
    with open(report, encoding="utf-8") as file:
        clip = json.load(file)
    torch.set_num_threads(clip["threads"])
    pipe = load(folder, clip["dtype"])
    stages = measure(pipe, clip, embed(pipe, prompt, float(guidance)))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    versions = f"diffusers {diffusers.__version__}, torch {torch.__version__}, transformers {transformers.__version__}"
    with open(out, "w", encoding="utf-8") as file:
        json.dump({"versions": versions, "threads": torch.get_num_threads(), "stages": stages, "peak_rss_bytes": peak}, file)


if __name__ == "__main__":
    main()
