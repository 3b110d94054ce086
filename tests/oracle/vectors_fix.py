"""Strings as Wan's pipeline cleans them with ftfy installed, its repair of wrongly decoded text left out:
vectors_fix.py COUNT SEED FILE."""
import html
import json
import random
import sys

import ftfy
import regex

CONFIG = ftfy.TextFixerConfig(fix_encoding=False)
FIXED = [
    "色调艳丽，过曝，静态，细节模糊不清，字幕，风格，作品，画作，画面，静止，整体发灰，最差质量，低质量，JPEG压缩残留，丑陋的，残缺的",
    "ＬＯＵＤ　ＮＯＩＳＥＳ！", "Ｕﾀｰﾝ ｶﾞｷﾞｸﾞ ﾊﾟ", "“curly” ‘quotes’ ʼn ŉ ‚low„ ‛x‟", "ﬂuﬃeﬆ ĳs Ǆ ǆ ﬅ", "a\r\nb\rc\u2028d\u2029e\x85f", "\x1b[36;44mblue\x1b[0m \x1b[ \x1b[1;2",
    "\ufeffbom \u00ad soft\u200bzero \u200e\u200f", "e\u0301 n\u0303 \u1112\u1161\u11ab \u0915\u093c ა\u0301", "&amp;amp;lt; &lt;b&gt; &EACUTE; &SZLIG; &NTILDE; &nTILDE;",
    "<b>&amp;eacute;</b> &eacute;\n&eacute; next", "one &eacute;\n<two> &eacute;\nthree &eacute;", "&#65; &#x41; &#65 &#1; &#59; &#123abc; &#x; &#128; &#150;",
    "👩‍👩‍👧‍👦 🏴󠁧󠁢󠁷󠁬󠁳󠁿 ✈️", "مرحبا بالعالم", "สวัสดี ชาวโลก", "नमस्ते क़ ख़", "ﾡﾢ ￦ ￣ ￠", "Å Ω K", "\x00\x01\x07\x0b\x0c\x1c\x1d\x1e\x1f\x7f", "\u206a\u206f\ufff9\ufffc\ufffd",
    "𝅗𝅥 שׁ ﬞ", "this&not that &notin; &notit;", "P&EACUTE;REZ &FFILIG;", "\u3000 \u2003\u00a0x\u202f", "", "   ", "\t\n",
]
PIECES = list("abz AB,.!?<>&;#'\"-\n\r\t  ａＡ１！，。“”‘’ʼﬁﬃĳŉǅｶﾞﾊﾟﾡ￣　éñ한글漢字🙂あアقकไ\u0301\u0303\u093c\u200d\u200b\ufeff"
              "\x85\u2028\u2029\x1b\x07\x80\x92\x9f\u1112\u1161\u11ab\u206a\ufffc")
WORDS = ["&amp;", "&lt;", "&eacute;", "&EACUTE;", "&#233;", "&#x2019;", "&amp", "&#65", "\x1b[31m", "\r\n", "&amp;amp;", "&nbsp;", "&zwj;", "&NBSP;", "a fox", "，"]


def clean(text):
    text = html.unescape(html.unescape(ftfy.fix_text(text, CONFIG))).strip()
    return regex.sub(r"\s+", " ", text).strip()


def main():
    count, seed, path = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    rng = random.Random(seed)
    texts = [text for text in FIXED if "\0" not in text]
    while len(texts) < count:
        texts.append("".join(rng.choice(WORDS if rng.random() < 0.15 else PIECES) for _ in range(rng.randint(1, 24))))
    with open(path, "w") as file:
        json.dump({"prompt_clean": [{"in": text, "out": clean(text)} for text in texts]}, file, ensure_ascii=True, indent=0)
        file.write("\n")


if __name__ == "__main__":
    main()
