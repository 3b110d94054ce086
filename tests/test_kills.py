"""Kills at random points of a run: SIGINT, SIGTERM and SIGHUP leave nothing at all, SIGKILL nothing under the
output's name; a run that is killed again and again with --resume ends with the bytes of one that was not.
The first line says the seed; as an argument it gives the same points again, on the same machine."""
import hashlib
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time

root = pathlib.Path(os.environ["WEFT_SOURCE_DIR"])
weft = pathlib.Path(os.environ["WEFT_BUILD_DIR"]) / "weft"
model = root / "tests" / "fixtures" / "basic" / "model"
formats = {"y4m": "clip.y4m", "png": "clip-%03d.png", "safetensors": "clip.safetensors"}
if "libavcodec" in subprocess.run(["ldd", weft], capture_output=True, text=True).stdout:
    formats["mp4"] = "clip.mp4"
bad = 0


def check(name, good):
    global bad
    if not good:
        bad += 1
        print("FAIL", name)


def start(folder, name, *more):
    return subprocess.Popen([weft, "generate", model, "-p", "fox", "-W", "128", "-H", "96", "-f", "33", "--steps",
                             "30", "-s", "3", "--dtype", "f32", "--threads", "2", "-q", "-y", "-o", folder / name, *more],
                            stderr=subprocess.DEVNULL, env={**os.environ, "OMP_WAIT_POLICY": "passive"},
                            preexec_fn=lambda: [signal.signal(s, signal.SIG_DFL) for s in signals[:3]])


signals = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL]


def digest(folder):
    """Of the clip's files; other ones are told by their names."""
    return [(p.name, hashlib.sha256(p.read_bytes()).hexdigest()) for p in sorted(folder.glob("clip*"))]


def clear(folder):
    for path in folder.iterdir():
        path.unlink()


def killed(folder, name, number, after, *more):
    """The exit status of a run that gets a signal after so many seconds."""
    process = start(folder, name, *more)
    try:
        return process.wait(timeout=after)
    except subprocess.TimeoutExpired:
        process.send_signal(number)
    began = time.monotonic()
    status = process.wait(timeout=60)
    check(f"{name}: it took {time.monotonic() - began:.1f} s to end", time.monotonic() - began < 10)
    return status


def one_kill(folder, format_, number, whole, seconds):
    after = random.uniform(0, 1.1 * seconds)
    what = f"{format_}, {number.name} after {after:.3f} s"
    status = killed(folder, formats[format_], number, after)
    named = [(n, h) for n, h in digest(folder) if not n.endswith(".part")]
    # Before the program hears a signal it ends by it; the last frames may be out before it comes.
    ended = {0, -number, 128 + number}
    check(f"{what}: exit {status}", status in ended)
    if status == 0:
        check(f"{what}: a whole clip", digest(folder) == whole)
    elif format_ != "png":
        check(f"{what}: nothing under the name", not named)
    else:
        check(f"{what}: whole pictures alone", set(named) <= set(whole))
    if number != signal.SIGKILL and status != 0:
        check(f"{what}: nothing is left", not list(folder.iterdir()))
    clear(folder)


def chain(folder, format_, whole, seconds):
    """Killed three times, then gone on with to the end."""
    with tempfile.TemporaryDirectory() as state:
        for _ in range(3):
            killed(folder, formats[format_], signal.SIGKILL, random.uniform(0.2, 0.8) * seconds, "--resume", state)
        status = start(folder, formats[format_], "--resume", state).wait(timeout=120)
    check(f"{format_}: going on ends with {status}", status == 0)
    check(f"{format_}: the same bytes", digest(folder) == whole)
    clear(folder)


def main():
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else random.randrange(10**6)
    print("seed", seed)
    random.seed(seed)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        for format_ in formats:
            began = time.monotonic()
            check(f"{format_}: an unbroken run", start(folder, formats[format_]).wait(timeout=120) == 0)
            seconds = time.monotonic() - began
            whole = digest(folder)
            clear(folder)
            for i in range(40 // len(formats)):
                one_kill(folder, format_, signals[i % len(signals)], whole, seconds)
            for _ in range(2):
                chain(folder, format_, whole, seconds)
    print(f"{bad} bad")
    return bad != 0


if __name__ == "__main__":
    sys.exit(main())
