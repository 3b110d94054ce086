#!/bin/sh
# The house of the design, held up: reads every #include "..." and fails on an arrow that points up,
# on a path that does not start at the root, on a backend's #ifdef in the rooms above, and on
# anything at the top level that does not belong there. Then it checks that it would notice.
set -eu
root=${1:-${WEFT_SOURCE_DIR:-$(cd "$(dirname "$0")/.." && pwd)}}

# Prints a line for each fault of the tree in the current folder.
faults() {
    # shellcheck disable=SC2046 # source files have no spaces in their names
    awk '
    function within(path, folders,    list, n, i) {
        n = split(folders, list, " ")
        for (i = 1; i <= n; i++)
            if (index(path, list[i]) == 1)
                return 1
        return 0
    }
    # The floor of a file and what a file of that floor may include, by the start of the path.
    function allowed(from) {
        if (from ~ /^kernels\/base\//)
            return "kernels/base/"
        if (from ~ /^kernels\//)
            return "kernels/"
        if (from ~ /^io\//)
            return "io/ " device
        if (from ~ /^temporal\//)
            return "temporal/ io/weights/ io/json.h " device
        if (from ~ /^vae\//)
            return "vae/ temporal/ io/weights/ io/json.h " device
        if (from == "engine/weft.h")
            return ""
        if (from ~ /^engine\/cli\//)
            return "engine/weft.h engine/cli/"
        if (from ~ /^engine\//)
            return "engine/ vae/ temporal/ io/ " device
        if (from ~ /^samples\//)
            return "engine/weft.h"
        return "engine/ vae/ temporal/ io/ kernels/ tests/"
    }
    BEGIN { device = "kernels/base/ kernels/backend.h kernels/op.h kernels/rates.h kernels/source.h kernels/tensor.h" }
    /^[ \t]*#[ \t]*include[ \t]*"/ {
        split($0, part, "\"")
        to = part[2]
        if (system("test -f \"" to "\"") != 0)
            print FILENAME ": includes " to ", which is not a path from the root"
        else if (!within(to, allowed(FILENAME)) ||
                 (to ~ /^engine\/cli\// && FILENAME !~ /^(engine\/cli|tests)\//))
            print FILENAME ": includes " to ", an arrow that points up or past a floor"
    }
    /^[ \t]*#[ \t]*(el)?if.*(CUDA|ONEDNN|DNNL)/ && !/^#ifndef WEFT_[A-Z_]*_H$/ && FILENAME !~ /^kernels\// {
        print FILENAME ": asks for a backend; only kernels/ may"
    }' $(find kernels io temporal vae engine tests samples -type f \
        \( -name '*.[ch]' -o -name '*.cc' -o -name '*.inc' -o -name '*.cu' -o -name '*.cuh' \)) /dev/null

    if command -v git >/dev/null && [ -e .git ]; then
        git -c safe.directory='*' ls-files | sed 's,/.*,,' | sort -u | while read -r name; do
            case $name in
            CMakeLists.txt | engine | temporal | vae | io | kernels | tests | samples) ;;
            README.md | LICENSE | .*) ;;
            *) echo "$name: does not belong at the top level" ;;
            esac
        done
    fi
}

# expect_fault FILE LINE: that line in that file is a fault, and the only one.
expect_fault() {
    echo "$2" >"$1"
    found=$(faults)
    case $found in
    "$1: "*) [ "$(echo "$found" | wc -l)" = 1 ] && { rm "$1" && return; } ;;
    esac
    echo "self-test: '$2' in $1 gave: ${found:-no fault}"
    exit 1
}

# expect_none FILE LINE
expect_none() {
    echo "$2" >"$1"
    found=$(faults)
    rm "$1"
    [ -z "$found" ] || { echo "self-test: '$2' in $1 gave: $found"; exit 1; }
}

self_test() {
    folder=$(mktemp -d)
    trap 'rm -rf "$folder"' EXIT
    cd "$folder"
    mkdir -p kernels/base kernels/cpu io/weights io/video temporal vae engine/cli tests samples
    for name in kernels/base/status.h kernels/tensor.h kernels/cpu/cpu.h io/json.h io/image.h \
        io/weights/safetensors.h io/video/sink.h temporal/rope.h vae/vae.h engine/job.h \
        engine/weft.h engine/cli/cli.h; do
        : >$name
    done
    expect_none kernels/x.c '#include "kernels/cpu/cpu.h"'
    expect_none temporal/x.c '#include "io/weights/safetensors.h"'
    expect_none engine/x.c '#include "io/video/sink.h"'
    expect_none engine/cli/x.c '#include "engine/weft.h"'
    expect_none samples/x.c '#include "engine/weft.h"'
    expect_none kernels/x.c '#ifdef WEFT_HAVE_CUDA'
    expect_fault kernels/base/x.c '#include "kernels/tensor.h"'
    expect_fault kernels/x.c '#include "io/json.h"'
    expect_fault io/x.c '#include "temporal/rope.h"'
    expect_fault io/x.c '#include "kernels/cpu/cpu.h"'
    expect_fault temporal/x.c '#include "vae/vae.h"'
    expect_fault temporal/x.c '  #  include "io/video/sink.h"'
    expect_fault vae/x.cc '#include "engine/job.h"'
    expect_fault vae/x.c '#include "io/image.h"'
    expect_fault engine/x.c '#include "engine/cli/cli.h"'
    expect_fault engine/cli/x.c '#include "engine/job.h"'
    expect_fault engine/x.c '#include "job.h"'
    expect_fault samples/x.c '#include "vae/vae.h"'
    expect_fault engine/x.c '#if defined(WEFT_HAVE_CUDA)'
}

cd "$root"
found=$(faults)
[ -z "$found" ] || { echo "$found"; exit 1; }
self_test
