#!/bin/bash
# Programs that know nothing of uwarp, under `uwarp run`: tests/programs/run.sh [PROGRAM...], all of them without one.
#
# Each is used for SECONDS_EACH (30) with DDPMODE at both ends, and then shortly with one end plain. What goes through is
# checked by digests or by the program itself; servers must give back descriptors and memory.
#
# Missing Debian packages are installed if this is root.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
root=$PWD
seconds=${SECONDS_EACH:-30}

declare -A packages=(
    [python]="python3 curl wget"
    [redis]="redis-server redis-tools python3"
    [iperf3]="iperf3 python3"
    [nginx]="nginx-light curl wrk python3"
    [socat]="socat python3"
    [postgresql]="postgresql python3"
    [memcached]="memcached python3"
    [scripts]="python3 perl nodejs default-jdk-headless openssl"
    [netcat]="netcat-openbsd python3"
    [lighttpd]="lighttpd apache2-utils curl python3"
    [proxies]="haproxy nginx-light curl python3"
    [inetd]="inetutils-inetd netcat-openbsd python3"
    [ftp]="proftpd-core lftp python3"
    [nbd]="nbdkit libnbd-bin python3"
)
programs=("$@")
[[ ${#programs[@]} -gt 0 ]] || programs=(python redis iperf3 nginx socat postgresql memcached lighttpd proxies netcat inetd ftp nbd scripts)

install_missing() {
    local missing=()
    for program in "${programs[@]}"; do
        for package in ${packages[$program]:?"$program is not known"}; do
            dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
        done
    done
    [[ ${#missing[@]} -gt 0 ]] || return 0
    apt-get update --quiet
    # They are started here, not by the system.
    RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet --no-install-recommends "${missing[@]}"
}

install_missing
cargo build --quiet --release -p uwarp-cli -p uwarp-preload
uwarp=$root/target/release/uwarp

for program in "${programs[@]}"; do
    (
        work=$(mktemp -d)
        chmod 755 "$work"
        server=
        slack=4
        rss_slack=40000
        trap 'stop_server -KILL; rm -rf "$work"' EXIT
        # shellcheck source=lib.sh
        source "$root/tests/programs/lib.sh"
        # shellcheck source=/dev/null
        source "$root/tests/programs/$program.sh"
    )
done
echo "all work"
