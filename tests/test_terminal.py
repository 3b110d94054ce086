"""test_terminal.py WEFT MODEL: the progress on a pseudo terminal fits its width and needs no escapes;
where TERM says dumb, plain lines."""
import fcntl
import os
import pty
import struct
import subprocess
import sys
import tempfile
import termios


def shown(columns, term, *words):
    words = words or ["generate", sys.argv[2], "-p", "a fox", "-W", "32", "-H", "32", "-f", "5", "--steps", "3", "-s", "1", "--format",
                      "null"]
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    run = subprocess.Popen([sys.argv[1], *words], stdout=subprocess.DEVNULL, stderr=theirs, env={**os.environ, "TERM": term})
    os.close(theirs)
    text = b""
    try:
        while piece := os.read(ours, 4096):
            text += piece
    except OSError:
        pass  # the other end is closed
    assert run.wait() == 0, text
    assert b"\x1b" not in text, text
    return text


def bars(text):
    """How much of each bar is filled, and of how much."""
    found = [piece.split(b"[")[1].split(b"]")[0] for piece in text.split(b"\r") if b"[" in piece]
    return [(len(bar.rstrip(b".")), len(bar)) for bar in found]


for columns in 10, 30, 63, 80, 300:
    text = shown(columns, "xterm")
    assert max(map(len, text.split(b"\r"))) < columns, (columns, text)
    assert (b"[" in text) == (columns >= 30), (columns, text)
    assert b"\n" not in text, (columns, text)
    shares = [filled / width for filled, width in bars(text)]
    assert all(b >= a - 1 / 6 for a, b in zip(shares, shares[1:])), (columns, text)
    assert columns < 30 or shares[0] == 0 and shares[-1] == 1, (columns, text)
    assert text.endswith(b" \r"), (columns, text)  # the line is empty again
lines = shown(120, "xterm").split(b"\r")
assert any(b"denoise 3/3 [" in line and b"s/step" in line and b"peak " in line for line in lines), lines
assert any(b"decode  5/5 [" in line and b"s/frame" in line for line in lines), lines
filled = [n for n, width in bars(b"\r".join(lines))]
assert filled == sorted(filled), lines  # one bar over all stages
for term in "dumb", "":
    text = shown(80, term)
    assert b"weft: denoise 3/3" in text and b"[" not in text, text

with tempfile.TemporaryDirectory() as folder:
    clip = folder + "/clip.y4m"
    shown(80, "xterm", "generate", sys.argv[2], "-p", "a fox", "-W", "32", "-H", "32", "-f", "5", "--steps", "1", "-s", "1", "-o", clip)
    text = shown(80, "xterm", "compare", clip, clip)
    assert b"compare 5/5 [" in text and text.endswith(b" \r"), text
    assert shown(80, "dumb", "compare", clip, clip) == b""
    assert shown(80, "xterm", "compare", clip, clip, "-q") == b""
