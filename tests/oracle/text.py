"""Tokenizers: small sentencepiece unigram models, with the HF fast tokenizer that WanPipeline loads, and the ids of both."""
import base64
import io
import json
import os
import random
import tempfile

import sentencepiece
from sentencepiece import sentencepiece_model_pb2 as pb
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

SUBJECTS = "cat dog fox red circle blue square lighthouse paper boat dancer robot child tree mountain naïve café owner".split(" ")
VERBS = "walks runs turns dances jumps drifts moves slides travels glows melts".split()
PLACES = ["on a beach", "in the rain", "under neon light", "over the sea", "through a forest at night", "from left to right",
          "upwards", "in slow motion", "beside an old wooden table", "in 1920s black and white film"]
STYLE = ["low quality", "blurred details", "JPEG artifacts, overexposed", "cinematic, 35mm", "watercolour; soft edges",
         "static image", "extra fingers", "subtitles", "camera pans slowly", "wide shot!"]

# A few rules in the manner of NFKC, in sentencepiece's TSV form (hex code points): full-width letters, ligature, spaces, dots.
LIGHT_RULES = "".join(f"{0xFF21 + i:X}\t{0x41 + i:X}\n{0xFF41 + i:X}\t{0x61 + i:X}\n" for i in range(26)) + (
    "FB01\t66 69\n2026\t2E 2E 2E\n200B\t20\nA0\t20\n65 301\tE9\n2019\t27\n")


def corpus(seed):
    rng = random.Random(seed)
    lines = []
    for _ in range(1500):
        s = f"{rng.choice(['a', 'the', 'A', 'The', 'two'])} {rng.choice(SUBJECTS)} {rng.choice(VERBS)} {rng.choice(PLACES)}"
        lines.append(s + rng.choice(["", ", " + rng.choice(STYLE), "."]))
    return lines


def train(seed, vocab_size, rule="identity", byte_fallback=False, umt5_ids=False):
    """The bytes of a spiece.model. umt5_ids: pad 0, </s> 1, <s> 2, <unk> 3, as UMT5 has them; else T5's pad 0, </s> 1, <unk> 2."""
    out, rules = io.BytesIO(), {"normalization_rule_name": rule}
    with tempfile.NamedTemporaryFile("w", suffix=".tsv") as tsv:
        if rule == "light":
            tsv.write(LIGHT_RULES)
            tsv.flush()
            rules = {"normalization_rule_tsv": tsv.name}
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(corpus(seed)), model_writer=out, model_type="unigram", vocab_size=vocab_size, hard_vocab_limit=False,
            pad_id=0, eos_id=1, bos_id=2 if umt5_ids else -1, unk_id=3 if umt5_ids else 2, byte_fallback=byte_fallback,
            pad_piece="<pad>", character_coverage=1.0, num_threads=1, minloglevel=2, **rules)
    m = pb.ModelProto.FromString(out.getvalue())
    for spec, field in ((m.trainer_spec, "input"), (m.trainer_spec, "model_prefix"), (m.normalizer_spec, "normalization_rule_tsv")):
        spec.ClearField(field)                                   # names of files
    return m.SerializeToString()


def fast(spiece):
    """The tokenizers object that agrees with the sentencepiece model, built as transformers builds T5's."""
    m = pb.ModelProto.FromString(spiece)
    t = Tokenizer(models.Unigram([(p.piece, p.score) for p in m.pieces], unk_id=m.trainer_spec.unk_id,
                                 byte_fallback=m.trainer_spec.byte_fallback))
    if m.normalizer_spec.precompiled_charsmap:
        t.normalizer = normalizers.Sequence([normalizers.Precompiled(m.normalizer_spec.precompiled_charsmap),
                                             normalizers.Replace(Regex(" {2,}"), " ")])
    meta = dict(replacement="▁", prepend_scheme="always", split=True)
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(**meta)])
    t.decoder = decoders.Metaspace(**meta)
    t.post_processor = processors.TemplateProcessing(single=["$A", "</s>"], pair=["$A", "</s>", "$B", "</s>"],
                                                     special_tokens=[("</s>", 1)])
    return t


def save(spiece, folder):
    """Write tokenizer/ and return the class name for model_index.json.

    transformers' T5Tokenizer rebuilds the tokenizer with unk_id 2 and no byte fallback, whatever the files say; models that need
    another layout name the generic class, which takes tokenizer.json as it stands."""
    from transformers import PreTrainedTokenizerFast, T5Tokenizer
    m = pb.ModelProto.FromString(spiece)
    names = dict(eos_token="</s>", unk_token="<unk>", pad_token="<pad>")
    if m.trainer_spec.unk_id == 2 and not m.trainer_spec.byte_fallback:
        charsmap = m.normalizer_spec.precompiled_charsmap or None
        tok = T5Tokenizer(vocab=[(p.piece, p.score) for p in m.pieces], extra_ids=0, model_max_length=512,
                          _spm_precompiled_charsmap=charsmap, **names)
        name = "T5TokenizerFast"
    else:
        tok = PreTrainedTokenizerFast(tokenizer_object=fast(spiece), model_max_length=512, **names)
        name = "PreTrainedTokenizerFast"
    tok.save_pretrained(folder)
    with open(os.path.join(folder, "spiece.model"), "wb") as f:
        f.write(spiece)
    with open(os.path.join(folder, "special_tokens_map.json"), "w") as f:
        json.dump(names, f, indent=2)
    return tok, name


def ids(tok, spiece, prompt, length):
    """The pipeline's ids without padding; fails where HF and sentencepiece disagree (such prompts do not belong in a fixture)."""
    from diffusers.pipelines.wan.pipeline_wan import prompt_clean
    clean = prompt_clean(prompt)
    hf = tok([clean], max_length=length, truncation=True, add_special_tokens=True).input_ids[0]
    sp = sentencepiece.SentencePieceProcessor(model_proto=spiece).encode(clean)[:length - 1] + [1]
    if hf != sp:
        raise SystemExit(f"tokenizers disagree on {clean!r}\nhf {hf}\nsp {sp}")
    return hf
