#!/bin/sh
# Installs the command uwarp, the library that `uwarp run` preloads, its header and its manual page:
# preload/install.sh PREFIX
#
# PREFIX is /usr/local or the like. DESTDIR, if set, stands before it in the file system only, as packagers want it.
# Builds in release mode first, unless UWARP_LIBRARIES names a directory with libuwarp_preload.so and uwarp.
set -eu

prefix=${1:?usage: install.sh PREFIX}
case $prefix in
/*) ;;
*) echo "install.sh: PREFIX has to be an absolute path" >&2; exit 2 ;;
esac
here=$(cd "$(dirname "$0")" && pwd)

if [ -z "${UWARP_LIBRARIES:-}" ]; then
    cargo build --release --lib --manifest-path "$here/Cargo.toml"
    cargo build --release --bin uwarp --manifest-path "$here/../cli/Cargo.toml"
    UWARP_LIBRARIES=$(cargo metadata --no-deps --format-version 1 --manifest-path "$here/Cargo.toml" |
        sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/release
fi

to=${DESTDIR:-}$prefix
install -d "$to/bin" "$to/include" "$to/lib" "$to/share/man/man1"
install -m 755 "$UWARP_LIBRARIES/uwarp" "$to/bin/uwarp"
# The command looks for it in the lib directory beside its bin.
install -m 755 "$UWARP_LIBRARIES/libuwarp_preload.so" "$to/lib/libuwarp_preload.so"
install -m 644 "$here/include/uwarp-ddpmode.h" "$to/include/uwarp-ddpmode.h"
install -m 644 "$here/man/uwarp-run.1" "$to/share/man/man1/uwarp-run.1"
