# Programs of the guest against ours that more than one group wants. Sourced by run.sh, before the cases.

# rping against rdma-core's rping.

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

# The verbs program in the guest, and uwarp's counterpart.

readonly verbs_port=7475

# kernel_listens "ARGUMENTS of the guest" "ARGUMENTS of ours"
kernel_listens() {
    guest_start verbs "${limit:-60}" "uwarp-verbs -l $guest_addr $1"
    guest_listens $verbs_port
    # shellcheck disable=SC2086
    host "$peer" verbs --connect "$guest_addr:$verbs_port" $2
    guest_finish verbs "${limit:-60}"
}

uwarp_listens() {
    # shellcheck disable=SC2086
    host_start verbs "$peer" verbs --listen "$host_addr:$verbs_port" $2
    guest "${limit:-60}" "uwarp-verbs -c $host_addr $1"
    host_finish verbs
}

# both_roles NAME GUEST OURS: as initiator and as responder of ours.
both_roles() {
    check "$1, we connect" kernel_listens "$2" "$3"
    check "$1, siw connects" uwarp_listens "$2" "$3"
}
