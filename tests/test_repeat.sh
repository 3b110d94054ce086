#!/bin/sh
# What a clip says of how it was made, and that it is made again from that.
set -eu
. "$(dirname "$0")/cli.sh"
svd=$fixtures/svd_a/model
picture=$fixtures/svd_a/image.jpg

# same NAME: the last run succeeded, without a word.
same() {
    ok "$1: exit" [ "$code" = 0 ]
    ok "$1: says nothing" empty "$work/stderr"
}
empty() { [ ! -s "$1" ]; }

formats=png
if "$weft" generate --help | grep -q mp4; then
    formats='png mp4 mkv mov webm'
fi

for format in $formats; do
    number=
    first=$format
    if [ $format = png ]; then
        number=-%d
        first=1.png
    fi
    a=a$number.$format
    one=$(echo "$a" | sed 's/%d/1/')
    # --- a prompt ---
    run generate "$model" -p 'naïve "fox" \ 赤い' -n bad -W 48 -H 32 -f 5 --steps 2 --guidance-scale 2.5 \
        --flow-shift 4 --max-sequence-length 40 --fps 30000/1001 --decode-chunk-size 3 --threads 1 \
        --dtype f32 -q -o "$a"
    same "$format"
    run generate "$model" --like "$one" -q -o "b$number.$format"
    same "$format again"
    for frame in 1 2 5; do
        ok "$format: the same bytes" cmp "$(echo "$a" | sed "s/%d/$frame/")" \
            "$(echo "b$number.$format" | sed "s/%d/$frame/")"
        [ $format = png ] || break
    done
    run generate "$model" --like "$one" -s 3 --steps 1 -q -o "c$number.$format"
    same "$format, another"
    ok "$format: another seed, another clip" sh -c "! cmp -s '$one' '$(echo "c$number.$format" | sed 's/%d/1/')'"
    run info "$(echo "c$number.$format" | sed 's/%d/1/')" --json
    ok "$format: what was said comes first" python3 -c "
import json, sys
r = json.load(open('$work/stdout'))
assert r['seed'] == '3' and r['steps'] == 1, r
assert r['prompt'] == 'naïve \"fox\" \\\\ 赤い' and r['guidance_scale'] == 2.5 and r['flow_shift'] == 4, r
assert r['fps'] == '30000/1001' and r['threads'] == 1 and r['dtype'] == 'f32' and r['device'] == 'cpu', r
assert r['decode_chunk_size'] == 3 and r['max_sequence_length'] == 40 and len(r['model']['hash']) == 32, r
for word in ('path', 'time', 'resume', 'offload', 'progress'):
    assert word not in r
"
    # --- a picture; tiles and chunks ---
    run generate "$svd" -i "$picture" -W 48 -H 40 -f 5 --steps 1 --fit crop --motion-bucket-id 9 \
        --decode-chunk-size 3 --chunk-overlap 1 --tiling blend --tile-size 32x32 --tile-overlap 8x8 \
        -q -o "d$number.$format"
    same "$format of a picture"
    one=$(echo "d$number.$format" | sed 's/%d/1/')
    cp "$picture" moved.jpg
    run generate "$svd" -i moved.jpg --like "$one" -q -o "e$number.$format" --offload sequential
    same "$format of a picture again"
    ok "$format of a picture: the same bytes" cmp "$one" "$(echo "e$number.$format" | sed 's/%d/1/')"
    refused 'image' generate "$svd" --like "$one" -o new.y4m
    refused 'not made of .*cmyk.jpg' generate "$svd" -i "$fixtures/image/cmyk.jpg" --like "$one" -o new.y4m
    refused 'another model' generate "$fixtures/svd_b/model" -i "$picture" --like "$one" -o new.y4m
done

# --- what has none ---
run generate "$model" -p fox -W 48 -H 32 -f 5 --steps 1 --no-metadata -q -o plain-%d.png
same 'no metadata'
refused 'does not say' generate "$model" --like plain-1.png -o new.y4m
refused 'does not say' info plain-1.png
refused 'missing.mp4' generate "$model" --like missing.mp4 -o new.y4m
refused 'folder.mp4' generate "$model" --like folder.mp4 -o new.y4m
head -c 60 plain-1.png >cut.png
refused 'cut.png' generate "$model" --like cut.png -o new.y4m
echo text >text.mp4
refused 'text.mp4' generate "$model" --like text.mp4 -o new.y4m
refused 'another model' generate "$fixtures/sharded/model" --like a-1.png -o new.y4m
cp -r "$model" tuned
sed 's/"flow_shift": *[0-9.]*/"flow_shift": 7.5/' "$model/scheduler/scheduler_config.json" >tuned/scheduler/scheduler_config.json
refused 'another model' generate tuned --like a-1.png -o new.y4m
head -c 66000 /dev/zero | tr '\0' x >long.txt
refused 'mov' generate "$model" -p @long.txt -W 48 -H 32 -f 5 -o new.mov

finish
