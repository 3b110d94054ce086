#!/bin/sh
# What becomes of the output: what the report tells of it, and that a full disk, a reader that
# leaves and a signal leave nothing under its name.
set -eu
. "$(dirname "$0")/cli.sh"

clip="-W 48 -H 32 -f 9 --steps 2 --seed 3"
# shellcheck disable=SC2086 # a list of words
gen() {
    run generate "$model" -p 'a red fox' $clip "$@"
}
has() { grep -q -e "$2" "$1"; }
# Nothing lies in the folder of the outputs but named pipes.
nothing() { [ -z "$(find "$work/out" -mindepth 1 ! -type p)" ]; }
formats='y4m rawvideo safetensors'
piped='y4m rawvideo safetensors'
if "$weft" generate --help | grep -q mp4; then
    formats="$formats mp4 mov mkv webm png"
    piped="$piped mp4 mov mkv webm"
fi

# name FORMAT: of an output.
name() {
    if [ "$1" = png ]; then echo 'clip-%d.png'; else echo "clip.$1"; fi
}

# --- failing while running ---
for format in $piped; do
    gen -q -o /dev/full --format "$format"
    ok "$format, full disk: exit" [ "$code" = 1 ]
    ok "$format, full disk: message" [ -z "$(message_fault 'No space left')" ]
    # shellcheck disable=SC2086
    { "$weft" generate "$model" -p fox $clip -q -o - --format "$format" 2>"$work/stderr" ||
        echo $? >"$work/code"; } | true
    ok "$format, reader gone: exit" [ "$(cat "$work/code")" = 1 ]
    ok "$format, reader gone: message" [ -z "$(message_fault 'broken pipe')" ]
    rm "$work/code"
done
for format in $formats; do
    (
        ulimit -f 0
        gen -q -o "$(name "$format")" --format "$format"
        exit "$code"
    ) && code=0 || code=$?
    ok "$format, no room for a file: exit" [ "$code" = 1 ]
    ok "$format, no room for a file: none" nothing
done

# wait_for WORD: until a run in the background has written it to its progress.
wait_for() {
    tries=0
    until grep -q "$1" "$work/progress" || [ $tries = 600 ]; do
        sleep 0.05
        tries=$((tries + 1))
    done
}

# ended NAME SIGNAL NUMBER: sends it to $pid, which is to leave soon and with one message.
ended() {
    before=$(date +%s)
    kill -"$2" $pid || true
    code=0
    wait $pid || code=$?
    tail -n 1 "$work/progress" >"$work/stderr"
    ok "$1, SIG$2: exit" [ "$code" = $((128 + $3)) ]
    ok "$1, SIG$2: message" [ -z "$(message_fault)" ]
    ok "$1, SIG$2: soon" [ $(($(date +%s) - before)) -le 10 ]
    ok "$1, SIG$2: nothing left" nothing
}

# signal FORMAT SIGNAL NUMBER: ends a long run after its first step.
signal() {
    : >"$work/progress"
    # shellcheck disable=SC2086
    env --default-signal=INT,HUP "$weft" generate "$model" -p fox $clip --steps 1000 -o "$(name "$1")" --format "$1" \
        --progress plain 2>"$work/progress" &
    pid=$!
    wait_for 'denoise 2/'
    ended "$1" "$2" "$3"
}
signal y4m INT 2
signal safetensors TERM 15
case $formats in *mp4*)
    signal mp4 INT 2
    signal png TERM 15
    ;;
esac

# The whole clip is decoded, the reader pauses, and the pipe is full.
mkfifo stalled
sleep 60 <stalled &
reader=$!
: >"$work/progress"
env --default-signal=INT "$weft" generate "$model" -p fox -W 48 -H 32 -f 65 --steps 1 --seed 3 -o stalled \
    --format safetensors --progress plain 2>"$work/progress" &
pid=$!
wait_for 'decode 65/'
ended 'full pipe' INT 2
kill $reader
rm stalled

# --- the report's write stage ---
# told KEY: its value in the last stage of the report.
told() { sed -n "/\"name\": \"write\"/,\$s/.*\"$1\": *\"\{0,1\}\([^\",]*\).*/\1/p" report.json; }
for format in $formats; do
    gen -q -y -o "$(name "$format")" --format "$format" --report report.json
    ok "$format, report: exit" [ "$code" = 0 ]
    ok "$format, report: format" [ "$(told format)" = "$format" ]
    ok "$format, report: frames" [ "$(told frames)" = 9 ]
    ok "$format, report: bytes" [ "$(told bytes)" = "$(cat clip[.-]* | wc -c)" ]
    ok "$format, report: rate" \
        [ "$(told bits_per_second | cut -d. -f1)" = $(($(told bytes) * 8 * 16 / 9)) ]
    ok "$format, report: queue" [ "$(told queue_peak_bytes)" -ge $((48 * 32 * 3)) ]
    ok "$format, report: queue's limit" \
        [ "$(told queue_peak_bytes)" -le "$(told queue_limit_bytes)" ]
    for key in seconds flops peak_host_bytes peak_device_bytes transfer_bytes encode_seconds \
        quality codec pix_fmt packets; do
        ok "$format, report: $key" [ -n "$(told $key)" ]
    done
    case $format in
    mp4 | mov | mkv | webm)
        ok "$format, report: key frames" [ "$(told key_frames)" -ge 1 ]
        ok "$format, report: pixel format" [ "$(told pix_fmt)" = yuv420p ]
        ;;
    y4m) ok 'y4m, report: no encoder' [ "$(told codec)" = null ] ;;
    esac
    rm clip[.-]*
done
gen -q --format null --report report.json
ok 'null, report' [ "$(told bytes)" = 0 ]
if command -v python3 >/dev/null; then
    ok 'the report is JSON' python3 -c 'import json; json.load(open("report.json"))'
fi
rm report.json

# --- messages ---
# x265 leaves a piece of its heap behind.
export ASAN_OPTIONS="${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0"
if [ "$formats" != "$piped" ]; then
    gen -v -o clip.mp4
    ok 'verbose: what the encoder made' has "$work/stderr" '9 frames, .* libx264 yuv420p'
    for codec in libx264 libx265 libsvtav1 libaom-av1 libvpx-vp9; do
        gen -q -y -o clip.mkv -W 64 -H 64 --codec $codec
        if has "$work/stderr" 'no video encoder'; then continue; fi
        ok "$codec: quiet" [ ! -s "$work/stderr" ]
        ok "$codec: exit" [ "$code" = 0 ]
        gen -q -y -o clip.mkv --codec $codec --pix-fmt monow
        ok "$codec: a pixel format that it does not take" [ "$code" = 2 ]
        ok "$codec: says so" [ -z "$(message_fault 'yuv420p')" ]
    done
    gen -q -y -o clip.mkv -W 48 --codec libsvtav1
    ok 'a size that the encoder does not take' [ -z "$(message_fault 'libsvtav1')" ]
fi

finish
