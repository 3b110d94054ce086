"""The published Stable Video Diffusion folders without the published bytes: a weight file is its safetensors header, then a hole.

    sparse_svd.py --model img2vid|img2vid-xt --out DIR [--variant fp16]     prints the folder to give to weft

Names and shapes are those of diffusers' own classes built from the configurations below (`--check` builds them on torch's meta device and
compares; it needs torch, diffusers and transformers); parameters come out at the published 1,524,623,082 (UNet), 97,742,847 (VAE) and
632,076,800 (image encoder). Values are zeros. Exit status 77: the file system has no sparse files.
"""
import argparse
import pathlib
import sys

import sparse

WIDTHS, HEADS, EMB = (320, 640, 1280, 1280), (5, 10, 20, 20), 1280
FRAMES = {"img2vid": 14, "img2vid-xt": 25}
CONFIGS = {
    "feature_extractor": {
        "crop_size": {"height": 224, "width": 224}, "do_center_crop": True, "do_convert_rgb": True, "do_normalize": True, "do_rescale": True,
        "do_resize": True, "feature_extractor_type": "CLIPFeatureExtractor", "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_processor_type": "CLIPImageProcessor", "image_std": [0.26862954, 0.26130258, 0.27577711], "resample": 3,
        "rescale_factor": 0.00392156862745098, "size": {"shortest_edge": 224}},
    "image_encoder": {
        "architectures": ["CLIPVisionModelWithProjection"], "attention_dropout": 0.0, "dropout": 0.0, "hidden_act": "gelu",
        "hidden_size": 1280, "image_size": 224, "initializer_factor": 1.0, "initializer_range": 0.02, "intermediate_size": 5120,
        "layer_norm_eps": 1e-05, "model_type": "clip_vision_model", "num_attention_heads": 16, "num_channels": 3, "num_hidden_layers": 32,
        "patch_size": 14, "projection_dim": 1024, "torch_dtype": "float16", "transformers_version": "4.34.0.dev0"},
    "scheduler": {
        "_class_name": "EulerDiscreteScheduler", "_diffusers_version": "0.24.0.dev0", "beta_end": 0.012, "beta_schedule": "scaled_linear",
        "beta_start": 0.00085, "clip_sample": False, "interpolation_type": "linear", "num_train_timesteps": 1000,
        "prediction_type": "v_prediction", "set_alpha_to_one": False, "sigma_max": 700.0, "sigma_min": 0.002, "skip_prk_steps": True,
        "steps_offset": 1, "timestep_spacing": "leading", "timestep_type": "continuous", "trained_betas": None, "use_karras_sigmas": True},
    "unet": {
        "_class_name": "UNetSpatioTemporalConditionModel", "_diffusers_version": "0.24.0.dev0", "addition_time_embed_dim": 256,
        "block_out_channels": list(WIDTHS), "cross_attention_dim": 1024, "down_block_types": ["CrossAttnDownBlockSpatioTemporal"] * 3
        + ["DownBlockSpatioTemporal"], "in_channels": 8, "layers_per_block": 2, "num_attention_heads": list(HEADS), "out_channels": 4,
        "projection_class_embeddings_input_dim": 768, "sample_size": 96, "transformer_layers_per_block": 1,
        "up_block_types": ["UpBlockSpatioTemporal"] + ["CrossAttnUpBlockSpatioTemporal"] * 3},
    "vae": {
        "_class_name": "AutoencoderKLTemporalDecoder", "_diffusers_version": "0.24.0.dev0", "block_out_channels": [128, 256, 512, 512],
        "down_block_types": ["DownEncoderBlock2D"] * 4, "force_upcast": True, "in_channels": 3, "latent_channels": 4, "layers_per_block": 2,
        "out_channels": 3, "sample_size": 768, "scaling_factor": 0.18215},
}
INDEX = {
    "_class_name": "StableVideoDiffusionPipeline", "_diffusers_version": "0.24.0.dev0",
    "feature_extractor": ["transformers", "CLIPImageProcessor"], "image_encoder": ["transformers", "CLIPVisionModelWithProjection"],
    "scheduler": ["diffusers", "EulerDiscreteScheduler"], "unet": ["diffusers", "UNetSpatioTemporalConditionModel"],
    "vae": ["diffusers", "AutoencoderKLTemporalDecoder"]}


def vectors(shapes, name, width):
    shapes[f"{name}.weight"] = shapes[f"{name}.bias"] = (width,)


def image_encoder_shapes(d=1280, inner=5120):
    shapes = {"vision_model.embeddings.class_embedding": (d,), "vision_model.embeddings.patch_embedding.weight": (d, 3, 14, 14),
              "vision_model.embeddings.position_embedding.weight": (257, d), "visual_projection.weight": (1024, d)}
    for name in "pre_layrnorm", "post_layernorm":
        vectors(shapes, f"vision_model.{name}", d)
    for i in range(32):
        layer = f"vision_model.encoder.layers.{i}"
        for part in "qkv":
            sparse.layer(shapes, f"{layer}.self_attn.{part}_proj", d, d)
        sparse.layer(shapes, f"{layer}.self_attn.out_proj", d, d)
        for j in 1, 2:
            vectors(shapes, f"{layer}.layer_norm{j}", d)
        sparse.layer(shapes, f"{layer}.mlp.fc1", inner, d)
        sparse.layer(shapes, f"{layer}.mlp.fc2", d, inner)
    return shapes


def half(shapes, name, before, after, kernel, emb):
    vectors(shapes, f"{name}.norm1", before)
    sparse.layer(shapes, f"{name}.conv1", after, before, *kernel)
    vectors(shapes, f"{name}.norm2", after)
    sparse.layer(shapes, f"{name}.conv2", after, after, *kernel)
    if emb:
        sparse.layer(shapes, f"{name}.time_emb_proj", after, emb)
    if before != after:
        sparse.layer(shapes, f"{name}.conv_shortcut", after, before, 1, 1)


def resnet(shapes, name, before, after, emb):
    half(shapes, f"{name}.spatial_res_block", before, after, (3, 3), emb)
    half(shapes, f"{name}.temporal_res_block", after, after, (3, 1, 1), emb)
    shapes[f"{name}.time_mixer.mix_factor"] = (1,)


def feed(shapes, name, d):
    sparse.layer(shapes, f"{name}.net.0.proj", 8 * d, d)
    sparse.layer(shapes, f"{name}.net.2", d, 4 * d)


def transformer(shapes, name, d):
    vectors(shapes, f"{name}.norm", d)
    sparse.layer(shapes, f"{name}.proj_in", d, d)
    for block in f"{name}.transformer_blocks.0", f"{name}.temporal_transformer_blocks.0":
        if "temporal" in block:
            vectors(shapes, f"{block}.norm_in", d)
            feed(shapes, f"{block}.ff_in", d)
        for i in 1, 2, 3:
            vectors(shapes, f"{block}.norm{i}", d)
        for attention, context in ("attn1", d), ("attn2", 1024):
            for part, width in ("q", d), ("k", context), ("v", context):
                shapes[f"{block}.{attention}.to_{part}.weight"] = (d, width)
            sparse.layer(shapes, f"{block}.{attention}.to_out.0", d, d)
        feed(shapes, f"{block}.ff", d)
    sparse.layer(shapes, f"{name}.time_pos_embed.linear_1", 4 * d, d)
    sparse.layer(shapes, f"{name}.time_pos_embed.linear_2", d, 4 * d)
    shapes[f"{name}.time_mixer.mix_factor"] = (1,)
    sparse.layer(shapes, f"{name}.proj_out", d, d)


def unet_shapes():
    shapes, kept = {}, [320]
    sparse.layer(shapes, "conv_in", 320, 8, 3, 3)
    for name, width in ("time_embedding", 320), ("add_embedding", 768):
        sparse.layer(shapes, f"{name}.linear_1", EMB, width)
        sparse.layer(shapes, f"{name}.linear_2", EMB, EMB)
    before = 320
    for i, width in enumerate(WIDTHS):
        for j in range(2):
            resnet(shapes, f"down_blocks.{i}.resnets.{j}", before, width, EMB)
            if i < 3:
                transformer(shapes, f"down_blocks.{i}.attentions.{j}", width)
            kept.append(width)
            before = width
        if i < 3:
            sparse.layer(shapes, f"down_blocks.{i}.downsamplers.0.conv", width, width, 3, 3)
            kept.append(width)
    for j in 0, 1:
        resnet(shapes, f"mid_block.resnets.{j}", before, before, EMB)
    transformer(shapes, "mid_block.attentions.0", before)
    for i, width in enumerate(reversed(WIDTHS)):
        for j in range(3):
            resnet(shapes, f"up_blocks.{i}.resnets.{j}", before + kept.pop(), width, EMB)
            if i > 0:
                transformer(shapes, f"up_blocks.{i}.attentions.{j}", width)
            before = width
        if i < 3:
            sparse.layer(shapes, f"up_blocks.{i}.upsamplers.0.conv", width, width, 3, 3)
    vectors(shapes, "conv_norm_out", 320)
    sparse.layer(shapes, "conv_out", 4, 320, 3, 3)
    return shapes


def attention(shapes, name, d):
    vectors(shapes, f"{name}.group_norm", d)
    for part in "to_q", "to_k", "to_v", "to_out.0":
        sparse.layer(shapes, f"{name}.{part}", d, d)


def vae_shapes():
    shapes, before = {}, 128
    sparse.layer(shapes, "encoder.conv_in", 128, 3, 3, 3)
    for i, width in enumerate((128, 256, 512, 512)):
        for j in range(2):
            half(shapes, f"encoder.down_blocks.{i}.resnets.{j}", before, width, (3, 3), 0)
            before = width
        if i < 3:
            sparse.layer(shapes, f"encoder.down_blocks.{i}.downsamplers.0.conv", width, width, 3, 3)
    for j in 0, 1:
        half(shapes, f"encoder.mid_block.resnets.{j}", 512, 512, (3, 3), 0)
        resnet(shapes, f"decoder.mid_block.resnets.{j}", 512, 512, 0)
    for name in "encoder", "decoder":
        attention(shapes, f"{name}.mid_block.attentions.0", 512)
    vectors(shapes, "encoder.conv_norm_out", 512)
    sparse.layer(shapes, "encoder.conv_out", 8, 512, 3, 3)
    sparse.layer(shapes, "quant_conv", 8, 8, 1, 1)
    sparse.layer(shapes, "decoder.conv_in", 512, 4, 3, 3)
    for i, width in enumerate((512, 512, 256, 128)):
        for j in range(3):
            resnet(shapes, f"decoder.up_blocks.{i}.resnets.{j}", before, width, 0)
            before = width
        if i < 3:
            sparse.layer(shapes, f"decoder.up_blocks.{i}.upsamplers.0.conv", width, width, 3, 3)
    vectors(shapes, "decoder.conv_norm_out", 128)
    sparse.layer(shapes, "decoder.conv_out", 3, 128, 3, 3)
    sparse.layer(shapes, "decoder.time_conv_out", 3, 3, 3, 1, 1)
    return shapes


def check():
    import diffusers
    import torch
    import transformers
    with torch.device("meta"):
        made = {"unet": diffusers.UNetSpatioTemporalConditionModel.from_config(CONFIGS["unet"]),
                "vae": diffusers.AutoencoderKLTemporalDecoder.from_config(CONFIGS["vae"]),
                "image_encoder": transformers.CLIPVisionModelWithProjection(transformers.CLIPVisionConfig(**CONFIGS["image_encoder"]))}
    for name, shapes in ("unet", unet_shapes()), ("vae", vae_shapes()), ("image_encoder", image_encoder_shapes()):
        want = {key: tuple(p.shape) for key, p in made[name].named_parameters()}
        print(name, len(want), "tensors,", sum(p.numel() for p in made[name].parameters()), "parameters:", "same" if want == shapes else "not the same")
        for key in sorted(set(want) ^ set(shapes))[:5]:
            print("  ", key, want.get(key), shapes.get(key))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=FRAMES)
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("--variant", choices=["", "fp16"], default="", help="a word in the files' names, and the type that it says")
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    if args.check:
        return check()
    args.single = True
    args.out.mkdir(parents=True, exist_ok=True)
    if not sparse.has_holes(args.out):
        print(f"{args.out}: no sparse files here", file=sys.stderr)
        sys.exit(77)
    folder = args.out / f"stable-video-diffusion-{args.model}"
    for component, config in CONFIGS.items():
        (folder / component).mkdir(parents=True)
        name = {"scheduler": "scheduler_config.json", "feature_extractor": "preprocessor_config.json"}.get(component, "config.json")
        sparse.write_json(folder / component / name, dict(config, num_frames=FRAMES[args.model]) if component == "unet" else config)
    sparse.write_json(folder / "model_index.json", INDEX)
    sparse.write_weights(folder / "image_encoder", "model", image_encoder_shapes(), args)
    sparse.write_weights(folder / "unet", sparse.STEM, unet_shapes(), args)
    sparse.write_weights(folder / "vae", sparse.STEM, vae_shapes(), args)
    print(folder)


if __name__ == "__main__":
    main()
