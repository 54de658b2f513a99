# perftest's programs with -R, whose agreement is made over rdma_cm too.

# perf_options SIZE COUNT: what both of their ends want to be told.
perf_options() {
    echo "-R -F -d siw0 -s $1 -n $2"
}

perf_our_client() {
    local program=$1 test=$2 size=$3 count=$4
    guest_start perf 60 "$program $(perf_options "$size" "$count")"
    guest_listens 18515
    host "$peer" perftest "$test" --connect "$guest_addr:18515" -s "$size" -n "$count"
    guest_finish perf
}

perf_our_server() {
    local program=$1 test=$2 size=$3 count=$4
    host_start perf "$peer" perftest "$test" --listen "$host_addr:18515" -s "$size" -n "$count"
    guest 60 "$program $(perf_options "$size" "$count") $host_addr"
    host_finish perf
}

perf_both() {
    check "$1: our client, $4 times $3 octets" perf_our_client "$@"
    check "$1: our server, $4 times $3 octets" perf_our_server "$@"
}

perf_both ib_write_bw write-bw 65536 200
perf_both ib_read_bw read-bw 65536 200
perf_both ib_send_bw send-bw 16384 1000
perf_both ib_write_lat write-lat 64 200
perf_both ib_read_lat read-lat 64 200
perf_both ib_send_lat send-lat 64 200
# With padding: siw would end this connection if TCP segments parted padding and CRC (spec-notes/siw.md).
perf_both ib_write_bw write-bw 1005 20000
if [[ -z $short ]]; then
    perf_both ib_write_bw write-bw 1000 500
    perf_both ib_write_bw write-bw 1048576 20
    perf_both ib_read_bw read-bw 2 500
    perf_both ib_read_bw read-bw 1048576 20
    perf_both ib_send_bw send-bw 64 5000
    perf_both "ib_write_bw -b" write-both-bw 65536 200
    perf_both ib_write_lat write-lat 4096 200
    perf_both ib_read_lat read-lat 20000 200
    perf_both ib_send_lat send-lat 20000 200
fi
