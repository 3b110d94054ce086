"""The committed cases, and cases drawn at random. Keys of a model: text, dit, vae, tokenizer, scheduler (arguments of the functions in
models.py and text.py), store (dtype in the file), shards (bytes a file), spiece_only (no tokenizer.json)."""
import random

BASE = dict(negative_prompt="", width=48, height=32, num_frames=9, steps=4, guidance_scale=5.0, flow_shift=None, max_sequence_length=512,
            fps=16, decode_chunk_sizes=[1, 2, 5, 9])
LONG_NEGATIVE = ("blurred details, low quality, JPEG artifacts, overexposed, static image, extra fingers, subtitles, the tree melts, a "
                 "child in the rain, two boats beside an old wooden table; ﬁlm grain… ＶＨＳ 色调艳丽，过曝，静态")
UNICODE = "&lt;b&gt; caf&eacute; &amp;amp; 你好 \u3000 x \u00a0 naïve’s ½ ﬃ Ⅷ\u200bＷｉｄｅ “shot” 😀; "

CASES = {
    "basic": dict(
        BASE, prompt="A red fox runs through a forest at night, cinematic, 35mm.", negative_prompt="blurred details, low quality", seed=42,
        weights_seed=1, scheduler=dict(kind="unipc", shift=3.0), tokenizer=dict(seed=1, vocab_size=260), one_forward=True,
        text=dict(d_model=24, d_kv=10, heads=3, d_ff=40, layers=2), dit=dict(heads=2, head_dim=24, layers=2, ffn=70),
        vae=dict(base=3, mult=(1, 2, 2, 4), blocks=1)),
    "sharded": dict(
        BASE, prompt="two dancers glow under neon light; the camera pans slowly upwards", seed=7, width=32, height=48, num_frames=5, steps=3,
        guidance_scale=1.0, decode_chunk_sizes=[1, 3, 5], weights_seed=2, scheduler=dict(kind="unipc", shift=3.0),
        tokenizer=dict(seed=2, vocab_size=300, rule="light"), shards=dict(transformer="50KB", text_encoder="20KB"),
        text=dict(d_model=20, d_kv=6, heads=4, d_ff=28, layers=2), dit=dict(heads=4, head_dim=12, layers=2, ffn=90, freq_dim=32),
        vae=dict(base=3, mult=(1, 1, 2, 3), blocks=1)),
    "bf16": dict(
        BASE, prompt="The naïve robot slides over the sea", negative_prompt=LONG_NEGATIVE, seed=2**40 + 3, width=32, height=16, num_frames=17,
        steps=2, guidance_scale=6.5, flow_shift=5.0, fps=24, decode_chunk_sizes=[1, 4, 7, 17], weights_seed=3,
        store=dict(text_encoder="bf16", transformer="bf16", vae="bf16"), scheduler=dict(kind="unipc", shift=3.0),
        tokenizer=dict(seed=3, vocab_size=480, rule="light", byte_fallback=True, umt5_ids=True),
        text=dict(d_model=16, d_kv=12, heads=2, d_ff=48, layers=3), dit=dict(heads=1, head_dim=128, layers=1, ffn=40, freq_dim=32),
        vae=dict(base=3, mult=(1, 2, 4, 3), blocks=2)),
    "euler": dict(
        BASE, prompt="a paper boat drifts beside an old wooden table", seed=0, width=16, height=48, num_frames=13, steps=3, guidance_scale=3.0,
        decode_chunk_sizes=[2, 6, 13], weights_seed=4, store=dict(text_encoder="f16", vae="f16"), scheduler=dict(kind="euler", shift=7.0),
        tokenizer=dict(seed=4, vocab_size=220), text=dict(d_model=28, d_kv=12, heads=2, d_ff=36, layers=2),
        dit=dict(heads=3, head_dim=12, layers=3, ffn=56, freq_dim=100), vae=dict(base=3, mult=(1, 3, 2, 4), blocks=1)),
    "single_frame": dict(
        BASE, prompt="", negative_prompt="static image", seed=2**32 - 1, width=64, height=32, num_frames=1, steps=5, guidance_scale=2.0,
        flow_shift=9.0, decode_chunk_sizes=[1, 4], weights_seed=5,
        store=dict(text_encoder="f16", transformer="f16", vae="f16"), scheduler=dict(kind="euler", shift=3.0),
        tokenizer=dict(seed=5, vocab_size=240), text=dict(d_model=18, d_kv=8, heads=3, d_ff=30, layers=2),
        dit=dict(heads=2, head_dim=20, layers=2, ffn=50, freq_dim=48), vae=dict(base=3, mult=(1, 2, 3, 2), blocks=1)),
    "long_prompt": dict(
        BASE, prompt=UNICODE + "a lighthouse turns in slow motion, the café owner walks on a beach, watercolour; soft edges " * 12,
        negative_prompt=UNICODE, seed=31337, width=32, height=16, num_frames=5, steps=10, guidance_scale=4.0, flow_shift=5.0,
        decode_chunk_sizes=[1, 5], weights_seed=6, store=dict(transformer="f16", vae="bf16"), scheduler=dict(kind="unipc", shift=3.0),
        tokenizer=dict(seed=6, vocab_size=500, rule="nmt_nfkc", byte_fallback=True, umt5_ids=True),
        text=dict(d_model=16, d_kv=5, heads=4, d_ff=32, layers=3), dit=dict(heads=2, head_dim=16, layers=2, ffn=60, freq_dim=64),
        vae=dict(base=3, mult=(1, 1, 2, 3), blocks=1)),
    "one_step": dict(
        BASE, prompt="  wide   shot! The dog\tjumps from left to right\n", negative_prompt="", seed=2**62 + 5, width=32, height=32,
        num_frames=5, steps=1, guidance_scale=1.5, max_sequence_length=40, decode_chunk_sizes=[1, 2, 5], weights_seed=7, spiece_only=True,
        store=dict(vae="f16"), scheduler=dict(kind="unipc", shift=5.0), tokenizer=dict(seed=7, vocab_size=200),
        text=dict(d_model=22, d_kv=7, heads=2, d_ff=44, layers=2), dit=dict(heads=2, head_dim=16, layers=2, ffn=40, freq_dim=64),
        vae=dict(base=4, mult=(1, 2, 2, 3), blocks=1, decoder_base=5)),
}


def words(rng):
    import text
    return " ".join(rng.choice(rng.choice([text.SUBJECTS, text.VERBS, text.PLACES, text.STYLE])) for _ in range(rng.randint(0, 14)))


def draw_wide(seed):
    """The same with layers as wide as those that are computed in bf16."""
    case, rng = draw(seed), random.Random(seed + 1)
    pick = rng.choice
    case["text"].update(d_model=2 * rng.randint(64, 100), d_kv=pick([32, 48, 64]), heads=rng.randint(2, 4), d_ff=rng.randint(130, 300))
    case["dit"].update(heads=rng.randint(2, 4), head_dim=pick([64, 66, 72, 96, 128]), ffn=rng.randint(128, 600))
    case["vae"].update(base=pick([16, 20, 32]), decoder_base=None)
    return case


def draw(seed):
    """A case from nowhere: widths, heads, depths, sizes, scheduler, prompt. Every layer keeps at least three channels: over one or two, the
    channel norm is a step function and no two engines agree."""
    rng = random.Random(seed)
    pick = rng.choice
    frames, kind, umt5 = pick([1, 5, 5, 9, 9, 13, 17]), pick(["unipc", "unipc", "euler"]), pick([True, False])
    extra = dict(solver_order=pick([1, 2, 2, 2, 3])) if kind == "unipc" else {}
    dtype = pick([{}, {}, dict.fromkeys(["text_encoder", "transformer", "vae"], "bf16"), dict(text_encoder="f16", vae="bf16")])
    prompt, negative = words(rng), words(rng)
    return dict(
        BASE, prompt=pick(["", "", UNICODE]) + prompt, negative_prompt=negative, seed=rng.getrandbits(pick([8, 31, 63])),
        width=16 * rng.randint(1, 4), height=16 * rng.randint(1, 4), num_frames=frames, steps=rng.randint(1, 7),
        guidance_scale=pick([1.0, round(rng.uniform(1.5, 7), 2)]), flow_shift=pick([None, None, round(rng.uniform(1, 9), 1)]),
        max_sequence_length=pick([512, 512, 16, 100]), fps=pick([8, 16, 24]), decode_chunk_sizes=sorted({1, rng.randint(1, frames), frames}),
        weights_seed=seed, scheduler=dict(kind=kind, shift=pick([1.0, 3.0, 5.0, 7.0]), **extra), store=dtype,
        shards=pick([{}, {}, dict(transformer="100KB", vae="150KB", text_encoder="30KB")]),
        tokenizer=dict(seed=seed, vocab_size=rng.randint(170, 300) + 256 * umt5, rule=pick(["identity", "light", "nmt_nfkc"]),
                       byte_fallback=umt5, umt5_ids=umt5),
        text=dict(d_model=2 * rng.randint(8, 20), d_kv=rng.randint(4, 16), heads=rng.randint(1, 4), d_ff=rng.randint(20, 60),
                  layers=rng.randint(1, 4)),
        dit=dict(heads=rng.randint(1, 4), head_dim=pick([8, 12, 16, 20, 24, 32, 40]), layers=rng.randint(1, 4), ffn=rng.randint(24, 120),
                 freq_dim=pick([32, 64, 256])),
        vae=dict(base=rng.randint(3, 6), mult=pick([(1, 2, 4, 4), (1, 2, 2, 4), (1, 3, 2, 4), (2, 3, 3, 2), (1, 2, 2, 2)]),
                 blocks=rng.randint(1, 3), decoder_base=pick([None, None, 4, 7])))
