"""Tiny Wan models, and VAEs of three families: built from configs, every parameter drawn anew, written as a pipeline's folder."""
import json
import os

import diffusers
import torch
import transformers
from diffusers import (AutoencoderKLTemporalDecoder, AutoencoderKLWan, EulerDiscreteScheduler, FlowMatchEulerDiscreteScheduler,
                       UniPCMultistepScheduler, WanTransformer3DModel)
from transformers import UMT5Config, UMT5EncoderModel

import text

DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}


def randomise(model, gen):
    """Default initial values leave gains at 1 and biases at 0, which would hide a forgotten one: draw them all."""
    def normal(p, std, mean=0.0):
        p.data = torch.randn(p.shape, generator=gen) * std + mean

    for name, p in model.named_parameters():
        leaf, gain = name.split(".")[-1], ("norm" in name and p.squeeze().ndim == 1)
        if leaf == "gamma" or (gain and leaf == "weight"):
            normal(p, 0.2, 1.0)
        elif "scale_shift_table" in name:
            normal(p, 0.4)
        elif leaf == "bias":
            normal(p, 0.1)
        elif leaf in ("mix_factor", "class_embedding"):
            normal(p, 1.0)
        elif name.startswith(("shared.", "encoder.embed_tokens.")) or "relative_attention_bias" in name:
            normal(p, 1.0)
        elif p.ndim >= 2:
            normal(p, p[0].numel() ** -0.5)
        else:
            raise SystemExit(f"no rule for {name} {tuple(p.shape)}")
    return model.eval()


def text_encoder(gen, vocab, d_model=24, d_kv=10, heads=3, d_ff=40, layers=2):
    config = UMT5Config(vocab_size=vocab, d_model=d_model, d_kv=d_kv, d_ff=d_ff, num_layers=layers, num_heads=heads, dropout_rate=0.0,
                        relative_attention_num_buckets=32, relative_attention_max_distance=128, feed_forward_proj="gated-gelu",
                        pad_token_id=0, eos_token_id=1, decoder_start_token_id=0)
    model = randomise(UMT5EncoderModel(config), gen)
    for name, p in model.named_parameters():
        if name.endswith("SelfAttention.q.weight"):
            p.data *= 1.5 * d_kv ** -0.5                         # scores are not scaled: keep the softmax soft
    return model


def transformer(gen, text_dim, heads=2, head_dim=24, layers=2, ffn=80, freq_dim=256, rope_len=32):
    model = randomise(WanTransformer3DModel(
        patch_size=(1, 2, 2), num_attention_heads=heads, attention_head_dim=head_dim, in_channels=16, out_channels=16, text_dim=text_dim,
        freq_dim=freq_dim, ffn_dim=ffn, num_layers=layers, cross_attn_norm=True, qk_norm="rms_norm_across_heads", eps=1e-6,
        rope_max_seq_len=rope_len), gen)
    model.proj_out.weight.data *= 0.6                            # guidance adds to it: keep the latents near 1
    return model


def vae(gen, base=3, mult=(1, 2, 2, 4), blocks=1, decoder_base=None, temporal=(False, True, True), z_dim=16, **extra):
    mean, std = torch.randn(z_dim, generator=gen) * 0.5, torch.rand(z_dim, generator=gen) * 1.5 + 0.5
    if decoder_base is not None:
        extra["decoder_base_dim"] = decoder_base
    model = randomise(AutoencoderKLWan(
        base_dim=base, z_dim=z_dim, dim_mult=list(mult), num_res_blocks=blocks, temperal_downsample=list(temporal),
        latents_mean=[round(v, 4) for v in mean.tolist()], latents_std=[round(v, 4) for v in std.tolist()], **extra), gen)
    z = 1.3 * torch.randn(1, z_dim, 2, 8, 8, generator=gen) * torch.tensor(model.config.latents_std).view(1, z_dim, 1, 1, 1)
    scale_output(model, model.decoder.conv_out, z)
    return model


def vae_22(gen, z_dim=12, **config):
    return vae(gen, z_dim=z_dim, is_residual=True, in_channels=12, out_channels=12, patch_size=2, scale_factor_spatial=16,
               scale_factor_temporal=4, **config)


def vae_svd(gen, widths=(32, 64, 64, 64), layers=2, latent_channels=4, force_upcast=True):
    model = randomise(AutoencoderKLTemporalDecoder(
        block_out_channels=list(widths), layers_per_block=layers, latent_channels=latent_channels,
        down_block_types=["DownEncoderBlock2D"] * len(widths), sample_size=32, scaling_factor=0.18215, force_upcast=force_upcast), gen)
    scale_output(model, model.decoder.time_conv_out, torch.randn(5, latent_channels, 8, 8, generator=gen) / 0.18215, num_frames=5)
    return model


def scale_output(model, last, z, **kwargs):
    """Give the frames a standard deviation of about 0.3, so that few samples meet the clamp at -1 and 1."""
    seen = []
    hook = last.register_forward_hook(lambda m, a, out: seen.append(out))
    with torch.no_grad():
        model.decode(z, **kwargs)
    hook.remove()
    std = torch.cat(seen, 2).std((0, 2, 3, 4))
    last.weight.data *= (0.3 / std).view(-1, 1, 1, 1, 1)


def exact_roots(make):
    """torch's float32 root may be off by its last bit, as the processor has it, which rescaled betas magnify a thousand times."""
    root = torch.Tensor.sqrt
    torch.Tensor.sqrt = lambda x: root(x.double()).to(x.dtype)
    try:
        return make()
    finally:
        torch.Tensor.sqrt = root


def scheduler(kind, shift, **extra):
    if kind == "euler":
        return FlowMatchEulerDiscreteScheduler(shift=shift, **extra)
    if kind == "euler_discrete":
        return exact_roots(lambda: EulerDiscreteScheduler(**extra))
    return UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, num_train_timesteps=1000, flow_shift=shift,
                                   **extra)


def quiet():
    for logging in (diffusers.utils.logging, transformers.utils.logging):
        logging.set_verbosity_error()
        logging.disable_progress_bar()


def write_json(path, value, indent=1):
    with open(path, "w", encoding="utf-8") as f:
        json.dump(value, f, indent=indent, ensure_ascii=indent is None)
        f.write("\n")


def scrub(folder):
    """Drop what names the machine that wrote the files."""
    for root, _, files in os.walk(folder):
        for name in files:
            if name.endswith(".json") and name not in ("tokenizer.json",):
                path = os.path.join(root, name)
                with open(path, encoding="utf-8") as f:
                    value = json.load(f)
                for key in ("_name_or_path", "name_or_path"):
                    value.pop(key, None)
                write_json(path, value)


def write_index(folder, pipeline, vae):
    """model_index.json of a folder that holds vae/ alone."""
    write_json(os.path.join(folder, "model_index.json"), {
        "_class_name": pipeline, "_diffusers_version": diffusers.__version__, "vae": ["diffusers", type(vae).__name__]})


def build(case, folder):
    """Write the whole WanPipeline folder of a case; returns the bytes of its spiece.model."""
    gen = torch.Generator().manual_seed(case["weights_seed"])
    spiece = text.train(**case["tokenizer"])
    tok, tok_class = text.save(spiece, os.path.join(folder, "tokenizer"))
    parts = {"text_encoder": text_encoder(gen, len(tok), **case["text"]),
             "transformer": transformer(gen, case["text"]["d_model"], **case["dit"]),
             "vae": vae(gen, **case["vae"])}
    store, shards = case.get("store", {}), case.get("shards", {})
    for name, model in parts.items():
        extra = {"max_shard_size": shards[name]} if name in shards else {}
        model.to(DTYPES[store.get(name, "f32")]).save_pretrained(os.path.join(folder, name), safe_serialization=True, **extra)
    sched = scheduler(**case["scheduler"])
    sched.save_pretrained(os.path.join(folder, "scheduler"))
    write_json(os.path.join(folder, "model_index.json"), {
        "_class_name": "WanPipeline", "_diffusers_version": diffusers.__version__,
        "boundary_ratio": None, "expand_timesteps": False, "scheduler": ["diffusers", type(sched).__name__],
        "text_encoder": ["transformers", "UMT5EncoderModel"], "tokenizer": ["transformers", tok_class],
        "transformer": ["diffusers", "WanTransformer3DModel"], "transformer_2": [None, None], "vae": ["diffusers", "AutoencoderKLWan"]})
    scrub(folder)
    if case.get("spiece_only"):
        os.remove(os.path.join(folder, "tokenizer", "tokenizer.json"))
    return spiece
