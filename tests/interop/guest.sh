#!/bin/bash
# Builds the guest whose kernel is our peer: Debian 12 with its kernel, the kernel's software iWARP (siw) as a module,
# and the programs of rdma-core that speak through it.
#
#   tests/interop/guest.sh           builds what is missing, and prints the directory that it is in
#   tests/interop/guest.sh --fresh   builds all of it again
#
# Needs root on a Debian machine, and nothing but the package archive that the machine is configured with. What is
# missing of the tools is installed. The results are kept in target/interop/, named by a hash of what they are made of:
#
#   base-HASH/kernel       Debian's kernel
#   base-HASH/base.cpio    the guest's files: packages, modules, siw.ko
#   base-HASH/build/       the tree in which C is compiled
#   ours-HASH.cpio         our own part, unpacked over it: what the guest runs, and the programs of verbs/
#
# Debian's kernel has all of RDMA's modules but siw. Its source is in linux-source-6.1, and is built as a module
# outside the kernel's tree, against the headers of the same version.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here/../.."

say() {
    printf 'guest: %s\n' "$*" >&2
}

give_up() {
    say "cannot be built: $*"
    exit 1
}

[[ $EUID -eq 0 ]] || give_up "this needs root"
[[ $(uname -m) == x86_64 ]] || give_up "this machine is no x86_64"
command -v apt-get >/dev/null || give_up "this is no Debian machine"

install_tools() {
    local missing=() pair
    for pair in debootstrap:debootstrap qemu-system-x86_64:qemu-system-x86 cpio:cpio ip:iproute2 xz:xz-utils; do
        command -v "${pair%%:*}" >/dev/null || missing+=("${pair#*:}")
    done
    [[ ${#missing[@]} -gt 0 ]] || return 0
    say "installs ${missing[*]}"
    apt-get update --quiet >&2
    DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet --no-install-recommends \
        -o DPkg::Lock::Timeout=300 "${missing[@]}" >&2 || give_up "no tools"
}

# In the chroot: without questions, and without services being started.
chrooted() {
    local root=$1
    shift
    env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C DEBIAN_FRONTEND=noninteractive HOME=/root \
        ${http_proxy:+http_proxy="$http_proxy"} ${https_proxy:+https_proxy="$https_proxy"} chroot "$root" "$@"
}

# Our own part is built often, and quickly: a second archive, unpacked over the first.
build_ours() {
    local base=$1 into=$2 root
    root=$base/ours
    rm -rf "$root"
    mkdir -p "$root/usr/local/bin" "$base/build/tmp/verbs"
    cp "$here"/verbs/* "$base/build/tmp/verbs/"
    chrooted "$base/build" sh -euc '
        cd /tmp/verbs
        gcc -std=gnu11 -O2 -g -Wall -Wextra -Werror -o uwarp-verbs ./*.c -lrdmacm -libverbs -lpthread
    ' >&2 || give_up "verbs/ does not compile"
    cp "$base/build/tmp/verbs/uwarp-verbs" "$root/usr/local/bin/"
    rm -rf "$base/build/tmp/verbs"
    install -m 755 "$here/guest/init" "$root/init"
    install -m 755 "$here/guest/agent" "$root/usr/local/bin/agent"
    (cd "$root" && find . -print0 | LC_ALL=C sort -z | cpio --quiet --null --create --format=newc) >"$into.part"
    mv "$into.part" "$into"
    rm -rf "$root"
}

# shellcheck source=tests/interop/base.sh
source "$here/base.sh"

hash_of() {
    cat "$@" | sha256sum | cut -c 1-16
}

target=${CARGO_TARGET_DIR:-target}/interop
mkdir -p "$target"
target=$(cd "$target" && pwd)
# Two at a time would build into each other.
exec 9>"$target/lock"
flock 9
base=$target/base-$(hash_of "$here/base.sh")
if [[ ${1-} == --fresh ]]; then rm -rf "$target"/base-* "$target"/ours-*; fi
install_tools
if [[ ! -s $base/base.cpio ]]; then
    began=$SECONDS
    rm -rf "$target"/base-* "$target"/ours-*
    build_base "$base.part"
    mv "$base.part" "$base"
    say "built in $((SECONDS - began)) s"
fi
ours=$target/ours-$(hash_of "$base/kernel" "$here"/guest/* "$here"/verbs/*).cpio
if [[ ! -s $ours ]]; then
    rm -f "$target"/ours-*
    build_ours "$base" "$ours"
fi
cat "$base/base.cpio" "$ours" >"$target/initrd.part"
mv "$target/initrd.part" "$target/initrd"
ln -sfn "$base/kernel" "$target/kernel"
printf '%s\n' "$target"
