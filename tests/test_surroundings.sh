#!/bin/sh
# The bytes of a clip are those of a run with as many threads as the surroundings grant, and what the
# program passes on to itself when it starts anew.
set -eu
. "$(dirname "$0")/cli.sh"
unset OMP_NUM_THREADS OMP_THREAD_LIMIT OMP_DYNAMIC OMP_MAX_ACTIVE_LEVELS OMP_NESTED
shapes=$root/samples/shapes
nothing=$(cksum </dev/null)

# clip VERB TYPE ASSIGNMENT... -- OPTION...: the clip's checksum under these settings.
clip() {
    verb=$1
    type=$2
    shift 2
    settings=
    while [ "$1" != -- ]; do
        settings="$settings $1"
        shift
    done
    shift
    if [ "$verb" = generate ]; then
        set -- "$shapes" -p 'a red circle moves right' -f 5 --steps 2 -s 1 "$@"
    else
        set -- "$shapes" "$work/dump/latents.safetensors" "$@"
    fi
    # shellcheck disable=SC2086 # a list of assignments
    env $settings "$weft" "$verb" "$@" --dtype "$type" --format rawvideo -o - -q | cksum
}

# granted N ASSIGNMENT... -- OPTION...: the surroundings give the clips of N threads.
granted() {
    count=$1
    shift
    for verb in generate decode; do
        for type in f32 bf16; do
            want=$(clip "$verb" "$type" -- --threads "$count")
            ok "$verb in $type: $*" [ "$want" != "$nothing" -a \
                "$(clip "$verb" "$type" "$@")" = "$want" ]
        done
    done
}

run generate "$shapes" -p 'a red circle moves right' -f 5 --steps 2 -s 1 -q --format null -o - \
    --dump "$work/dump"
ok 'latents were written' [ "$code" = 0 ]
granted 1 OMP_THREAD_LIMIT=1 --
granted 1 OMP_THREAD_LIMIT=1 -- --threads 4
granted 3 OMP_THREAD_LIMIT=3 -- --threads 4
granted 4 OMP_DYNAMIC=true -- --threads 4
granted 2 OMP_DYNAMIC=true OMP_NUM_THREADS=2 --
granted 3 OMP_NUM_THREADS=3,2 --
granted 1 OMP_MAX_ACTIVE_LEVELS=0 -- --threads 2
granted 2 OMP_NUM_THREADS=2 OMP_PROC_BIND=true --
granted 2 OMP_WAIT_POLICY=active OMP_NUM_THREADS=2 OMP_NESTED=true --

# --- a warning says what is granted ---
OMP_THREAD_LIMIT=3 run generate "$shapes" -p 'a red circle moves right' -f 5 --steps 2 -s 1 \
    --threads 4 --progress none --format null -o -
ok 'it ran' [ "$code" = 0 ]
ok 'the warning has both numbers' grep -q 'threads: OpenMP grants 3 of 4' "$work/stderr"

# --- the program starts itself anew, as most users see it ---
unset OMP_WAIT_POLICY GOMP_SPINCOUNT
echo 'a red circle moves right' >"$work/prompt"
first=$("$weft" generate "$shapes" -p @"$work/prompt" -f 5 --steps 2 -s 1 --format rawvideo -o - -q | cksum)
piped=$("$weft" generate "$shapes" -p @/dev/stdin -f 5 --steps 2 -s 1 --format rawvideo -o - -q \
    <"$work/prompt" | cksum) || true
ok 'standard input comes through' [ "$first" = "$piped" ]
run info "$work/no such folder"
ok 'so does an argument with blanks' grep -q 'no such folder' "$work/stderr"
ok 'and the exit status' [ "$code" = 2 ]
finish
