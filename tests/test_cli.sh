#!/bin/sh
# What the program does: verbs, streams, formats, the dump, the report, signals, exit codes.
set -eu
. "$(dirname "$0")/cli.sh"

clip="-W 48 -H 32 -f 9 --steps 2 --seed 3"
# shellcheck disable=SC2086 # a list of words
gen() {
    run generate "$model" -p 'a red fox' $clip "$@"
}
empty() { [ ! -s "$1" ]; }
has() { grep -q -e "$2" "$1"; }
# No temporary file is left beside the outputs.
no_part() { [ -z "$(find "$work/out" -name '*.part*')" ]; }

# --- help and version ---
run --version
ok 'version' has "$work/stdout" '^weft [0-9]*\.[0-9]*\.[0-9]*$'
for verb in '' generate decode compare info; do
    # shellcheck disable=SC2086
    run $verb --help
    ok "help $verb: exit" [ "$code" = 0 ]
    ok "help $verb: standard error" empty "$work/stderr"
    ok "help $verb: fits a screen" [ "$(wc -l <"$work/stdout")" -le 50 ]
    ok "help $verb: columns" [ "$(wc -L <"$work/stdout")" -le 100 ]
done
run generate --help --verbose
ok 'help: all options' has "$work/stdout" '--flow-shift'
ok 'help: columns of all options' [ "$(wc -L <"$work/stdout")" -le 100 ]

# --- info ---
run info "$model"
ok 'info: exit' [ "$code" = 0 ]
ok 'info: family' has "$work/stdout" 'wan'
for part in tokenizer text_encoder transformer scheduler vae; do
    ok "info: $part" has "$work/stdout" "$part"
done
run info "$model" --json
for key in family pipeline components parameters bytes defaults width height num_frames steps \
    guidance_scale fps; do
    ok "info --json: $key" has "$work/stdout" "\"$key\""
done

# --- streams ---
gen -q -o - --format y4m
ok 'y4m to a pipe: exit' [ "$code" = 0 ]
ok 'y4m to a pipe: quiet' empty "$work/stderr"
ok 'y4m to a pipe: header' [ "$(head -c 22 "$work/stdout")" = 'YUV4MPEG2 W48 H32 F16:' ]
cp "$work/stdout" first.y4m
gen -q -o second.y4m
ok 'the same seed gives the same bytes' cmp first.y4m second.y4m
gen -q -o third.y4m --seed 4
ok 'another seed gives others' sh -c '! cmp -s first.y4m third.y4m'
gen -q -o second.y4m -y --decode-chunk-size 5 --threads 1 --offload none
ok 'overwritten' [ "$code" = 0 ]
for policy in none model group 'group --offload-blocks 3' sequential; do
    for type in f32 bf16; do
        # shellcheck disable=SC2086 # words
        gen -q -o policy.y4m -y --dtype $type --offload $policy
        [ -e "first-$type.y4m" ] || cp policy.y4m first-$type.y4m
        ok "the same bytes under $policy in $type" cmp "first-$type.y4m" policy.y4m
    done
done
gen -o fourth.y4m --progress plain
ok 'progress: standard output' empty "$work/stdout"
ok 'progress: steps' has "$work/stderr" 'denoise 2/2'
gen -o fifth.y4m --progress json
ok 'progress: json' has "$work/stderr" '"stage": *"denoise"'
for key in fraction frames peak_bytes remaining_seconds unit_seconds; do
    ok "progress: json: $key" has "$work/stderr" "\"stage\": *\"decode\".*\"$key\": *[0-9]"
done
ok 'progress: json alone' sh -c "! grep -v '^{.*}\$' '$work/stderr'"
run generate "$model" -p fox -W 48 -H 32 -f 5 --steps 1 -o sixth.y4m
ok 'a random seed is printed' has "$work/stderr" 'seed [0-9]'
seed=$(sed -n 's/.*seed \([0-9]*\).*/\1/p' "$work/stderr")
run generate "$model" -p fox -W 48 -H 32 -f 5 --steps 1 -o seventh.y4m -s "$seed"
ok 'the printed seed repeats the clip' cmp sixth.y4m seventh.y4m
printf 'a red fox\n' >prompt.txt
# shellcheck disable=SC2086
run generate "$model" -p @prompt.txt $clip -q -o eighth.y4m
ok 'prompt from a file' cmp first.y4m eighth.y4m
gen -q --format null
ok 'format null' [ "$code" = 0 ]

# --- messages ---
gen -q -v --format null
ok 'quiet wins over verbose' empty "$work/stderr"
gen -v --progress none --format null
for what in 'device: cpu, ' 'products in ' 'transformer: 69 tensors' 'job: 48x32, 9 frames' \
    'denoise: ' 'decode: '; do
    ok "-v: $what" has "$work/stderr" "^weft: .*$what"
done
cp -r "$model" "$work/odd"
chmod -R u+w "$work/odd"
sed 's/"text_dim"/"colour": "green",\n "text_dim"/' "$model/transformer/config.json" \
    >"$work/odd/transformer/config.json"
# shellcheck disable=SC2086
run generate "$work/odd" -p 'a red fox' $clip --progress none -o odd.y4m
ok 'a key that is not known: exit' [ "$code" = 0 ]
ok 'a key that is not known: warning' [ -z "$(message_fault 'transformer/config.json: key colour')" ]
ok 'a key that is not known: nothing else' cmp first.y4m odd.y4m
# shellcheck disable=SC2086
run generate "$work/odd" -p 'a red fox' $clip -W 50 -o odd.y4m -y
ok 'a refusal is one line all the same' [ -z "$(message_fault nearest)" ]
run info "$work/odd"
ok 'info warns as well' has "$work/stderr" 'key colour'

# --- programs that read ---
# read_json FILE: each line of it is an object.
read_json() {
    python3 -c 'import json, sys
for line in open(sys.argv[1]):
    assert isinstance(json.loads(line), dict), line' "$1"
}
if command -v python3 >/dev/null; then
    for words in '-v' '-s 7' '--threads 4'; do
        # shellcheck disable=SC2086
        run generate "$work/odd" -p 'a red fox' -W 48 -H 32 -f 5 --steps 1 --progress json \
            --format null $words
        ok "--progress json $words: exit" [ "$code" = 0 ]
        ok "--progress json $words: JSON" read_json "$work/stderr"
    done
    ok '--progress json: the warning' has "$work/stderr" '^{"warning": *"threads\|^{"stage'
    run generate "$model" -p fox -W 50 --progress json --format null
    ok '--progress json: a refusal is JSON' read_json "$work/stderr"
    ok '--progress json: says what' has "$work/stderr" '^{"error": *"width'
    ok 'the progress fits its terminal' python3 "$root/tests/test_terminal.py" "$weft" "$model"
    byte=$(printf 'mod\351l')
    cp -r "$model" "$work/$byte"
    run info "$work/$byte" --json
    ok 'a path that is no UTF-8: info' python3 -c \
        'import json, sys; assert json.load(open(sys.argv[1]))["model"].endswith("mod\ufffdl")' \
        "$work/stdout"
    run generate "$work/$byte" -p fox -W 48 -H 32 -f 1 --steps 1 --format null --report odd.json
    ok 'a path that is no UTF-8: report' python3 -c \
        'import json; assert json.load(open("odd.json"))["model"].endswith("mod\ufffdl")'
fi

# --- the order of words ---
# shellcheck disable=SC2086
POSIXLY_CORRECT=1 run generate "$model" -p 'a red fox' $clip -q -o posix.y4m
ok 'POSIXLY_CORRECT: exit' [ "$code" = 0 ]
ok 'POSIXLY_CORRECT: the same' cmp first.y4m posix.y4m
# shellcheck disable=SC2086
run generate -q -o dashes.y4m -p 'a red fox' $clip -- "$model"
ok 'the model behind --' cmp first.y4m dashes.y4m
run info "$model" more words than it takes
ok 'words too many' [ "$code" = 2 ]

# --- the folder's own defaults ---
cp -r "$model" "$work/own"
cat >"$work/own/weft.json" <<'END'
{"width": 16, "height": 32, "num_frames": 1, "steps": 1, "guidance_scale": 1, "fps": 24}
END
run generate "$work/own" -p fox -o own.y4m -s 1 --report own.json --progress none
ok 'weft.json: exit' [ "$code" = 0 ]
ok 'weft.json: size and rate' [ "$(head -c 26 own.y4m)" = 'YUV4MPEG2 W16 H32 F24:1 Ip' ]
ok 'weft.json: frames and steps' [ "$(grep -c '"frames": 1,' own.json)$(grep -c '"steps": 1,' \
    own.json)" = 21 ]
for wrong in '"width": 0' '"num_frames": 0' '"steps": 0' '"steps": 1001' '"fps": 0.0001' \
    '"guidance_scale": -1'; do
    echo "{$wrong}" >"$work/own/weft.json"
    run generate "$work/own" -p fox -o wrong.y4m
    ok "weft.json, $wrong: refused" [ "$code" = 2 ]
    ok "weft.json, $wrong: says so" [ -z "$(message_fault "weft.json.*$(echo "$wrong" | cut -d'"' -f2)")" ]
done

# --- the class of the scheduler ---
rm "$work/own/weft.json"
sed 's/UniPCMultistepScheduler/FlowMatchEulerDiscreteScheduler/' "$model/model_index.json" \
    >"$work/own/model_index.json"
# shellcheck disable=SC2086
run generate "$work/own" -p 'a red fox' $clip --progress none -o euler.y4m
ok 'the index wins: exit' [ "$code" = 0 ]
ok 'the index wins: the warning' has "$work/stderr" 'FlowMatchEulerDiscreteScheduler does not take.*flow_shift'
ok 'the index wins: another clip' sh -c '! cmp -s first.y4m euler.y4m'
run info "$work/own"
ok 'info says which is used' has "$work/stdout" 'scheduler *FlowMatchEulerDiscreteScheduler'

# --- every value of the report ---
run generate "$model" -p fox -W 48 -H 32 -f 9 --steps 3 -s 11 --dtype bf16 --offload none \
    --threads 1 --progress none --format null --report all.json
for line in '"weft": "'"$("$weft" --version | cut -d' ' -f2)"'"' '"model": "'"$model"'"' \
    '"family": "wan"' '"device": "cpu"' '"dtype": "bf16"' '"offload": "none"' '"threads": 1' \
    '"seed": 11' '"width": 48' '"height": 32' '"frames": 9' '"steps": 3' '"format": "null"'; do
    ok "report: $line" grep -q -F "$line" all.json
done
run generate "$model" -p fox -W 48 -H 32 -f 5 --steps 1 -s 12 --dtype f32 --threads 2 \
    --progress none --format null --report all.json
for line in '"dtype": "f32"' '"offload": "model"' '"threads": 2' '"seed": 12' '"frames": 5'; do
    ok "report: $line" grep -q -F "$line" all.json
done

# --- a prompt that is cut ---
long=$(printf 'a red fox in the snow, %.0s' $(seq 40))
run generate "$model" -p "$long" -n "$long" -W 48 -H 32 -f 1 --steps 1 --max-sequence-length 20 \
    --progress none --format null
ok 'a cut prompt: exit' [ "$code" = 0 ]
ok 'a cut prompt: both counts' has "$work/stderr" '^weft: prompt: [0-9]\{3\} tokens, .* the first 20 '
ok 'a cut negative prompt' has "$work/stderr" '^weft: negative prompt: [0-9]\{3\} tokens'
run generate "$model" -p 'a red fox' -s 1 -W 48 -H 32 -f 1 --steps 1 --progress none --format null
ok 'one that is not: nothing' empty "$work/stderr"

# --- formats ---
gen -q -o frames.rgb --format rawvideo
ok 'rawvideo: bytes' [ "$(wc -c <frames.rgb)" = $((48 * 32 * 3 * 9)) ]
gen -q -o frames.safetensors --dump dump --report report.json
ok 'safetensors: bytes' [ "$(wc -c <frames.safetensors)" -gt $((48 * 32 * 3 * 9 * 4)) ]
gen -q -o frame-%05d.png
ok 'png: last' [ -s frame-00009.png ]
ok 'png: count' [ "$(find . -name 'frame-*.png' | wc -l)" = 9 ]
if "$weft" generate --help | grep -q mp4; then
    for format in mp4 mkv mov; do
        gen -q -o clip.$format --fps 30000/1001
        ok "$format: exit" [ "$code" = 0 ]
    done
    gen -q -y -o clip.mp4 --crf 17.5
    ok 'a fraction of a crf' [ "$code" = 0 ]
    gen -q -o vp9.webm --crf 17.5
    ok 'where whole ones are taken: exit' [ "$code" = 2 ]
    ok 'where whole ones are taken: says so' [ -z "$(message_fault 'whole numbers for crf')" ]
    gen -q -y -o clip.mp4 --fps 30000/1001
    gen -q -o - --format mp4
    ok 'mp4 to a pipe' [ -s "$work/stdout" ]
    cp "$work/stdout" piped.mp4
fi
if [ -s clip.mp4 ] && command -v ffprobe >/dev/null; then
    for name in clip.mp4 clip.mkv clip.mov; do
        ffprobe -v error -count_frames -show_streams -of flat $name >probe.txt
        for line in 'codec_name="h264"' 'width=48' 'height=32' 'nb_read_frames="9"' \
            'r_frame_rate="30000/1001"' 'pix_fmt="yuv420p"' 'color_space="bt709"' \
            'color_transfer="bt709"' 'color_primaries="bt709"' 'color_range="tv"'; do
            ok "$name: $line" has probe.txt "$line\$"
        done
    done
    ffprobe -v error -count_frames -show_streams -of flat piped.mp4 >probe.txt
    ok 'piped mp4: frames' has probe.txt 'nb_read_frames="9"'
fi

# --- several clips ---
clips() {
    gen --num-videos 3 --progress none "$@"
}
for seed in 3 4 5; do
    gen -q -o one-$((seed - 3)).y4m --seed $seed
    gen -q -o "one-$((seed - 3))-%d.png" --seed $seed
done
for policy in none model group sequential; do
    rm -f clip-0?.y4m
    clips -o clip-%02d.y4m --offload $policy --report report-%d.json
    ok "clips, $policy: exit" [ "$code" = 0 ]
    ok "clips, $policy: nothing is said" empty "$work/stderr"
    for i in 0 1 2; do
        ok "clips, $policy: $i is that of its seed" cmp one-$i.y4m clip-0$i.y4m
        ok "clips, $policy: seed of report $i" has report-$i.json "\"seed\": $((3 + i)),"
    done
    # Under none, the encoder still looks up its tokens' rows.
    idle=$(grep -c '"transfer_bytes": 0,' report-2.json || true)
    ok "clips, $policy: stages of the last that read no weights" \
        [ "$idle" = "$(if [ $policy = none ]; then echo 3; else echo 1; fi)" ]
done
clips -o 'p%%-%02d-%03d.png'
ok 'clips, png: exit' [ "$code" = 0 ]
ok 'clips, png: count' [ "$(find . -name 'p%-*.png' | wc -l)" = 27 ]
for i in 0 1 2; do
    ok "clips, png: $i" cmp one-$i-9.png p%-0$i-009.png
done
gen -q -o 'p%%-%d.png'
ok 'one clip, png: a percent sign' cmp one-0-1.png p%-1.png
clips -o dumped-%d.y4m --dump dump-%d/
for i in 0 1 2; do
    gen -q -o dumped.y4m -y --latents dump-$i/latents_initial.safetensors
    ok "clips, dump $i" cmp dumped.y4m dumped-$i.y4m
done
clips -y -o clip-%02d.y4m
ok 'clips: overwritten' [ "$code" = 0 ]
clips --format null --report null-%d.json
ok 'clips: null needs no name' [ "$code" = 0 -a -s null-2.json ]
gen --num-videos 1 -q -o single.y4m
ok 'one of them needs no number' cmp one-0.y4m single.y4m
gen --num-videos 1 -q -o single-%02d.y4m --report single.json
ok 'but may have one' cmp one-0.y4m single-00.y4m
run generate "$model" -p fox -W 48 -H 32 -f 5 --steps 1 --num-videos 2 -o random-%d.y4m
ok 'clips: progress' has "$work/stderr" '^weft: clip 2/2: denoise 1/1'
ok 'clips: two random seeds' [ "$(grep -c '^weft: clip [12]/2: seed [0-9]*$' "$work/stderr")" = 2 ]
for i in 0 1; do
    seed=$(sed -n "s/^weft: clip $((i + 1))\/2: seed //p" "$work/stderr")
    "$weft" generate "$model" -p fox -W 48 -H 32 -f 5 --steps 1 -q -y -o random.y4m -s "$seed"
    ok "clips: random seed $i" cmp random.y4m random-$i.y4m
done
gen --num-videos 2 --format null --progress json
ok 'clips: json' has "$work/stderr" '^{"clip": 2, "clips": 2, "stage": "denoise", "done": 2,'
long=$(printf 'a red fox in the snow, %.0s' $(seq 40))
run generate "$model" -p "$long" -W 48 -H 32 -f 1 --steps 1 --max-sequence-length 20 -s 1 \
    --progress none --format null --num-videos 3
ok 'clips: a warning comes once' [ "$(grep -c . "$work/stderr")" = 1 ]
gen --plan --num-videos 3
ok 'clips: plan' has "$work/stdout" '^3 clips .* s at most$'

# begun NAME: a run of three clips in the background, as far as a step of the second; in $pid.
begun() {
    : >"$work/progress"
    # shellcheck disable=SC2086
    env --default-signal=INT "$weft" generate "$model" -p 'a red fox' $clip --steps 150 --num-videos 3 \
        -o "$1" --progress plain 2>"$work/progress" &
    pid=$!
    tries=0
    until grep -q "$2" "$work/progress" || [ $tries = 1000 ]; do
        sleep 0.02
        tries=$((tries + 1))
    done
}
begun cut-%d.y4m 'clip 2/3: denoise 1/'
kill -INT $pid
code=0
wait $pid || code=$?
tail -n 1 "$work/progress" >"$work/stderr"
ok 'clips, interrupted: exit' [ "$code" = 130 ]
ok 'clips, interrupted: message' [ -z "$(message_fault)" ]
ok 'clips, interrupted: the first is there' [ -s cut-0.y4m -a ! -e cut-1.y4m -a ! -e cut-2.y4m ]
ok 'clips, interrupted: no part' no_part
begun taken-%d.y4m 'clip 1/3: denoise 1/'
echo mine >taken-1.y4m
code=0
wait $pid || code=$?
tail -n 1 "$work/progress" >"$work/stderr"
ok 'clips, a name is taken meanwhile: exit' [ "$code" = 1 ]
ok 'clips, a name is taken meanwhile: message' [ -z "$(message_fault 'taken-1.y4m: exists')" ]
ok 'clips, a name is taken meanwhile: the first is there' [ -s taken-0.y4m -a ! -e taken-2.y4m ]
ok 'clips, a name is taken meanwhile: what came is, too' [ "$(cat taken-1.y4m)" = mine ]
mkfifo pipe-0 pipe-1
cat pipe-0 >piped-0.y4m &
cat pipe-1 >piped-1.y4m &
clips --num-videos 2 --format y4m -o pipe-%d
wait
ok 'clips into named pipes' cmp one-1.y4m piped-1.y4m
rm pipe-0 pipe-1

# --- what does not fit is refused, naming what would ---
refused '--memory-limit allows' generate "$model" -p fox $clip --memory-limit 100kB -o big.y4m
refused 'with --offload [a-z]* it needs' generate "$model" -p fox $clip --memory-limit "$(
    gen --plan --offload sequential && awk '{ if ($6 > most) most = $6 } END { print most + 0.06 "MB" }' "$work/stdout"
)" --offload none -o big.y4m
gen -q -o fits.y4m --memory-limit 1GiB --report fits.json
ok 'auto takes what is fastest' has fits.json '"chosen": *"[a-z]*: the fastest that fits'

# --- the plan ---
before=$(listing)
gen --plan
ok 'plan: exit' [ "$code" = 0 ]
for stage in encode denoise decode; do
    ok "plan: $stage" has "$work/stdout" "^$stage .* s .* GFLOP .* MB at most"
done
gen --plan --json -o none.mp4 --offload sequential
ok 'plan: json' has "$work/stdout" '"offload": *"sequential"'
ok 'plan: transfers' has "$work/stdout" '"transfer_bytes": *[1-9]'
ok 'plan: nothing is made' [ "$before" = "$(listing)" ]
run decode "$model" dump/latents.safetensors --plan
ok 'plan of decode' has "$work/stdout" '^decode'
ok 'plan of decode: that alone' sh -c "! grep -q denoise '$work/stdout'"

# --- dump, report, decode ---
for name in prompt_embeds negative_prompt_embeds latents_initial latents_step_000 \
    latents_step_001 latents; do
    ok "dump: $name" [ -s dump/$name.safetensors ]
done
ok 'dump: last step' cmp dump/latents_step_001.safetensors dump/latents.safetensors
for key in weft model family device dtype offload threads seed width height frames steps stages \
    name seconds flops peak_host_bytes peak_device_bytes transfer_bytes step_seconds \
    first_frame_seconds peak_rss_bytes; do
    ok "report: $key" has report.json "\"$key\":"
done
for stage in encode denoise decode write; do
    ok "report: $stage" has report.json "\"name\": *\"$stage\""
done
for size in 1 4 9 100; do
    run decode "$model" dump/latents.safetensors -q -o decoded-$size.safetensors \
        --decode-chunk-size $size --report decode.json
    ok "decode $size frames at a time" cmp frames.safetensors decoded-$size.safetensors
done
ok 'report of decode' has decode.json '"decode"'
gen -q -o again.safetensors --seed 77 --latents dump/latents_initial.safetensors
ok 'latents instead of a seed' cmp frames.safetensors again.safetensors
run decode "$model" dump/latents.safetensors -q --format null --decode-chunk-size 9 \
    --tiling none --report decode.json
tr -d ' \n' <decode.json >flat.json
for entry in '"decode_chunk_size":9,' '"chunk_overlap":' '"tiling":"none",' '"tile_size":null,' \
    '"tile_overlap":null,'; do
    ok "report of decode: $entry" has flat.json "$entry"
done

# --- a folder of which the VAE alone is there ---
# decoded NAME FOLDER OPTION...: the frames are those of the whole model.
decoded() {
    what=$1
    from=$2
    shift 2
    run decode "$from" dump/latents.safetensors -q -y -o part.safetensors "$@"
    ok "decode, $what: exit" [ "$code" = 0 ]
    ok "decode, $what: the same frames" cmp frames.safetensors part.safetensors
}
part=$work/part
cp -r "$model" "$part"
chmod -R u+w "$part"
rm -r "$part/tokenizer" "$part/transformer" "$part/scheduler"
echo rubbish >"$part/text_encoder/model.safetensors"
decoded 'the others are missing or damaged' "$part"
refused 'text_encoder\|tokenizer' generate "$part" -p fox -o new.y4m
sed 's/"expand_timesteps": false/"expand_timesteps": true/' "$model/model_index.json" \
    >"$part/model_index.json"
decoded 'Wan 2.2, a time step a token' "$part"
refused 'Wan 2.2.*weft decode works' generate "$part" -p fox -o new.y4m
tr -d '\n' <"$model/model_index.json" | sed -e 's/"boundary_ratio": null/"boundary_ratio": 0.9/' \
    -e 's/"transformer_2": *\[[^]]*\]/"transformer_2": ["diffusers", "WanTransformer3DModel"]/' \
    >"$part/model_index.json"
decoded 'Wan 2.2, two experts' "$part"
refused 'Wan 2.2.*weft decode works' generate "$part" -p fox -o new.y4m
rm "$part/model_index.json"
decoded 'no model_index.json' "$part"
decoded 'the folder of the VAE' "$part/vae" --report part.json
decoded 'the folder of the VAE in a whole model' "$model/vae/"
ok 'report: the family is that of the VAE' has part.json '"family": "wan"'
for folder in "$part" "$part/vae"; do
    run info "$folder" --json
    ok "info of $folder: exit" [ "$code" = 0 ]
    ok "info of $folder: one component" [ "$(grep -c '"tensors"' "$work/stdout")" = 1 ]
    ok "info of $folder: its class" has "$work/stdout" '"pipeline": "AutoencoderKLWan"'
    refused 'one part of a model' generate "$folder" -p fox -o new.y4m
done
echo '{"fps": 24}' >"$part/vae/weft.json"
run decode "$part/vae" dump/latents.safetensors -q -o part.y4m
ok 'decode, the folder of the VAE: weft.json' [ "$(head -c 26 part.y4m)" = 'YUV4MPEG2 W48 H32 F24:1 Ip' ]
weights=$part/vae/diffusion_pytorch_model
mv "$weights.safetensors" "$weights.fp16.safetensors"
for folder in "$part" "$part/vae"; do
    refused 'add --variant fp16' decode "$folder" dump/latents.safetensors -o new.y4m
    refused 'variant bf16' decode "$folder" dump/latents.safetensors -o new.y4m --variant bf16
    decoded "a variant of $folder" "$folder" --variant fp16
done

finish
