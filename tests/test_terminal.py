"""test_terminal.py WEFT MODEL: the progress on a pseudo terminal fits its width and needs no escapes;
where TERM says dumb, plain lines."""
import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios


def shown(columns, term):
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    run = subprocess.Popen([sys.argv[1], "generate", sys.argv[2], "-p", "a fox", "-W", "32", "-H", "32", "-f", "5", "--steps", "3",
                            "-s", "1", "--format", "null"], stderr=theirs, env={**os.environ, "TERM": term})
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


for columns in 10, 30, 63, 80, 300:
    text = shown(columns, "xterm")
    assert max(map(len, text.split(b"\r"))) < columns, (columns, text)
    assert (b"[" in text) == (columns >= 30), (columns, text)
    assert b"\n" not in text, (columns, text)
for term in "dumb", "":
    text = shown(80, term)
    assert b"weft: denoise 3/3" in text and b"[" not in text, text
