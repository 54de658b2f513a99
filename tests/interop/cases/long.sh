# Not among the groups that are run unless they are named: ten minutes of mixed traffic, in both roles at the same time.
# 500 connections are made one after the other, half of them by each end, and end in all manners; our process may not
# grow after the first of them. INTEROP_LONG_SECONDS and INTEROP_LONG_CONNECTIONS shorten it for trying out.

long_run() {
    local seconds=$1 times=$2
    guest_start kernel-listens $((seconds * 2 + 300)) "uwarp-verbs -l $guest_addr -p 7475 -t $times -s $seconds long"
    guest_listens 7475
    limit=$((seconds * 2 + 300)) host_start long "$peer" long --listen "$host_addr:7476" --connect "$guest_addr:7475" \
        --times "$times" --seconds "$seconds"
    guest_start kernel-connects $((seconds * 2 + 300)) "uwarp-verbs -c $host_addr -p 7476 -t $times -s $seconds long"
    # All three shall have their say, whoever fails.
    local status=0
    limit=$((seconds * 2 + 300)) host_finish long || status=$?
    guest_finish kernel-listens || status=$?
    guest_finish kernel-connects || status=$?
    return "$status"
}

check "long: ${INTEROP_LONG_SECONDS:-600} s, ${INTEROP_LONG_CONNECTIONS:-500} connections" \
    long_run "${INTEROP_LONG_SECONDS:-600}" "$((${INTEROP_LONG_CONNECTIONS:-500} / 2))"
