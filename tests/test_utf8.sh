#!/bin/sh
# Names and texts beyond ASCII: folders, files of every kind, prompts, reports, in a locale that knows
# UTF-8 and in one that does not. What is made and said is the same in both.
set -eu
. "$(dirname "$0")/cli.sh"
: >"$work/stderr"
has() { grep -q -e "$2" "$1"; }
kinds='y4m rawvideo safetensors png'
video=png
if "$weft" generate --help | grep -q mp4; then
    kinds="$kinds mp4"
    video=mp4
fi
folder='modèle 赤い'
prompt='ein Füchslein 🦊 赤い'
clip='-W 48 -H 32 -f 5 --steps 1 --seed 3'

# name KIND: a file's; those of pictures have a number.
name() { [ "$1" = png ] && echo 'Bild-ü-%02d.png' || echo "Bild-ü.$1"; }

# make KIND OPTION...
make() {
    kind=$1
    shift
    # shellcheck disable=SC2086 # a list of words
    run generate "$folder" -p "$prompt" $clip -q -o "$(name "$kind")" "$@"
    ok "$LC_ALL: $kind" [ "$code" = 0 ]
}

# In a folder of the locale's own: what it makes lies there to be compared.
in_locale() {
    export LC_ALL="$1"
    mkdir "$1"
    cd "$1"
    cp -r "$model" "$folder"
    chmod -R u+w "$folder"
    for kind in $kinds; do
        make "$kind" --format "$kind" --report "Bericht-$kind-é.json"
    done
    ok "$1: report" has Bericht-y4m-é.json "\"model\": \"$folder\""
    make y4m -y --dump 'Tensoren-ß' --resume 'Stand-ß'
    run info "$folder"
    ok "$1: info" has "$work/stdout" "^$folder: "
    run info "$folder" --json
    ok "$1: info --json" has "$work/stdout" "\"$folder\""
    run decode "$folder" 'Tensoren-ß/latents.safetensors' -q -o 'décodé.y4m'
    ok "$1: decode" cmp 'décodé.y4m' "$(name y4m)"
    printf '%s' "$prompt" >'Text-ж.txt'
    # shellcheck disable=SC2086
    run generate "$folder" -p '@Text-ж.txt' $clip -q -o 'aus-Datei.y4m'
    ok "$1: prompt from a file" cmp aus-Datei.y4m "$(name y4m)"
    run generate "$folder" --like "$(name $video | sed 's/%02d/01/')" -q -o 'wie-ü.y4m'
    ok "$1: --like" cmp 'wie-ü.y4m' "$(name y4m)"
    printf '{"prompt": "ein F\\u00fcchslein 🦊 赤い", "output": "Auftrag-ñ.y4m"}\n' >'Aufträge.jsonl'
    # shellcheck disable=SC2086
    run generate "$folder" $clip -q --jobs 'Aufträge.jsonl'
    ok "$1: --jobs" cmp 'Auftrag-ñ.y4m' "$(name y4m)"
    for kind in html json xml; do
        run compare 'décodé.y4m' "$(name y4m)" --report "Vergleich-ö.$kind" --json
        ok "$1: compare, $kind" [ "$code" = 0 ]
    done
    ok "$1: its report in HTML" has 'Vergleich-ö.html' 'décodé.y4m'
    ok "$1: its report in XML" has 'Vergleich-ö.xml' 'Bild-ü.y4m'
    run generate "$folder" -p "$prompt" -W 50 --format null
    ok "$1: a refusal" [ "$code" = 2 ]
    run generate "$folder" -p "$prompt" --image 'fehlt-ü.png' --format null
    ok "$1: a refusal names the option" [ -z "$(message_fault image)" ]
    run decode "$folder" 'fehlt-ü.safetensors' --format null
    ok "$1: a refusal has the name as it is" [ -z "$(message_fault '^weft: fehlt-ü.safetensors: ')" ]
    run generate "$folder" -p "$prompt" --nicht-ü
    ok "$1: so has one of the words" [ -z "$(message_fault 'nicht-ü')" ]
    cd ..
}
in_locale C
in_locale C.UTF-8
# All but what holds times.
rm -rf C*/Bericht-* C*/Vergleich-* C*/Stand-*
ok 'the same files in both' diff -r C C.UTF-8
finish
