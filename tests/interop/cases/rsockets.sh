# Programs that use rsockets: rstream, riostream and rcopy of rdma-core, with our byte stream at the other end.

# How often the guest's TCP has ended a connection since octets came in behind its close.
guest_aborts() {
    guest "awk '/^TcpExt/ { if (!seen++) { for (i = 1; i <= NF; i++) if (\$i == \"TCPAbortOnData\") at = i } else print \$at }' /proc/net/netstat"
}

rstream_our_client() {
    local program=$1 blocking=$2 iterations=$3 count=$4 size=$5
    shift 5
    guest_start rstream 60 "$program -p 7471 -T v -T $blocking -I $iterations -C $count -S $size"
    guest_listens 7471
    local status=0 aborted
    aborted=$(guest_aborts)
    host "$peer" "$program" --connect "$guest_addr:7471" -I "$iterations" -C "$count" -S "$size" "$@" >"$work/said" 2>&1 || status=$?
    cat "$work/said"
    guest_finish rstream
    # It has sent all and was content, but its TCP says that credit of ours has met a socket that was closed.
    if grep -q "TCP connection lost" "$work/said" && [[ $(guest_aborts) -gt $aborted ]]; then echo "$siw_lost_octets"; fi
    return "$status"
}

rstream_our_server() {
    local program=$1 blocking=$2 iterations=$3 count=$4 size=$5
    shift 5
    host_start rstream "$peer" "$program" --listen "$host_addr:7471" -I "$iterations" -C "$count" -S "$size" "$@"
    guest 60 "$program -s $host_addr -p 7471 -T v -T $blocking -I $iterations -C $count -S $size"
    host_finish rstream
}

rcopy_our_client() {
    local size=$1
    shift
    head -c "$size" /dev/urandom >"$work/rcopy.in"
    guest_start rcopy 60 "rcopy -p 7427"
    guest_listens 7427
    host "$peer" rcopy --connect "$guest_addr:7427" "$work/rcopy.in" --name /tmp/rcopy.out "$@"
    local sum
    sum=$(sha256sum <"$work/rcopy.in")
    [[ $(guest "sha256sum </tmp/rcopy.out") == "$sum" ]]
    # It serves on until it is told to stop.
    guest "pkill -x rcopy" || true
}

rcopy_our_server() {
    local size=$1
    shift
    host_start rcopy "$peer" rcopy --listen "$host_addr:7427" "$work/rcopy.out" "$@"
    guest "head -c $size /dev/urandom >/tmp/rcopy.in"
    guest 60 "rcopy /tmp/rcopy.in $host_addr:/whatever -p 7427"
    host_finish rcopy
    local sum
    sum=$(sha256sum <"$work/rcopy.out")
    [[ $(guest "sha256sum </tmp/rcopy.in") == "$sum" ]]
}

for role in our_client our_server; do
    name=${role/_/ }
    check "rstream: $name, 100 transfers of 16" "rstream_$role" rstream b 10 10 16
    check "rstream: $name, 200 transfers of 10000" "rstream_$role" rstream b 10 20 10000
    check "rstream: $name, 5 transfers of 1000000" "rstream_$role" rstream n 1 5 1000000
    if [[ -z $short ]]; then
        check "rstream: $name, 1000 at a time of 1" "rstream_$role" rstream b 2 1000 1
        check "rstream: $name, small rings and few credits" "rstream_$role" rstream n 2 20 30000 --ring 8192 --credits 16
        check "rstream: $name, no CRC" "rstream_$role" rstream n 2 10 100000 --no-crc
    fi
    check "riostream: $name, 10 by 10 transfers of 1000" "rstream_$role" riostream b 10 10 1000
    check "riostream: $name, 5 by 5 transfers of 300000" "rstream_$role" riostream n 5 5 300000
    check "rcopy: $name, 5000000 octets" "rcopy_$role" 5000000
done
