# redis-server with redis-cli and redis-benchmark: values are read back, and the benchmark checks its replies.
counted=redis-benchmark

serve() {
    $mode redis-server --port "$port" --bind 127.0.0.1 --save '' --appendonly no --dir "$work"
}

cli() {
    $client redis-cli -p "$port" "$@"
}

warm() {
    head -c 300000 /dev/urandom | base64 -w 0 >"$work/value"
    [[ $(cli ping) == PONG ]] &&
        [[ $(cli -x set key <"$work/value") == OK ]] &&
        [[ $(cli get key | tr -d '\n' | sha256sum) == $(sha256sum <"$work/value") ]] &&
        [[ $(for i in $(seq 1000); do echo "incr counter"; done | cli | tail -n 1) -ge 1000 ]] &&
        cli del counter >/dev/null &&
        benchmark -n 5000 -t ping,set,get
}

# It ends at the first reply that is an error.
benchmark() {
    $client redis-benchmark -p "$port" -c 50 --csv "$@" >"$work/benchmark.log" 2>&1 &&
        ! grep -iE '^error|: error' "$work/benchmark.log"
}

use() {
    local until=$((SECONDS + seconds))
    while [[ $SECONDS -lt $until ]]; do
        benchmark -n 50000 -t ping,set,get,incr,lpush || return 1
        benchmark -n 100000 -t set,get -P 16 -d 1000 || return 1
        benchmark -n 2000 -t set,get -d 100000 -r 10 || return 1
    done
    cat "$work/benchmark.log"
}

all_ways
