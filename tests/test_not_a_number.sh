#!/bin/sh
# One weight that is not a number: the run ends with a line that names stage and step or frame, and
# leaves no clip. WEFT_TEST_EVERY=1 tries every tensor, else one in 13.
set -eu
command -v python3 >/dev/null || { echo "there is no python3: skipped" && exit 77; }
. "$(dirname "$0")/cli.sh"
every=${WEFT_TEST_EVERY:-13}
poison=$root/tests/poison.py

# failed WORD ARGUMENT...: exit 1, one line that has WORD, nothing left.
failed() {
    word=$1
    shift
    run "$@"
    why=$(message_fault "$word")
    [ "$code" = 1 ] || why="exit $code instead of 1"
    [ -z "$(find "$work/out" -type f)" ] || why="a file is left"
    result "failed: $label: $*" "$why"
    rm -f "$work"/out/*
}

# poisoned NAME COMPONENT TYPE WORD [PATTERN]: the model NAME with a NaN in each of a component's
# tensors that match, one after the other.
poisoned() {
    whole=$fixtures/$1/model
    file=$(cd "$whole/$2" && echo *.safetensors)
    rm -rf "$work/model"
    mkdir "$work/model"
    ln -s "$whole"/* "$work/model"
    rm "$work/model/$2"
    cp -r "$whole/$2" "$work/model/$2"
    count=0
    for tensor in $(python3 "$poison" "$whole/$2/$file" | grep -e "${5:-.}"); do
        count=$((count + 1))
        [ $((count % every)) = 0 ] || continue
        label=$tensor
        python3 "$poison" "$whole/$2/$file" "$work/model/$2/$file" "$tensor" nan
        failed "$4" generate "$work/model" -p fox -W 32 -H 32 -f 13 --steps 2 -s 1 --dtype "$3" \
            --progress none -o clip.y4m
    done
    [ "$count" -gt "$every" ] || result "poisoned: $*" "only $count tensors"
}

poisoned basic text_encoder f32 'encode: the embeddings of the prompt are not all numbers'
poisoned basic transformer f32 'denoise: step 1 of 2: the latents are not all numbers'
poisoned basic vae f32 'decode: frame [0-9]*: the samples are not all numbers' 'decoder\|post_quant'
poisoned bf16 text_encoder bf16 'encode: the embeddings of the prompt are not all numbers'
poisoned bf16 transformer bf16 'denoise: step 1 of 2: the latents are not all numbers'
poisoned bf16 vae bf16 'decode: frame [0-9]*: the samples are not all numbers' 'decoder\|post_quant'

# --- an infinity, which bounds could hide ---
for value in inf -inf; do
    label="decoder.conv_out.weight is $value"
    python3 "$poison" "$whole/vae/$file" "$work/model/vae/$file" decoder.conv_out.weight "$value"
    failed 'decode: frame [0-9]*: the samples are not all numbers' generate "$work/model" -p fox -W 32 -H 32 \
        -f 5 --steps 1 -s 1 --progress none -o clip.y4m
done

# --- latents files ---
for value in nan inf -inf; do
    python3 "$poison" "$fixtures/basic/expect/latents.safetensors" "$work/latents.safetensors" \
        latents "$value"
    refused 'the latents are not all numbers' decode "$model" "$work/latents.safetensors" -o new.y4m
done
finish
