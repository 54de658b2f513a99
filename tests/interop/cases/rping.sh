# rdma-core's rping at the one end, uwarp's at the other; both check the data.

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
