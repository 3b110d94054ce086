#!/bin/sh
# tests/valgrind.sh: whole tiny jobs of build/weft under valgrind: no read of what was not written, none
# beyond a block, nothing lost. A line a job; the last is "N good, N bad".
set -eu
. "$(dirname "$0")/cli.sh"
command -v valgrind >/dev/null || { echo 'valgrind is not installed' && exit 77; }
export OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive
svd=$fixtures/svd_a/model

# job NAME CODE ARGUMENT...: it ends with CODE, and valgrind finds nothing.
job() {
    name=$1
    want=$2
    shift 2
    code=0
    valgrind -q --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite "$weft" "$@" \
        >"$work/stdout" 2>"$work/stderr" || code=$?
    result "$name" "$([ "$code" = "$want" ] || echo "exit $code instead of $want")"
}

# wan WORD...: a small request.
wan() {
    echo "-p fox -W 16 -H 16 -f 5 --steps 2 -s 1 --dtype f32 --threads 1 -q $*"
}

# shellcheck disable=SC2046 # lists of words
{
    job 'ref to y4m' 0 generate "$model" $(wan --device ref -o a.y4m)
    job 'cpu to y4m, resumable' 0 generate "$model" $(wan --resume steps -o b.y4m)
    job 'resumed to png, dumped, reported' 0 generate "$model" $(wan --resume steps --dump dump --report r.json -o c-%d.png)
    job 'offloaded, in tiles' 0 generate "$model" $(wan -W 32 --offload sequential --tiling exact --tile-size 16x16 -o d.y4m)
    job 'bf16' 0 generate "$model" $(wan --dtype bf16 -o e.safetensors)
    job 'planned' 0 generate "$model" $(wan --plan -o f.y4m)
    job 'a picture' 0 generate "$svd" -i "$fixtures/svd_a/image.jpg" -W 64 -H 64 -f 2 --steps 1 -s 1 --dtype f32 \
        --threads 1 -q -o g.y4m
    job 'decode' 0 decode "$model" "$fixtures/basic/expect/latents.safetensors" --dtype f32 --threads 1 -q -o h.y4m
    job 'like a clip' 0 generate "$model" --like c-1.png -q -o i-%d.png
    job 'info of a model' 0 info "$model" --json
    job 'info of a clip' 0 info c-1.png
    job 'compare' 0 compare a.y4m b.y4m --tile-size 8x8 --tile-overlap 4x4 --report j.html
    job 'compare pictures' 0 compare c-%d.png i-%d.png --report j.xml
    job 'another seed' 0 generate "$model" $(wan -s 2 -o other.y4m)
    job 'compare, below' 3 compare a.y4m other.y4m --min-psnr 60 --report j.json
    if "$weft" generate --help | grep -q mp4; then
        job 'mp4' 0 generate "$model" $(wan -o k.mp4)
        job 'mkv to a pipe' 0 generate "$model" $(wan --format mkv -o -)
        job 'compare mp4' 0 compare k.mp4 a.y4m
        job 'info mp4' 0 info k.mp4
        job 'like mp4' 0 generate "$model" $(wan --like k.mp4 -o n.mp4)
        job 'preview' 0 generate "$model" $(wan --preview guess.png -o o.y4m)
    fi
    printf '{"prompt": "a", "output": "l.y4m"}\n{"prompt": 1}\n[]\n' >jobs.jsonl
    job 'a batch that fails in part' 1 generate "$model" $(wan --jobs jobs.jsonl)
    job 'no such model' 2 generate none $(wan -o m.y4m)
    job 'no such option' 2 generate "$model" --none
    head -c 2000 "$fixtures/basic/expect/latents.safetensors" >cut.safetensors
    job 'cut latents' 2 decode "$model" cut.safetensors -q -o m.y4m
}
finish
