"""test_python.py PROGRAM MODEL IMAGE_MODEL IMAGE: samples/weft.py beside the program and weft.h."""
import gc
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

root = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(root / "samples"))
import weft  # noqa: E402

program, model, image_model, image = sys.argv[1:]
size = {"width": 48, "height": 32, "num_frames": 9, "steps": 2, "seed": 3}
words = "-W 48 -H 32 -f 9 --steps 2 --seed 3".split()


def check_layouts(folder):
    """Every struct and enum of weft.py has the sizes, places and values that weft.h gives it."""
    structs = {"settings": weft.Settings, "progress": weft.Progress, "request": weft.Request,
               "job_info": weft.JobInfo, "frame": weft.Frame}  # fmt: skip
    lines, wanted = [], []
    for name, struct in structs.items():
        lines.append(f'sizeof(struct weft_{name})')
        wanted.append(weft.c.sizeof(struct))
        for field, kind in struct._fields_:
            lines.append(f"offsetof(struct weft_{name}, {field})")
            lines.append(f"sizeof(((struct weft_{name} *)0)->{field})")
            wanted += [getattr(struct, field).offset, weft.c.sizeof(kind)]
    enums = {f"WEFT_{kind}_{word}".upper(): value for kind, choice in weft.CHOICES.items()
             for value, word in enumerate(choice)}  # fmt: skip
    enums |= {f"WEFT_STAGE_{word}".upper(): value for value, word in enumerate(weft.STAGES)}
    enums |= {f"WEFT_{word}": getattr(weft, word) for word in ("OK", "FAILED", "REFUSED", "CANCELLED")}
    lines += enums.keys()
    wanted += enums.values()
    source = folder / "layout.c"
    source.write_text('#include <stddef.h>\n#include <stdio.h>\n#include "engine/weft.h"\nint main(void)\n{\n'
                      + "".join(f'printf("%zu\\n", (size_t)({line}));\n' for line in lines) + "}\n")  # fmt: skip
    subprocess.run(["cc", "-I", root, source, "-o", folder / "layout"], check=True)
    found = subprocess.run([folder / "layout"], check=True, capture_output=True, text=True).stdout.split()
    for line, mine, header in zip(lines, wanted, found, strict=True):
        assert mine == int(header), f"{line}: {mine} in weft.py, {header} in weft.h"


def read_frames(path):
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        return np.frombuffer(file.read(), "<f4").reshape(header["frames"]["shape"])


def of_program(folder, verb, *arguments):
    path = folder / "frames.safetensors"
    subprocess.run([program, verb, *arguments, "-q", "-y", "-o", path], check=True)
    return read_frames(path)


def refused(words, kind, call):
    try:
        call()
    except kind as error:
        assert words in str(error), error
    else:
        raise AssertionError(f"{words}: nothing was refused")


def check_frames(folder):
    calls = []
    dump = folder / "dump"
    with weft.Pipeline(model) as pipe:
        frames = pipe("a red fox", callback=lambda *step: calls.append(step), dump=dump, **size)
        assert frames.shape == (9, 32, 48, 3) and frames.dtype == np.float32
        assert np.array_equal(frames, of_program(folder, "generate", model, "-p", "a red fox", *words))
        assert ("denoise", 2, 2) in calls and ("decode", 9, 9) in calls, calls
        again = list(pipe.frames("a red fox", num_inference_steps=2, **(size | {"steps": None})))
        assert np.array_equal(frames, again)
        latents = dump / "latents.safetensors"
        decoded = pipe.decode(latents, tiling="none")
        assert np.array_equal(decoded, of_program(folder, "decode", model, latents))
        # Two clips in turns; the second is left before its end.
        one, two = pipe.frames("a red fox", **size), pipe.frames("ein Füchslein", fps=23.976, **size)
        assert two.fps == 24000 / 1001 and (two.num_frames, two.width, two.seed) == (9, 48, 3)
        next(two)
        assert np.array_equal(next(one), frames[0])
        del two
        gc.collect()
        assert np.array_equal(next(one), frames[1])
    refused("the clip is closed", weft.Error, lambda: next(one))
    refused("the pipeline is closed", weft.Error, lambda: pipe("a red fox"))
    pipe.close()
    with weft.Pipeline(image_model, dtype="f32", threads=1) as pipe:
        frames = pipe(image=pathlib.Path(image), width=48, height=40, num_frames=2, steps=1, fit="pad", seed=5)
    wanted = of_program(folder, "generate", image_model, "-i", image, "--dtype", "f32", "--threads", "1",
                        *"-W 48 -H 40 -f 2 --steps 1 --fit pad -s 5".split())  # fmt: skip
    assert np.array_equal(frames, wanted)


def check_errors():
    refused("missing", weft.Refused, lambda: weft.Pipeline("missing"))
    refused("offload: all is not possible", weft.Refused, lambda: weft.Pipeline(model, offload="all"))
    refused("colour is no option", TypeError, lambda: weft.Pipeline(model, colour="red"))
    pipe = weft.Pipeline(model)
    refused("nearest", weft.Refused, lambda: pipe("a red fox", **(size | {"width": 50})))
    refused("nearest", ValueError, lambda: pipe("a red fox", **(size | {"width": 50})))
    refused("does not fit", weft.Refused, lambda: pipe("a red fox", **(size | {"width": 1 << 40})))
    refused("does not fit", weft.Refused, lambda: pipe("a red fox", **(size | {"seed": -1})))
    refused("fps: 0", weft.Refused, lambda: pipe("a red fox", fps=0, **size))
    refused("fit: wide", weft.Refused, lambda: pipe("a red fox", fit="wide", **size))
    refused("prompt: 7 is no text", TypeError, lambda: pipe(7, **size))
    refused("progress is no option", TypeError, lambda: pipe("a red fox", progress=print, **size))
    refused("missing.safetensors", weft.Refused, lambda: pipe.decode("missing.safetensors"))

    def stop(stage, done, total):
        if stage == "denoise" and done == 1:
            raise KeyboardInterrupt("enough")

    clip = pipe.frames("a red fox", callback=stop, **size)
    refused("enough", KeyboardInterrupt, lambda: next(clip))
    assert list(clip) == []
    assert pipe("a red fox", **size).shape == (9, 32, 48, 3)


with tempfile.TemporaryDirectory() as name:
    check_layouts(pathlib.Path(name))
    check_frames(pathlib.Path(name))
check_errors()
print("layouts, frames and errors are the library's")
