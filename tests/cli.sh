# Sourced by the tests of the program: where it lies, a folder to work in, and what is counted.
# shellcheck shell=sh
root=${WEFT_SOURCE_DIR:-$(cd "$(dirname "$0")/.." && pwd)}
weft=${WEFT_BUILD_DIR:-$root/build}/weft
[ -x "$weft" ] || { echo "$weft is not there; build first" && exit 1; }
fixtures=$root/tests/fixtures
model=$fixtures/basic/model
work=$(mktemp -d)
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
mkdir "$work/out"
cd "$work/out"
good=0
bad=0

# result NAME [WHY]: counts; without WHY it is good.
result() {
    if [ -z "${2:-}" ]; then
        good=$((good + 1))
    else
        bad=$((bad + 1))
        echo "FAIL $1: $2"
        sed 's/^/    /' "$work/stderr"
    fi
}

# run ARGUMENT...: the program; its streams in stdout and stderr, its exit status in $code.
run() {
    code=0
    timeout 60 "$weft" "$@" >"$work/stdout" 2>"$work/stderr" || code=$?
}

listing() {
    find "$work/out" -type d -print -o -printf '%p %s %T@\n' | sort
}

# The message is one line, "weft: WHERE: WHAT WAS WRONG; WHAT TO DO".
message_fault() {
    if [ "$(wc -l <"$work/stderr")" != 1 ]; then
        echo "not one line on standard error"
    elif ! grep -q '^weft: .' "$work/stderr"; then
        echo "the message does not begin with weft:"
    elif [ "$(wc -c <"$work/stderr")" -gt 700 ]; then
        echo "the message is too long"
    elif [ -n "${1:-}" ] && ! grep -q -e "$1" "$work/stderr"; then
        echo "the message does not have '$1'"
    fi
}

# refused WORD ARGUMENT...: exit 2, one line that has WORD, nothing on standard output, nothing
# written or changed.
refused() {
    word=$1
    shift
    before=$(listing)
    run "$@"
    why=$(message_fault "$word")
    [ "$code" = 2 ] || why="exit $code instead of 2"
    [ ! -s "$work/stdout" ] || why="something on standard output"
    [ "$before" = "$(listing)" ] || why="files were written"
    result "refused: $*" "$why"
}

# ok NAME COMMAND...: the command succeeds.
ok() {
    name=$1
    shift
    if "$@"; then result "$name"; else result "$name" "not so: $*"; fi
}

finish() {
    echo "$good good, $bad bad"
    [ "$bad" = 0 ]
}
