#!/bin/sh
# Installs all of uwarp: the command, the C library and the library to preload, with headers, pkg-config file and manual
# pages: install.sh PREFIX. DESTDIR and UWARP_LIBRARIES are those of capi/install.sh and preload/install.sh, which it calls.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
"$here/capi/install.sh" "${1:?usage: install.sh PREFIX}"
"$here/preload/install.sh" "$1"
