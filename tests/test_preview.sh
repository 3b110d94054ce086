#!/bin/sh
# --preview: a picture after each step, of any family, device and type; the clip stays as it is.
# shellcheck disable=SC2086 # small and clip are lists of options
set -eu
. "$(dirname "$0")/cli.sh"
scheduled=$fixtures/euler/model
svd=$fixtures/svd_a/model
small='-W 32 -H 32 -f 5 --steps 3 -s 1'
clip='-W 64 -H 32 -f 9 --steps 5 -s 7 --threads 2 --format safetensors'

# size FILE: "WIDTHxHEIGHT" of a PNG, which is read to its end.
size() {
    python3 - "$1" <<'PYTHON'
import struct
import sys
import zlib

data = open(sys.argv[1], 'rb').read()
assert data[:8] == b'\x89PNG\r\n\x1a\n' and data[-8:-4] == b'IEND'
at, pixels = 8, b''
while at < len(data):
    length, kind = struct.unpack('>I4s', data[at:at + 8])
    body = data[at + 8:at + 8 + length]
    assert struct.unpack('>I', data[at + 8 + length:at + 12 + length])[0] == zlib.crc32(kind + body)
    if kind == b'IHDR':
        width, height = struct.unpack('>II', body[:8])
    pixels += body if kind == b'IDAT' else b''
    at += 12 + length
assert len(zlib.decompress(pixels)) == height * (1 + 3 * width)
print(f'{width}x{height}')
PYTHON
}
# same SIZE NAME OPTION...: the same bytes with a preview as without one.
same() {
    want=$1
    which=$2
    shift 2
    run generate "$@" -q -o without
    ok "$which: without" [ "$code" = 0 ]
    run generate "$@" -q -o with --preview "$which.png"
    ok "$which: with" [ "$code" = 0 ]
    ok "$which: says nothing" [ ! -s "$work/stderr" ]
    ok "$which: the same bytes" cmp without with
    ok "$which: its size" [ "$(size "$which.png")" = "$want" ]
    rm without with
}

for dtype in f32 bf16; do
    same 130x66 wan-$dtype "$model" -p fox $clip --dtype $dtype
done
same 130x66 euler "$scheduled" -p fox $clip --dtype f32
same 130x66 ref "$model" -p fox $clip --device ref
same 130x66 places "$model" -p fox $clip --dtype f32 --device-map vae=ref
same 130x66 offload "$model" -p fox $clip --dtype f32 --offload sequential
same 130x66 none "$model" -p fox $clip --dtype f32 --offload none
same 196x196 svd "$svd" -i "$fixtures/svd_a/image.jpg" -W 64 -H 64 -f 7 --steps 3 -s 7 --dtype f32 \
    --format safetensors

# --- the recipe, several clips, a run that goes on ---
gen() { run generate "$model" -p fox $small --dtype f32 -q "$@"; }
gen -o frame-%d.png
mkdir plain
mv frame-* plain
gen -o frame-%d.png --preview guess.png
for i in 1 2 3 4 5; do
    ok "the recipe does not name it: $i" cmp plain/frame-$i.png frame-$i.png
done
gen --num-videos 2 -o clip-%d.y4m --preview guess-%d.png
ok 'several clips' [ -s guess-0.png -a -s guess-1.png ]
ok 'each its own' sh -c '! cmp -s guess-0.png guess-1.png'
printf '{"output": "a.y4m", "preview": "a.png"}\n{"output": "b.y4m"}\n' >jobs
run generate "$model" -p fox $small -q --jobs jobs
ok 'a batch' [ "$code" = 0 -a -s a.png ]
gen -o a.y4m -y --preview p.png --resume state
rm -r state/state-00003 p.png
gen -o b.y4m -y --preview p.png --resume state
ok 'a run that goes on' [ "$code" = 0 -a -s p.png ]
ok 'a run that goes on: the same bytes' cmp a.y4m b.y4m
gen --plan --preview planned.png
ok 'a plan' [ "$code" = 0 -a ! -e planned.png ]

# --- what cannot be written ---
mkdir -p away/in
ok 'nothing is left beside' [ -z "$(find . -name '*.part')" ]
run generate "$model" -p fox $small -o full.y4m --preview /dev/full
ok 'a device is refused' [ "$code" = 2 ]
for path in missing/p.png away/in picture.jpg away; do
    refused "$path" generate "$model" -p fox $small -o new.y4m --preview $path
done
ln -s "$fixtures/svd_a/image.jpg" image.png
refused 'image.png' generate "$svd" -i "$fixtures/svd_a/image.jpg" -W 64 -H 64 -f 7 -s 7 -o new.y4m \
    --preview image.png
refused 'preview' generate "$model" -p fox $small --format y4m -o new.png --preview ./new.png
refused 'preview' generate "$model" -p fox $small -o new-%d.png --preview new-3.png
refused 'preview' generate "$model" -p fox $small -o new.y4m --report same.png --preview same.png
refused 'number\|%d\|pattern' generate "$model" -p fox $small --num-videos 2 -o n-%d.y4m --preview same.png

# A signal in the midst of it leaves no part of a picture.
"$weft" generate "$model" -p fox -W 128 -H 96 -f 17 --steps 200 -s 1 -o cut.y4m --progress none \
    --preview cut.png 2>"$work/stderr" &
until [ -s cut.png ]; do sleep 0.05; done
kill -TERM $!
code=0
wait $! || code=$?
ok 'interrupted' [ "$code" = 143 ]
ok 'interrupted: the last picture is whole' [ "$(size cut.png)" = 388x194 ]
ok 'interrupted: no part is left' [ -z "$(find . -name '*.part')" ]

# The folder goes away while it runs: one warning, and the clip is made.
python3 - "$weft" "$model" >"$work/stdout" 2>"$work/stderr" <<'PYTHON'
import os
import subprocess
import sys

os.mkdir('going')
run = subprocess.Popen([sys.argv[1], 'generate', sys.argv[2], '-p', 'fox', '-W', '128', '-H', '96', '-f', '17', '--steps', '20',
                        '-s', '1', '-o', 'made.y4m', '--progress', 'plain', '--preview', 'going/p.png'],
                       stderr=subprocess.PIPE, text=True)
warnings = 0
for line in run.stderr:
    if 'denoise 2/' in line:
        os.rename('going', 'gone')
    warnings += 'preview' in line
assert run.wait() == 0 and warnings == 1, warnings
assert os.path.exists('made.y4m')
PYTHON
ok 'a folder that goes away' [ ! -s "$work/stderr" ]

finish
