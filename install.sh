#!/bin/sh
# Builds the C library and installs it: shared and static, with its header and a pkg-config file.
#
#   PREFIX=/usr/local LIBDIR=$PREFIX/lib INCLUDEDIR=$PREFIX/include DESTDIR= ./install.sh
#
# The pkg-config file finds everything relative to itself, so the installed tree may be moved. On systems without ELF, use
# cargo-c: `cargo cinstall`.
set -eu
case ${DESTDIR:=} in
'' | /*) ;;
*) DESTDIR=$PWD/$DESTDIR ;;
esac
cd "$(dirname "$0")"

PREFIX=${PREFIX:-/usr/local}
LIBDIR=${LIBDIR:-$PREFIX/lib}
INCLUDEDIR=${INCLUDEDIR:-$PREFIX/include}

if [ "$(uname -s)" = Darwin ]; then
    echo "install.sh: this system's libraries are not ELF; use: cargo install cargo-c && cargo cinstall" >&2
    exit 1
fi

version=$(cargo pkgid | sed 's/.*[@#]//')
soname=libhandoff_watcher.so.${version%%.*}
built=${CARGO_TARGET_DIR:-target}/${CARGO_BUILD_TARGET:+$CARGO_BUILD_TARGET/}release
mkdir -p "$built"
# Only a build of these two alone is optimised as a whole. What the static one needs from the system, rustc knows.
cargo rustc --quiet --release --lib --features capi --crate-type cdylib,staticlib -- \
    --print "native-static-libs=$(cd "$built" && pwd)/native-static-libs"

# How to get from the pkg-config file to what is below PREFIX; what is not is named as it is.
from_prefix() {
    case $1 in
    "$PREFIX"/*) printf '${prefix}%s' "${1#"$PREFIX"}" ;;
    *) printf '%s' "$1" ;;
    esac
}
case $LIBDIR in
"$PREFIX"/*) prefix="\${pcfiledir}/$(printf '%s' "${LIBDIR#"$PREFIX"/}/pkgconfig" | sed 's|[^/][^/]*|..|g')" ;;
*) prefix=$PREFIX ;;
esac

lib=$DESTDIR$LIBDIR
mkdir -p "$lib/pkgconfig" "$DESTDIR$INCLUDEDIR"
install -m 755 "$built/libhandoff_watcher.so" "$lib/libhandoff_watcher.so.$version"
ln -sf "libhandoff_watcher.so.$version" "$lib/$soname"
ln -sf "$soname" "$lib/libhandoff_watcher.so"
install -m 644 "$built/libhandoff_watcher.a" "$lib/libhandoff_watcher.a"
install -m 644 include/handoff_watcher.h "$DESTDIR$INCLUDEDIR/handoff_watcher.h"
cat >"$lib/pkgconfig/handoff_watcher.pc" <<EOF
prefix=$prefix
libdir=$(from_prefix "$LIBDIR")
includedir=$(from_prefix "$INCLUDEDIR")

Name: handoff_watcher
Description: Tells its host which engines are ready, by watching a directory of handoff files
Version: $version
Cflags: -I\${includedir}
Libs: -L\${libdir} -lhandoff_watcher
Libs.private: $(cat "$built/native-static-libs")
EOF
chmod 644 "$lib/pkgconfig/handoff_watcher.pc"

echo "installed handoff_watcher $version below ${DESTDIR}${PREFIX}"
if [ -z "$DESTDIR" ] && command -v ldconfig >/dev/null; then
    # Only root may tell the system's loader.
    ldconfig 2>/dev/null || true
    if ! ldconfig -p | grep -q "$soname"; then
        echo "programs find it with LD_LIBRARY_PATH=$LIBDIR, or when root has run ldconfig with it in /etc/ld.so.conf.d"
    fi
fi
echo "shared library: $(($(wc -c <"$lib/libhandoff_watcher.so.$version") / 1000)) KB"
