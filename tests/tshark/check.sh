#!/bin/bash
# Lets tshark judge what uwarp sends: captures sessions on loopback and fails unless tshark decodes every octet of
# them, with good CRCs, as the operations that took place.
#
#   tests/tshark/check.sh            all cases
#   tests/tshark/check.sh --keep     and keeps the captures, saying where
#
# Needs tshark, tcpdump, ip and unshare; root, or a kernel that lets users have network namespaces. Each capture is
# made in a network namespace of its own, so that nothing else is in it.
#
# Two things to know of tshark (seen in 4.0). Its dissector "rpcordma" claims Sends that are not its own, so
# it is disabled. And with markers it looks for exactly one FPDU in a TCP segment; so those sessions move messages
# of one segment, of several lengths, while the others move many segments at a time.
set -euo pipefail

readonly end_of_capture="uwarp: end of capture"

# Octets of a full TCP segment where the MTU is an Ethernet's: less the headers of IP and TCP, and a timestamp.
readonly segment=1448

# Inside a fresh namespace: captures what happens while a command runs. An Ethernet's MTU, so that there are many
# segments; and windows that are not soon full, for where they end TCP cuts segments as they come.
capture() {
    local pcap=$1 said tcpdump
    shift
    said=$(mktemp)
    ip link set lo up mtu 1500
    echo "4096 16777216 16777216" >/proc/sys/net/ipv4/tcp_rmem
    tcpdump -i lo --immediate-mode -U -B 65536 -Z root -w "$pcap" "tcp or udp" 2>"$said" &
    tcpdump=$!
    until grep -q "listening on" "$said"; do
        kill -0 "$tcpdump" || { cat "$said"; exit 1; }
        sleep 0.1
    done
    "$@"
    # tcpdump drops what it has not yet read when it is stopped; so the end goes through it, too.
    echo "$end_of_capture" >/dev/udp/127.0.0.1/9
    until grep -q "$end_of_capture" "$pcap"; do sleep 0.1; done
    kill -INT "$tcpdump"
    wait "$tcpdump"
    if ! grep -q "^0 packets dropped by kernel" "$said"; then
        echo "tcpdump has lost packets:"
        cat "$said"
        exit 1
    fi >&2
    rm "$said"
}

if [[ ${1-} == --capture ]]; then
    shift
    capture "$@"
    exit
fi

cd "$(dirname "$0")/../.."
for tool in tshark tcpdump ip unshare; do
    command -v "$tool" >/dev/null || {
        echo "$tool is missing; Debian has it in: tshark, tcpdump, iproute2, util-linux" >&2
        exit 1
    }
done
target=${CARGO_TARGET_DIR:-target}
captures=$(mktemp -d)
if [[ ${1-} == --keep ]]; then
    echo "captures are kept in $captures"
else
    trap 'rm -rf "$captures"' EXIT
fi

in_namespace() {
    if [[ $EUID -eq 0 ]]; then
        unshare --net "$@"
    else
        unshare --user --map-root-user --net "$@"
    fi
}

# tshark, as everything here wants it; what it has to say about root is left out.
decode() {
    local pcap=$1
    shift
    tshark -r "$pcap" --disable-protocol rpcordma -o tcp.relative_sequence_numbers:TRUE "$@" 2>/dev/null
}

# The values of a field, one a line.
values() {
    decode "$1" -T fields -E occurrence=a -E aggregator=, -e "$2" | tr ',' '\n' | sed '/^$/d'
}

fail() {
    echo "  $1" >&2
    exit 1
}

# For each direction of each connection: octets that TCP carried, and octets that tshark took for frames and FPDUs.
accounts() {
    decode "$1" -Y "tcp.len > 0" -T fields -E occurrence=a -E aggregator=, -e tcp.stream -e tcp.srcport \
        -e tcp.seq -e tcp.len -e iwarp_mpa.pdlength -e iwarp_mpa.ulpdulength -e iwarp_mpa.marker_fpduptr |
        awk -F'\t' '
            { way = $1 " " $2; end = $3 + $4 - 1; if (end > carried[way]) carried[way] = end }
            $5 != "" { decoded[way] += 20 + $5 }
            { n = split($6, len, ","); for (i = 1; i <= n; i++) decoded[way] += int((len[i] + 5) / 4) * 4 + 4 }
            { decoded[way] += 4 * split($7, marker, ",") }
            END { for (way in carried) print carried[way], decoded[way] }'
}

# judge PCAP CRC MARKERS OPCODE...: whether a capture is as it should be. CRC and MARKERS are "on" or "off".
judge() {
    local pcap=$1 crc=$2 markers=$3 fpdus good seen opcode carried decoded
    shift 3
    ! decode "$pcap" -Y "_ws.malformed || _ws.expert.severity == error" | grep . || fail "tshark objects to these"

    fpdus=$(values "$pcap" iwarp_mpa.ulpdulength | wc -l)
    good=$(decode "$pcap" -V | grep -c "(Good CRC32)" || true)
    if [[ $crc == on ]]; then
        [[ $good -eq $fpdus ]] || fail "$good good CRCs in $fpdus FPDUs"
    else
        [[ $(values "$pcap" iwarp_mpa.crc | grep -c "^0x00000000$") -eq $fpdus ]] || fail "a CRC field is not 0"
    fi
    if [[ $markers == on ]]; then
        [[ $(values "$pcap" iwarp_mpa.marker_fpduptr | wc -l) -ge 2 ]] || fail "there are no markers"
    fi
    seen=$(values "$pcap" iwarp_rdma.opcode | sort -u)
    for opcode; do
        grep -qx "$opcode" <<<"$seen" || fail "there is no operation $opcode"
    done
    while read -r carried decoded; do
        [[ $carried -eq $decoded ]] || fail "TCP carried $carried octets, tshark decoded $decoded"
    done < <(accounts "$pcap")
    echo "  $fpdus FPDUs decoded to the last octet"
}

# aligned PCAP SEGMENT: whether, in each direction of many segments, 95 of 100 begin where an FPDU does (RFC 5044 s5.1,
# F29). What tcpdump sees may be several segments that are cut later, each of SEGMENT octets but the last. Not for
# streams with markers.
aligned() {
    local way of begin ways=0
    while read -r way of begin; do
        ((begin * 100 >= of * 95)) || fail "$begin of $of TCP segments in direction $way begin with an FPDU"
        echo "  $begin of $of TCP segments begin with an FPDU"
        ways=$((ways + 1))
    done < <(decode "$1" -Y "tcp.len > 0" -T fields -E occurrence=a -E aggregator=, -e tcp.stream -e tcp.srcport \
        -e tcp.seq -e tcp.len -e iwarp_mpa.pdlength -e iwarp_mpa.ulpdulength |
        awk -F'\t' -v segment="$2" '
            { way = $1 "/" $2; ways[NR] = way; seq[NR] = $3; len[NR] = $4 }
            !(way in at) { at[way] = 1; start[way " " 1] = 1 }
            $5 != "" { at[way] += 20 + $5; start[way " " at[way]] = 1 }
            {
                n = split($6, ulpdu, ",")
                for (i = 1; i <= n; i++) { at[way] += int((ulpdu[i] + 5) / 4) * 4 + 4; start[way " " at[way]] = 1 }
            }
            END {
                for (row = 1; row <= NR; row++)
                    for (cut = 0; cut < len[row]; cut += segment) {
                        place = ways[row] " " (seq[row] + cut)
                        all[ways[row]]++
                        if (place in start) begin[ways[row]]++
                    }
                for (way in all) if (all[way] > 100) print way, all[way], begin[way] + 0
            }')
    [[ $ways -eq 2 ]] || fail "$ways directions have many segments"
}

# The operations by their opcodes: Write, Read Request, Read Response, Send, and its three other forms.
readonly every_operation=(0x00 0x01 0x02 0x03 0x04 0x05 0x06)

# session CRC MARKERS ARGUMENT...: captures and judges the example.
session() {
    local crc=$1 markers=$2
    shift 2
    echo "session $*"
    in_namespace "$PWD/tests/tshark/check.sh" --capture "$captures/session$*.pcap" "$target/debug/examples/session" "$@" >/dev/null
    judge "$captures/session$*.pcap" "$crc" "$markers" "${every_operation[@]}"
}

# The Write and the Read of the last session, in TCP segments. The count has to notice when the cuts are elsewhere.
alignment() {
    local pcap=$1
    echo "TCP segments of the same"
    aligned "$pcap" "$segment"
    ! (aligned "$pcap" $((segment - 4))) >/dev/null 2>&1 || fail "cuts at other places were not noticed"
}

# A judge that passes everything proves nothing: one octet of a good capture is changed.
judge_fails() {
    local good=$1 bad=$captures/spoiled.pcap middle octet
    echo "a capture with one wrong octet"
    cp "$good" "$bad"
    # Half-way through the Write: between it and the Read there is more than FPDUs.
    middle=$(($(stat -c %s "$good") / 4))
    octet=$(od -An -tu1 -j "$middle" -N 1 "$good")
    # shellcheck disable=SC2059
    printf "\\x$(printf %02x $((octet ^ 0xff)))" | dd of="$bad" bs=1 seek="$middle" conv=notrunc status=none
    ! (judge "$bad" on off) 2>/dev/null || fail "was found to be good"
    echo "  is found out"
}

# The command that README.md begins with, with less to move.
demo() {
    echo "uwarp demo"
    in_namespace "$PWD/tests/tshark/check.sh" --capture "$captures/demo.pcap" \
        "$target/debug/uwarp" demo --size 4M --sends 200 >/dev/null
    judge "$captures/demo.pcap" on off 0x00 0x01 0x02 0x03
}

cargo build --quiet -p uwarp --example session
cargo build --quiet -p uwarp-cli
demo
session on off
judge_fails "$captures/session.pcap"
session off off --no-crc
session on off --len 1000001
alignment "$captures/session--len 1000001.pcap"
for len in 1 400 508 1000 1400; do
    session on on --markers --len "$len"
done

# Our own decoder has to see the same as tshark, FPDU by FPDU.
echo "uwarp dump"
UWARP_CAPTURES=$captures CI=true cargo test --quiet -p uwarp-inspect --test captures fresh -- --nocapture
