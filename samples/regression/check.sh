#!/bin/sh
# samples/regression/check.sh MODEL REFERENCES [OPTION]...: makes each clip of the folder REFERENCES again,
# by the request that it carries, and compares the two. Writes results/NAME.mp4 and results/NAME.mp4.xml (JUnit)
# into the current folder. The options are those of "weft compare"; without any, --min-psnr 40. The exit
# status is 0 where all clips are within the thresholds, else 1.
set -eu
[ $# -ge 2 ] || { echo "usage: check.sh MODEL REFERENCES [OPTION]..." >&2 && exit 2; }
weft=${WEFT:-weft}
model=$1
references=$2
shift 2
[ $# -gt 0 ] || set -- --min-psnr 40

mkdir -p results
all=0
good=0
for reference in "$references"/*.mp4 "$references"/*.mkv "$references"/*.mov "$references"/*.webm; do
    [ -e "$reference" ] || continue
    all=$((all + 1))
    clip=results/$(basename "$reference")
    rm -f "$clip.xml" # one of an earlier run would say that all is well
    "$weft" generate "$model" --like "$reference" -q -y -o "$clip" || continue
    "$weft" compare "$reference" "$clip" "$@" --report "$clip.xml" && good=$((good + 1))
done
echo "$good of $all clips are as they were"
[ "$all" -gt 0 ] && [ "$good" = "$all" ]
