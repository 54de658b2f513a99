# rdma-core's rping at the one end, uwarp's at the other; both check the data.

rping_our_client() {
    local address=$1 size=$2 count=$3
    shift 3
    guest_start rping 60 "rping -s -a $address -P -V -S $size"
    guest_listens 7174
    host "$uwarp" rping -c -a "$address" -V -S "$size" -C "$count" "$@"
    guest "pkill -x rping" || true
    # A persistent server is ended by a signal; it must not have complained before.
    ! guest_finish rping 10 | grep -i "fail\|error\|bad" || return 1
}

rping_our_server() {
    local address=$1 size=$2 count=$3
    shift 3
    host_start rping "$uwarp" rping -s -a "$address" -V -C "$count" "$@"
    guest 60 "rping -c -a $address -V -S $size -C $count"
    host_finish rping
}

sizes=(64 65 1000 1428 1429 4096 8191 16384 40000 65000)
[[ -z $short ]] || sizes=(64 1429 65000)
for size in "${sizes[@]}"; do
    check "rping: our client, $size octets, 100 times" rping_our_client "$guest_addr" "$size" 100
    check "rping: our server, $size octets, 100 times" rping_our_server "$host_addr" "$size" 100
done
check "rping: our client, CRC declined by us" rping_our_client "$guest_addr" 65000 20 --no-crc
check "rping: our server, CRC declined by us" rping_our_server "$host_addr" 65000 20 --no-crc
check "rping: our client, IPv6" rping_our_client "$guest_addr6" 5000 20
check "rping: our server, IPv6" rping_our_server "$host_addr6" 5000 20
