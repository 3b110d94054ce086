#!/usr/bin/env python3
"""Pictures of every kind, what Pillow reads of them, and what Pillow and diffusers make of their sizes. make_image.py --out DIR"""
import argparse
import io
import os
import struct
import zlib

os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1")
import numpy as np  # noqa: E402
import torch  # noqa: E402
from diffusers.image_processor import VaeImageProcessor  # noqa: E402
from diffusers.pipelines.stable_video_diffusion import pipeline_stable_video_diffusion as svd  # noqa: E402
from PIL import Image, ImageOps  # noqa: E402

from models import write_json  # noqa: E402

WIDTH, HEIGHT = 19, 13
SMALL = 7, 5


def pattern(width, height, channels=3):
    """Edges, noise, black and white; test_image.c makes the same."""
    y, x, c = np.meshgrid(np.arange(height), np.arange(width), np.arange(channels), indexing="ij")
    noise = (x * 374761393 + y * 668265263 + c * 974634777 + 1) & 0xFFFFFFFF
    noise = ((noise ^ noise >> 13) * 1274126177) & 0xFFFFFFFF
    noise ^= noise >> 16
    value = (((x * (3 + c) + y * (5 + c)) & 255) * 3 >> 2) + (noise & 63)
    value[noise >> 8 & 15 == 0] = 0
    value[noise >> 12 & 15 == 1] = 255
    return value.astype(np.uint8)


# --- PNG ------------------------------------------------------------------------------------------------------------------------------

def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def pack_rows(samples, depth):
    rows = b""
    for row in samples.reshape(samples.shape[0], -1):
        if depth == 16:
            rows += b"\0" + row.astype(">u2").tobytes()
        else:
            bits = (row[:, None] >> np.arange(depth - 1, -1, -1)) & 1
            rows += b"\0" + np.packbits(bits.astype(np.uint8).ravel()).tobytes()
    return rows


ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]


def png(colour, depth, size=(WIDTH, HEIGHT), interlace=False, before=(), after=(), idats=1, samples=None, palette=None):
    """colour: PNG's number of it; before, after: chunks before and after the picture's data."""
    width, height = size
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    if samples is None:
        samples = pattern(width, height, channels).astype(np.int64)
        samples = samples * 257 ^ 0x5A if depth == 16 else samples >> (8 - depth)
    if colour == 3:
        palette = pattern(1 << depth, 1).tobytes() if palette is None else palette
        before = (chunk(b"PLTE", palette), *before)
    if interlace:
        passes = [samples[y::dy, x::dx] for x, y, dx, dy in ADAM7]
        rows = b"".join(pack_rows(p, depth) for p in passes if p.size)
    else:
        rows = pack_rows(samples, depth)
    data = zlib.compress(rows, 9)
    cuts = [len(data) * i // idats for i in range(idats + 1)]
    return b"\x89PNG\r\n\x1a\n" + b"".join([
        chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace)), *before,
        *(chunk(b"IDAT", data[a:b]) for a, b in zip(cuts, cuts[1:])), *after, chunk(b"IEND", b"")])


def pngs():
    for colour, name in ((0, "grey"), (2, "rgb"), (3, "palette"), (4, "grey_alpha"), (6, "rgb_alpha")):
        for depth in {0: (1, 2, 4, 8, 16), 3: (1, 2, 4, 8)}.get(colour, (8, 16)):
            yield f"{name}_{depth}.png", png(colour, depth)
    for colour, depth in ((0, 1), (0, 16), (2, 8), (3, 4), (6, 16)):
        yield f"interlaced_{colour}_{depth}.png", png(colour, depth, interlace=True)
    for size in ((1, 1), (3, 2), (1, 9)):
        yield f"interlaced_{size[0]}x{size[1]}.png", png(2, 8, size, interlace=True)
    yield "key_grey_1.png", png(0, 1, before=[chunk(b"tRNS", b"\0\1")])
    yield "key_grey_8.png", png(0, 8, before=[chunk(b"tRNS", b"\0\x40")])
    yield "key_rgb_8.png", png(2, 8, before=[chunk(b"tRNS", b"\0\1\0\2\0\3")])
    yield "key_rgb_16.png", png(2, 16, before=[chunk(b"tRNS", b"\0\1\0\2\0\3")])
    yield "key_palette_4.png", png(3, 4, before=[chunk(b"tRNS", bytes(range(0, 160, 16)))])
    yield "key_palette_8.png", png(3, 8, before=[chunk(b"tRNS", b"\xff\0")], interlace=True)
    yield "palette_short.png", png(3, 8, palette=pattern(100, 1).tobytes())  # indices beyond its end are black
    profile = chunk(b"iCCP", b"odd\0\0" + zlib.compress(b"no profile"))
    yield "ignored.png", png(2, 8, before=[
        chunk(b"gAMA", struct.pack(">I", 100000)), profile, chunk(b"sBIT", b"\5\6\5"), chunk(b"bKGD", b"\0\1\0\2\0\3"),
        chunk(b"caBX", b"?" * 99), chunk(b"tEXt", b"Title\0word")])
    yield "ignored_srgb.png", png(0, 8, before=[chunk(b"gAMA", struct.pack(">I", 45455)), chunk(b"sRGB", b"\0")])
    yield "parts.png", png(2, 8, idats=7) + b"what follows is not read"
    buffer = io.BytesIO()
    Image.fromarray(pattern(WIDTH, HEIGHT)).save(buffer, "png")  # rows filtered
    yield "filtered.png", buffer.getvalue()


# --- JPEG -----------------------------------------------------------------------------------------------------------------------------

def jpeg(size=(27, 19), channels=3, mode=None, **options):
    pixels = np.ascontiguousarray(pattern(*size, channels))
    picture = Image.fromarray(pixels[:, :, 0] if channels == 1 else pixels, mode) if mode is None else \
        Image.frombytes(mode, size, pixels.tobytes())
    buffer = io.BytesIO()
    picture.save(buffer, "jpeg", **{"quality": 90, **options})
    return buffer.getvalue()


def patch(data, marker, at, new):
    i = data.index(marker) + len(marker) + at
    return data[:i] + new + data[i + len(new):]


def with_segments(data, *apps):
    """Application markers, (number, bytes), right after the beginning."""
    return data[:2] + b"".join(b"\xff" + bytes([0xE0 + n]) + struct.pack(">H", len(d) + 2) + d for n, d in apps) + data[2:]


def with_scans(scans):
    """A progressive picture of its first scan alone, which is whole, again and again."""
    data = jpeg((8, 8), 1, progressive=True)
    start = data.index(b"\xff\xda")
    end = data.index(b"\xff", start + 2)
    scan = data[start:end]
    scan = scan[:9] + b"\0" + scan[10:]  # not the upper bits of its values, but all
    return data[:start] + scan * scans + b"\xff\xd9"


def jpegs():
    for name, subsampling in (("444", 0), ("422", 1), ("420", 2)):
        yield f"ycc_{name}.jpg", jpeg(subsampling=subsampling)
        yield f"progressive_{name}.jpg", jpeg(subsampling=subsampling, progressive=True)
    yield "ycc_440.jpg", patch(jpeg((32, 32), subsampling=1), b"\xff\xc0", 9, b"\x12")  # as many blocks, elsewhere
    yield "coarse.jpg", jpeg(quality=12, optimize=True)
    yield "restart.jpg", jpeg(restart_marker_blocks=2)
    yield "grey.jpg", jpeg(channels=1)
    yield "grey_progressive.jpg", jpeg(channels=1, progressive=True)
    yield "rgb.jpg", jpeg(keep_rgb=True)
    yield "rgb_progressive.jpg", jpeg(keep_rgb=True, progressive=True)
    cmyk = jpeg(channels=4, mode="CMYK")
    yield "cmyk.jpg", cmyk
    yield "cmyk_progressive.jpg", jpeg(channels=4, mode="CMYK", progressive=True)
    yield "ycck.jpg", patch(cmyk, b"Adobe", 6, b"\2")
    yield "adobe_unknown.jpg", patch(jpeg(keep_rgb=True), b"Adobe", 6, b"\7")
    yield "trailing.jpg", jpeg((17, 1)) + b"\xff\xd8what follows is not read"
    yield "one.jpg", jpeg((1, 1))
    yield "column.jpg", jpeg((1, 20), progressive=True)
    yield "scans_3.jpg", with_scans(3)


# --- orientation ----------------------------------------------------------------------------------------------------------------------

def tiff(entries, order="<", magic=42, cut=None):
    """entries: (tag, type, count, 4 bytes or a number of 16 bits)."""
    block = (b"II" if order == "<" else b"MM") + struct.pack(order + "HIH", magic, 8, len(entries))
    for tag, kind, count, value in entries:
        value = value if isinstance(value, bytes) else struct.pack(order + "H", value) + b"\0\0"
        block += struct.pack(order + "HHI", tag, kind, count) + value
    return (block + b"\0\0\0\0")[:cut]


def turned(n, order="<"):
    return tiff([(271, 2, 3, b"me\0\0"), (274, 3, 1, n)], order)


def long(n):
    return struct.pack("<I", n)


ODD_EXIF = {
    "long": tiff([(274, 4, 1, long(6))]),
    "signed": tiff([(274, 9, 1, long(8)), (274, 3, 1, 3)]),
    "byte": tiff([(274, 1, 1, b"\6\0\0\0")]),
    "text": tiff([(274, 2, 2, b"6\0\0\0")]),
    "signed_byte": tiff([(274, 6, 1, b"\6\0\0\0")]),
    "negative": tiff([(274, 8, 1, b"\xfa\xff\0\0")]),
    "nine": tiff([(274, 3, 1, 9)]),
    "zero": tiff([(274, 3, 1, 0)]),
    "none": tiff([(274, 3, 0, 6), (274, 3, 1, 5)]),
    "two": tiff([(274, 3, 2, struct.pack("<HH", 6, 3))]),
    "outside": tiff([(274, 3, 3, long(26))]) + struct.pack("<HHH", 7, 7, 7),
    "far": tiff([(274, 3, 3, long(4000)), (274, 3, 1, 6)]),
    "after_far": tiff([(270, 2, 9, long(4000)), (274, 3, 1, 6)]),
    "after_large": tiff([(270, 2, 4000, long(8)), (274, 3, 1, 6)]),
    "no_such_type": tiff([(274, 99, 1, 6), (274, 3, 1, 8)]),
    "cut": tiff([(271, 2, 3, b"me\0\0"), (274, 3, 1, 6)], cut=30),
    "cut_later": tiff([(274, 3, 1, 6), (271, 2, 3, b"me\0\0")], cut=30),
    "magic": tiff([(274, 3, 1, 6)], magic=43),
    "magic_turned": tiff([(274, 3, 1, 6)], magic=42 << 8),
    "rubbish": b"rubbish, and quite some of it",
    "short": b"II*\0",
    "empty": b"",
    "twice": b"Exif\0\0" + turned(6),
}

XMP = ('<x:xmpmeta><rdf:Description tiff:OrientationX="5" {}</x:xmpmeta>').format


def orientations():
    small = {"size": SMALL}
    for n in range(1, 9):
        yield f"turned_{n}_le.jpg", with_segments(jpeg(SMALL), (1, b"Exif\0\0" + turned(n)))
        yield f"turned_{n}_be.jpg", with_segments(jpeg(SMALL), (1, b"Exif\0\0" + turned(n, ">")))
        yield f"turned_{n}.png", png(2, 8, **small, before=[chunk(b"eXIf", turned(n, "<>"[n % 2]))])
    for name, block in ODD_EXIF.items():
        yield f"exif_{name}.jpg", with_segments(jpeg(SMALL), (1, b"Exif\0\0" + block))
        if name not in ("magic", "rubbish", "short"):  # Pillow fails on those
            yield f"exif_{name}.png", png(2, 8, **small, before=[chunk(b"eXIf", block)])
    block = turned(6)
    yield "exif_split.jpg", with_segments(jpeg(SMALL), (1, b"Exif\0\0" + block[:20]), (1, b"Exif\0\0" + block[20:]))
    yield "exif_late.png", png(2, 8, **small, after=[chunk(b"eXIf", turned(5))])
    yield "exif_and_text.png", png(2, 8, **small, before=[chunk(b"eXIf", turned(5))], after=[chunk(b"zTXt", b"a\0\0" + zlib.compress(b"b"))])
    digits = (b"Exif\0\0" + turned(8)).hex()
    profile = "\nexif\n{:8}\n{}\n{}\n".format(len(digits) // 2, digits[:60], digits[60:]).encode()
    yield "profile.png", png(2, 8, **small, before=[chunk(b"tEXt", b"Raw profile type exif\0" + profile)])
    yield "profile_packed.png", png(2, 8, **small, after=[chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(profile))])
    attribute, element = XMP('tiff:Orientation="6">').encode(), XMP("><tiff:Orientation>7</tiff:Orientation>").encode()
    name = b"XML:com.adobe.xmp\0"
    yield "xmp.png", png(2, 8, **small, before=[chunk(b"iTXt", name + b"\0\0\0\0" + attribute)])
    yield "xmp_packed.png", png(2, 8, **small, before=[chunk(b"iTXt", name + b"\1\0en\0\0" + zlib.compress(element))])
    yield "xmp_and_exif.png", png(2, 8, **small, before=[chunk(b"iTXt", name + b"\0\0\0\0" + attribute), chunk(b"eXIf", turned(3))])
    space = b"http://ns.adobe.com/xap/1.0/\0"
    yield "xmp.jpg", with_segments(jpeg(SMALL), (1, space + element))
    yield "xmp_nine.jpg", with_segments(jpeg(SMALL), (1, space + XMP('tiff:Orientation="9"').encode()))
    yield "xmp_without_exif.jpg", with_segments(jpeg(SMALL), (1, b"Exif\0\0" + tiff([(271, 2, 3, b"me\0\0")])), (1, space + attribute))
    yield "xmp_and_exif.jpg", with_segments(jpeg(SMALL), (1, space + attribute), (1, b"Exif\0\0" + turned(4)))


def read(data):
    """As diffusers' load_image, but for EXIF that Pillow fails on (then as without it) and 16-bit grey (then its high byte)."""
    picture = Image.open(io.BytesIO(data))
    if picture.mode == "I;16":
        return np.repeat((np.asarray(picture) >> 8).astype(np.uint8)[:, :, None], 3, 2)
    try:
        picture = ImageOps.exif_transpose(picture)
    except (SyntaxError, struct.error):
        picture = Image.open(io.BytesIO(data))
    return np.asarray(picture.convert("RGB"))


# --- what is refused ------------------------------------------------------------------------------------------------------------------

def refused():
    yield "wide.png", png(0, 1, (32769, 1))
    small, header = png(0, 1, SMALL), chunk(b"IHDR", struct.pack(">IIBBBBB", 20000, 20000, 1, 0, 0, 0, 0))
    yield "many.png", small[:8] + header + small[8 + len(header):]
    yield "wide.jpg", patch(jpeg(SMALL), b"\xff\xc0", 5, struct.pack(">H", 32769))
    yield "many.jpg", patch(jpeg(SMALL), b"\xff\xc0", 3, struct.pack(">HH", 20000, 20000))
    yield "flat.jpg", patch(jpeg(SMALL), b"\xff\xc0", 3, b"\0\0")
    yield "deep.jpg", patch(jpeg(SMALL), b"\xff\xc0", 2, b"\x0c")
    yield "scans.jpg", with_scans(501)
    yield "extra.jpg", jpeg(SMALL)[:-2] + b"?" * 50 + b"\xff\xd9"
    buffer = io.BytesIO()
    Image.fromarray(pattern(*SMALL)).save(buffer, "gif")
    yield "picture.gif", buffer.getvalue()


# --- sizes ----------------------------------------------------------------------------------------------------------------------------

RESIZE = {
    "stretch": [(61, 47, 32, 32), (61, 47, 70, 50), (200, 150, 24, 17), (7, 5, 30, 30), (1, 1, 5, 3), (5, 9, 1, 1), (24, 18, 24, 18),
                (64, 48, 64, 10), (64, 48, 15, 48), (640, 3, 8, 9), (3, 500, 10, 4), (25, 23, 24, 22), (1000, 700, 31, 22)],
    "crop": [(61, 47, 24, 24), (47, 61, 24, 24), (31, 23, 44, 15), (31, 23, 15, 41), (64, 48, 32, 24), (65, 48, 33, 25), (100, 7, 13, 40),
             (7, 100, 40, 13), (5, 4, 5, 5), (500, 3, 3, 20), (640, 480, 24, 17)],
    "pad": [(61, 47, 24, 24), (47, 61, 24, 24), (31, 23, 44, 15), (31, 23, 15, 41), (64, 48, 32, 24), (65, 48, 33, 25), (100, 7, 13, 40),
            (7, 100, 40, 13), (5, 4, 5, 5), (500, 3, 3, 20), (1, 30, 9, 9)],
}


def resize(fit, from_width, from_height, width, height):
    picture = Image.fromarray(pattern(from_width, from_height))
    processor = VaeImageProcessor(resample="lanczos")
    if fit != "pad":
        return np.asarray(processor.resize(picture, height, width, "default" if fit == "stretch" else "crop"))
    by_width = width / height < from_width / from_height
    scaled = (width, max(1, from_height * width // from_width)) if by_width else (max(1, from_width * height // from_height), height)
    out = Image.new("RGB", (width, height))
    out.paste(picture.resize(scaled, Image.LANCZOS), (width // 2 - scaled[0] // 2, height // 2 - scaled[1] // 2))
    return np.asarray(out)


# Of the result, rows and columns 0, step, 2 step ... are kept.
ANTIALIAS = [(1, 1, 32, 32, 3), (1, 9, 32, 32, 3), (9, 1, 32, 32, 3), (2, 2, 32, 32, 3), (31, 7, 32, 32, 3), (32, 32, 32, 32, 3),
             (40, 2, 32, 32, 3), (300, 200, 32, 32, 3), (333, 64, 32, 32, 3), (90, 70, 20, 48, 3), (50, 60, 1, 1, 1), (37, 2, 1, 3, 1),
             (640, 480, 224, 224, 17), (100, 500, 224, 224, 17), (225, 223, 224, 224, 17), (1024, 576, 224, 224, 17),
             (3000, 40, 224, 224, 17)]


def antialias(pixels, width, height, dtype=torch.float32):
    """As StableVideoDiffusionPipeline's _encode_image; an axis of one pixel, which torch does not mirror, as two equal ones."""
    for axis in (0, 1):
        if pixels.shape[axis] == 1:
            pixels = np.repeat(pixels, 2, axis)
    image = torch.from_numpy(pixels.astype(np.float32) / 255).permute(2, 0, 1)[None].to(dtype) * 2.0 - 1.0
    return ((svd._resize_with_antialiasing(image, (height, width)) + 1.0) / 2.0)[0].permute(1, 2, 0).numpy()


class Values:
    """One file, expect.bin, that all expectations lie in."""

    def __init__(self):
        self.data = b""

    def add(self, array):
        at = len(self.data)
        self.data += np.ascontiguousarray(array).tobytes()
        return at


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--out", required=True)
    folder = ap.parse_args().out
    os.makedirs(folder, exist_ok=True)
    values, pictures, resizes, antialiased, worst = Values(), [], [], [], 0
    for name, data in (*pngs(), *jpegs(), *orientations(), *refused()):
        with open(os.path.join(folder, name), "wb") as f:
            f.write(data)
    for name, data in (*pngs(), *jpegs(), *orientations()):
        rgb = read(data)
        pictures.append(dict(file=name, width=rgb.shape[1], height=rgb.shape[0], at=values.add(rgb)))
    for fit, cases in RESIZE.items():
        for case in cases:
            resizes.append(dict(fit=fit, sizes=case, at=values.add(resize(fit, *case))))
    for *case, step in ANTIALIAS:
        pixels = pattern(*case[:2])
        full, exact = antialias(pixels, *case[2:]), antialias(pixels, *case[2:], torch.float64)
        worst = max(worst, np.abs(full - exact).max())
        antialiased.append(dict(sizes=case, step=step, at=values.add(full[::step, ::step])))
    with open(os.path.join(folder, "expect.bin"), "wb") as f:
        f.write(values.data)
    write_json(os.path.join(folder, "cases.json"), dict(pictures=pictures, resize=resizes, antialias=antialiased))
    print(f"{len(pictures)} pictures, {len(resizes)} resizes, {len(antialiased)} antialiased; fp32 is within {worst:.1e} of fp64 there")


if __name__ == "__main__":
    main()
