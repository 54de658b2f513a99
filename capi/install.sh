#!/bin/sh
# Installs the C library, its header, its pkg-config file and its manual pages: capi/install.sh PREFIX
#
# PREFIX is /usr/local or the like. DESTDIR, if set, stands before it in the file system only, as packagers want it.
# Builds in release mode first, unless UWARP_LIBRARIES names a directory with libuwarp.so and libuwarp.a.
set -eu

prefix=${1:?usage: install.sh PREFIX}
case $prefix in
/*) ;;
*) echo "install.sh: PREFIX has to be an absolute path" >&2; exit 2 ;;
esac
here=$(cd "$(dirname "$0")" && pwd)
version=$(sed -n '/^\[workspace.package\]/,/^\[workspace.dep/s/^version *= *"\(.*\)"/\1/p' "$here/../Cargo.toml")
major=${version%%.*}
rest=${version#*.}
# As long as the version begins with 0, its second number is a part of the interface's.
if [ "$major" = 0 ]; then interface=0.${rest%%.*}; else interface=$major; fi

if [ -z "${UWARP_LIBRARIES:-}" ]; then
    cargo build --release --lib --manifest-path "$here/Cargo.toml"
    UWARP_LIBRARIES=$(cargo metadata --no-deps --format-version 1 --manifest-path "$here/Cargo.toml" |
        sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/release
fi

to=${DESTDIR:-}$prefix
install -d "$to/include" "$to/lib/pkgconfig" "$to/share/man/man3" "$to/share/man/man7"
install -m 644 "$here/include/uwarp.h" "$to/include/uwarp.h"
install -m 755 "$UWARP_LIBRARIES/libuwarp.so" "$to/lib/libuwarp.so.$version"
ln -sf "libuwarp.so.$version" "$to/lib/libuwarp.so.$interface"
ln -sf "libuwarp.so.$interface" "$to/lib/libuwarp.so"
install -m 644 "$UWARP_LIBRARIES/libuwarp.a" "$to/lib/libuwarp.a"
sed -e "s|@prefix@|$prefix|" -e "s|@version@|$version|" "$here/uwarp.pc.in" >"$to/lib/pkgconfig/uwarp.pc"
install -m 644 "$here/man/uwarp.3" "$to/share/man/man3/uwarp.3"
install -m 644 "$here/man/uwarp.7" "$to/share/man/man7/uwarp.7"
