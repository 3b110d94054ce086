#!/bin/sh
# tests/bench.sh [OPTION]...: how fast weft is on this machine, beside diffusers on the same folder.
# On a fresh Debian 12 it first installs what is missing and builds build/. It writes a folder with
# Wan 2.1 1.3B's shapes and random weights, installs torch and diffusers into a virtual environment,
# runs both in turns and prints a table. What it has written is removed at the end.
# Exit status: 0 when all was measured, 1 when something was not, 2 when it could not begin.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/samples/setup.sh"
oracle=$root/tests/oracle
prompt="a red fox in the snow looks into the camera, morning light"
accelerate=accelerate==1.15.0 # without it diffusers fills all weights before it reads them
venv_bytes=6000000000         # with CUDA's libraries, which PyPI's torch has with it
wheel_bytes=4000000000        # while they are unpacked

dir=${TMPDIR:-/tmp}
model=
venv=
peers=diffusers
sizes=128x128x9,256x256x17,480x272x17
quick=
rounds=2
steps=2
guidance=1
threads=0
dtype=bf16
keep=
work=

usage() {
    cat <<END
tests/bench.sh [options]
  --sizes LIST      WIDTHxHEIGHTxFRAMES, with commas between [$sizes]
  --quick           the first size only
  --peers NAME      diffusers, or none: weft alone, without a virtual environment [$peers]
  --rounds N        of weft, then diffusers; the table has the medians [$rounds]
  --steps N         that are measured in each, after one that is not [$steps]
  --guidance F      above 1: two forwards a step [$guidance]
  --dtype NAME      bf16 or f32, for both [$dtype]
  --threads N       for both; 0: as many as weft takes [$threads]
  --dir DIR         where the folder is written [\${TMPDIR:-/tmp}]
  --model MODEL     a folder that is there already
  --venv DIR        a virtual environment that has torch, diffusers, transformers, accelerate, ftfy
  --keep            leave what was written, for --model and --venv of another run
END
}

say() {
    echo "bench: $1" >&2
}

refuse() {
    say "$1"
    exit 2
}

# parse OPTION...: into the variables above.
parse() {
    while [ $# -gt 0 ]; do
        case $1 in
            --help | -h) usage && exit 0 ;;
            --quick) quick=1 && shift && continue ;;
            --keep) keep=1 && shift && continue ;;
        esac
        [ $# -gt 1 ] || refuse "$1: not an option, or without a value; see --help"
        case $1 in
            --sizes) sizes=$2 ;;
            --peers) peers=$2 ;;
            --rounds) rounds=$2 ;;
            --steps) steps=$2 ;;
            --guidance) guidance=$2 ;;
            --dtype) dtype=$2 ;;
            --threads) threads=$2 ;;
            --dir) dir=$2 ;;
            --model) model=$2 ;;
            --venv) venv=$2 ;;
            *) refuse "$1: not an option; see --help" ;;
        esac
        shift 2
    done
}

# number NAME VALUE LEAST
number() {
    case $2 in
        '' | *[!0-9]* | ??????*) refuse "--$1: $2 is not a whole number" ;;
    esac
    [ "$2" -ge "$3" ] || refuse "--$1: $2 is less than $3"
}

check() {
    number rounds "$rounds" 1
    number steps "$steps" 1
    number threads "$threads" 0
    echo "$guidance" | grep -Eqx '[0-9]+(\.[0-9]+)?' || refuse "--guidance: $guidance is not a number"
    case $peers in diffusers | none) ;; *) refuse "--peers: $peers is not diffusers or none" ;; esac
    case $dtype in bf16 | f32) ;; *) refuse "--dtype: $dtype is not bf16 or f32" ;; esac
    [ -z "$quick" ] || sizes=${sizes%%,*}
    sizes=$(echo "$sizes" | tr ',' ' ')
    [ -n "$sizes" ] || refuse "--sizes: there is none"
    for size in $sizes; do
        echo "$size" | grep -Eqx '[0-9]+x[0-9]+x[0-9]+' ||
            refuse "--sizes: $size is not WIDTHxHEIGHTxFRAMES, such as 256x256x17"
    done
    [ -z "$model" ] || [ -f "$model/model_index.json" ] || refuse "--model: no model_index.json in $model"
    [ -z "$venv" ] || [ -x "$venv/bin/python" ] || refuse "--venv: no bin/python in $venv"
    [ -d "$dir" ] || refuse "--dir: $dir is not a folder"
}

install_python() {
    command -v python3 >/dev/null || setup_install python3
    [ "$peers" = none ] || [ -n "$venv" ] || python3 -c 'import ensurepip' 2>/dev/null ||
        setup_install python3-venv
}

tenths() {
    echo "$1" | awk '{ printf "%.1f", $1 / 1e9 }'
}

# Says what will be written and refuses when there is no room for it.
check_room() {
    bytes=0
    extra=0
    if [ -z "$model" ]; then
        bytes=$(python3 "$oracle/bench_model.py" --size)
        say "the model's folder takes $(tenths "$bytes") GB in $dir"
    fi
    if [ "$peers" != none ] && [ -z "$venv" ]; then
        say "the virtual environment takes $(tenths "$venv_bytes") GB there, from PyPI (--venv reuses one)"
        extra=$((venv_bytes + wheel_bytes))
    fi
    needed=$((bytes + extra))
    free=$(($(df -Pk "$dir" | awk 'NR == 2 { print $4 }') * 1024))
    [ "$free" -ge "$needed" ] ||
        refuse "$dir has $(tenths "$free") of $(tenths "$needed") GB that are needed; choose another --dir"
}

clean() {
    if [ -n "$keep" ]; then
        say "kept: $work"
    else
        rm -rf "$work"
    fi
}

begin_work() {
    work=$(mktemp -d "$dir/weft-bench.XXXXXX")
    trap clean EXIT
    trap 'exit 1' HUP INT TERM
    mkdir "$work/results" "$work/tmp"
}

write_model() {
    [ -z "$model" ] || return 0
    model=$work/model
    say "writing $model"
    python3 "$oracle/bench_model.py" --out "$model"
}

# Nothing of it is left elsewhere: pip's cache is off, and its temporary files lie in the folder too.
make_venv() {
    [ "$peers" != none ] && [ -z "$venv" ] || return 0
    venv=$work/venv
    say "installing torch and diffusers into $venv"
    python3 -m venv "$venv"
    TMPDIR="$work/tmp" "$venv/bin/python" -m pip install --quiet --no-cache-dir \
        -r "$oracle/requirements.txt" "$accelerate" || refuse "pip could not install them"
}

# measured LABEL COMMAND...: its words are shown when it fails; the table then has a gap.
measured() {
    say "$1"
    shift
    "$@" >"$work/log" 2>&1 || {
        cat "$work/log" >&2
        return 1
    }
}

# A program of weft's; its threads that wait sleep, as those of the program itself: see main.c. torch
# is left as it comes.
as_weft() {
    program=$root/build/$1
    shift
    env OMP_WAIT_POLICY="${OMP_WAIT_POLICY:-passive}" "$program" "$@"
}

# The rate of weft's products, and each size by both, one after the other.
run_round() {
    round=$1
    measured "round $round: products" as_weft checkops --bench --device cpu --dtype "$dtype" \
        --threads "$threads" gemm && mv "$work/log" "$results/gemm.$round.txt"
    for size in $sizes; do
        file=$results/$size.$round
        measured "round $round: $size, weft" as_weft bench_weft "$model" "$size" "$steps" \
            "$guidance" "$threads" "$dtype" "$prompt" "$file.weft.json" || continue
        mv "$work/log" "$results/device.txt"
        [ "$peers" = none ] || measured "round $round: $size, diffusers" "$venv/bin/python" \
            "$oracle/bench_peer.py" "$model" "$file.weft.json" "$guidance" "$prompt" \
            "$file.diffusers.json" || continue
    done
}

parse "$@"
check
# shellcheck disable=SC2086 # a list of words
setup_install $setup_packages libcmocka-dev
install_python
check_room
begin_work
setup_build "$root/build" -DCMAKE_BUILD_TYPE=Release -DWEFT_TESTS=ON
write_model
make_venv
results=$work/results
i=1
while [ "$i" -le "$rounds" ]; do
    run_round "$i" || true
    i=$((i + 1))
done
# shellcheck disable=SC2086 # a list of words
python3 "$oracle/bench_table.py" --results "$results" --peers "$peers" --rounds "$rounds" \
    --guidance "$guidance" $sizes
