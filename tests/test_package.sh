#!/bin/sh
# The Debian packages: made, looked at, unpacked, and the program run from there.
set -eu
. "$(dirname "$0")/cli.sh"
build=${WEFT_BUILD_DIR:-$root/build}
for tool in cpack dpkg-deb dpkg-shlibdeps file; do
    command -v $tool >/dev/null || { echo "no $tool here" && exit 77; }
done
here=$work/tree
has() { grep -q -e "$2" "$1"; }
: >"$work/stderr"

cpack --config "$build/CPackConfig.cmake" -B "$work/packages" >"$work/stderr" 2>&1 ||
    result 'cpack' 'it failed'
ok 'cpack: no warnings' [ -z "$(grep -i warning "$work/stderr")" ]
deb=$(find "$work/packages" -maxdepth 1 -name 'weft_*.deb')
[ -f "$deb" ] || { result 'weft_*.deb' 'it was not made'; finish; }

# field NAME [PACKAGE]
field() { dpkg-deb --field "${2:-$deb}" "$1"; }
ok 'name' [ "$(field Package)" = weft ]
ok 'version' [ "weft $(field Version)" = "$("$weft" --version)" ]
ok 'section' [ "$(field Section)" = video ]
ok 'maintainer' [ "$(field Maintainer)" = 'The weft authors' ]
ok 'description' [ "$(field Description | wc -l)" -ge 2 ]
field Depends | tr ',' '\n' >depends
for library in libc6 libjansson4 libsentencepiece0; do
    ok "depends on $library" has depends "^ *$library "
done
ok 'depends on nothing of CUDA' sh -c '! grep -i -e cuda -e cudnn -e cublas -e nvidia depends'

dpkg-deb --contents "$deb" >contents
for file in bin/weft include/weft.h lib/libweft.so.0 lib/libweft.so lib/libweft.a lib/pkgconfig/weft.pc \
    share/man/man1/weft.1 share/bash-completion/completions/weft share/doc/weft/copyright \
    share/doc/weft/examples/weft.py; do
    ok "holds $file" has contents " \./usr/$file\( \|\$\)"
done
ok 'all of it is root'\''s' sh -c '! grep -v " root/root " contents'
ok 'all of it is below /usr' sh -c '! grep -v " \./usr/" contents'

dpkg-deb -x "$deb" "$here"
module=$(find "$work/packages" -maxdepth 1 -name 'weft-cuda_*.deb')
if [ -f "$build/weft-cuda.so" ]; then
    ok 'weft-cuda: depends' [ "$(field Depends "$module")" = "weft (= $(field Version)), libc6, libgomp1, libstdc++6" ]
    dpkg-deb -x "$module" "$here"
    ok 'weft-cuda: the module' [ -f "$here/usr/lib/weft/weft-cuda.so" ]
fi
# Found by its name, as a user does it.
PATH=$here/usr/bin:$PATH
weft=weft
run --version
ok 'it runs' [ "$code" = 0 ]
run generate "$model" -p 'a red fox' -W 48 -H 32 -f 5 --steps 1 --seed 3 -q -o packed.y4m
ok 'it makes a clip' [ -s packed.y4m ]
"$build/weft" generate "$model" -p 'a red fox' -W 48 -H 32 -f 5 --steps 1 --seed 3 -q -o built.y4m
ok 'the same clip' cmp packed.y4m built.y4m
if [ -n "$module" ]; then
    run generate "$model" -p fox -W 32 -H 32 -f 1 --steps 1 --format null --device cuda
    ok 'its module is found' sh -c "! grep 'needs weft-cuda.so' '$work/stderr'"
fi
ok 'pkg-config' [ "$(PKG_CONFIG_PATH=$here/usr/lib/pkgconfig pkg-config --modversion weft)" = "$(field Version)" ]
finish
