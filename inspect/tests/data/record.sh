#!/bin/bash
# Makes the captures uwarp-*.pcap in this directory anew: sessions of uwarp with itself on loopback, each in a network
# namespace of its own. Then `cargo test -p uwarp-inspect --test captures` shows what has changed against the
# *.expected.json beside them, which are written by hand from what the test says.
#
# Needs root, tcpdump, ip and unshare. The siw-*.pcap are of Linux's siw with itself, made by rdma-core's rping and
# perftest, and cannot be made here.
set -euo pipefail
cd "$(dirname "$0")/../../.."

cargo build --quiet -p uwarp --example session
cargo build --quiet -p uwarp-cli
readonly data=inspect/tests/data uwarp=target/debug/uwarp session=target/debug/examples/session

record() {
    local name=$1
    shift
    unshare --net tests/tshark/check.sh --capture "$data/uwarp-$name.pcap" "$@" >/dev/null
    ls -l "$data/uwarp-$name.pcap"
}

# Some cases of `uwarp torment` against `uwarp target`: rules are broken here, and Terminates answer.
torment() {
    local target only=()
    for case; do
        only+=(--only "$case")
    done
    "$uwarp" target 127.0.0.1:9753 &
    target=$!
    sleep 0.5
    "$uwarp" torment 127.0.0.1:9753 "${only[@]}"
    kill "$target"
}
export -f torment
export uwarp

# Every operation of RFC 5040 between peers: with CRC, without, and with markers. Messages of one segment are what tshark
# decodes where there are markers; of longer ones, it sees less.
record crc "$session" --len 3000
record plain "$session" --no-crc --len 3000
record markers "$session" --markers --len 1400
record markers-long "$session" --markers --len 5000
# Atomic operations and Immediate Data; Terminates with every kind of header, and siw's layout.
record atomics bash -c "torment atomic/compare-fails atomic/after-read immediate/arrives immediate/solicited"
record terminate bash -c "torment write/unknown-stag read/unknown-stag mo/hole crc/one-bit terminate/bits-swapped"
