# A network that delays, loses and reorders what passes, both ways, and other sizes of packets. The data of each case is
# checked, and no case may take longer than its limit.
#
# It is the guest's kernel that does it: netem where packets leave, and, as it acts on nothing else, a device (ifb) that
# takes in what arrives, to let it leave again towards the guest.

# Segments shall be lost, not the large packets that are passed between the two kernels instead of them.
segments_alone() {
    guest "ethtool -K \$NIC gro $1 gso $1 tso $1"
    ip link set tap0 gso_max_segs "$2"
}

shape() {
    segments_alone off 1
    guest "set -e
        modprobe ifb numifbs=0
        ip link add inward type ifb
        ip link set inward up
        tc qdisc add dev \$NIC handle ffff: ingress
        tc filter add dev \$NIC parent ffff: matchall action mirred egress redirect dev inward
        tc qdisc add dev inward root netem limit 10000 $1
        tc qdisc add dev \$NIC root netem limit 10000 $1"
    guest "ping -c 1 -W 5 $host_addr >/dev/null 2>&1" || true
}

unshape() {
    guest "tc -s qdisc show; tc qdisc del dev \$NIC root; tc qdisc del dev \$NIC ingress; ip link del inward"
    segments_alone on 65535
}

# resize MTU: of both ends of the link. IPv6 wants 1280, and its addresses are gone with less.
resize() {
    ip link set tap0 mtu "$1"
    guest "ip link set \$NIC mtu $1"
    if (($1 >= 1280)); then
        ip addr replace "$host_addr6/64" dev tap0 nodad
        guest "ip addr replace $guest_addr6/64 dev \$NIC nodad"
    fi
}

# counter NAME: a number of TCP's, of our kernel and of the guest's.
counter() {
    local program='/^TcpExt:/ { if (!names) names = split($0, name); else for (i = 1; i <= names; i++) if (name[i] == wanted) print $i }'
    awk -v wanted="$1" "$program" /proc/net/netstat
    guest "awk -v wanted=$1 '$program' /proc/net/netstat"
}

# Fails unless TCP at each end has counted more than then: what we have set up was not there, or was not noticed.
counted() {
    local name=$1 then=$2 now
    now=$(counter "$name")
    paste <(printf '%s\n' "$then") <(printf '%s\n' "$now") |
        awk -v name="$name" '{ more[NR] = $2 - $1 } END { print "note: " name " of ours " more[1] ", of the guest " more[2]
            exit !(NR == 2 && more[1] > 0 && more[2] > 0) }'
}

# through NAME PINGS: the cases of each kind of network.
through() {
    local name=$1 pings=$2
    check "$name: rping, our client, 65000 octets, $pings times" rping_our_client "$guest_addr" 65000 "$pings"
    check "$name: rping, our server, 65000 octets, $pings times" rping_our_server "$host_addr" 65000 "$pings"
    [[ -z $short ]] || return 0
    both_roles "$name: mix, 200 operations of each end" "-n 200 mix" "mix --count 200"
    # Each is 4 MiB in messages of 0 to 1 MiB.
    check "$name: Writes by us, we connect" kernel_listens serve writes
    check "$name: Writes by siw, siw connects" uwarp_listens writes serve
    check "$name: Reads by us, siw connects" uwarp_listens serve reads
    check "$name: Reads by siw, we connect" kernel_listens reads serve
}

limit=90
if [[ -z $short ]]; then
    shape "delay 50ms"
    through "50 ms each way" 10
    unshape >/dev/null
fi

lost=$(counter TCPSackRecovery)
shape "delay 5ms loss 1%"
through "1 % lost" 30
unshape >"$work/netem.loss"
check "1 % lost: TCP has mended it" counted TCPSackRecovery "$lost"

if [[ -z $short ]]; then
    astray=$(counter TCPOFOQueue)
    shape "delay 10ms reorder 25% 50%"
    through "reordered" 30
    unshape >"$work/netem.reorder"
    check "reordered: TCP has sorted it" counted TCPOFOQueue "$astray"

    for mtu in 576 9000; do
        resize $mtu
        through "MTU $mtu" 30
        resize "$link_mtu"
    done
fi
limit=
