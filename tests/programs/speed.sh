#!/bin/bash
# How fast programs are under the library, next to themselves without it, in turns: tests/programs/speed.sh [iperf3|redis]...
#
# ROUNDS (5) rounds, of which each has both; SECONDS_EACH (2) for each measurement of iperf3, REQUESTS (100000) for each of
# redis-benchmark, without pipelining and with CLIENTS (50). Printed are the medians and the median of the rounds' ratios.
#
# UWARP names the program `uwarp`, whose library lies beside it (target/release/uwarp). The programs are installed already:
# tests/programs/run.sh does that.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
uwarp=${UWARP:-$PWD/target/release/uwarp}
rounds=${ROUNDS:-5}
seconds=${SECONDS_EACH:-2}
requests=${REQUESTS:-100000}
clients=${CLIENTS:-50}
programs=("$@")
[[ ${#programs[@]} -gt 0 ]] || programs=(iperf3 redis)

work=$(mktemp -d)
program=speed
# shellcheck source=lib.sh
source tests/programs/lib.sh
servers=()
stop() {
    for server in "${servers[@]}"; do
        kill "$server" 2>/dev/null || true
    done
    wait
    rm -rf "$work"
}
trap stop EXIT

# As which ways a program is run: plain, and in DDPMODE with and without the CRC.
ways=(plain crc no_crc)
declare -A ports

# Becomes a server's or a client's command, in a way; in a subshell, which is to be the one that is killed.
run_as() {
    local way=$1 side=$2 port=$3
    shift 3
    local options=()
    [[ $way != no_crc ]] || options=(--no-crc)
    case $way in
        plain) exec "$@" ;;
        *) exec "$uwarp" run "--$side" "$port" "${options[@]}" -- "$@" ;;
    esac
}

start() {
    local way=$1
    shift
    run_as "$way" listen "${ports[$way]}" "$@" >"$work/$way.log" 2>&1 &
    servers+=($!)
    wait_for_port "${ports[$way]}"
}

# Gbit/s.
iperf3_once() {
    run_as "$1" ddp "${ports[$1]}" iperf3 --client 127.0.0.1 --port "${ports[$1]}" --time "$seconds" --json |
        python3 -c 'import json, sys; print(json.load(sys.stdin)["end"]["sum_received"]["bits_per_second"] / 1e9)'
}

# Requests a second.
redis_once() {
    run_as "$1" ddp "${ports[$1]}" redis-benchmark -p "${ports[$1]}" -c "$clients" -n "$requests" -t "$2" --csv |
        tail -n 1 | cut -d, -f2 | tr -d '"'
}

# Rounds of a measurement, and what they come to.
compare() {
    local what=$1 round way
    shift
    for way in "${ways[@]}"; do
        : >"$work/$way.values"
    done
    for round in $(seq "$rounds"); do
        # Nobody is always the first.
        local at
        for at in 0 1 2; do
            way=${ways[$(((at + round) % 3))]}
            "$@" "$way" >>"$work/$way.values"
        done
    done
    python3 - "$what" "$work" <<'P'
import statistics, sys
what, work = sys.argv[1:]
values = {way: [float(line) for line in open(f"{work}/{way}.values")] for way in ("plain", "crc", "no_crc")}
print(what)
for way, own in values.items():
    ratios = [mine / plain for mine, plain in zip(own, values["plain"])]
    print(f"  {way:8}{statistics.median(own):12.2f} [{min(own):.2f} .. {max(own):.2f}]"
          f"   ratio {statistics.median(ratios):.2f} [{min(ratios):.2f} .. {max(ratios):.2f}]")
P
}

redis_ping() { redis_once "$1" ping_mbulk; }
redis_get() { redis_once "$1" get; }

for one in "${programs[@]}"; do
    for way in "${ways[@]}"; do
        ports[$way]=$(free_port)
        case $one in
            iperf3) start "$way" iperf3 --server --bind 127.0.0.1 --port "${ports[$way]}" ;;
            redis)
                start "$way" redis-server --port "${ports[$way]}" --bind 127.0.0.1 --save '' --appendonly no \
                    --dir "$work"
                ;;
            *) fail "no such program: $one" ;;
        esac
    done
    case $one in
        iperf3) compare "iperf3, Gbit/s" iperf3_once ;;
        redis)
            compare "redis-benchmark PING, $clients clients, requests/s" redis_ping
            compare "redis-benchmark GET, $clients clients, requests/s" redis_get
            ;;
    esac
done
