# The part of the guest that changes seldom: Debian's packages, kernel and siw. Sourced by guest.sh, which builds it anew
# when this file changes.

readonly suite=bookworm
readonly guest_packages=(
    rdma-core rdmacm-utils ibverbs-utils ibverbs-providers perftest iproute2 ethtool kmod tcpdump procps
)
readonly build_packages=(
    linux-headers-amd64 linux-source-6.1 xz-utils gcc make libc6-dev libibverbs-dev librdmacm-dev
)
readonly guest_modules=(
    virtio_pci virtio_net virtio_console rdma_ucm ib_uverbs siw
    sch_netem ifb sch_ingress cls_matchall act_mirred sch_fq_codel ipv6 configfs
)

# The archive of Debian packages that this machine uses: where its main part is, for a suite; nothing if there is none.
archive_of() {
    apt-get indextargets --format '$(CODENAME) $(REPO_URI)' \
        "Created-By: Packages" "Origin: Debian" "Component: main" |
        awk -v suite="$1" '$1 == suite || suite == "" && $1 !~ /-/ { print $2; exit }'
}

archive() {
    local found
    found=$(archive_of "$suite")
    # A machine with another suite has this one in the same archive.
    [[ -n $found ]] || found=$(archive_of "")
    [[ -n $found ]] || give_up "no archive of Debian's in the machine's apt sources"
    printf '%s\n' "$found"
}

# siw.ko, with the CRC and all as Debian's source has it.
build_siw() {
    local root=$1 version=$2
    say "builds siw for $version"
    chrooted "$root" sh -euc '
        cd /tmp
        tar xf /usr/src/linux-source-6.1.tar.xz linux-source-6.1/drivers/infiniband/sw/siw
        make -C "/usr/src/linux-headers-$1" M=/tmp/linux-source-6.1/drivers/infiniband/sw/siw CONFIG_RDMA_SIW=m modules
    ' sh "$version" >"$root.siw.log" 2>&1 || { tail -20 "$root.siw.log" >&2; give_up "siw does not compile"; }
}

# What a guest without disks and screens never touches.
trim() {
    local root=$1
    rm -rf "$root"/usr/share/{doc,man,locale,info,bug,lintian,perl,i18n,zoneinfo,bash-completion} \
        "$root"/var/{cache,lib/apt,lib/dpkg,log} "$root"/usr/lib/x86_64-linux-gnu/{gconv,perl*} "$root"/usr/lib/locale
    # debootstrap leaves its archives here.
    rm -rf "$root"/tmp/* "$root"/debootstrap
}

# The modules that the guest loads, and what they pull in.
take_modules() {
    local root=$1 build=$2 version=$3 module
    local modules=$build/tmp/kernel/lib/modules/$version
    mkdir -p "$modules/extra"
    cp "$build/tmp/linux-source-6.1/drivers/infiniband/sw/siw/siw.ko" "$modules/extra/"
    mkdir -p "$root/lib/modules/$version"
    cp "$modules"/modules.{order,builtin,builtin.modinfo} "$root/lib/modules/$version/"
    chrooted "$build" depmod -b /tmp/kernel "$version"
    for module in "${guest_modules[@]}"; do
        chrooted "$build" modprobe -d /tmp/kernel -S "$version" --show-depends "$module" ||
            give_up "there is no module $module"
    done | sed -n 's|^insmod .*/kernel/lib/modules/\([^ ]*\).*|\1|p' | sort -u |
        tar -C "$build/tmp/kernel/lib/modules" -c -T - | tar -C "$root/lib/modules" -x
    chrooted "$root" depmod "$version"
}

build_base() {
    local into=$1 mirror security version root=$1/root build=$1/build
    mirror=$(archive)
    mkdir -p "$into"
    say "fetches Debian $suite"
    debootstrap --variant=minbase --include="$(IFS=,; echo "${guest_packages[*]}")" \
        "$suite" "$root" "$mirror" >"$into/debootstrap.log" 2>&1 ||
        { tail -20 "$into/debootstrap.log" >&2; give_up "debootstrap failed"; }
    cp -a "$root" "$build"
    # Nobody minds when this tree is lost in a power failure.
    echo force-unsafe-io >"$build/etc/dpkg/dpkg.cfg.d/interop"
    say "fetches the kernel's source and a compiler"
    printf 'deb %s %s main\n' "$mirror" "$suite" >"$build/etc/apt/sources.list"
    # Where the machine has it, the newest kernel: siw gets mended there, too.
    security=$(archive_of "$suite-security")
    [[ -z $security ]] || printf 'deb %s %s-security main\n' "$security" "$suite" >>"$build/etc/apt/sources.list"
    cp /etc/resolv.conf "$build/etc/resolv.conf"
    if [[ -d /etc/apt/apt.conf.d ]]; then
        # A proxy or a certificate that the machine needs.
        grep -rhs 'Acquire::' /etc/apt/apt.conf /etc/apt/apt.conf.d >"$build/etc/apt/apt.conf.d/90host" || true
    fi
    chrooted "$build" sh -euc '
        apt-get update --quiet
        apt-get install --yes --quiet --no-install-recommends "$@"
        cd /tmp
        version=$(ls /usr/src | sed -n "s/^linux-headers-\(.*-amd64\)$/\1/p")
        apt-get download --quiet "linux-image-$version"
        dpkg-deb -x linux-image-*.deb /tmp/kernel
    ' sh "${build_packages[@]}" >"$into/packages.log" 2>&1 ||
        { tail -20 "$into/packages.log" >&2; give_up "its packages cannot be installed"; }
    version=$(ls "$build/tmp/kernel/lib/modules")
    build_siw "$build" "$version"
    trim "$root"
    take_modules "$root" "$build" "$version"
    cp "$build/tmp/kernel/boot/vmlinuz-$version" "$into/kernel"
    (cd "$root" && find . -print0 | LC_ALL=C sort -z | cpio --quiet --null --create --format=newc) >"$into/base.cpio"
    rm -rf "$root" "$build/tmp/kernel" "$build/tmp/"*.deb "$build"/usr/src/linux-source-* "$build/tmp/linux-source-6.1"
    say "kernel $version, $(($(stat -c %s "$into/base.cpio") >> 20)) MiB of files"
}
