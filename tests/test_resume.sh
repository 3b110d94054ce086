#!/bin/sh
# A run that is killed and started again gives the bytes of one that was not.
set -eu
. "$(dirname "$0")/cli.sh"
no_file() { [ ! -e "$1" ]; }
empty() { [ ! -s "$1" ]; }
scheduled=$fixtures/euler/model
svd=$fixtures/svd_a/model

# with NAME COMMAND ARGUMENT...: the command with the request of that name and those arguments.
with() {
    name=$1
    command=$2
    shift 2
    set -- "$@" --dtype f32 --threads 2 -q
    case $name in
        unipc) $command generate "$model" -p fox -W 128 -H 96 -f 17 --steps 40 "$@" ;;
        euler) $command generate "$scheduled" -p fox -W 128 -H 96 -f 17 --steps 40 "$@" ;;
        svd) $command generate "$svd" -i "$fixtures/svd_a/image.jpg" -W 64 -H 64 -f 7 --steps 20 "$@" ;;
    esac
}

# killed ARGUMENT...: the program, killed after $seconds if it still runs.
killed() {
    code=0
    timeout -s KILL "$seconds" "$weft" "$@" >"$work/stdout" 2>"$work/stderr" || code=$?
}

# changed WORD OPTION...: the request of steps/ with those options is refused.
changed() {
    word=$1
    shift
    with unipc "refused $word" -s 7 --resume steps -o new.y4m "$@"
}

now() { date +%s.%N; }

number=0
for which in unipc euler svd; do
    start=$(now)
    with $which run -s 7 -o $which.y4m
    ok "$which: exit" [ "$code" = 0 ]
    took=$(python3 -c "print($(now) - $start)")
    for part in 0.3 0.5 0.7 0.9; do
        number=$((number + 1))
        seconds=$(python3 -c "print($took * $part)")
        with $which killed -s 7 --resume state-$number -o again-$number.y4m
        if [ ! -e again-$number.y4m ]; then # what is there, before the kill, is whole
            with $which run -s 7 --resume state-$number -o again-$number.y4m
        fi
        ok "$which killed at $part: goes on" [ -e again-$number.y4m ]
        ok "$which killed at $part: the same bytes" cmp $which.y4m again-$number.y4m
    done
done

# --- killed while frames are decoded ---

# taken FRAMES ARGUMENT...: the program's standard output is read as far as that many y4m frames of
# 128x96, then it is killed.
taken() {
    frames=$1
    shift
    code=0
    python3 - "$frames" "$weft" "$@" -o - --format y4m <<'END' || code=$?
import subprocess
import sys

run = subprocess.Popen(sys.argv[2:], stdout=subprocess.PIPE)
run.stdout.readline()
run.stdout.read(int(sys.argv[1]) * (len("FRAME\n") + 128 * 96 * 3 // 2))
run.kill()
run.wait()
END
}

# decoding NAME COMMAND ARGUMENT...: one step, then many frames in chunks.
decoding() {
    name=$1
    command=$2
    shift 2
    case $name in
        causal) set -- "$model" -p fox -f 81 --steps 2 "$@" ;;
        tiled) set -- "$model" -p fox -f 81 --steps 1 --tiling exact --tile-size 64x64 "$@" ;;
        blended) set -- "$model" -p fox -f 81 --steps 1 --decode-chunk-size 8 --tiling blend \
            --tile-size 64x64 --tile-overlap 32x32 "$@" ;;
        svd) set -- "$fixtures/svd_a/model" -i "$fixtures/svd_a/image.jpg" -f 21 --steps 1 \
            --decode-chunk-size 4 --chunk-overlap 2 "$@" ;;
    esac
    # shellcheck disable=SC2086 # the command's own words
    $command generate "$@" -W 128 -H 96 --dtype f32 --threads 2 -s 7
}

for which in causal tiled blended svd; do
    decoding $which run -o $which-whole.mp4
    ok "$which: exit" [ "$code" = 0 ]
    for frames in 9 15; do
        rm -rf decoding
        decoding $which "taken $frames" -q --resume decoding
        ok "$which, killed behind frame $frames: chunks are kept" [ -e decoding/frames-00000 ]
        decoding $which run --resume decoding -o $which.mp4 -y -v
        ok "$which, killed behind frame $frames: goes on there" \
            grep -q 'resume: [0-9]* of [0-9]* chunks are decoded' "$work/stderr"
        ok "$which, killed behind frame $frames: the same bytes" cmp $which-whole.mp4 $which.mp4
    done
    decoding $which run --resume decoding -o $which.mp4 -y -v
    ok "$which: all of them" grep -q 'resume: \([0-9]*\) of \1 chunks are decoded' "$work/stderr"
    ok "$which: nothing is left to carry" no_file decoding/decoder-*
    ok "$which: all of them, the same bytes" cmp $which-whole.mp4 $which.mp4
done

decoding causal "taken 40" -q --resume decayed
newest=$(find decayed -name 'decoder-?????' | sort | tail -n 1)
printf x | dd of="$newest" bs=1 seek=3000 conv=notrunc 2>/dev/null
decoding causal run --resume decayed -o causal.mp4 -y -v
ok 'a damaged decoder is told' grep -q "$newest: damaged" "$work/stderr"
ok 'a damaged decoder: the same bytes' cmp causal-whole.mp4 causal.mp4
rm decayed/frames-00003
decoding causal run --resume decayed -o causal.mp4 -y
ok 'frames are missing: the same bytes' cmp causal-whole.mp4 causal.mp4

# Pictures are written over by the run that goes on, and by no other.
decoding causal run --format png -o whole-%03d.png
decoding causal "taken 40" -q --resume pictures
# shellcheck disable=SC2016
seconds=1.2
decoding causal killed --resume pictures --format png -o part-%03d.png
while [ ! -e part-081.png ]; do decoding causal run --resume pictures --format png -o part-%03d.png; [ "$code" = 0 ] || break; done
ok 'pictures: goes on' [ "$code" = 0 ]
for n in 001 040 081; do ok "picture $n" cmp whole-$n.png part-$n.png; done

# The model is told by its hash, and its settings are part of it.
cp -r "$model" moved
model=moved decoding causal run --resume decoding-moved -o moved.mp4
mv moved elsewhere
model=elsewhere decoding causal run --resume decoding-moved -o moved.mp4 -y
ok 'the model under another name' [ "$code" = 0 ]
sed 's/"flow_shift": *[0-9.]*/"flow_shift": 7.5/' elsewhere/scheduler/scheduler_config.json >changed.json
cp changed.json elsewhere/scheduler/scheduler_config.json
run generate elsewhere -p fox -f 81 --steps 2 -W 128 -H 96 --dtype f32 --threads 2 -s 7 --resume decoding-moved -o moved.mp4 -y
ok 'another schedule: refused' [ "$code" = 2 ]

# --- what is there is used ---
with unipc run -s 7 --resume steps -o first.y4m
ok 'all of it: two states, the frames and the request' [ \
    "$(find steps -type f ! -name 'frames-?????' | sort | tr '\n' ' ')" = \
    'steps/request.json steps/state-00039 steps/state-00040 ' ]
with unipc run -s 7 --resume steps -o second.y4m -v
ok 'all steps are there: the same bytes' cmp unipc.y4m second.y4m
head -c 500 steps/state-00040 >cut
mv cut steps/state-00040
run generate "$model" -p fox -W 128 -H 96 -f 17 --steps 40 --dtype f32 --threads 2 -s 7 --resume steps \
    -o third.y4m -v
ok 'a cut state is told' grep -q 'state-00040: damaged' "$work/stderr"
ok 'the step before is taken' grep -q 'resume: 39 of 40 steps are there' "$work/stderr"
ok 'a cut state: the same bytes' cmp unipc.y4m third.y4m
printf 'x' | dd of=steps/state-00040 bs=1 seek=700 conv=notrunc 2>/dev/null
rm steps/state-00039
with unipc run -s 7 --resume steps -o fourth.y4m
ok 'nothing whole: from the start' cmp unipc.y4m fourth.y4m

with unipc run -s 8 --resume other -o other.y4m
cp other/state-00039 other/state-00040 steps
with unipc run -s 7 --resume steps -o fifth.y4m -y
ok "another request's state: not taken" cmp unipc.y4m fifth.y4m
rm other/request.json
with unipc run -s 7 --resume other -o sixth.y4m -y
ok "another request's folder without the request: not taken" cmp unipc.y4m sixth.y4m

# --- a seed that was drawn stays ---
with euler run --resume drawn -o drawn.y4m
with euler run --resume drawn -o drawn-again.y4m
ok 'a drawn seed' cmp drawn.y4m drawn-again.y4m

# --- what is refused ---
changed 'seed' -s 8
changed 'steps' --steps 41
changed 'prompt' -p wolf
changed 'guidance_scale' --guidance-scale 2
changed 'flow_shift' --flow-shift 2
with euler 'refused differs' -s 7 --resume steps -o new.y4m
echo text >file
changed 'folder' --resume file
mkfifo gate
flock steps cat gate &
until ! flock -n steps true; do sleep 0.1; done
changed 'another' --steps 40
: >gate
wait
changed 'keeps' --steps 40 --report steps/request.json
changed 'keeps' --steps 40 --format png -o steps/frames-%05d
cp -r "$model" inner
refused "lies among the model's files" generate inner -p fox -W 48 -H 32 -f 5 --resume inner/vae -o new.y4m
refused "lies among the model's files" generate inner -p fox -W 48 -H 32 -f 5 --resume inner/new -o new.y4m
changed 'one' --num-videos 3 -o new-%d.y4m
echo '{' >steps/request.json
changed 'damaged' --steps 40

finish
