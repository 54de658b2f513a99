# rdma-core's examples: ucmatose, and rdma_client with rdma_server.

simple_our_client() {
    guest_start simple 30 "rdma_server -p 7471"
    guest_listens 7471
    host "$peer" simple --connect "$guest_addr:7471"
    guest_finish simple
}

simple_our_server() {
    host_start simple "$peer" simple --listen "$host_addr:7471"
    guest 30 "rdma_client -s $host_addr -p 7471"
    host_finish simple
}

cmatose_our_client() {
    guest_start cmatose 60 "ucmatose -c $1 -C $2 -S $3"
    guest_listens 7471
    host "$peer" cmatose --connect "$guest_addr:7471" -c "$1" -C "$2" -S "$3"
    guest_finish cmatose
}

cmatose_our_server() {
    host_start cmatose "$peer" cmatose --listen "$host_addr:7471" -c "$1" -C "$2" -S "$3"
    guest 60 "ucmatose -s $host_addr -c $1 -C $2 -S $3"
    host_finish cmatose
}

check "rdma_server: our client" simple_our_client
check "rdma_client: our server" simple_our_server
check "ucmatose: our client, 10 messages of 100 octets" cmatose_our_client 1 10 100
check "ucmatose: our server, 10 messages of 100 octets" cmatose_our_server 1 10 100
if [[ -z $short ]]; then
    check "ucmatose: our client, 8 connections, 50 messages of 10000" cmatose_our_client 8 50 10000
    check "ucmatose: our server, 8 connections, 50 messages of 10000" cmatose_our_server 8 50 10000
fi
