# Shared by samples/clip.sh and tests/run.sh, which source it: installs what is missing (Debian's
# packages) and builds.
# shellcheck shell=sh

setup_packages="gcc g++ cmake ninja-build pkg-config libavcodec-dev libavformat-dev libavutil-dev
libswscale-dev libdnnl-dev libjansson-dev libjpeg62-turbo-dev libpng-dev libsentencepiece-dev
libutf8proc-dev libxxhash-dev"

setup_fail() {
    echo "weft: set-up: $1" >&2
    exit 1
}

# Those of the named packages that are not installed.
setup_missing() {
    for name; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null)" = installed ] ||
            printf '%s ' "$name"
    done
}

# Runs apt-get as root, quietly; what it said is shown when it fails.
setup_apt() {
    if [ "$(id -u)" = 0 ]; then
        env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Dpkg::Use-Pty=0 "$@"
    else
        sudo env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Dpkg::Use-Pty=0 "$@"
    fi >"$setup_log" 2>&1 </dev/null
}

# setup_install PACKAGE...; elsewhere than on Debian and its kind CMake says what is missing.
setup_install() {
    command -v dpkg-query >/dev/null && command -v apt-get >/dev/null || return 0
    missing=$(setup_missing "$@")
    [ -n "$missing" ] || return 0
    [ "$(id -u)" = 0 ] || command -v sudo >/dev/null ||
        setup_fail "not root, and there is no sudo; install these first: $missing"
    echo "weft: set-up: installing $missing" >&2
    setup_log=$(mktemp)
    # Lists that are there may do when they cannot be renewed; a failed install says why.
    setup_apt update || true
    # shellcheck disable=SC2086 # a list of words
    setup_apt install --no-install-recommends $missing || {
        tail -n 20 "$setup_log" >&2
        rm -f "$setup_log"
        setup_fail "apt-get could not install all of: $missing"
    }
    rm -f "$setup_log"
}

# setup_build FOLDER [CMAKE OPTION]...: configures and builds; one that is there is brought up to
# date. The compiler's words are shown when it fails.
setup_build() {
    folder=$1
    shift
    setup_log=$(mktemp)
    echo "weft: set-up: building $(basename "$folder")" >&2
    { cmake -G Ninja -S "$root" -B "$folder" "$@" && cmake --build "$folder"; } \
        >"$setup_log" 2>&1 || {
        tail -n 60 "$setup_log" >&2
        rm -f "$setup_log"
        setup_fail "$(basename "$folder") could not be built"
    }
    rm -f "$setup_log"
}
