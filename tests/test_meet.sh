#!/bin/sh
# Outputs that meet each other or an input, standard streams that are closed, what a killed run leaves
# behind, and signals that are ignored.
set -eu
. "$(dirname "$0")/cli.sh"
cp -r "$model" "$work/model"
model=$work/model
clip="-W 48 -H 32 -f 5 --steps 1 --seed 3"
latents=$fixtures/basic/expect/latents.safetensors

# wait_until COMMAND...: it succeeds, or ten seconds are over.
wait_until() {
    tries=0
    until "$@" || [ $tries = 500 ]; do
        sleep 0.02
        tries=$((tries + 1))
    done
}
part_of() { [ -n "$(find . -name "$1.*.part")" ]; }
has_begun() { grep -q 'denoise 2/' "$work/progress"; }

# meets WORD OPTION...: a request that is carried out but for outputs that meet; nothing changes.
meets() {
    word=$1
    shift
    # shellcheck disable=SC2086 # a list of words
    refused "$word" generate "$model" -p fox $clip "$@"
}

# --- an output and the report, whatever they are called ---
meets 'clip is written' -o a.y4m --report a.y4m
meets 'clip is written' -o a.y4m --report ./a.y4m
meets 'clip is written' -o a.y4m --report ../out/a.y4m
mkdir inner
ln -s . inner/here
meets 'clip is written' -o inner/a.y4m --report inner/here/a.y4m
echo mine >old.y4m
ln old.y4m hard.y4m
ln -s old.y4m soft.y4m
for other in old.y4m hard.y4m soft.y4m; do
    meets 'clip is written' -y -o old.y4m --report $other
done
if "$weft" generate --help | grep -q png; then
    meets 'clip is written' -o 'f-%02d.png' --report f-03.png
fi
meets 'clip is written' --format y4m -o - --report -
# shellcheck disable=SC2086
code=0 && "$weft" generate "$model" -p fox $clip -q --format y4m -o - --report a.y4m >a.y4m \
    2>"$work/stderr" || code=$?
ok 'standard output is a file: refused' [ "$code" = 2 -a ! -s a.y4m ]
rm a.y4m
# shellcheck disable=SC2086
run generate "$model" -p fox $clip -q --format null -o /dev/null --report /dev/null
ok 'a device may be shared' [ "$code" = 0 ]

# --- the dump ---
mkdir dump
meets 'dump writes' --dump dump -o dump/latents.safetensors
meets 'dump writes' --dump dump -o inner/../dump/prompt_embeds.safetensors
meets 'dump writes' --dump dump -o a.y4m --report dump/latents_step_000.safetensors
# shellcheck disable=SC2086
run generate "$model" -p fox $clip -q --dump dump -o dump/frames.safetensors
ok 'other names in its folder are free' [ "$code" = 0 ]
rm -r dump
meets 'dump writes' --dump dump -o dump --format y4m
mkdir dump dump/latents.safetensors
meets 'is no file' --dump dump -o a.y4m
rmdir dump/latents.safetensors
ln -s "$work/model/transformer/diffusion_pytorch_model.safetensors" dump/latents_step_000.safetensors
meets 'this run reads' --dump dump -o a.y4m
rm dump/latents_step_000.safetensors
echo 'a fox' >dump/prompt_embeds.safetensors
meets 'this run reads' --dump dump -p @dump/prompt_embeds.safetensors -o a.y4m
rm -r dump

# --- inputs ---
echo 'a fox' >prompt.txt
meets 'this run reads' -y -p @prompt.txt -o prompt.txt --format y4m
meets 'this run reads' -y -n @prompt.txt -o a.y4m --report prompt.txt
echo 'an owl' >second.txt
echo 'a wren' >negative.txt
meets 'this run reads' -y -p @prompt.txt -p @second.txt -n @negative.txt -o second.txt --format y4m
meets 'this run reads' -y -p @prompt.txt -p @second.txt -n @negative.txt -o negative.txt --format y4m
for file in model_index.json vae/config.json transformer/diffusion_pytorch_model.safetensors; do
    meets 'this run reads' -y -o "$model/$file" --format y4m
    meets 'this run reads' -o a.y4m --report "$model/$file"
done
ln "$model/model_index.json" index
meets 'this run reads' -y -o index --format y4m
cp "$latents" z.safetensors
refused 'this run reads' decode "$model" z.safetensors -y -o z.safetensors
refused 'this run reads' decode "$model" z.safetensors -o a.y4m --report z.safetensors
cp z.safetensors frame-1.png
if "$weft" generate --help | grep -q png; then
    refused 'this run reads' decode "$model" frame-1.png -y -o 'frame-%d.png'
fi
(cd "$model" && "$weft" generate . -p fox $clip -q -o own.y4m &&
    "$weft" generate . -p fox $clip -q -y -o own.y4m) 2>"$work/stderr" && code=0 || code=$?
ok 'a clip in the folder of the model is none of its files' [ "$code" = 0 ]
rm "$model/own.y4m"
ok 'they are what they were' cmp -s z.safetensors "$latents"
rm -rf "$work"/out/*

# --- a finished clip is kept when its name is taken meanwhile ---
# Also on file systems that do not know how to rename without replacing.
cat >"$work/shim.c" <<'END'
#include <errno.h>
int renameat2(int a, const char *b, int c, const char *d, unsigned e)
{
    (void)a, (void)b, (void)c, (void)d, (void)e;
    errno = EINVAL;
    return -1;
}
END
shim=
if ! ldd "$weft" | grep -q 'lib[at]san' && cc -shared -fPIC -o "$work/shim.so" "$work/shim.c"; then
    shim=$work/shim.so
fi
# shellcheck disable=SC2086
LD_PRELOAD=$shim "$weft" generate "$model" -p fox $clip -q -o new.y4m || true
ok 'a new name is given without it' [ -s new.y4m ]
for count in 2 3; do
    [ $count = 2 ] || shim=
    # shellcheck disable=SC2086
    LD_PRELOAD=$shim timeout 60 "$weft" generate "$model" -p fox $clip -f 125 -q -o same.y4m 2>"$work/stderr" &
    pid=$!
    wait_until part_of same.y4m
    echo taken >same.y4m
    code=0
    wait $pid || code=$?
    ok "kept as $count: exit" [ "$code" = 1 ]
    ok "kept as $count: says so" [ -z "$(message_fault "kept as same-$count.y4m")" ]
    ok "kept as $count: whole" [ "$(wc -c <same-$count.y4m)" -gt 250000 ]
    ok "kept as $count: what came is there" [ "$(cat same.y4m)" = taken ]
    ok "kept as $count: no part" [ -z "$(find . -name '*.part')" ]
    rm same.y4m
done
long=$(printf '%0251d' 0).y4m
# shellcheck disable=SC2086
timeout 60 "$weft" generate "$model" -p fox $clip -f 125 -q -o "$long" 2>"$work/stderr" &
pid=$!
wait_until part_of '0*'
echo taken >"$long"
wait $pid || true
ok 'one with a long name too' [ "$(find . -name '0*0-2.y4m' -size +200k | wc -l)" = 1 ]
rm -rf "$work"/out/*

# --- standard output, and who else writes there ---
# shellcheck disable=SC2086
ok "oneDNN's trace is not among the frames" [ "$("$weft" generate "$model" -p fox $clip -q --format y4m -o - |
    cksum)" = "$(ONEDNN_VERBOSE=1 "$weft" generate "$model" -p fox $clip -q --format y4m -o - | cksum)" ]

# --- closed standard streams ---
# shellcheck disable=SC2086
"$weft" generate "$model" -p fox $clip -o good.y4m -q
for closed in '2>&-' '>&-' '<&-' '>&- 2>&-' '<&- >&- 2>&-'; do
    # shellcheck disable=SC2086
    (exec 2>/dev/null && eval "exec $closed" && exec "$weft" generate "$model" -p fox $clip -v --progress plain \
        -o closed.y4m --report closed.json --dump closed)
    ok "started with $closed" cmp -s good.y4m closed.y4m
    ok "started with $closed: the report" grep -q '"family"' closed.json
    rm -r closed.y4m closed.json closed
done
code=0
# shellcheck disable=SC2086
"$weft" generate "$model" -p fox $clip --format y4m -o - >&- 2>"$work/stderr" || code=$?
ok 'standard output is closed: refused' [ "$code" = 2 ]

# --- what a killed run leaves ---
# started NAME: a long run to that output, as far as its first step; its process in $pid.
started() {
    : >"$work/progress"
    # shellcheck disable=SC2086
    env --default-signal=INT,HUP "$weft" generate "$model" -p fox $clip -W 128 -H 128 -f 33 --steps 1000 -o "$1" \
        --progress plain 2>"$work/progress" &
    pid=$!
    wait_until has_begun
}
started a.y4m
kill -KILL $pid
wait $pid || true
ok 'a killed run leaves a part' [ -n "$(find . -name 'a.y4m.*.part')" ]
started b.y4m
held=$(find . -name 'b.y4m.*.part')
mkdir kept
ln -s kept/k.y4m far.y4m
echo >kept/k.y4m
echo >kept/k.y4m.1-0.part
touch a.y4m.part a.y4m.1-2.part.txt b.y4m.x-0.part other.1-0.part
# shellcheck disable=SC2086
run generate "$model" -p fox $clip -q -o a.y4m
ok 'the next run removes it' [ -z "$(find . -name 'a.y4m.[0-9]*.part')" ]
# shellcheck disable=SC2086
run generate "$model" -p fox $clip -q -y -o far.y4m
ok 'also behind a link' [ -s kept/k.y4m -a ! -e kept/k.y4m.1-0.part ]
# shellcheck disable=SC2086
run generate "$model" -p fox $clip -q -o b.y4m
ok 'one that is in use stays' [ -e "$held" ]
ok 'and what only looks like one' [ -e a.y4m.part -a -e a.y4m.1-2.part.txt -a -e b.y4m.x-0.part -a \
    -e other.1-0.part ]

# --- signals ---
kill -HUP $pid
code=0
wait $pid || code=$?
ok 'SIGHUP: exit' [ "$code" = 129 ]
ok 'SIGHUP: nothing left' [ ! -e "$held" ]
: >"$work/progress"
# shellcheck disable=SC2086
nohup env --ignore-signal=INT "$weft" generate "$model" -p fox $clip --steps 300 -o c.y4m \
    --progress plain 2>"$work/progress" >/dev/null &
pid=$!
wait_until has_begun
kill -INT $pid
kill -HUP $pid
code=0
wait $pid || code=$?
ok 'signals that were ignored stay so' [ "$code" = 0 -a -s c.y4m ]
finish
