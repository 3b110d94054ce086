#!/bin/sh
# samples/clip.sh [PROMPT [OPTION]...]: writes clip.mp4 into the current folder, with the sample
# model. On a fresh Debian 12 it first installs what is missing and builds. The options are those of
# "weft generate".
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/samples/setup.sh"

prompt=${1:-a red circle moves right}
[ $# -eq 0 ] || shift

# shellcheck disable=SC2086 # a list of words
setup_install $setup_packages
setup_build "$root/build" -DCMAKE_BUILD_TYPE=Release -DWEFT_TESTS=OFF

"$root/build/weft" generate "$root/samples/shapes" -p "$prompt" -o clip.mp4 -y "$@"
echo "clip.mp4: $prompt"
