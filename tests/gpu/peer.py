"""diffusers' transformer and VAE on weft's folder: peer.py MODEL OUT.json. Eager, then with compiled blocks; seconds of a forward pass
and of a decode of 832x480x81 in bf16, on random latents and text."""
import json
import sys
import time

import torch
from diffusers import AutoencoderKLWan, WanTransformer3DModel

SHAPE = (1, 16, 21, 60, 104)


def seconds(work, times=3):
    """The best of a few, after one that is not measured."""
    best = float("inf")
    for i in range(times + 1):
        torch.cuda.synchronize()
        began = time.perf_counter()
        work()
        torch.cuda.synchronize()
        if i:
            best = min(best, time.perf_counter() - began)
    return best


def main():
    folder, out = sys.argv[1:]
    torch.set_grad_enabled(False)
    torch.manual_seed(0)
    load = {"torch_dtype": torch.bfloat16}
    transformer = WanTransformer3DModel.from_pretrained(folder, subfolder="transformer", **load).to("cuda")
    vae = AutoencoderKLWan.from_pretrained(folder, subfolder="vae", **load).to("cuda")
    latents = torch.randn(SHAPE, device="cuda", dtype=torch.bfloat16)
    text = torch.randn(1, 512, transformer.config.text_dim, device="cuda", dtype=torch.bfloat16)
    timestep = torch.tensor([500], device="cuda")
    results = {"torch": torch.__version__, "card": torch.cuda.get_device_name(0)}

    def forward():
        transformer(hidden_states=latents, timestep=timestep, encoder_hidden_states=text, return_dict=False)

    def decode():
        vae.decode(latents, return_dict=False)

    def measure(name, work):
        try:
            results[name] = seconds(work)
        except Exception as error:  # one that fails leaves the others
            results[name] = str(error).splitlines()[0]
        with open(out, "w", encoding="utf-8") as file:
            json.dump(results, file, indent=1)
        print(name, results[name], flush=True)

    measure("forward_eager", forward)
    measure("decode_eager", decode)
    transformer.compile_repeated_blocks(fullgraph=True)
    measure("forward_compiled_blocks", forward)
    print(f"peak {torch.cuda.max_memory_allocated() / 1e9:.2f} GB")


if __name__ == "__main__":
    main()
