#!/bin/sh
# samples/regression: a folder of clips that passes, and one that does not.
set -eu
. "$(dirname "$0")/cli.sh"
"$weft" generate --help | grep -q mp4 || { echo "the build has no mp4: skipped" && exit 77; }
has() { grep -q -e "$2" "$1"; }
export WEFT="$weft"

# check CODE ARGUMENT...
check() {
    want=$1
    shift
    code=0
    "$root/samples/regression/check.sh" "$@" >"$work/stdout" 2>"$work/stderr" || code=$?
    ok "check $*: exit $want" [ "$code" = "$want" ]
}

mkdir references empty
for seed in 3 4; do
    "$weft" generate "$model" -p 'a red fox' -W 48 -H 32 -f 5 --steps 1 --seed $seed -q \
        -o "references/clip $seed.mp4"
done
check 0 "$model" references
ok 'both clips' has "$work/stdout" '^2 of 2 clips'
for seed in 3 4; do
    ok 'the same bytes' cmp "references/clip $seed.mp4" "results/clip $seed.mp4"
    ok 'JUnit' has "results/clip $seed.mp4.xml" '<testsuite.* failures="0"'
done
check 0 "$model" references --max-abs 0
# A build whose pixels are others.
cat >worse <<'END'
#!/bin/sh
[ "$1" != generate ] || exec "$REAL" "$@" --crf 50
exec "$REAL" "$@"
END
chmod +x worse
export REAL="$weft" WEFT=./worse
check 1 "$model" references --min-ssim 0.9999
ok 'none of the clips' has "$work/stdout" '^0 of 2 clips'
ok 'failures in JUnit' has 'results/clip 3.mp4.xml' '<failure'
export WEFT="$weft"
check 1 "$model" empty
check 1 missing references
check 2 "$model"
finish
