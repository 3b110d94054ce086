#!/bin/sh
# The published Wan 2.1 folders as they lie on the hub, without their bytes (oracle/sparse.py): every
# tensor is found, what is missing or wrong is named, and looking costs neither memory nor time.
set -eu
. "$(dirname "$0")/cli.sh"

if ! command -v python3 >/dev/null; then
    echo "skipped: python3 is not here"
    exit 77
fi

# make OPTION...: a new folder; its path in $model.
make() {
    rm -rf "$work/models"
    code=0
    model=$(python3 "$root/tests/oracle/sparse.py" --out "$work/models" "$@") || code=$?
    if [ "$code" = 77 ]; then
        echo "skipped: no sparse files in $work"
        exit 77
    fi
    [ "$code" = 0 ]
}

# measured ARGUMENT...: as run, and the largest resident size in MB in $resident.
measured() {
    code=0
    timeout 60 python3 -c '
import resource, subprocess, sys
code = subprocess.call(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024, file=open("../resident", "w"))
sys.exit(code)' "$weft" "$@" >"$work/stdout" 2>"$work/stderr" || code=$?
    resident=$(cat "$work/resident")
}

# holds NAME CLASS PARAMETERS TENSORS BYTES: the last info said so.
holds() {
    tr -d ' \n' <"$work/stdout" >"$work/flat"
    ok "$label: $1" grep -q -F \
        "{\"name\":\"$1\",\"class\":\"$2\",\"parameters\":$3,\"tensors\":$4,\"bytes\":$5}" "$work/flat"
}

vae='vae AutoencoderKLWan 126892531 194 507570124'
text='text_encoder UMT5EncoderModel 5680910336 242 22723641344'
small='transformer WanTransformer3DModel 1418996800 825 5675987200'
large='transformer WanTransformer3DModel 14288491584 1095 57153966336'

# info LABEL [OPTION]...: takes every component, in little memory and time.
info() {
    label=$1
    shift
    before=$(date +%s)
    measured info "$model" --json "$@"
    ok "$label: exit $code" [ "$code" = 0 ]
    ok "$label: seconds" [ $(($(date +%s) - before)) -le 10 ]
    # The sanitizers' own memory is not the program's.
    [ -n "${WEFT_SANITIZED:-}" ] || ok "$label: $resident MB resident" [ "$resident" -lt "$most" ]
}

# no WORD LABEL...: info refuses $model and its one line has WORD.
no() {
    word=$1
    shift
    run info "$model" --json
    why=$(message_fault "$word")
    [ "$code" = 2 ] || why="exit $code instead of 2"
    [ ! -s "$work/stdout" ] || why="something on standard output"
    result "refused: $*" "$why"
}

# shellcheck disable=SC2086 # lists of words
everything() {
    holds $vae
    holds $text
    holds $1
}

# --- the folders are the published ones ---
make --model 1.3b --all-pieces
cat >"$work/sums" <<'END'
b8b28e022329acf975e027579a1d2dc3de44dba28f4c909b98a880fbf5b0de7d  model_index.json
3fed2abbd9bbc301a74db01947198057ec5049808910dccab320925bf27bea6e  scheduler/scheduler_config.json
4087b6192155a4643f6d29fd326c4610103130674011ef4d0a53f8bce5de967d  text_encoder/config.json
8af791f24a6447aa30c95786f40adf23d3c9df97470d2f36159c8f1113f120b4  text_encoder/model.safetensors.index.json
0b093fa072e9ff28763febe9b964ee582f566733a6d6709deb9dfba1bde16b81  transformer/config.json
dcbcf3497134a3f50557ff069dd7d2c84b5c4d8c5932472f6bdb780fb4016589  transformer/diffusion_pytorch_model.safetensors.index.json
f0c1cc1d7decb5badc384f54691746a27a9aeff49f7ebca974e583389342d527  vae/config.json
END
cat >"$work/lengths" <<'END'
text_encoder/model-00001-of-00005.safetensors 4972389712
text_encoder/model-00002-of-00005.safetensors 4899225672
text_encoder/model-00003-of-00005.safetensors 4966309504
text_encoder/model-00004-of-00005.safetensors 4999880704
text_encoder/model-00005-of-00005.safetensors 2885866152
transformer/diffusion_pytorch_model-00001-of-00002.safetensors 4998781576
transformer/diffusion_pytorch_model-00002-of-00002.safetensors 677289072
vae/diffusion_pytorch_model.safetensors 507591892
END
(cd "$model" && find . -name '*.safetensors' -printf '%P %s\n' | LC_ALL=C sort) >"$work/found"
ok '1.3B: lengths as published' cmp "$work/lengths" "$work/found"
ok '1.3B: sums as published' sh -c "cd '$model' && sha256sum --quiet -c '$work/sums'"
ok '1.3B: no disk used' [ "$(du -sm "$work/models" | cut -f 1)" -lt 8 ]
most=150 # SentencePiece takes 70 MB for 256,000 pieces
info '1.3B'
most=100
everything "$small"

# --- layouts ---
make --model 14b --layout hub
info '14B, hub cache'
everything "$large"
lengths=$(find -L "$model/transformer" -name '*-of-00012.safetensors' -printf '%f %s\n' |
    LC_ALL=C sort | cut -d ' ' -f 2 | tr '\n' ' ')
ok '14B: lengths as published' [ "$lengths" = "4863171808 4919594456 4919465128 4919594536 \
4919465224 4919594552 4919465224 4919594552 4919465224 4919594552 4919465224 3095607280 " ]
make --model 14b --single
info '14B, one file'
everything "$large"
make --model 1.3b --single --layout hub
info '1.3B, one file, hub cache'
everything "$small"
for layout in plain hub; do
    make --model 1.3b --variant fp16 --layout $layout
    info "fp16, $layout" --variant fp16
    holds transformer WanTransformer3DModel 1418996800 825 2837993600
    no '--variant fp16' "a variant alone, $layout"
done
make --model 1.3b --variant fp16 --single
info 'fp16, one file' --variant fp16
holds text_encoder UMT5EncoderModel 5680910336 242 11361820672
make --model 1.3b --embedding encoder
info 'embedding of the encoder'
everything "$small"
make --model 1.3b --embedding both
info 'both embeddings'
holds text_encoder UMT5EncoderModel 6731059200 243 26924236800

# --- configurations ---
make --model 1.3b --unknown-keys
info 'unknown keys'
everything "$small"
make --model 14b --drop-key transformer.num_layers --drop-key transformer.ffn_dim \
    --drop-key transformer.rope_max_seq_len --drop-key vae.base_dim --drop-key vae.latents_mean
info 'keys at their defaults may be missing'
everything "$large"
make --model 1.3b --drop-key model_index._class_name
no 'model_index.json: "_class_name" is missing' 'no pipeline class'
make --model 1.3b --drop-key vae._class_name
no 'vae/config.json: "_class_name" is missing' 'no VAE class'
make --model 1.3b --drop-key transformer.num_layers
no 'transformer/config.json: .*blocks.30.scale_shift_table' 'more layers than there are'
make --model 1.3b --drop-key transformer.num_attention_heads
no 'patch_embedding.weight is \[1536, 16, 1, 2, 2\], expected \[5120, 16, 1, 2, 2\]' 'other heads'
make --model 1.3b --set-key transformer.ffn_dim=8192
no 'blocks.0.ffn.net.0.proj.weight is \[8960, 1536\], expected \[8192, 1536\]' 'another ffn_dim'
make --model 1.3b --set-key transformer.ffn_dim='"wide"'
no 'transformer/config.json: .*ffn_dim' 'a word for a number'
make --model 1.3b --set-key text_encoder.num_layers=25
no 'encoder.block.24.layer.0' 'a text encoder of more layers'
make --model 1.3b --set-key transformer.image_dim=1280
no 'image_dim' 'image to video'

# --- tensors ---
while read -r component tensor shape; do
    make --model 1.3b --drop-tensor "$tensor"
    no "$component/config.json: .*$tensor \[" "without $tensor"
    make --model 1.3b --shape-of "$tensor=$shape"
    no "$component/.*safetensors: tensor $tensor is \[$(echo "$shape" | sed 's/,/, /g')\], expected \[" \
        "$tensor of another shape"
done <<'END'
transformer blocks.29.attn2.norm_k.weight 1537
transformer condition_embedder.time_proj.weight 1536,9216
transformer proj_out.bias 64,1
text_encoder encoder.block.23.layer.1.DenseReluDense.wo.weight 10240,4096
text_encoder encoder.final_layer_norm.weight 4095
vae decoder.up_blocks.1.resnets.0.conv_shortcut.weight 384,192,1,1
vae post_quant_conv.weight 16,16,3,1,1
END
make --model 1.3b --embedding encoder --drop-tensor encoder.embed_tokens.weight
no 'shared.weight' 'no embedding at all'

# --- downloads that did not end ---
make --model 14b --layout hub
shard=diffusion_pytorch_model-00007-of-00012.safetensors
blob=$(readlink -f "$model/transformer/$shard")
truncate -s -1 "$blob"
no "transformer/$shard: .*cut short" 'a shard that lacks a byte'
truncate -s 100 "$blob"
no "transformer/$shard: .*cut short" 'a shard cut in its header'
rm "$blob"
no "transformer/$shard: .*not there; download" 'a shard that is not there'

finish
