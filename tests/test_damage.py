#!/usr/bin/env python3
"""Damaged and hostile input, a kind a line: each ends as it should, soon, with one line of message
where something is refused, and leaves nothing. WEFT_SOURCE_DIR and WEFT_BUILD_DIR as for the other tests."""
import json
import os
import resource
import shutil
import stat
import struct
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

ROOT = Path(os.environ.get("WEFT_SOURCE_DIR", Path(__file__).resolve().parent.parent))
WEFT = Path(os.environ.get("WEFT_BUILD_DIR", ROOT / "build")) / "weft"
FIXTURES = ROOT / "tests/fixtures"
SANITIZED = os.environ.get("WEFT_SANITIZED", "")
LIMIT = 120 if SANITIZED else 30  # seconds
SMALL = ["-W", "16", "-H", "16", "-f", "1", "--steps", "1", "-s", "1", "--dtype", "f32", "--threads", "1", "-q"]

WEIGHTS = "transformer/diffusion_pytorch_model.safetensors"
CONFIG = "transformer/config.json"
SHARDED = "transformer/diffusion_pytorch_model.safetensors.index.json"
ENCODED = "text_encoder/model.safetensors"

# --- what is made of good files -------------------------------------------------------------------------


def edit(change):
    """Damage of one file: its bytes to others."""
    return lambda path: path.write_bytes(change(path.read_bytes()))


def be(content):
    return edit(lambda data: content if isinstance(content, bytes) else content.encode())


def cut(count):
    return edit(lambda data: data[:count])


def replace(a, b):
    def change(data):
        assert a in data, a
        return data.replace(a, b, 1)

    return edit(change)


def header(change):
    """Of a safetensors file: change of its parsed header, or what takes the place of its text."""

    def apply(data):
        size = struct.unpack("<Q", data[:8])[0]
        text = data[8 : 8 + size].decode()
        if callable(change):
            parsed = json.loads(text)
            name = next(k for k in parsed if k != "__metadata__")
            text = change(parsed, name) or json.dumps(parsed)
        else:
            text = change
        return struct.pack("<Q", len(text.encode())) + text.encode() + data[8 + size :]

    return edit(apply)


def tensor(**fields):
    return header(lambda parsed, name: parsed[name].update(fields))


def length(value):
    return edit(lambda data: struct.pack("<Q", value) + data[8:])


def put_last(count, value):
    """The last numbers of a file become others."""
    return edit(lambda data: data[: -4 * count] + struct.pack("<f", value) * count)


def remove(path):
    path.unlink()


def become_fifo(path):
    path.unlink()
    os.mkfifo(path)


def become_folder(path):
    path.unlink()
    path.mkdir()


def become_circle(path):
    path.unlink()
    path.symlink_to(path.name)


def become_unreadable(path):
    path.chmod(0)


def become_endless(path):
    path.unlink()
    path.symlink_to("/dev/zero")


def become_huge(path):
    os.truncate(path, 1 << 40)


def config(**fields):
    return edit(lambda data: json.dumps({**json.loads(data), **fields}).encode())


def index(value):
    """Of an index of shards: the first tensor's file."""

    def change(data):
        parsed = json.loads(data)
        parsed["weight_map"][next(iter(parsed["weight_map"]))] = value
        return json.dumps(parsed).encode()

    return edit(change)


# --- pictures and clips -----------------------------------------------------------------------------------


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, rows, bits=8, colour=2, extra=b""):
    head = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + extra + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")


def picture(width=16, height=16, bits=8, colour=2, extra=b""):
    samples = {0: 1, 2: 3, 4: 2, 6: 4}[colour] * bits // 8
    return png(width, height, (b"\0" + b"\x55" * (width * samples)) * height, bits, colour, extra)


def told(text):
    """A picture that says how it was made."""
    return picture(extra=chunk(b"iTXt", b"weft\0\0\0\0\0" + text))


def y4m(head, frames=b"FRAME\n" + b"\x80" * 384):
    return head + b"\n" + frames


Y4M = b"YUV4MPEG2 W16 H16 F25:1 C420jpeg"

# --- running ----------------------------------------------------------------------------------------------


class Desk:
    """A folder for each case, and what is counted."""

    def __init__(self, folder):
        self.folder, self.good, self.bad = folder, 0, 0
        self.out = folder / "out"

    def fresh(self):
        shutil.rmtree(self.out, ignore_errors=True)
        self.out.mkdir()
        return self.out

    def model(self, fixture, file, damage):
        model = self.folder / "model"
        if model.exists():
            shutil.rmtree(model)
        shutil.copytree(FIXTURES / fixture / "model", model)
        for path in model.rglob("*"):
            path.chmod(path.stat().st_mode | stat.S_IWUSR)
        damage(model / file)
        return model

    def file(self, name, content):
        path = self.folder / name
        if path.is_symlink() or path.exists():
            path.unlink() if not path.is_dir() or path.is_symlink() else path.rmdir()
        if callable(content):
            path.write_bytes(b"")
            content(path)
        else:
            path.write_bytes(content)
        return path

    def run(self, name, codes, arguments, says="", keeps=(), lines=1, **how):
        """Runs it in a fresh folder; what is left there is the names `keeps`, of a run that succeeds also x.y4m."""
        out, log = self.out, self.folder / "stderr"
        how.setdefault("stdout", subprocess.DEVNULL)
        with open(log, "wb") as err:
            try:
                code = subprocess.run([WEFT, *arguments], cwd=out, stdin=subprocess.DEVNULL, stderr=err, timeout=LIMIT,
                                      **how).returncode
            except subprocess.TimeoutExpired:
                code = "none: it hangs"
        text = log.read_text(errors="replace")
        told_lines = [t for t in text.splitlines() if t and not t.startswith("libgomp: ")]
        left = sorted(p.name for p in out.iterdir() if p.name not in keeps and not (code == 0 and p.name == "x.y4m"))
        why = None
        if code not in (codes if isinstance(codes, tuple) else (codes,)):
            why = f"exit {code}"
        elif left:
            why = f"left: {left}"
        elif code != 0 and len(told_lines) != lines or any(not t.startswith("weft: ") for t in told_lines):
            why = "not one line of message"
        elif says not in text:
            why = f"does not say '{says}'"
        if why:
            self.bad += 1
            print(f"FAIL {name}: {why}\n    {text[:600]}")
        else:
            self.good += 1


# --- the kinds --------------------------------------------------------------------------------------------

DEEP = "[" * 100000
LONG = "9" * 5000
NO_FILES = [
    ("a pipe in its place", become_fifo, 2),
    ("a folder in its place", become_folder, 2),
    ("a circle of links", become_circle, 2),
    ("a device in its place", become_endless, 2),
    ("not there", remove, 2),
    ("no permission", become_unreadable, 2),
]
SAFETENSORS = [
    ("header cut", cut(100), 2),
    ("length cut", cut(5), 2),
    ("empty", cut(0), 2),
    ("one byte short", edit(lambda d: d[:-1]), 2),
    ("one byte more", edit(lambda d: d + b"\0"), (0, 2)),
    ("header longer than the file", length(1 << 20), 2),
    ("header of 2^63 bytes", length(1 << 63), 2),
    ("header of 2^64-1 bytes", length((1 << 64) - 1), 2),
    ("header of no bytes", length(0), 2),
    ("header that is a list", header("[]"), 2),
    ("header nested deep", header(DEEP), 2),
    ("header that ends in a text", header('{"a'), 2),
    ("header with NUL", header('{"a\0": 1}'), 2),
    ("offsets that overlap", tensor(data_offsets=[0, 4]), 2),
    ("offsets outside", tensor(data_offsets=[1 << 40, (1 << 40) + 4]), 2),
    ("offsets backward", tensor(data_offsets=[64, 0]), 2),
    ("offsets of 2^64", tensor(data_offsets=[0, 1 << 64]), 2),
    ("offsets below 0", tensor(data_offsets=[-8, 0]), 2),
    ("an offset that is a text", tensor(data_offsets=["0", "4"]), 2),
    ("an unknown type", tensor(dtype="Q9"), 2),
    ("a type that is a number", tensor(dtype=7), 2),
    ("a shape of nothing", tensor(shape=[0]), 2),
    ("a shape below 0", tensor(shape=[-1, 4]), 2),
    ("a shape of 2^63", tensor(shape=[1 << 63]), 2),
    ("a shape whose product wraps", tensor(shape=[1 << 32, 1 << 32, 16]), 2),
    ("a shape of a thousand sides", tensor(shape=[1] * 1000), 2),
    ("a shape with a fraction", tensor(shape=[1.5]), 2),
    ("a tensor twice", header(lambda p, n: "{" + ", ".join(f"{json.dumps(n)}: {json.dumps(p[n])}" for _ in "12") + "}"), 2),
    ("not a number in it", put_last(400, float("nan")), (1, 2)),
    ("infinite weights", put_last(400, float("inf")), (1, 2)),
    *NO_FILES,
]
JSON = [
    ("empty", cut(0), 2),
    ("cut", cut(40), 2),
    ("a list", be("[]"), 2),
    ("null", be("null"), 2),
    ("nested deep", be(DEEP), 2),
    ("nested deep in a key", be('{"num_layers": ' + DEEP), 2),
    ("a text without end", be('{"a": "' + "x" * 1000000), 2),
    ("a text for a number", config(num_layers="two"), 2),
    ("a list for a number", config(num_layers=[2]), 2),
    ("a number below 0", config(num_layers=-1), 2),
    ("a number of 19 digits", config(num_layers=1 << 62), 2),
    ("a fraction", config(num_layers=1.5), 2),
    ("a number of 5000 digits", replace(b'"num_layers": ', b'"num_layers": ' + LONG.encode()), 2),
    ("a number of 1e400", be('{"num_layers": 1e400}'), 2),
    ("a key twice", replace(b"{", b'{"num_layers": 1,'), 2),
    ("a byte order mark", edit(lambda d: b"\xef\xbb\xbf" + d), 2),
    ("UTF-16", edit(lambda d: d.decode().encode("utf-16")), 2),
    ("NUL in it", edit(lambda d: d[:20] + b"\0" + d[20:]), 2),
    ("NUL behind it", edit(lambda d: d + b"\0"), 2),
    ("no UTF-8", replace(b"{", b'{"\xff\xfe": 1,'), 2),
    ("a terabyte", become_huge, 2),
    *NO_FILES,
]
OTHER_FILES = [
    ("basic", "model_index.json", "a pipe", become_fifo, 2),
    ("basic", "model_index.json", "no permission", become_unreadable, 2),
    ("basic", "model_index.json", "a class that is none", be('{"_class_name": {}}'), 2),
    ("basic", "model_index.json", "components that are none", config(transformer=7, vae=[None]), (0, 2)),
    ("basic", "scheduler/scheduler_config.json", "a pipe", become_fifo, 2),
    ("basic", "scheduler/scheduler_config.json", "no keys", be("{}"), 2),
    ("basic", "scheduler/scheduler_config.json", "a train of 2^62 steps", config(num_train_timesteps=1 << 62), 2),
    ("basic", "vae/config.json", "an empty list", config(latents_mean=[]), 2),
    ("basic", "tokenizer/spiece.model", "empty", cut(0), 2),
    ("basic", "tokenizer/spiece.model", "cut", cut(1000), 2),
    ("basic", "tokenizer/spiece.model", "rubbish", be(b"\xff" * 5000), 2),
    ("basic", "tokenizer/spiece.model", "a pipe", become_fifo, 2),
    ("basic", "tokenizer/spiece.model", "no permission", become_unreadable, 2),
    ("sharded", SHARDED, "a shard that is not there", index("none.safetensors"), 2),
    ("sharded", SHARDED, "a shard elsewhere", index("../vae/diffusion_pytorch_model.safetensors"), 2),
    ("sharded", SHARDED, "a shard at the root", index("/etc/passwd"), 2),
    ("sharded", SHARDED, "a shard with NUL", index("a\0b"), 2),
    ("sharded", SHARDED, "a shard that is a number", index(7), 2),
    ("sharded", SHARDED, "no map", be('{"weight_map": []}'), 2),
    ("sharded", SHARDED, "nested deep", be(DEEP), 2),
    ("sharded", SHARDED, "a pipe", become_fifo, 2),
    ("sharded", "transformer/diffusion_pytorch_model-00002-of-00007.safetensors", "a shard taken away", remove, 2),
    ("basic", "vae/diffusion_pytorch_model.safetensors", "not a number in it", put_last(20000, float("nan")), (1, 2)),
]


def model_files(desk):
    """Each kind on one file, and those of the weights and of JSON on two."""
    rows = [("basic", WEIGHTS, *row) for row in SAFETENSORS] + [("basic", CONFIG, *row) for row in JSON]
    rows += [("basic", ENCODED, *row) for row in SAFETENSORS[::5]] + OTHER_FILES
    for fixture, file, name, damage, codes in rows:
        if damage is become_unreadable and os.geteuid() == 0:
            continue
        model = desk.model(fixture, file, damage)
        desk.fresh()
        desk.run(f"{file}: {name}", codes, ["generate", model, "-p", "fox", *SMALL, "-o", "x.y4m"])


def optional_files(desk):
    """What need not be there, but is, and cannot be read."""
    for name, damage in (("a circle of links", become_circle), ("a folder", become_folder), ("a pipe", become_fifo),
                         ("nested deep", be(DEEP)), ("a text", be('{"steps": "1"}'))):
        model = desk.model("basic", "weft.json", lambda path, d=damage: (path.write_text("{}"), d(path)))
        desk.fresh()
        desk.run(f"weft.json: {name}", 2, ["generate", model, "-p", "fox", *SMALL, "-o", "x.y4m"], "weft.json")


def images(desk):
    good = (FIXTURES / "image/cmyk.jpg").read_bytes()
    rows = [
        ("PNG cut", picture()[:70], 2),
        ("PNG of rubbish", picture().replace(b"IDAT", b"IDAT", 1)[:45] + b"\xff" * 90, 2),
        ("JPEG cut in its head", good[:200], 2),
        ("empty", b"", 2),
        ("text", b"not a picture", 2),
        ("a signature alone", b"\x89PNG\r\n\x1a\n", 2),
        ("1 x 100000", picture(1, 100000), 2),
        ("2^31-1 x 2^31-1", png((1 << 31) - 1, (1 << 31) - 1, b""), 2),
        ("no width", png(0, 16, b""), 2),
        ("a bomb of 900 million pixels", png(30000, 30000, bytes(3_000_000)), 2),
        ("a bomb behind a small picture", png(16, 16, bytes(30_000_000)), (0, 2)),
        ("a text that is a bomb", picture(extra=chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(50_000_000), 9))), (0, 2)),
        ("a text of none", picture(extra=chunk(b"tEXt", b"")), (0, 2)),
        ("CMYK", good, 0),
        ("16 bits", picture(bits=16), 0),
        ("grey with alpha", picture(colour=4), 0),
        ("a foreign text", picture(extra=chunk(b"tEXt", b"Software\0\xff\xfe")), 0),
        ("a pipe", become_fifo, 2),
        ("a folder", become_folder, 2),
        ("a circle of links", become_circle, 2),
        ("a device", become_endless, 2),
    ]
    for name, content, codes in rows:
        path = desk.file("image", content)
        desk.fresh()
        desk.run(f"image: {name}", codes, ["generate", FIXTURES / "svd_a/model", "-i", path, "-W", "64", "-H", "64", "-f", "2",
                                           "--steps", "1", "-s", "1", "-q", "-o", "x.y4m"])


def latents(desk):
    good = (FIXTURES / "basic/expect/latents.safetensors").read_bytes()
    rows = [(name, damage, codes) for name, damage, codes in SAFETENSORS if damage is not become_unreadable]
    for name, damage, codes in rows:
        path = desk.file("latents.safetensors", lambda p, d=damage: (p.write_bytes(good), d(p)))
        desk.fresh()
        codes = codes if codes == 2 else (0, 1, 2)
        desk.run(f"latents: {name}", codes, ["decode", FIXTURES / "basic/model", path, "-q", "-o", "x.y4m"])


def clips(desk):
    """Read by compare and by info; REFERENCE is whole."""
    subprocess.run([WEFT, "generate", FIXTURES / "basic/model", "-p", "fox", *SMALL, "-o", desk.folder / "good.y4m"], check=True)
    video = "mp4" in subprocess.run([WEFT, "generate", "--help"], capture_output=True, text=True, check=True).stdout
    rows = [
        ("y4m of 10^9 pixels a side", "c.y4m", y4m(b"YUV4MPEG2 W999999999 H999999999 F25:1"), 2),
        ("y4m of no width", "c.y4m", y4m(b"YUV4MPEG2 W0 H16 F25:1"), 2),
        ("y4m of -16", "c.y4m", y4m(b"YUV4MPEG2 W-16 H16 F25:1"), 2),
        ("y4m of a rate of 0", "c.y4m", y4m(b"YUV4MPEG2 W16 H16 F25:0"), (0, 2)),
        ("y4m without frames", "c.y4m", y4m(Y4M, b""), 2),
        ("y4m cut in a frame", "c.y4m", y4m(Y4M)[:200], 2),
        ("y4m of an unknown kind", "c.y4m", y4m(b"YUV4MPEG2 W16 H16 F25:1 C999"), 2),
        ("y4m with a head without end", "c.y4m", b"YUV4MPEG2 " + b"X" * 1000000, 2),
        ("png cut", "c.png", picture()[:60], 2),
        ("png of another text", "c.png", picture(extra=chunk(b"tEXt", b"weft\0{}")), (0, 2)),
        ("empty", "c.mp4", b"", 2),
        ("text", "c.mp4", b"a text\n" * 100, 2),
        ("a playlist", "c.m3u8", b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n#EXT-X-ENDLIST\n", 2),
        ("a list to concatenate", "c.txt", b"ffconcat version 1.0\nfile /etc/passwd\n", 2),
        ("safetensors of another kind", "c.safetensors", (FIXTURES / "basic/expect/latents.safetensors").read_bytes(), 2),
        ("a pipe", "c.mp4", become_fifo, 2),
        ("a folder", "c.mp4", become_folder, 2),
        ("a circle of links", "c.y4m", become_circle, 2),
        ("a device", "c.y4m", become_endless, 2),
    ]
    if video:
        for kind in "mp4", "mkv":
            subprocess.run([WEFT, "generate", FIXTURES / "basic/model", "-p", "fox", *SMALL, "-f", "9", "-o",
                            desk.folder / f"whole.{kind}"], check=True)
        mp4, mkv = (desk.folder / "whole.mp4").read_bytes(), (desk.folder / "whole.mkv").read_bytes()
        rows += [(f"mp4 cut to {part} of 10", "c.mp4", mp4[: len(mp4) * part // 10], 2) for part in (1, 3, 6, 9)]
        rows += [(f"mkv cut to {part} of 10", "c.mkv", mkv[: len(mkv) * part // 10], 2) for part in (1, 3, 6, 9)]
        rows += [("mkv of no frames", "c.mkv", mkv[: mkv.index(b"\x1f\x43\xb6\x75")], 2),
                 ("mp4 of sizes of 2^32-1", "c.mp4", mp4.replace(b"stsz\0\0\0\0\0\0\0\0", b"stsz\0\0\0\0\xff\xff\xff\xff"), 2)]
    for name, file, content, codes in rows:
        path = desk.file(file, content)
        desk.fresh()
        desk.run(f"clip: {name}", codes, ["compare", desk.folder / "good.y4m", path])
        desk.run(f"reference: {name}", codes, ["compare", path, desk.folder / "good.y4m"])
        desk.run(f"info of a clip: {name}", (0, 2), ["info", path])


def recipes(desk):
    rows = [
        ("no JSON", b"{"),
        ("a list", b"[]"),
        ("nested deep", DEEP.encode()),
        ("no UTF-8", b'{"prompt": "\xff"}'),
        ("another's", b'{"steps": 5}'),
        ("other types", b'{"weft": 1, "model": 7, "prompt": [], "steps": "x", "seed": {}, "fps": 3, "width": 1e99}'),
        ("no model", b'{"weft": "0.1.0", "model": null, "prompt": "fox"}'),
        ("a hash of a megabyte", b'{"weft": "0.1.0", "model": {"hash": "' + b"a" * 1000000 + b'"}}'),
        ("sizes of 2^62", b'{"weft": "0.1.0", "width": 4611686018427387904, "fps": "1/0", "tile_size": "x"}'),
    ]
    for name, text in rows:
        path = desk.file("c.png", told(text))
        desk.fresh()
        desk.run(f"recipe: {name}", 2, ["generate", FIXTURES / "basic/model", "--like", path, *SMALL, "-o", "x.y4m"])
        desk.run(f"info of a recipe: {name}", (0, 2), ["info", path])


def lose_to(*names):
    """The file goes; files of these names come, or with a slash folders."""

    def damage(path):
        path.unlink()
        for name in names:
            if name.endswith("/"):
                (path.parent / name).mkdir()
            else:
                (path.parent / name).write_text("rubbish")

    return damage


def resumes(desk):
    line = ["generate", FIXTURES / "basic/model", "-p", "fox", *SMALL, "--steps", "3", "--resume", "steps", "-o", "x.y4m"]
    rows = [
        ("request.json empty", "request.json", cut(0), 2),
        ("request.json nested deep", "request.json", be(DEEP), 2),
        ("request.json of other types", "request.json", be('{"seed": 7, "steps": []}'), 2),
        ("request.json a pipe", "request.json", become_fifo, 2),
        ("request.json a folder", "request.json", become_folder, 2),
        ("request.json a circle", "request.json", become_circle, 2),
        ("state empty", "state-00003", cut(0), 0),
        ("state cut", "state-00003", cut(300), 0),
        ("state longer", "state-00003", edit(lambda d: d + d), 0),
        ("state of 2^60 tensors", "state-00003", edit(lambda d: d[:24] + struct.pack("<QQ", 1 << 60, 1 << 60) + d[40:]), 0),
        ("state of rubbish", "state-00003", edit(lambda d: d[:100] + b"\xff" * (len(d) - 100)), 0),
        ("state a pipe", "state-00003", become_fifo, (0, 1, 2)),
        ("state a folder", "state-00003", become_folder, (0, 1, 2)),
        ("state a terabyte", "state-00003", become_huge, (0, 1, 2)),
        ("frames empty", "frames-00000", cut(0), 0),
        ("frames cut", "frames-00000", cut(300), 0),
        ("frames of rubbish", "frames-00000", edit(lambda d: d[:100] + b"\xff" * (len(d) - 100)), 0),
        ("frames a folder", "frames-00000", become_folder, (0, 1, 2)),
        ("frames a terabyte", "frames-00000", become_huge, (0, 1, 2)),
        ("decoder files that none of ours is", "frames-00000", lose_to("decoder-1", "decoder-00009/"), 0),
        ("decoder files of rubbish", "frames-00000", lose_to("decoder-00001"), 0),
    ]
    for name, file, damage, codes in rows:
        out = desk.fresh()
        subprocess.run([WEFT, *line, "--format", "null"], cwd=out, check=True)
        damage(out / "steps" / file)
        desk.run(f"resume: {name}", codes, line, keeps=("steps",))


def jobs(desk):
    good = b'{"prompt": "fox", "output": "x.y4m"}\n'
    rows = [
        ("NUL in a line", b'{"prompt": "fo\0x", "output": "x.y4m"}\n', 1, 2),
        ("NUL behind a request", good[:-1] + b"\0garbage\n", 1, 2),
        ("a line of 100 MB", b'{"prompt": "' + b"x" * 100_000_000 + b'"}\n', 1, 1),
        ("nested deep", DEEP.encode() + b"\n", 1, 2),
        ("a list", b"[1, 2]\n", 1, 2),
        ("an option that is none", b'{"prompt": "fox", "no_such": 1}\n', 1, 2),
        ("a key of a thousand letters", b'{"' + b"k" * 1000 + b'": 1}\n', 1, 2),
        ("true as a value", b'{"prompt": true, "output": true}\n', 1, 2),
        ("an object as a value", b'{"prompt": {"a": 1}}\n', 1, 2),
        ("a key twice", b'{"prompt": "a", "prompt": "b", "output": "x.y4m"}\n', 1, 2),
        ("no UTF-8", b'{"prompt": "\xff", "output": "x.y4m"}\n', 1, 2),
        ("no end of line", good[:-1], 0, 1),
        ("empty lines", b"\n \r\n" + good, 0, 1),
        ("a device without end", become_endless, 1, 1),
        ("a folder", become_folder, (1, 2), 1),
        ("a circle of links", become_circle, 2, 1),
    ]
    for name, content, codes, lines in rows:
        path = desk.file("jobs.jsonl", content)
        desk.fresh()
        desk.run(f"jobs: {name}", codes, ["generate", FIXTURES / "basic/model", *SMALL, "--jobs", path], lines=lines)


def command_lines(desk):
    model = FIXTURES / "basic/model"
    good = ["generate", model, "-p", "fox", *SMALL, "-o", "x.y4m"]
    for words in (["-W", "99999999999999999999"], ["-W", "-16"], ["-W", "0x10"], ["-W", ""], ["-W", "1e9"], ["-W", "2147483647"],
                  ["-f", "2147483647"], ["--steps", "2147483648"], ["--guidance-scale", "nan"], ["--guidance-scale", "inf"],
                  ["--fps", "0"], ["--fps", "1/0"], ["--fps", "1e400"], ["-s", "-1"], ["-s", "18446744073709551616"],
                  ["--threads", "-1"], ["--threads", "2000000000"], ["--dtype", "=f32"], ["--dtype", "x" * 100000],
                  ["--device", "cuda:-1"], ["--device-map", "=,=,="], ["--memory-limit", "9999999999TiB"],
                  ["--memory-limit", "-1"], ["--tile-size", "x"], ["--tile-size", "99999999999x1"], ["--crf", "nan"],
                  ["--format", "../x"], ["-o", "%s%n.png"], ["-o", "a" * 5000 + ".y4m"], ["-o", ""], ["-o", "/"],
                  ["-p", "@/dev/zero"], ["-p", "@none"], ["-p", "@/"], ["--latents", "/dev/zero"], ["-i", "none"],
                  ["--resume", "/dev/null"], ["--dump", "/dev/null"], ["--report", "/"], ["--num-videos", "0"],
                  ["--num-videos", "99999999999"], ["--like", "/dev/zero"], ["--jobs", ""], ["--variant", "../x"], ["--no-such"]):
        desk.fresh()
        desk.run(f"command line: {' '.join(words)[:60]}", 2, [*good, *words])
    for word in "a" * 100000, "", "/dev/null", "/dev/zero", "/proc/self/mem":
        desk.run(f"model: {word[:40]}", 2, ["generate", word, "-p", "fox", "-o", "x.y4m"])
        desk.run(f"info: {word[:40]}", 2, ["info", word])


def limit(kind, value):
    return {"preexec_fn": lambda: resource.setrlimit(kind, (value, value))}


def close(fd):
    return {"preexec_fn": lambda: os.close(fd)}


def environments(desk):
    good = ["generate", FIXTURES / "basic/model", "-p", "fox", *SMALL, "-o", "x.y4m"]
    report = ["compare", desk.folder / "good.y4m", desk.folder / "good.y4m"]
    here = dict(os.environ)
    rows = [
        ("TMPDIR not there", 0, good, {"env": {**here, "TMPDIR": "/no/such"}}),
        ("no HOME, no PATH", 0, good, {"env": {k: v for k, v in here.items() if k not in ("HOME", "PATH")}}),
        ("LANG that is none", 0, good, {"env": {**here, "LANG": "xx_YY.none", "LC_ALL": "tr_TR.ISO-8859-9"}}),
        ("COLUMNS that is no number", 0, good, {"env": {**here, "COLUMNS": "-1", "TERM": "\x1b[31m"}}),
        ("OMP_NUM_THREADS that is none", 0, good, {"env": {**here, "OMP_NUM_THREADS": "0"}}),
        ("OMP_THREAD_LIMIT of one", (0, 2), good, {"env": {**here, "OMP_THREAD_LIMIT": "1"}}),
        ("files of 4 KB at most", 1, ["generate", FIXTURES / "basic/model", "-p", "fox", *SMALL, "-W", "64", "-H", "64", "-o", "x.y4m"],
         limit(resource.RLIMIT_FSIZE, 4096)),
        ("standard input closed", 0, good, close(0)),
        ("standard output closed", 1, report, {"stdout": None, **close(1)}),
        ("standard output full", 1, report, {"stdout": open("/dev/full", "wb")}),
        ("info, standard output full", 1, ["info", FIXTURES / "basic/model"], {"stdout": open("/dev/full", "wb")}),
        ("help, standard output full", 1, ["--help"], {"stdout": open("/dev/full", "wb")}),
        ("version, standard output full", 1, ["--version"], {"stdout": open("/dev/full", "wb")}),
        ("help of a verb, standard output full", 1, ["generate", "--help"], {"stdout": open("/dev/full", "wb")}),
        ("a clip to a full output", 1, [*good[:-1], "-", "--format", "y4m"], {"stdout": open("/dev/full", "wb")}),
    ]
    for count in range(8 if SANITIZED else 4, 24, 2):  # UBSan itself opens files
        rows.append((f"{count} open files", (0, 1, 2), good, limit(resource.RLIMIT_NOFILE, count)))
    large = [*good, "--device", "ref", "-W", "512", "-H", "512", "-f", "81"]
    for megabytes in () if SANITIZED else (300,):  # below, the libraries themselves do not come up
        rows.append((f"{megabytes} MB of memory", 1, large, limit(resource.RLIMIT_AS, megabytes << 20)))
    for name, codes, arguments, how in rows:
        desk.fresh()
        desk.run(f"environment: {name}", codes, arguments, **how)


def main():
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    with tempfile.TemporaryDirectory() as folder:
        desk = Desk(Path(folder))
        for part in (model_files, optional_files, images, latents, clips, recipes, resumes, jobs, command_lines, environments):
            if len(sys.argv) < 2 or part.__name__ in sys.argv[1:]:
                part(desk)
    print(f"{desk.good} good, {desk.bad} bad")
    sys.exit(desk.bad != 0)


main()
