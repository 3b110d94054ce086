#!/bin/sh
# The manual page and bash's completion, which are made from the tables of verbs and options.
set -eu
. "$(dirname "$0")/cli.sh"
build=${WEFT_BUILD_DIR:-$root/build}
: >"$work/stderr"
has() { grep -q -e "$2" "$1"; }

# --- the manual page ---
# What the page has of roff's escapes, as text.
sed 's/\\f[A-Z]//g; s/\\-/-/g; s/\\(ga/`/g; s/\\&//g' "$build/weft.1" >page
for verb in generate decode compare info; do
    ok "page: $verb" has page "^weft $verb "
    "$weft" $verb --help >"$work/stdout"
    for option in $(sed -n 's/^  \(-. \)\{0,1\}--\([a-z0-9-]*\).*/\2/p' "$work/stdout"); do
        ok "page: --$option" has page "^\(-., \)\{0,1\}--$option\( \|,\|\$\)"
    done
done
ok 'page: a rare option' has page '^--flow-shift F$'
ok 'page: another name' has page '^--steps, --num-inference-steps N$'
for section in NAME SYNOPSIS DESCRIPTION OPTIONS FORMATS 'EXIT STATUS' ENVIRONMENT EXAMPLES 'SEE ALSO'; do
    ok "page: $section" has page "^\\.SH $section\$"
done
# lint NAME COMMAND...: it says nothing; where the tool is there.
lint() {
    name=$1
    shift
    command -v "$1" >/dev/null || return 0
    "$@" >"$work/stderr" 2>&1 || true
    ok "page: $name" [ ! -s "$work/stderr" ]
}
lint mandoc mandoc -Tlint "$build/weft.1"
lint groff groff -man -ww -z "$build/weft.1"

# --- the completion ---
command -v bash >/dev/null || { finish && exit; }
mkdir folder
touch prompt.txt 'a clip.mp4'
# replies WORD...: the replies to the last one, in one line; of paths, which readline completes, what
# it is told to do.
replies() {
    bash --norc -c '
        compopt() { echo "($2)"; }
        source "$1"
        COMP_WORDS=("${@:2}")
        COMP_CWORD=$(($# - 2))
        _weft
        echo "${COMPREPLY[*]}"' replies "$build/weft.bash" "$@" 2>"$work/stderr" | tr '\n' ' ' |
        sed 's/ *$//'
}
# expect REPLIES WORD...
expect() {
    wanted=$1
    shift
    got=$(replies "$@")
    if [ "$got" = "$wanted" ] && [ ! -s "$work/stderr" ]; then
        result "completion: $*"
    else
        result "completion: $*" "'$got' instead of '$wanted'"
    fi
}
expect 'generate decode compare info --help --version' weft ''
expect 'decode' weft de
expect '' weft other ''
expect '(dirnames)' weft generate ''
expect '(dirnames)' weft generate --steps 5 ''
expect '(dirnames)' weft generate --tiling = none ''
expect '(default)' weft info --json ''
expect '(default)' weft decode folder ''
expect '(default)' weft compare a.mp4 b
expect '--tiling --tile-size --tile-overlap' weft generate folder --til
expect '--like' weft generate folder --lik
expect '' weft decode folder --lik
expect 'auto none exact blend' weft decode folder --tiling ''
expect 'exact' weft generate folder --tiling ex
expect 'exact' weft generate folder --tiling = ex
expect 'stretch crop pad' weft generate folder --fit =
expect '(default)' weft generate folder -o cl
expect '(dirnames)' weft generate folder --dump ''
expect '(default)' weft compare a b --report ''
expect '' weft generate folder --steps ''
expect '' weft generate folder -p pr
expect '@prompt.txt' weft generate folder -p @ pr
expect '@a\ clip.mp4' weft generate folder -p @a
expect "$("$weft" generate --help | sed -n 's/,//g; s/^  --format NAME *//p')" weft generate folder --format ''
# Every option of every verb completes to itself.
for verb in generate decode compare info; do
    for option in $("$weft" $verb --help | sed -n 's/^  \(-. \)\{0,1\}\(--[a-z0-9-]*\).*/\2/p'); do
        case " $(replies weft $verb a b c "$option") " in
        *" $option "*) result "completion: $verb $option" ;;
        *) result "completion: $verb $option" 'it is missing' ;;
        esac
    done
done
if command -v shellcheck >/dev/null; then
    ok 'completion: shellcheck' shellcheck -s bash -e SC2034,SC2207,SC2206 "$build/weft.bash"
fi
finish
