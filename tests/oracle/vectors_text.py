"""Text without a model: relative position buckets, html.unescape, and the pipeline's prompt cleaning."""
import html
import html.entities
import os

import torch
from transformers import UMT5Config
from transformers.models.umt5.modeling_umt5 import UMT5Attention

from models import write_json
from vectors_fix import clean as prompt_clean

NAMED = ["&lt;b&gt;", "&lt;b&gt", "&lt", "&LT;", "&amp;", "&AMP", "&ampx", "&amp;amp;lt;", "&amp;amp;", "&amp;lt;", "&amp;#65;", "&quot;q&quot;",
         "&apos;", "&apos", "&eacute;", "&eacute", "caf&eacutes", "&Eacute;&eacute;", "&nbsp;x&nbsp", "&copy2024", "&notit;", "&notin;",
         "&notin", "&not;in", "&notanentity;", "&no", "&n;", "&sup1;&sup12;", "&sup1x", "&frac12;", "&frac123;", "&frac1", "&there4;", "&fjlig;",
         "&NotEqualTilde;", "&NotEqualTilde", "&bne;", "&CounterClockwiseContourIntegral;", "&CounterClockwiseContourIntegral",
         "&CounterClockwiseContourIntegralX;", "&Aacute&Aacute;", "&ampamp;", "&gtrdot;", "&gtr", "&gtdot;", "&gt=", "&lang;", "&langle;",
         "&hellip;", "&hearts", "&hearts;", "&zwj;", "&shy", "&yuml", "&yumlaut", "&reg&reg;", "&regx", "&para", "&param=1", "a&b", "a & b",
         "&", "&&", "&;", "&&amp;", "&amp;&", "& amp;", "&amp ;", "&\tlt;", "&<lt;", "&unknown;", "&UNKNOWN", "&é;", "&ampé;", "&lté",
         "&你好;", "&amp你好;", "&ltaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa;", "&aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa&lt;",
         "&aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa;", "&Lt;&Gt;&lt;", "&lsquo;&rsquo;&ldquo;&rdquo;", "&Tab;x&NewLine;", "&NonBreakingSpace;", "&ThickSpace;",
         "&acE;", "&race;", "&nvlt;", "&Aogon;&aogon", "&Aopf;", "&euro", "&euro;", "&amp;amp;amp;amp;", "&am&lt;p;", "&#38;lt;", "&#x26;#60;"]
NUMERIC = ["&#65;", "&#65", "&#65x", "&#0065;", "&#x41;", "&#X41;", "&#x41", "&#x41g", "&#x4G", "&#xe9;", "&#xE9", "&#233;b", "&#20320;&#22909;",
           "&#x4f60;&#x597d", "&#128512;", "&#x1F600;", "&#x1F468;&#x200D;&#x1F469;", "&#;", "&#", "&#x;", "&#x", "&#xZ", "&#Z", "&#-1;", "&# 65;",
           "&#0;", "&#x0;", "&#00", "&#1;", "&#8;", "&#9;", "&#10;", "&#11;", "&#12;", "&#13;", "&#x0d;", "&#14;", "&#31;", "&#32;", "&#127;",
           "&#128;", "&#129;", "&#130;", "&#x80;", "&#x81", "&#x85;", "&#x8d;", "&#x8e;", "&#x91;&#x92;", "&#x93;&#x94;", "&#x95;", "&#x99;",
           "&#x9d;", "&#x9f;", "&#150;", "&#151;", "&#160;", "&#xd7ff;", "&#xD800;", "&#xDBFF;", "&#xdc00;", "&#xDFFF;", "&#xD83D;&#xDE00;",
           "&#xe000;", "&#xFDCF;", "&#xFDD0;", "&#xfdef;", "&#xFDF0;", "&#xFFFD;", "&#xFFFE;", "&#xFFFF;", "&#x10000;", "&#x1FFFE;",
           "&#x1ffff;", "&#x2FFFE;", "&#x10FFFD;", "&#x10FFFE;", "&#x10FFFF;", "&#x110000;", "&#1114112;", "&#99999999999999999999;",
           "&#xFFFFFFFFFFFFFFFFFF;", "&#4294967361;", "&#65;&#66;&#67", "&#٣;", "&#x٣;", "&#65&#66", "&#38;#38;", "&#38;amp;"]
SPACES = ["\t", "\n", "\x0b", "\x0c", "\r", "\r\n", "\x1c", "\x1d", "\x1e", "\x1f", "\x85", "\xa0", "\u1680", "\u180e", "\u2000", "\u2003", "\u2009",
          "\u200a", "\u200b", "\u200c", "\u200d", "\u2028", "\u2029", "\u202f", "\u205f", "\u2060", "\u2800", "\u3000", "\u3164", "\ufeff"]
CLEAN = ["", " ", "a", "  a  b  ", "a \t\n b", "&nbsp;a&nbsp;&nbsp;b&nbsp;", "&amp;nbsp;a", "&amp;amp;nbsp;a", "&amp;amp;amp;lt;", "\u3000你好\u3000\u3000世界\u3000",
         "&#32;x&#x3000;", "x&#x1c;&#x1d;y", "&Tab;x&NewLine;y", "A Cat", "caf\u00e9 cafe\u0301", "\ufeffbom", "a\u200bb", "\u200b a \u200b", "\x1c a \x1f",
         "&lt;b&gt; caf&eacute; &amp;amp; 你好 \u3000 x", "â€™ mojibake â€œ", "ﬁ ﬂ ½ Ⅷ", "\u201cquotes\u201d \u2019s", "&#xD800;x", "&#0;x", "&#1;&#2;x"]


def buckets(num, distance):
    a = UMT5Attention(UMT5Config(relative_attention_num_buckets=num, relative_attention_max_distance=distance), True)
    a.is_decoder = False
    return {"num_buckets": num, "max_distance": distance, "first": -511,
            "buckets": a._relative_position_bucket(torch.arange(-511, 512)).tolist()}


def write(folder):
    write_json(os.path.join(folder, "bucket.json"), {"tables": [buckets(32, 128), buckets(16, 64)]}, None)
    every = sorted(html.entities.html5)
    lists = [" ".join("&" + n for n in every[i:i + 100]) for i in range(0, len(every), 100)]
    spaced = [f"a{s}b" for s in SPACES] + [f"{s}a{s}{s}b{s}" for s in SPACES]
    write_json(os.path.join(folder, "unescape.json"), {
        "unescape": [{"in": s, "out": html.unescape(s)} for s in NAMED + NUMERIC + lists],
        "prompt_clean": [{"in": s, "out": prompt_clean(s)} for s in CLEAN + spaced + NAMED + NUMERIC]}, None)
