#!/bin/sh
# The colours of y4m as ffmpeg and mpv read it, against the samples that weft gives: below the size
# from where players assume BT.709, and above it. (Of 576 lines mpv assumes PAL's primaries besides.)
set -eu
for tool in ffmpeg python3; do
    command -v $tool >/dev/null || { echo "there is no $tool: skipped" && exit 77; }
done
. "$(dirname "$0")/cli.sh"
shapes=$root/samples/shapes

# Each channel of copy.rgb within 3 of clip.rgb in the mean, or (not) far.
near() {
    python3 - <<'END'
a, b = open("clip.rgb", "rb").read(), open("copy.rgb", "rb").read()
assert len(a) == len(b) > 0
means = [sum(abs(x - y) for x, y in zip(a[c::3], b[c::3])) * 3 / len(a) for c in range(3)]
raise SystemExit(max(means) > 3)
END
}

# clip WIDTH HEIGHT: one frame of large areas of colour, as y4m and as it is.
clip() {
    python3 - "$1" "$2" <<'END'
import json, random, struct, sys
w, h = (int(side) // 8 for side in sys.argv[1:])
random.seed(5)
values = [v for _ in range(16) for v in [random.gauss(0, 1)] * (w * h)]
data = struct.pack("<%df" % len(values), *values)
head = json.dumps({"latents": {"dtype": "F32", "shape": [1, 16, 1, h, w], "data_offsets": [0, len(data)]}}).encode()
head += b" " * (-len(head) % 8)
open("latents.safetensors", "wb").write(struct.pack("<Q", len(head)) + head + data)
END
    run decode "$shapes" latents.safetensors --dtype f32 -y -o clip.y4m --progress none
    cp "$work/stderr" "$work/warnings"
    "$weft" decode "$shapes" latents.safetensors --dtype f32 -q --format rawvideo -o - >clip.rgb
}

by_ffmpeg() { ffmpeg -v error "$@" -i - -f rawvideo -pix_fmt rgb24 - <clip.y4m >copy.rgb; }
by_mpv() {
    mpv --no-config --really-quiet clip.y4m --vf=format=rgb24 --of=rawvideo --ovc=rawvideo \
        --ovcopts=pix_fmt=rgb24 -o copy.rgb </dev/null
}

for size in '64 48' '1272 24' '32 568' '1280 24' '32 584'; do
    # shellcheck disable=SC2086 # a list of words
    clip $size
    case $size in
    1280* | *584)
        ok "$size: the warning names the option" grep -q -e '-colorspace bt709' "$work/warnings"
        by_ffmpeg -colorspace bt709
        ok "$size: ffmpeg, told so" near
        by_ffmpeg
        ok "$size: else the colours are others" [ "$(near && echo near)" = '' ]
        ;;
    *)
        ok "$size: no warning" [ ! -s "$work/warnings" ]
        by_ffmpeg
        ok "$size: ffmpeg" near
        ;;
    esac
    if command -v mpv >/dev/null; then
        by_mpv
        ok "$size: mpv" near
    fi
done
finish
