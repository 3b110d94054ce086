#!/bin/sh
# Clips that begin with a picture: what the program must refuse, and what it makes.
set -eu
. "$(dirname "$0")/cli.sh"
svd=$fixtures/svd_a/model
picture=$fixtures/svd_a/image.jpg
clip='-W 48 -H 40 -f 2 --steps 1 -s 5 --dtype f32'

# from WORD OPTION...: a request that would be carried out but for the options.
from() {
    word=$1
    shift
    # shellcheck disable=SC2086
    refused "$word" generate "$svd" -i "$picture" $clip -o new.y4m "$@"
}

# --- what a family does not take, and what it needs ---
refused 'image: .*give -i FILE' generate "$svd" -o new.y4m
from 'prompt: .*svd' -p fox
from 'negative-prompt: ' -n fox
from 'guidance-scale: ' --guidance-scale 2
from 'flow-shift: ' --flow-shift 3
from 'max-sequence-length: ' --max-sequence-length 20
for option in "-i $picture" '--fit crop' '--motion-bucket-id 127' '--noise-aug-strength 0' \
    '--min-guidance-scale 1' '--max-guidance-scale 3'; do
    # shellcheck disable=SC2086
    refused "$(echo "$option" | sed 's/^-i.*/image/; s/^--//; s/ .*//'): a wan model" generate \
        "$model" -p fox -W 48 -H 32 -f 5 --steps 1 -o new.y4m $option
done

# --- numbers ---
from 'width: 50 .*52' -W 50
from 'height: 41 .*40' -H 41
from '--width' -W 0
from '--num-frames' -f 0
from 'frames: 5000' -f 5000
from 'min-guidance-scale: 4 .*max-guidance-scale, 3' --min-guidance-scale 4
from 'min-guidance-scale: 1 .*max-guidance-scale, 0.5' --max-guidance-scale 0.5
for value in -1 1.5 x nan ''; do
    from '--motion-bucket-id' --motion-bucket-id "$value"
done
for value in -1 x nan inf ''; do
    from '--noise-aug-strength' --noise-aug-strength "$value"
    from '--min-guidance-scale' --min-guidance-scale "$value"
done
from '--fit: .*stretch|crop|pad' --fit zoom
from 'tile-size' --tiling blend --tile-size 30x30
from 'chunk-overlap' --decode-chunk-size 2 --chunk-overlap 2

# --- pictures ---
mkdir folder.png
mkfifo pipe.png
: >empty.png
echo 'a picture of a fox' >words.png
head -c 900 "$picture" >cut.jpg
head -c 3 "$picture" >shorter.jpg
cp "$picture" picture.jpg
from 'missing.png' -i missing.png
for name in folder.png pipe.png empty.png words.png cut.jpg shorter.jpg; do
    from "$name" -i $name
done
# shellcheck disable=SC2086
refused 'picture.jpg' generate "$svd" -i picture.jpg $clip --format y4m -o picture.jpg -y
from 'latents' --latents "$fixtures/svd_b/expect/latents.safetensors"
from 'latents' --latents "$fixtures/basic/expect/latents.safetensors"

# make NAME OPTION...: a clip that is made.
make() {
    name=$1
    shift
    # shellcheck disable=SC2086
    run generate "$svd" -i picture.jpg $clip -q -o "$name" "$@"
    ok "$name: exit" [ "$code" = 0 ]
    ok "$name: says nothing" [ ! -s "$work/stderr" ]
}

# --- clips ---
make one.y4m --dump dump
for name in image_embeds image_latents latents_initial latents_step_000 latents; do
    ok "dump: $name" [ -s "dump/$name.safetensors" ]
done
ok 'dump: nothing else' [ "$(find dump -type f | wc -l)" = 5 ]
make again.y4m --latents dump/latents_initial.safetensors
ok 'the dumped noise gives the clip again' cmp one.y4m again.y4m
run decode "$svd" dump/latents.safetensors --dtype f32 --fps 7 -q -o decoded.y4m
ok 'the dumped latents give the clip again' cmp one.y4m decoded.y4m
make crop.y4m --fit crop
make pad.y4m --fit pad
ok 'fits differ' sh -c '! cmp -s one.y4m crop.y4m && ! cmp -s one.y4m pad.y4m && ! cmp -s crop.y4m pad.y4m'
make still.y4m -f 1
make rate.y4m --fps 12
ok 'the rate is a condition' sh -c 'head -1 rate.y4m | grep -q F12: && [ "$(tail -c 99 one.y4m)" != "$(tail -c 99 rate.y4m)" ]'
make moves.y4m --motion-bucket-id 20
ok 'the motion bucket is a condition' sh -c '! cmp -s one.y4m moves.y4m'
# shellcheck disable=SC2086
run generate "$svd" -i picture.jpg $clip -q --num-videos 2 -o clip-%d.y4m
ok 'two clips' cmp one.y4m clip-0.y4m
make next.y4m -s 6
ok 'the second is that of the next seed' cmp next.y4m clip-1.y4m

# --- a variant, info ---
cp -r "$svd" variant
chmod -R u+w variant
for part in unet vae; do
    mv variant/$part/diffusion_pytorch_model.safetensors variant/$part/diffusion_pytorch_model.fp16.safetensors
done
# shellcheck disable=SC2086
run generate variant -i picture.jpg $clip -q --variant fp16 -o variant.y4m
ok 'a variant of some components' cmp one.y4m variant.y4m
run info "$svd"
ok 'info: what it takes' grep -q 'takes: an image' "$work/stdout"
ok 'info: the frames of the unet' grep -q '1024x576, 5 frames at 7 ' "$work/stdout"
ok 'info: guidance' grep -q 'guidance 1 to 3, motion bucket 127, noise 0.02' "$work/stdout"
run info "$svd" --json
ok 'info: JSON' sh -c 'python3 -c "
import json, sys
info = json.load(open(sys.argv[1]))
assert info[\"takes\"] == [\"image\"] and info[\"defaults\"][\"max_guidance_scale\"] == 3
assert [c[\"name\"] for c in info[\"components\"]] == [\"feature_extractor\", \"image_encoder\", \"unet\", \"scheduler\", \"vae\"]
" "$0"' "$work/stdout"

finish
