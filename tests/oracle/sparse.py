"""The published Wan 2.1 folders without the published bytes: a weight file is its safetensors header, then a hole.

    sparse.py --model 1.3b|14b --out DIR [options]         prints the folder to give to weft

What is known of the published files, and from where:
  1.3B   Wan-AI/Wan2.1-T2V-1.3B-Diffusers at 0fad780a. A public manifest (bytes and SHA-256 of its 19 files) is met exactly: configurations
         and indexes byte for byte, weight files in their length, and so in their names, shapes, types and shards.
  14B    Wan-AI/Wan2.1-T2V-14B-Diffusers at 38ec498c. A public review of the downloaded transformer says 12 shards, 1095 tensors,
         14,288,491,584 elements, all F32. Its twin, Wan 2.2 A14B, whose 12 lengths are public, comes out equal to the byte. Assumed: the
         configurations, and that text encoder and VAE are the 1.3B folder's.
  not    the values (zeros), and the tokenizer: a tiny one of tests/fixtures. `--all-pieces` fills its spiece.model up to the published
         256,000 pieces with numbers (4.6 MB; published: 4,548,313 bytes); tokenizer.json stays tiny.
safetensors allows no shared bytes, so `--embedding both` holds the table twice, as a file written from untied tensors does.
Python's standard library is enough. Exit status 77: the file system has no sparse files.
"""
import argparse
import hashlib
import json
import math
import os
import pathlib
import shutil
import struct
import sys

MODELS = {  # name, revision, heads, ffn_dim, layers
    "1.3b": ("Wan-AI--Wan2.1-T2V-1.3B-Diffusers", "0fad780a534b6463e45facd96134c9f345acfa5b", 12, 8960, 30),
    "14b": ("Wan-AI--Wan2.1-T2V-14B-Diffusers", "38ec498cb3208fb688890f8cc7e94ede2cbd7f68", 40, 13824, 40),
}
TYPES = {"": ("F32", 4), "fp16": ("F16", 2), "bf16": ("BF16", 2)}
STEM = "diffusion_pytorch_model"
SHARD_BYTES = 5 * 10**9
PIECES = 256000
MEAN = [-0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508, 0.4134, -0.0715, 0.5517, -0.3632, -0.1922, -0.9497, 0.2503, -0.2921]
STD = [2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743, 3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253, 2.8251, 1.916]


def layer(shapes, name, *shape):
    shapes[f"{name}.weight"], shapes[f"{name}.bias"] = shape, shape[:1]


def transformer_shapes(heads, ffn, layers):
    """In the order of torch's state_dict, which is the order that shards are filled in."""
    d = heads * 128
    shapes = {"scale_shift_table": (1, 2, d)}
    layer(shapes, "patch_embedding", d, 16, 1, 2, 2)
    for part, shape in (("time_embedder.linear_1", (d, 256)), ("time_embedder.linear_2", (d, d)), ("time_proj", (6 * d, d)),
                        ("text_embedder.linear_1", (d, 4096)), ("text_embedder.linear_2", (d, d))):
        layer(shapes, f"condition_embedder.{part}", *shape)
    for i in range(layers):
        shapes[f"blocks.{i}.scale_shift_table"] = (1, 6, d)
        for attention in "attn1", "attn2":
            for norm in "norm_q", "norm_k":
                shapes[f"blocks.{i}.{attention}.{norm}.weight"] = (d,)
            for part in "to_q", "to_k", "to_v", "to_out.0":
                layer(shapes, f"blocks.{i}.{attention}.{part}", d, d)
        layer(shapes, f"blocks.{i}.norm2", d)
        layer(shapes, f"blocks.{i}.ffn.net.0.proj", ffn, d)
        layer(shapes, f"blocks.{i}.ffn.net.2", d, ffn)
    layer(shapes, "proj_out", 64, d)
    return shapes


def text_encoder_shapes(embedding, vocab=256384, heads=64, ffn=10240, layers=24):
    names = {"shared": ["shared"], "encoder": ["encoder.embed_tokens"], "both": ["shared", "encoder.embed_tokens"]}[embedding]
    shapes = {f"{name}.weight": (vocab, 4096) for name in names}
    for i in range(layers):
        for part in "qkvo":
            shapes[f"encoder.block.{i}.layer.0.SelfAttention.{part}.weight"] = (4096, heads * 64) if part == "o" else (heads * 64, 4096)
        shapes[f"encoder.block.{i}.layer.0.SelfAttention.relative_attention_bias.weight"] = (32, heads)
        shapes[f"encoder.block.{i}.layer.0.layer_norm.weight"] = (4096,)
        for part, shape in ("wi_0", (ffn, 4096)), ("wi_1", (ffn, 4096)), ("wo", (4096, ffn)):
            shapes[f"encoder.block.{i}.layer.1.DenseReluDense.{part}.weight"] = shape
        shapes[f"encoder.block.{i}.layer.1.layer_norm.weight"] = (4096,)
    shapes["encoder.final_layer_norm.weight"] = (4096,)
    return shapes


def vae_resnet(shapes, name, before, after):
    for i, width in (1, before), (2, after):
        shapes[f"{name}.norm{i}.gamma"] = (width, 1, 1, 1)
        layer(shapes, f"{name}.conv{i}", after, width, 3, 3, 3)
    if before != after:
        layer(shapes, f"{name}.conv_shortcut", after, before, 1, 1, 1)


def vae_middle(shapes, name):
    for i in 0, 1:
        vae_resnet(shapes, f"{name}.resnets.{i}", 384, 384)
    shapes[f"{name}.attentions.0.norm.gamma"] = (384, 1, 1)
    layer(shapes, f"{name}.attentions.0.to_qkv", 1152, 384, 1, 1)
    layer(shapes, f"{name}.attentions.0.proj", 384, 384, 1, 1)


def vae_shapes():
    shapes = {}
    layer(shapes, "encoder.conv_in", 96, 3, 3, 3, 3)
    down = [(96, 96), (96, 96), 96, (96, 192), (192, 192), 192, (192, 384), (384, 384), 384, (384, 384), (384, 384)]
    for i, widths in enumerate(down):
        if isinstance(widths, tuple):
            vae_resnet(shapes, f"encoder.down_blocks.{i}", *widths)
        else:
            layer(shapes, f"encoder.down_blocks.{i}.resample.1", widths, widths, 3, 3)
            if i > 2:
                layer(shapes, f"encoder.down_blocks.{i}.time_conv", widths, widths, 3, 1, 1)
    vae_middle(shapes, "encoder.mid_block")
    layer(shapes, "decoder.conv_in", 384, 16, 3, 3, 3)
    vae_middle(shapes, "decoder.mid_block")
    for i, (before, after) in enumerate([(384, 384), (192, 384), (192, 192), (96, 96)]):
        for j in range(3):
            vae_resnet(shapes, f"decoder.up_blocks.{i}.resnets.{j}", after if j else before, after)
        if i < 3:
            layer(shapes, f"decoder.up_blocks.{i}.upsamplers.0.resample.1", after // 2, after, 3, 3)
        if i < 2:
            layer(shapes, f"decoder.up_blocks.{i}.upsamplers.0.time_conv", 2 * after, after, 3, 1, 1)
    for half, before, inside, after in ("encoder", 384, 384, 32), ("decoder", 96, 96, 3):
        shapes[f"{half}.norm_out.gamma"] = (inside, 1, 1, 1)
        layer(shapes, f"{half}.conv_out", after, before, 3, 3, 3)
    layer(shapes, "quant_conv", 32, 32, 1, 1, 1)
    layer(shapes, "post_quant_conv", 16, 16, 1, 1, 1)
    return shapes


def configs(heads, ffn, layers):
    diffusers = "0.33.0.dev0"
    return {
        "model_index": {
            "_class_name": "WanPipeline", "_diffusers_version": diffusers, "scheduler": ["diffusers", "UniPCMultistepScheduler"],
            "text_encoder": ["transformers", "UMT5EncoderModel"], "tokenizer": ["transformers", "T5TokenizerFast"],
            "transformer": ["diffusers", "WanTransformer3DModel"], "vae": ["diffusers", "AutoencoderKLWan"]},
        "scheduler": {
            "_class_name": "UniPCMultistepScheduler", "_diffusers_version": diffusers, "beta_end": 0.02, "beta_schedule": "linear",
            "beta_start": 0.0001, "disable_corrector": [], "dynamic_thresholding_ratio": 0.995, "final_sigmas_type": "zero",
            "flow_shift": 3.0, "lower_order_final": True, "num_train_timesteps": 1000, "predict_x0": True,
            "prediction_type": "flow_prediction", "rescale_betas_zero_snr": False, "sample_max_value": 1.0, "solver_order": 2,
            "solver_p": None, "solver_type": "bh2", "steps_offset": 0, "thresholding": False, "timestep_spacing": "linspace",
            "trained_betas": None, "use_beta_sigmas": False, "use_exponential_sigmas": False, "use_flow_sigmas": True,
            "use_karras_sigmas": False},
        "text_encoder": {
            "_name_or_path": "google/umt5-xxl", "architectures": ["UMT5EncoderModel"], "classifier_dropout": 0.0, "d_ff": 10240,
            "d_kv": 64, "d_model": 4096, "decoder_start_token_id": 0, "dense_act_fn": "gelu_new", "dropout_rate": 0.1, "eos_token_id": 1,
            "feed_forward_proj": "gated-gelu", "initializer_factor": 1.0, "is_encoder_decoder": True, "is_gated_act": True,
            "layer_norm_epsilon": 1e-06, "model_type": "umt5", "num_decoder_layers": 24, "num_heads": 64, "num_layers": 24,
            "output_past": True, "pad_token_id": 0, "relative_attention_max_distance": 128, "relative_attention_num_buckets": 32,
            "scalable_attention": True, "tie_word_embeddings": False, "tokenizer_class": "T5Tokenizer", "torch_dtype": "float32",
            "transformers_version": "4.48.0.dev0", "use_cache": True, "vocab_size": 256384},
        "transformer": {
            "_class_name": "WanTransformer3DModel", "_diffusers_version": diffusers, "added_kv_proj_dim": None, "attention_head_dim": 128,
            "cross_attn_norm": True, "eps": 1e-06, "ffn_dim": ffn, "freq_dim": 256, "image_dim": None, "in_channels": 16,
            "num_attention_heads": heads, "num_layers": layers, "out_channels": 16, "patch_size": [1, 2, 2],
            "qk_norm": "rms_norm_across_heads", "rope_max_seq_len": 1024, "text_dim": 4096},
        "vae": {
            "_class_name": "AutoencoderKLWan", "_diffusers_version": diffusers, "attn_scales": [], "base_dim": 96,
            "dim_mult": [1, 2, 4, 4], "dropout": 0.0, "latents_mean": MEAN, "latents_std": STD, "num_res_blocks": 2,
            "temperal_downsample": [False, True, True], "z_dim": 16},
    }


def split(shapes, item_bytes, limit):
    """Fills a shard until the next tensor would not fit."""
    shards, used = [{}], 0
    for name, shape in shapes.items():
        size = math.prod(shape) * item_bytes
        if shards[-1] and used + size > limit:
            shards.append({})
            used = 0
        shards[-1][name] = shape
        used += size
    return shards


def header_of(shapes, dtype, item_bytes):
    """What stands before the values, which follow in the order of the names; and how many bytes those take."""
    header, end = {"__metadata__": {"format": "pt"}}, 0
    for name in sorted(shapes):
        begin, end = end, end + math.prod(shapes[name]) * item_bytes
        header[name] = {"dtype": dtype, "shape": shapes[name], "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text, end


def write_hole(path, shapes, dtype, item_bytes):
    header, bytes_after = header_of(shapes, dtype, item_bytes)
    with open(path, "wb") as file:
        file.write(header)
        file.truncate(len(header) + bytes_after)


def write_json(path, value):
    path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n")


def write_weights(folder, stem, shapes, args, shard=True):
    dtype, item_bytes = TYPES[args.variant]
    word = f".{args.variant}" if args.variant else ""
    shards = split(shapes, item_bytes, SHARD_BYTES if shard and not args.single else math.inf)
    if len(shards) == 1:
        write_hole(folder / f"{stem}{word}.safetensors", shapes, dtype, item_bytes)
        return
    places = {}
    for i, part in enumerate(shards, 1):
        file = f"{stem}{word}-{i:05}-of-{len(shards):05}.safetensors"
        write_hole(folder / file, part, dtype, item_bytes)
        places.update(dict.fromkeys(part, file))
    total = sum(math.prod(shape) for shape in shapes.values()) * item_bytes
    write_json(folder / f"{stem}.safetensors.index{word}.json", {"metadata": {"total_size": total}, "weight_map": places})


def alter_configs(all_configs, args):
    """--drop-key transformer.ffn_dim, --set-key vae.base_dim=64, --unknown-keys"""
    for where in args.drop_key:
        component, key = where.split(".", 1)
        del all_configs[component][key]
    for where in args.set_key:
        component, key = where.split("=")[0].split(".", 1)
        all_configs[component][key] = json.loads(where.split("=", 1)[1])
    for config in all_configs.values() if args.unknown_keys else ():
        config.update(clip_output=False, weft_unknown={"nested": [1, None, "x"]}, _use_default_values=["image_dim"])


def alter_shapes(shapes, args):
    """--drop-tensor NAME, --shape-of NAME=2,3"""
    for name in args.drop_tensor:
        shapes.pop(name, None)
    for where in args.shape_of:
        name, shape = where.split("=")
        if name in shapes:
            shapes[name] = tuple(int(dim) for dim in shape.split(","))
    return shapes


def add_pieces(path):
    """A SentencePiece model may be grown at its end: protobuf lets a field be repeated anywhere. Piece: 1 text, 2 score."""
    tiny, at, count = path.read_bytes(), 0, 0
    while tiny[at] == 0x0A:
        at, count = at + 2 + tiny[at + 1], count + 1
    with open(path, "ab") as file:
        for i in range(count, PIECES):
            text = f"\u2581{i:06}".encode()
            piece = bytes([0x0A, len(text)]) + text + b"\x15" + struct.pack("<f", -30)
            file.write(bytes([0x0A, len(piece)]) + piece)


def write_configs(folder, all_configs):
    for component in "scheduler", "text_encoder", "transformer", "vae":
        (folder / component).mkdir(parents=True)
        name = "scheduler_config.json" if component == "scheduler" else "config.json"
        write_json(folder / component / name, all_configs[component])
    write_json(folder / "model_index.json", all_configs["model_index"])


def write_model(folder, args):
    _, _, heads, ffn, layers = MODELS[args.model]
    all_configs = configs(heads, ffn, layers)
    alter_configs(all_configs, args)
    write_configs(folder, all_configs)
    shutil.copytree(args.tokenizer, folder / "tokenizer")
    if args.all_pieces:
        add_pieces(folder / "tokenizer" / "spiece.model")
    write_weights(folder / "text_encoder", "model", alter_shapes(text_encoder_shapes(args.embedding), args), args)
    write_weights(folder / "transformer", STEM, alter_shapes(transformer_shapes(heads, ffn, layers), args), args)
    write_weights(folder / "vae", STEM, alter_shapes(vae_shapes(), args), args, shard=False)


def to_hub(plain, out, name, revision):
    """Moves a plain folder into a hub cache: blobs, and a snapshot of relative symbolic links. (A blob's name is a sum of its bytes; here
    of its path.)"""
    cache = out / f"models--{name}"
    snapshot, blobs = cache / "snapshots" / revision, cache / "blobs"
    blobs.mkdir(parents=True)
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text(revision)
    for file in [path for path in plain.rglob("*") if path.is_file()]:
        link = snapshot / file.relative_to(plain)
        blob = blobs / hashlib.sha256(str(file.relative_to(plain)).encode()).hexdigest()
        file.rename(blob)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(blob, link.parent))
    shutil.rmtree(plain)
    return snapshot


def has_holes(out):
    probe = out / "probe"
    try:
        with open(probe, "wb") as file:
            file.truncate(60 * 10**9)
        return probe.stat().st_blocks * 512 < 10**6
    except OSError:
        return False
    finally:
        probe.unlink(missing_ok=True)


def arguments():
    fixtures = pathlib.Path(__file__).resolve().parent.parent / "fixtures"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=MODELS, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--layout", choices=["plain", "hub"], default="plain")
    parser.add_argument("--variant", choices=TYPES, default="", help="a word in the files' names, and the type that it says")
    parser.add_argument("--embedding", choices=["shared", "encoder", "both"], default="shared")
    parser.add_argument("--single", action="store_true", help="one file a component instead of shards")
    parser.add_argument("--unknown-keys", action="store_true")
    parser.add_argument("--drop-key", action="append", default=[], metavar="COMPONENT.KEY")
    parser.add_argument("--set-key", action="append", default=[], metavar="COMPONENT.KEY=JSON")
    parser.add_argument("--drop-tensor", action="append", default=[], metavar="NAME")
    parser.add_argument("--shape-of", action="append", default=[], metavar="NAME=DIM,DIM")
    parser.add_argument("--all-pieces", action="store_true")
    parser.add_argument("--tokenizer", type=pathlib.Path, default=fixtures / "basic" / "model" / "tokenizer")
    return parser.parse_args()


def main():
    args = arguments()
    args.out.mkdir(parents=True, exist_ok=True)
    if not has_holes(args.out):
        print(f"{args.out}: no sparse files here", file=sys.stderr)
        sys.exit(77)
    name, revision = MODELS[args.model][:2]
    folder = args.out / name
    write_model(folder, args)
    print(to_hub(folder, args.out, name, revision) if args.layout == "hub" else folder)


if __name__ == "__main__":
    main()
