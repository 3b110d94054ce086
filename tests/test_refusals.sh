#!/bin/sh
# What the program must refuse: exit 2, one line, before any compute, nothing written.
set -eu
. "$(dirname "$0")/cli.sh"

# gen WORD OPTION...: a request that would be carried out but for the options.
gen() {
    word=$1
    shift
    refused "$word" generate "$model" -p fox -W 48 -H 32 -f 5 --steps 1 -o new.y4m "$@"
}

# --- usage ---
refused 'verb'
refused 'frobnicate' frobnicate
refused 'frobnicate' generate "$model" -p fox -o new.y4m --frobnicate
refused '-Z' generate "$model" -p fox -o new.y4m -Z
refused 'model' generate
refused 'prompt' generate "$model" -o new.y4m
refused 'output' generate "$model" -p fox
refused 'value' generate "$model" -o new.y4m -p
refused 'value' generate "$model" -p fox -o new.y4m --seed
refused 'extra' generate "$model" extra -p fox -o new.y4m
refused 'latents' decode "$model" -o new.y4m
refused 'width' decode "$model" "$fixtures/basic/expect/latents.safetensors" -o new.y4m --width 48
refused 'model' info
refused 'prompt' info "$model" --prompt fox

# --- numbers ---
for value in 0 -5 1e3x nan inf 0x10 '' ' 48' 48.5 99999999999999999999 1e400; do
    gen '--width' --width "$value"
    gen '--steps' --steps "$value"
    gen '--num-frames' --num-frames "$value"
    gen '--decode-chunk-size' --decode-chunk-size "$value"
    gen '--max-sequence-length' --max-sequence-length "$value"
done
for value in -1 1e3x nan inf 0x10 '' 1e400; do
    gen '--guidance-scale' --guidance-scale "$value"
    gen '--flow-shift' --flow-shift "$value"
done
gen '--flow-shift' --flow-shift 0
for value in -1 1.5 x 0x10 nan '' 18446744073709551616; do
    gen '--seed' --seed "$value"
done
for value in 0 -16 x 1e9 nan inf '' 30000/0 0/1 30/ /30 24/x 0x10 1/1001 1000001/1000; do
    gen '--fps' --fps "$value"
done
for value in -1 0 x 5000; do
    gen '--threads' --threads "$value"
done
for value in -1 1.5 x '' 1e7; do
    gen '--chunk-overlap' --chunk-overlap "$value"
done
gen '--tiling: .*exact' --tiling always
for value in '' x 256 256x x256 256x256x 256x256x256 0x0 0x64 -1x64 64x-1 64X64 6.4x64 ' 64x64' \
    '64x 64' '64x+64' 99999999999999999999x64 64x1000001; do
    gen '--tile-size: .*WIDTHxHEIGHT' --tile-size "$value"
done
for value in '' 64 -1x64 64x-1 64,64 1000001x64; do
    gen '--tile-overlap: .*WIDTHxHEIGHT' --tiling blend --tile-overlap "$value"
done
gen 'tile-size: 64x32 goes with tiles' --tiling none --tile-size 64x32
for value in none exact auto; do
    gen 'tile-overlap: 0x64 goes with tiling blend alone' --tiling $value --tile-overlap 0x64
done
refused 'tile-overlap: 16x16 goes' decode "$model" "$fixtures/basic/expect/latents.safetensors" \
    -o new.y4m --tile-overlap 16x16
gen '--crf' --crf -1
gen '--crf' --crf 64
gen 'steps' --steps 1001

# --- sizes and lengths that the model cannot do: the nearest is named ---
gen 'nearest is 48' -W 50
gen 'nearest is 64' -W 57
gen 'nearest is 16' -W 1
gen 'nearest is 32' -H 33
gen 'nearest is 9' -f 8
gen 'nearest is 5' -f 6
gen 'nearest is 1' -f 2
gen 'width' -W 16384
gen 'height' -H 1600000
gen 'frames' -f 100001

# --- words ---
gen 'device' --device tpu
gen 'device' --device cuda
gen 'device' --device cuda:7
gen 'dtype' --dtype int4
gen '--offload' --offload sometimes
gen '--json' --json
for value in 0 -1 x 12XB 1e6 '' ' 1GB' 99999999999999999999; do
    gen '--memory-limit' --memory-limit "$value"
done
gen '--offload-blocks' --offload group --offload-blocks 0
gen 'offload-blocks' --offload-blocks 2
gen 'numbers of cuda' --generator cuda --device cpu
gen 'generator: gpu' --generator gpu
gen 'device-map' --device-map vae=cpu --offload model
gen 'device-map' --device-map vae=cpu --offload auto
gen 'device-map' --device-map vae
gen 'device-map' --device-map vae=cpu,
gen 'device-map' --device-map vae=cpu,vae=ref
gen 'device-map: unet' --device-map unet=cpu
gen 'device-map: tokenizer' --device-map tokenizer=cpu
gen 'device: gpu' --device-map vae=gpu
gen 'dtype: unet' --dtype unet=f32
gen 'dtype: f64' --dtype vae=f64
gen 'dtype' --dtype vae=f32,f32
gen 'offload-blocks' --offload sequential --offload-blocks 2
gen '--progress' --progress loud
gen 'variant' --variant fp16

# --- output ---
gen 'avi' -o new.avi
gen 'format' -o new
gen 'exr' --format exr
gen 'format' -o -
gen 'missing' -o missing/new.y4m
gen 'missing' -o missing/new.safetensors
mkdir folder.mp4 folder.y4m
gen 'folder.mp4' -o folder.mp4 -y
gen 'folder.y4m' -o folder.y4m -y
for name in old.y4m old.mp4 old.safetensors old-00003.png; do
    echo keep >$name
done
gen 'old.y4m' -o old.y4m
gen 'old.safetensors' -o old.safetensors
gen 'missing' -o missing/new-%03d.png
gen 'old-' -o old-%05d.png
gen '%' -o one.png
gen 'png' -o '%s.png'
gen 'png' -o '%d-%d.png'
if "$weft" generate --help | grep -q mp4; then
    gen 'missing' -o missing/new.mp4
    gen 'old.mp4' -o old.mp4
    gen 'h999' -o new.mp4 --codec h999
    gen 'pix' -o new.mp4 --pix-fmt rgb999
    gen 'preset' -o new.mp4 --preset glacial
else # a build without FFmpeg says what it has
    gen 'y4m' -o new.mp4
    gen 'y4m' -o - --format mp4
fi
gen 'missing' --report missing/report.json

# --- several clips ---
clips() {
    word=$1
    shift
    gen "$word" --num-videos 3 "$@"
}
for value in 0 -1 2.5 x '' 1000000; do
    gen '--num-videos' --num-videos "$value"
done
refused 'num-videos' decode "$model" "$fixtures/basic/expect/latents.safetensors" -o new-%d.y4m \
    --num-videos 2
clips 'write it like new-%02d.y4m'
clips 'one %d' -o new-%d-%d.y4m
clips 'one %d' -o new-%s.y4m
clips 'one %d' -o new%-%d.y4m
clips 'one %d' -o new%%d.y4m
clips 'write it like new-%02d-%05d.png' -o new.png
clips 'two %d' -o new-%d.png
clips 'two %d' -o new-%d --format png
clips 'two %d' -o new-%d-%d-%d.png
clips 'in one stream' -o - --format y4m
clips 'in one stream' -o - --format mp4
clips 'report-%02d.json' --format null --report -
clips 'write it like r-%02d.json' -o new-%d.y4m --report r.json
clips 'write it like dump-%02d' -o new-%d.y4m --dump dump/
clips 'same noise' -o new-%d.y4m --latents "$fixtures/basic/expect/latents.safetensors"
clips 'too large' -o new-%d.y4m --seed 18446744073709551614
clips 'missing' -o missing/new-%d.y4m
clips 'missing' -o new-%d.y4m --report missing/r-%d.json
clips 'missing' -o new-%d.y4m --dump missing/dump-%d
echo keep >late-2.y4m
echo keep >late-2-00004.png
clips 'late-2.y4m: exists' -o late-%d.y4m
clips 'late-2-00004.png: exists' -o late-%d-%05d.png
clips 'late-2.y4m' -o new-%d.y4m --dump late-%d.y4m
clips 'this run reads' -o late-%d.y4m -y -p @late-2.y4m
clips 'this run reads' -o new-%d.y4m --report late-%d.y4m -p @late-2.y4m
mkdir dump-1 dump-2 dump-2/prompt_embeds.safetensors
clips 'is no file' -o new-%d.y4m --dump dump-%d
clips 'folder of a dump' -o dump-1/new-%d.y4m --dump dump-%d --num-videos 2
rm -r dump-2
ln -s dump-1 dump-2
clips 'dump-[12]: two of the outputs' -o new-%d.y4m --dump dump-%d
rm -r dump-[12]
echo keep >late-0.y4m
ln late-0.y4m late-1.y4m
clips 'late-[01].y4m: two of the outputs' -y -o late-%d.y4m
rm late-*
gen 'new-10.y4m: two of the outputs' --num-videos 11 -o new-%d0.y4m --report new-%d.y4m
gen 'new111.png: two of the outputs' --num-videos 12 -f 13 -o new%d%d.png
gen 'new-0-1.png: two of the outputs' --num-videos 2 -o new-%d-%d.png --report new-0-%d.png
clips 'clip is written' -o new-%d.y4m --report new-%d.y4m

gen 'folder.mp4' --report folder.mp4
gen 'old.mp4' --dump old.mp4
gen 'missing' --dump missing/dump
if [ "$(id -u)" != 0 ]; then
    mkdir locked
    chmod 555 locked
    gen 'locked' -o locked/new.y4m
    gen 'locked' --report locked/report.json
    gen 'locked' --dump locked/dump
fi

# --- prompt ---
gen 'missing.txt' -p @missing.txt
gen 'folder.y4m' -p @folder.y4m
gen 'UTF-8' -p "$(printf 'a \377 fox')"
gen 'UTF-8' -p "$(printf 'a \355\240\200 fox')"
printf 'fox \300\200' >bytes.txt
gen 'UTF-8' -p @bytes.txt
gen 'UTF-8' -n @bytes.txt -o new.y4m

# --- latents ---
gen 'missing.safetensors' --latents missing.safetensors
refused 'missing.safetensors' decode "$model" missing.safetensors -o new.y4m
refused 'old.safetensors' decode "$model" old.safetensors -o new.y4m
refused 'folder.mp4' decode "$model" folder.mp4 -o new.y4m
refused 'latents' decode "$model" "$fixtures/basic/expect/prompt_embeds.safetensors" -o new.y4m
gen 'latents' -W 64 \
    --latents "$fixtures/basic/expect/latents.safetensors"
LC_ALL=C sed 's/"F32"/"I32"/' "$fixtures/basic/expect/latents.safetensors" >integer.safetensors
refused 'is I32 \[.*expected F32, F16, BF16 or F64 \[1,16,T,h,w\]' decode "$model" \
    integer.safetensors -o new.y4m

# --- the model's folder ---
refused 'missing' generate missing -p fox -o new.y4m
refused 'old.mp4' generate old.mp4 -p fox -o new.y4m
refused 'model_index.json' generate folder.mp4 -p fox -o new.y4m
refused 'missing' info missing

# damaged WORD FILE COMMAND...: in a fresh copy of the model the command changes FILE, read from
# standard input; then generate and info are refused with a message that has WORD.
damaged() {
    word=$1
    file=$2
    shift 2
    rm -rf "$work/model"
    cp -r "$source_model" "$work/model"
    chmod -R u+w "$work/model"
    LC_ALL=C "$@" <"$source_model/$file" >"$work/model/$file"
    if cmp -s "$source_model/$file" "$work/model/$file"; then
        result "damaged: $file $*" "the command changed nothing"
    fi
    refused "$word" generate "$work/model" -p fox -W 48 -H 32 -f 5 --steps 1 -o new.y4m
}
nothing() { :; }
swap() { sed "s/$1/$2/"; }
cut_at() { head -c "$1"; }
# The first eight bytes are the length of the header.
length_bytes() {
    printf "$1"
    tail -c +9
}

# --- what is not a model's folder ---
# not_it WORD FOLDER
not_it() { refused "$1" generate "$2" -p fox -o new.y4m; }
not_it 'hf download Wan-AI/Wan2.1-T2V-1.3B-Diffusers --local-dir Wan2.1-T2V-1.3B-Diffusers' \
    Wan-AI/Wan2.1-T2V-1.3B-Diffusers
not_it 'No such file' ./no/folder
not_it 'a file, not a folder' "$model/vae/diffusion_pytorch_model.safetensors"
not_it 'one part of a model' "$model/vae"
not_it 'one part of a model.*above' "$model/transformer"
not_it 'one part of a model.*above' "$model/text_encoder"
# not_a_vae WORD FOLDER: decode refuses it, too.
not_a_vae() {
    not_it "$1" "$2"
    refused "$1" decode "$2" "$fixtures/basic/expect/latents.safetensors" -o new.y4m
}
cp -r "$model/transformer" "$model/text_encoder" "$model/vae" "$work"
chmod -R u+w "$work/vae"
not_a_vae 'WanTransformer3DModel is no VAE .*AutoencoderKLWan' "$work/transformer"
not_a_vae 'no VAE .*AutoencoderKLWan' "$work/text_encoder"
sed 's/AutoencoderKLWan/AutoencoderKL/' "$model/vae/config.json" >"$work/vae/config.json"
not_a_vae 'AutoencoderKL is no VAE .*AutoencoderKLWan' "$work/vae"
mkdir "$work/below"
mv "$work/vae" "$work/below"
not_a_vae 'AutoencoderKL is no VAE .*AutoencoderKLWan' "$work/below"
echo '{}' >"$work/below/vae/config.json"
not_a_vae '_class_name' "$work/below"
echo '{"_class_name": "StableVideoDiffusionPipeline"}' >"$work/below/model_index.json"
not_it 'prompt: a svd model does not take it' "$work/below"
cache=$work/hub/models--Wan-AI--Wan2.1
mkdir -p "$cache/snapshots/0fad78" "$cache/snapshots/ffff" "$cache/refs" "$work/original"
cp "$model/model_index.json" "$cache/snapshots/0fad78"
not_it 'snapshots/0fad78' "$cache"
cp "$model/model_index.json" "$cache/snapshots/ffff"
printf ffff >"$cache/refs/main"
not_it 'snapshots/ffff' "$cache"
not_it 'models--Wan-AI--Wan2.1/snapshots/ffff' "$work/hub"
not_it '0fad78 does' "$cache/snapshots"
touch "$work/original/Wan2.1_VAE.pth"
not_it 'Diffusers' "$work/original"

source_model=$model
damaged 'model_index.json' model_index.json nothing
damaged 'model_index.json' model_index.json echo '{"_class_name": '
damaged 'model_index.json' model_index.json echo '[]'
damaged '_class_name' model_index.json echo '{}'
damaged 'StableDiffusionPipeline' model_index.json swap WanPipeline StableDiffusionPipeline
damaged 'Wan 2.2' model_index.json swap '"expand_timesteps": false' '"expand_timesteps": true'
damaged 'weft.json' model_index.json sh -c "echo '{\"width\": \"wide\"}' >'$work/model/weft.json'; cat; echo"
damaged 'transformer' transformer/config.json nothing
damaged 'num_layers' transformer/config.json swap '"num_layers": 2' '"num_layers": -2'
damaged 'num_layers' transformer/config.json swap '"num_layers": 2' '"num_layers": "two"'
damaged 'transformer' transformer/config.json swap '"num_layers": 2' '"num_layers": 3'
damaged 'transformer' transformer/config.json swap '"ffn_dim": 70' '"ffn_dim": 71'
damaged 'transformer' transformer/config.json swap '"attention_head_dim": 24' '"attention_head_dim": 7'
damaged 'text_encoder' text_encoder/config.json swap '"d_model": 24' '"d_model": 23'
damaged 'text_encoder' text_encoder/config.json swap 'gated-gelu' 'something'
damaged 'vae' vae/config.json swap '"base_dim": 3' '"base_dim": 4'
damaged 'vae' vae/config.json swap AutoencoderKLWan AutoencoderKL
damaged 'scheduler DDIMScheduler' model_index.json swap UniPCMultistepScheduler DDIMScheduler
damaged 'prediction_type' scheduler/scheduler_config.json swap flow_prediction epsilon
damaged 'EulerDiscreteScheduler.*gives the noise' model_index.json sh -c \
    "echo '{}' >'$work/model/scheduler/scheduler_config.json'; sed s/UniPCMultistep/EulerDiscrete/"
damaged 'tokenizer' tokenizer/spiece.model nothing
damaged 'tokenizer' tokenizer/spiece.model cut_at 700

weights=transformer/diffusion_pytorch_model.safetensors
damaged "$weights" $weights nothing
damaged "$weights" $weights cut_at 7
damaged "$weights" $weights cut_at 4000
damaged "$weights" $weights cut_at 371015
damaged "$weights" $weights length_bytes '\377\377\377\377\377\377\377\377'
damaged "$weights" $weights length_bytes '\377\377\377\177\0\0\0\0'
damaged "$weights" $weights length_bytes '\0\0\0\0\0\0\0\0'
damaged 'proj_out.bias' $weights swap '"proj_out.bias"' '"proj_out.biaz"'
damaged 'proj_out.weight' $weights swap '"shape":\[64,48\],"data_offsets":\[351984' \
    '"shape":[48,64],"data_offsets":[351984'
damaged 'scale_shift_table' $weights swap '"shape":\[1,2,48\]' '"shape":[1,2,84]'
damaged 'proj_out.bias' $weights swap '"proj_out.bias":{"dtype":"F32"' '"proj_out.bias":{"dtype":"I32"'
damaged 'proj_out.bias' $weights swap '"proj_out.bias":{"dtype":"F32"' '"proj_out.bias":{"dtype":"X32"'
damaged 'proj_out.bias' $weights swap '\[351728,351984\]' '[351728,951984]'
damaged 'proj_out.bias' $weights swap '\[351728,351984\]' '[351724,351980]'
damaged "$weights" $weights swap '"proj_out.bias":{' '"proj_out.bias":['
damaged 'decoder.conv_in.weight' vae/diffusion_pytorch_model.safetensors \
    swap '\[12,16,3,3,3\]' '[16,12,3,3,3]'
damaged 'shared.weight' text_encoder/model.safetensors swap '"shape":\[128,24\]' '"shape":[24,128]'

source_model=$fixtures/sharded/model
index=transformer/diffusion_pytorch_model.safetensors.index.json
damaged 'index.json' $index nothing
damaged 'index.json' $index echo '{"weight_map": 3}'
damaged '00009-of' $index swap 00007-of-00007 00009-of-00007
damaged 'passwd' $index swap 'diffusion_pytorch_model-00007-of-00007.safetensors' \
    '..\/..\/..\/..\/..\/..\/..\/etc\/passwd'
rm -rf "$work/model"
cp -r "$source_model" "$work/model"
rm "$work/model/transformer/diffusion_pytorch_model-00003-of-00007.safetensors"
refused '00003-of-00007' generate "$work/model" -p fox -o new.y4m
refused '00003-of-00007' info "$work/model"
for part in vae transformer text_encoder tokenizer scheduler; do
    rm -rf "$work/model"
    cp -r "$source_model" "$work/model"
    rm -r "$work/model/$part"
    refused "$part" generate "$work/model" -p fox -W 48 -H 32 -f 5 --steps 1 -o new.y4m
done

finish
