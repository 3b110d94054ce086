#!/bin/sh
# A run that is killed and started again gives the bytes of one that was not.
set -eu
. "$(dirname "$0")/cli.sh"
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

# --- what is there is used ---
with unipc run -s 7 --resume steps -o first.y4m
ok 'all of it: two states and the request' [ "$(find steps -type f | sort | tr '\n' ' ')" = \
    'steps/request.json steps/state-0039 steps/state-0040 ' ]
with unipc run -s 7 --resume steps -o second.y4m -v
ok 'all steps are there: the same bytes' cmp unipc.y4m second.y4m
head -c 500 steps/state-0040 >cut
mv cut steps/state-0040
run generate "$model" -p fox -W 128 -H 96 -f 17 --steps 40 --dtype f32 --threads 2 -s 7 --resume steps \
    -o third.y4m -v
ok 'a cut state is told' grep -q 'state-0040: damaged' "$work/stderr"
ok 'the step before is taken' grep -q 'resume: 39 of 40 steps are there' "$work/stderr"
ok 'a cut state: the same bytes' cmp unipc.y4m third.y4m
printf 'x' | dd of=steps/state-0040 bs=1 seek=700 conv=notrunc 2>/dev/null
rm steps/state-0039
with unipc run -s 7 --resume steps -o fourth.y4m
ok 'nothing whole: from the start' cmp unipc.y4m fourth.y4m

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
changed 'one' --num-videos 3 -o new-%d.y4m
echo '{' >steps/request.json
changed 'damaged' --steps 40

finish
