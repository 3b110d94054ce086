# SPDX-License-Identifier: Apache-2.0
"""The tokenizer, a unigram table set by hand (a trained one of this size drops whole words), and a tiny UMT5 encoder.

usage: text.py DIR    writes DIR/spiece.model
"""
import math
import os
import string
import sys
import tempfile

import shapes

WORDS = ("a the A The red green blue yellow white Red Green Blue Yellow White circle square triangle moves moving goes slides "
         "travels is to left right up down upwards downwards").split()


def write_spiece(path):
    import sentencepiece as spm
    from sentencepiece import sentencepiece_model_pb2 as pb
    lines = [t for c in shapes.NAMES for s in shapes.SHAPES for d in shapes.DIRS for k in shapes.captions(c, s, d)
             for t in (k, k[0].upper() + k[1:])]
    with tempfile.TemporaryDirectory() as tmp:             # trained for its settings; its pieces are then replaced
        open(tmp + "/text", "w").write("\n".join(lines))
        spm.SentencePieceTrainer.train(
            input=tmp + "/text", model_prefix=tmp + "/m", model_type="unigram", vocab_size=96, pad_id=0, eos_id=1, unk_id=2,
            bos_id=-1, pad_piece="<pad>", eos_piece="</s>", unk_piece="<unk>", normalization_rule_name="identity",
            character_coverage=1.0, hard_vocab_limit=False, minloglevel=1)
        m = pb.ModelProto.FromString(open(tmp + "/m.model", "rb").read())
    head = [pb.ModelProto.SentencePiece.FromString(p.SerializeToString()) for p in m.pieces[:3]]
    del m.pieces[:]
    m.pieces.extend(head)
    words = " ".join(lines).split()
    for w in WORDS:
        m.pieces.add(piece="\u2581" + w, score=math.log(max(words.count(w), 1) / len(words)))
    for i, c in enumerate("\u2581" + string.ascii_letters + ".,'-!"):
        m.pieces.add(piece=c, score=-10 - 0.01 * i)
    m.trainer_spec.vocab_size = len(m.pieces)
    m.trainer_spec.input[:] = []
    m.trainer_spec.model_prefix = "spiece"
    open(path, "wb").write(m.SerializeToString())


def tokenizer(path):
    import sentencepiece as spm
    from transformers import T5Tokenizer
    sp = spm.SentencePieceProcessor(model_file=path)
    return T5Tokenizer(vocab=[(sp.id_to_piece(i), sp.get_score(i)) for i in range(sp.get_piece_size())],
                       extra_ids=0, model_max_length=512)


def encoder(vocab):
    import torch
    from transformers import UMT5Config, UMT5EncoderModel
    e = UMT5EncoderModel(UMT5Config(
        vocab_size=vocab, d_model=64, d_kv=16, d_ff=128, num_layers=2, num_heads=4, relative_attention_num_buckets=32,
        relative_attention_max_distance=128, dropout_rate=0.0, feed_forward_proj="gated-gelu", tie_word_embeddings=True,
        pad_token_id=0, eos_token_id=1, decoder_start_token_id=0))
    torch.nn.init.normal_(e.shared.weight, std=1.0)
    return e


if __name__ == "__main__":
    os.makedirs(sys.argv[1], exist_ok=True)
    path = os.path.join(sys.argv[1], "spiece.model")
    write_spiece(path)
    import sentencepiece as spm
    sp, tok = spm.SentencePieceProcessor(model_file=path), tokenizer(path)
    for t in ("a red circle moves left", "The yellow triangle is moving to the right.", "", "a purple hexagon"):
        print(sp.encode(t, out_type=str), tok(t).input_ids)
        assert tok(t).input_ids == sp.encode(t) + [1]
