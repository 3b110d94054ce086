#!/bin/sh
# weft compare: its figures beside those of ffmpeg's filters, clips in all forms that weft writes,
# thresholds, refusals, damage, reports.
set -eu
command -v python3 >/dev/null || { echo "there is no python3: skipped" && exit 77; }
. "$(dirname "$0")/cli.sh"

# What stands in the JSON: found EXPRESSION of r.
found() { python3 -c 'import json, sys
r = json.load(open(sys.argv[1]))
raise SystemExit(not eval(sys.argv[2]))' "$work/stdout" "$1"; }
# compared NAME CODE EXPRESSION ARGUMENT...: the exit status, and what the JSON says.
compared() {
    name=$1 want=$2 expression=$3
    shift 3
    run compare "$@" --json
    ok "$name: exit" [ "$code" = "$want" ]
    ok "$name: $expression" found "$expression"
}
empty() { [ ! -s "$1" ]; }
has() { grep -q -e "$2" "$1"; }
identical="r['psnr'] == {'average': None, 'min': None, 'min_frame': None} and r['max_abs'] == 0"

# y4m NAME WIDTH HEIGHT FRAMES RATE [NOISE]: a smooth clip that moves, with noise of that many steps.
y4m() {
    python3 - "$@" <<'END'
import math, random, sys
name, width, height, frames, rate = sys.argv[1:6]
width, height, frames = int(width), int(height), int(frames)
noise = int(sys.argv[6]) if len(sys.argv) > 6 else 0
random.seed(7)
with open(name, "wb") as out:
    out.write(f"YUV4MPEG2 W{width} H{height} F{rate} Ip A1:1 C420mpeg2\n".encode())
    for t in range(frames):
        out.write(b"FRAME\n")
        for w, h, p in ((width, height, 9), (-(-width // 2), -(-height // 2), 7), (-(-width // 2), -(-height // 2), 5)):
            out.write(bytes(max(16, min(235, int(128 + 50 * math.sin((x + t) / p) * math.cos(y / p)) +
                                        random.randint(-noise, noise)))
                            for y in range(h) for x in range(w)))
END
}

# --- what weft writes ---
y4m a.y4m 50 34 9 16:1
y4m b.y4m 50 34 9 16:1 6
compared 'a clip and itself' 0 "$identical and r['ssim']['average'] == 1 and r['pass'] is True and r['frames'] == 9" a.y4m a.y4m
compared 'edges that are not known' 0 "r['seam'] is None and r['chunk_edge'] is None" a.y4m b.y4m
compared 'edges' 0 "r['seam'] > 0 and r['chunk_edge'] > 0" a.y4m b.y4m --tile-size 16x16 \
    --tile-overlap 4x4 --decode-chunk-size 4 --chunk-overlap 1
compared 'a tile as large as the frame' 0 "r['seam'] is None" a.y4m b.y4m --tile-size 50x34
forms='c.y4m c.safetensors c-%05d.png'
for form in $forms; do
    "$weft" generate "$model" -p fox -W 48 -H 32 -f 9 --steps 1 -s 3 -q -o "$form"
done
"$weft" generate "$model" -p fox -W 48 -H 32 -f 9 --steps 1 -s 3 -q --pix-fmt yuv444p -o d.y4m
compared 'png as the reference' 0 "$identical" c-%05d.png c.safetensors
compared 'png beside y4m' 0 "$identical" c.y4m c-%05d.png
compared 'safetensors beside y4m of whole colours' 0 "$identical" d.y4m c.safetensors
compared 'y4m of whole colours beside png' 0 "r['psnr']['average'] > 48" c-%05d.png d.y4m
compared 'a picture alone' 0 "$identical and r['frames'] == 1" c-00003.png c-00003.png
mv c-00009.png d-00000.png
compared 'a series from 0' 0 "$identical" d-%05d.png d-00000.png

# --- thresholds ---
run compare a.y4m b.y4m
ok 'text: exit' [ "$code" = 0 ]
ok 'text: the figures' has "$work/stdout" '^PSNR  *[0-9.]* dB, worst [0-9.]* dB at frame [0-9]*$'
compared 'above all thresholds' 0 "r['pass'] is True" a.y4m b.y4m --min-psnr 20 --min-ssim .5 --max-abs 20
compared 'below the PSNR' 3 "r['pass'] is False" a.y4m b.y4m --min-psnr 60
compared 'below the SSIM' 3 "r['pass'] is False" a.y4m b.y4m --min-ssim .9999
compared 'above the difference' 3 "r['pass'] is False" a.y4m b.y4m --max-abs 1
compared 'identical is above any PSNR' 0 "r['pass'] is True" a.y4m a.y4m --min-psnr 999 --min-ssim 1 --max-abs 0
run compare a.y4m b.y4m --min-psnr 60 -q
ok 'quiet: exit' [ "$code" = 3 ]
ok 'quiet: nothing' [ -z "$(cat "$work/stdout" "$work/stderr")" ]

# --- refusals ---
y4m small.y4m 48 34 9 16:1
y4m short.y4m 50 34 8 16:1
y4m fast.y4m 50 34 9 24:1
y4m other.y4m 50 34 9 24000:1001
head -c 9000 a.y4m >cut.y4m
head -c 70 a.y4m >head.y4m
python3 -c 'data = open("a.y4m", "rb").read()
open("broken.y4m", "wb").write(data[:9000] + data[9000:].replace(b"FRAME", b"FRAMF", 1))'
printf 'YUV4MPEG2 W0 H32 F16:1\n' >zero.y4m
printf 'YUV4MPEG2 W48 H32 F16:1\n' >none.y4m
printf 'YUV4MPEG2 W48 H32 C999\n' >layout.y4m
echo 'this is a text' >text.mp4
: >nothing.mkv
refused 'reference is missing' compare
refused 'clip to compare is missing' compare a.y4m
refused 'one word too many' compare a.y4m b.y4m b.y4m
refused 'missing.y4m' compare a.y4m missing.y4m
refused 'missing.mkv' compare missing.mkv a.y4m
refused 'missing' compare a.y4m missing-%05d.png
refused 'small.y4m: is 48x34, the reference 50x34' compare a.y4m small.y4m
refused 'short.y4m: has 8 frames, the reference 9' compare a.y4m short.y4m
refused 'frames a second' compare a.y4m fast.y4m
refused 'frames a second' compare fast.y4m other.y4m
for name in cut.y4m head.y4m broken.y4m zero.y4m none.y4m layout.y4m text.mp4 nothing.mkv; do
    refused "$name" compare a.y4m "$name"
    refused "$name" compare "$name" a.y4m
done
refused 'frames' compare a.y4m "$model/vae/diffusion_pytorch_model.safetensors"
refused '--min-ssim' compare a.y4m b.y4m --min-ssim 2
refused '--max-abs' compare a.y4m b.y4m --max-abs 256
refused 'tile-overlap' compare a.y4m b.y4m --tile-overlap 4x4
refused 'tile-overlap' compare a.y4m b.y4m --tile-size 16x16 --tile-overlap 16x16
refused 'chunk-overlap' compare a.y4m b.y4m --decode-chunk-size 4 --chunk-overlap 4
refused 'chunk-overlap' compare a.y4m b.y4m --chunk-overlap 4
refused 'report.txt' compare a.y4m b.y4m --report report.txt
refused 'missing/' compare a.y4m b.y4m --report missing/report.html
cp a.y4m clip.xml
refused 'clip.xml' compare a.y4m clip.xml --report clip.xml
ok 'a clip is no report' cmp a.y4m clip.xml

# --- damage midway ---
head -c 300 c-00004.png >x
mv x c-00004.png
run compare c-%05d.png c-%05d.png --report damaged.html
ok 'a damaged picture: exit' [ "$code" = 1 ]
ok 'a damaged picture: the message' [ -z "$(message_fault 'c-00004.png')" ]
ok 'a damaged picture: no report' [ ! -e damaged.html ]

# --- reports ---
cp b.y4m 'b <&">.y4m'
for kind in html json xml; do
    run compare a.y4m 'b <&">.y4m' --min-psnr 60 --max-abs 200 --report "r.$kind"
    ok "report $kind: exit" [ "$code" = 3 ]
done
ok 'report json' python3 -c 'import json
r = json.load(open("r.json"))
assert r["pass"] is False and len(r["per_frame"]["psnr"]) == r["frames"] == 9
assert [t["pass"] for t in r["thresholds"]] == [False, True]'
ok 'report xml' python3 -c 'import xml.etree.ElementTree as tree
suite = tree.parse("r.xml").getroot().find("testsuite")
cases = suite.findall("testcase")
assert suite.get("tests") == "2" == str(len(cases)) and suite.get("failures") == "1"
assert cases[0].find("failure") is not None and cases[1].find("failure") is None
assert "b <&\">.y4m" in cases[0].get("name")'
cat >page.py <<'END'
import base64, html.parser, sys
class Page(html.parser.HTMLParser):
    open, pictures, plots = [], 0, 0
    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        if tag == "img":
            assert values["src"].startswith("data:image/png;base64,")
            assert base64.b64decode(values["src"][22:], validate=True)[:4] == b"\x89PNG"
            self.pictures += 1
        assert tag not in ("script", "link", "iframe") and "href" not in values
        self.plots += tag == "svg"
        if tag not in ("meta", "img"):
            self.open.append(tag)
    def handle_startendtag(self, tag, attributes):
        assert tag == "path"
    def handle_endtag(self, tag):
        assert self.open.pop() == tag, tag
page = Page()
page.feed(open(sys.argv[1], encoding="utf-8").read())
assert not page.open and [page.plots, page.pictures] == [int(n) for n in sys.argv[2:]], (page.plots, page.pictures)
END
ok 'report html' python3 page.py r.html 3 12
run compare a.y4m a.y4m --report same.html
ok 'report html of the same' python3 page.py same.html 0 0
run compare a.y4m a.y4m --report same.xml
ok 'report xml without thresholds' python3 -c 'import xml.etree.ElementTree as tree
assert len(tree.parse("same.xml").getroot().findall("testsuite/testcase")) == 1'
if [ -w /dev/full ]; then
    ln -s /dev/full full.json
    run compare a.y4m b.y4m --report full.json
    ok 'a full disk: exit' [ "$code" = 1 ]
    ok 'a full disk: the message' [ -z "$(message_fault '')" ]
fi

# --- ffmpeg ---
if ! "$weft" generate --help | grep -q mp4 || ! command -v ffmpeg >/dev/null; then
    finish
    exit
fi
# as_ffmpeg REFERENCE CLIP: the figures are those of its filters, frame by frame beside each other, in
# C: the assembler of FFmpeg 5.1's ssim errs in planes whose width / 4 leaves 2 when divided by 4.
as_ffmpeg() {
    run compare "$1" "$2" --json
    ffmpeg -hide_banner -nostdin -cpuflags 0 -i "$2" -i "$1" -lavfi '[0]setpts=N/16/TB,split[a][b];[1]setpts=N/16/TB,split[c][d];
        [a][c]psnr;[b][d]ssim' -f null - 2>filters.txt
    ok "$1 and $2: exit" [ "$code" = 0 ]
    ok "$1 and $2: ffmpeg's figures" python3 -c 'import json, re, sys
r = json.load(open(sys.argv[1]))
text = open("filters.txt").read()
psnr, least = (float(re.search(r"PSNR .*\b%s:(\S+)" % key, text)[1]) for key in ("average", "min"))
ssim = float(re.search(r"SSIM .*All:(\S+)", text)[1])
print(psnr, least, ssim, r["psnr"], r["ssim"])
assert abs(r["psnr"]["average"] - psnr) <= .01 and abs(r["psnr"]["min"] - least) <= .01
assert abs(r["ssim"]["average"] - ssim) <= 1e-4' "$work/stdout"
}
encode() { ffmpeg -v error -nostdin -y "$@"; }
encode -f lavfi -i testsrc2=s=176x144:r=16:d=1 -c:v ffv1 -pix_fmt yuv420p e.mkv
for format in yuv420p yuv422p yuv444p10le yuvj420p gray gbrp; do
    encode -i e.mkv -c:v ffv1 -pix_fmt $format "e-$format.mkv"
    encode -i e.mkv -vf noise=alls=20:allf=t -c:v ffv1 -pix_fmt $format "f-$format.mkv"
    as_ffmpeg "e-$format.mkv" "f-$format.mkv"
done
encode -i e.mkv -c:v libx264 -crf 30 e.mp4
as_ffmpeg e.mkv e.mp4
as_ffmpeg a.y4m b.y4m
encode -i a.y4m -c:v ffv1 a.mkv
compared 'y4m and what ffmpeg makes of it' 0 "$identical" a.y4m a.mkv
encode -i e-gbrp.mkv -c:v rawvideo -pix_fmt bgr0 e.nut
compared 'packed pixels' 0 "$identical" e-gbrp.mkv e.nut
encode -i e.mkv -vf scale=out_range=pc -pix_fmt yuv420p -color_range pc -c:v ffv1 pc.mkv
compared 'the whole range, brought back' 0 "$identical" e.mkv pc.mkv
compared 'brought to the whole range' 0 "r['psnr']['average'] > 50" pc.mkv e.mkv
encode -i e.mkv -pix_fmt yuv420p10le -c:v ffv1 bits.mkv
compared 'more bits' 0 "$identical" e.mkv bits.mkv
compared 'fewer bits' 0 "$identical" bits.mkv e.mkv

# A y4m in BT.601 and the same clip in BT.709: pictures, not noise.
for name in s.y4m s.mkv; do
    "$weft" generate "$root/samples/shapes" -p 'a red circle moves right' -W 96 -H 64 -f 5 --steps 4 -s 3 \
        -q -o $name $([ $name = s.y4m ] || echo --codec ffv1)
done
compared 'y4m beside its own mkv' 0 "r['psnr']['average'] >= 45" s.y4m s.mkv
compared 'mkv beside its own y4m' 0 "r['psnr']['average'] >= 45" s.mkv s.y4m

# Where the edges are, by the clip's own word.
clip="-p fox -W 48 -H 32 -f 9 --steps 1 -s 3 -q"
# shellcheck disable=SC2086 # a list of words
"$weft" generate "$model" $clip --tiling blend --tile-size 24x24 --tile-overlap 8x8 -o tiles.mkv
compared 'the clip says its tiles' 0 "r['seam'] > 0 and r['chunk_edge'] is None" tiles.mkv tiles.mkv
said=$(sed -n 's/.*"seam": //p' "$work/stdout")
compared 'the same tiles, told' 0 "r['seam'] == ${said%,}" tiles.mkv tiles.mkv --tile-size 24x24 --tile-overlap 8x8
compared 'other tiles, told' 0 "r['seam'] != ${said%,}" tiles.mkv tiles.mkv --tile-size 12x12

# Damage and playlists.
size=$(wc -c <e.mkv)
head -c $((size / 2)) e.mkv >half.mkv
refused 'half.mkv' compare e.mkv half.mkv
head -c $(($(wc -c <e.mp4) / 2)) e.mp4 >half.mp4
refused 'half.mp4' compare e.mkv half.mp4
printf '#EXTM3U\n#EXTINF:1,\n%s/e.mp4\n#EXT-X-ENDLIST\n' "$PWD" >list.m3u8
refused 'list.m3u8' compare e.mkv list.m3u8
printf 'ffconcat version 1.0\nfile e.mp4\n' >list.ffconcat
refused 'list.ffconcat' compare e.mkv list.ffconcat
encode -f lavfi -i sine=d=1 sound.wav
refused 'holds no video' compare e.mkv sound.wav

for size in 640x480 48x32; do
    encode -f lavfi -i testsrc=s=$size:r=8:d=1 -f mjpeg $size.mjpeg
done
cat 640x480.mjpeg 48x32.mjpeg >sizes.mjpeg
run compare sizes.mjpeg sizes.mjpeg
ok 'a size that changes: exit' [ "$code" = 1 ]
ok 'a size that changes: said' grep -q 'frame 8 is 48x32 .*unlike the first' "$work/stderr"
encode -i e.mp4 -c copy -metadata:s:v rotate=90 turned.mp4
refused 'turned' compare e.mp4 turned.mp4

# A signal between two frames: one line, and no report.
encode -f lavfi -i testsrc=s=1280x720:r=25:d=40 -preset ultrafast long.mp4
env --default-signal=TERM "$weft" compare long.mp4 long.mp4 --report stopped.html >"$work/stdout" 2>"$work/stderr" &
sleep 1
kill -TERM $!
code=0
wait $! || code=$?
ok 'a signal: exit' [ "$code" = 143 ]
ok 'a signal: one line' [ "$(wc -l <"$work/stderr")" = 1 ]
ok 'a signal: no report' [ -z "$(find . -name 'stopped*')" ]
finish
