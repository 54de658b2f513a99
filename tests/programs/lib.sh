# What the programs' scripts share, sourced by run.sh. Each script defines `serve`, which runs a server by $mode;
# `warm`, which uses it once by $client and checks what it gets; and `use`, which does so for $seconds. Then it calls
# `all_ways`.

fail() {
    printf '%s: FAILED: %s\n' "$program" "$*" >&2
    for log in "$work"/*.log; do
        [[ -s $log ]] && { echo "---- $log" && tail -n 20 "$log"; } >&2
    done
    exit 1
}

say() {
    printf '%s: %s\n' "$program" "$*"
}

# A port that nobody has. Programs that are told it get it a moment later.
free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# Waits until somebody listens; looks only, for a connection would count.
wait_for_port() {
    local hex
    hex=$(printf '%04X' "$1")
    for _ in $(seq 100); do
        if grep -q "^ *[0-9]*: [0-9A-F]*:$hex [0-9A-F]*:0000 0A " /proc/net/tcp /proc/net/tcp6; then
            return
        fi
        sleep 0.1
    done
    fail "nobody listens at port $1"
}

# Under the library: a server, a client.
as_server() {
    env UWARP_REPORT="$work/report" "$uwarp" run --listen "$port" -- "$@"
}

as_client() {
    env UWARP_REPORT="$work/report" "$uwarp" run --ddp "$port" "${client_options[@]}" -- "$@"
}

plain() {
    "$@"
}

# What a server's processes hold: descriptors, and KiB that are resident.
processes() {
    local pid=$1
    echo "$pid"
    for child in $(pgrep -P "$pid" || true); do
        processes "$child"
    done
}

descriptors() {
    local count=0
    for pid in $(processes "$1"); do
        count=$((count + $(ls "/proc/$pid/fd" 2>/dev/null | wc -l)))
    done
    echo "$count"
}

resident() {
    local total=0 one
    for pid in $(processes "$1"); do
        one=$(awk '/^RssAnon/ { print $2 }' "/proc/$pid/status" 2>/dev/null || true)
        total=$((total + ${one:-0}))
    done
    echo "$total"
}

# Runs a command several times at once: at_once COUNT COMMAND...
at_once() {
    local pids=() pid
    for _ in $(seq "$1"); do
        "${@:2}" &
        pids+=($!)
    done
    for pid in "${pids[@]}"; do
        wait "$pid" || return 1
    done
}

# How many connections the processes named $1 have had as $2: begun, accepted or plain.
reported() {
    awk -v name="$1" -v what="$2" '
        index($2, name) == 1 { for (i = 3; i < NF; i++) if ($i == what) sum += $(i + 1) }
        END { print sum + 0 }' "$work/report" 2>/dev/null || echo 0
}

# A server that has been used gives everything back: told once after a first use, then again after many.
check_leaks() {
    local pid=$1 before=$2 rss_before=$3 now rss
    for _ in $(seq 100); do
        now=$(descriptors "$pid")
        if [[ $now -le $((before + slack)) ]]; then
            rss=$(resident "$pid")
            say "descriptors $before before, $now after; resident $rss_before KiB before, $rss KiB after"
            [[ $rss -le $((rss_before + rss_slack)) ]] || fail "memory has grown from $rss_before to $rss KiB"
            return
        fi
        sleep 0.1
    done
    ls -l /proc/"$pid"/fd >&2
    fail "descriptors have grown from $before to $now"
}

# Starts `serve` in a mode, and runs `warm` once so that what is made once is there.
start_server() {
    mode=$1
    port=$(free_port)
    : >"$work/report"
    serve >"$work/server.log" 2>&1 &
    server=$!
    wait_for_port "$port"
}

stop_server() {
    if [[ -n $server ]]; then
        # shellcheck disable=SC2046
        kill "${1:--TERM}" $(processes "$server" | tac) 2>/dev/null || true
        wait "$server" 2>/dev/null || true
    fi
    server=
}

# The three ways: DDPMODE at both ends; a plain client; a client that falls back at a plain server.
all_ways() {
    client_options=()

    start_server as_server
    client=as_client
    warm || fail "the first use, DDPMODE at both ends"
    sleep 0.5
    local before rss
    before=$(descriptors "$server")
    rss=$(resident "$server")
    use || fail "DDPMODE at both ends"
    check_leaks "$server" "$before" "$rss"
    stop_server
    if [[ -n ${counted:-} && $(reported "$counted" begun) -eq 0 ]]; then
        fail "no connection was in DDPMODE: $(cat "$work/report")"
    fi
    say "both ends: works; $(reported "$counted" begun) connections in DDPMODE"

    start_server as_server
    client=plain
    warm || fail "a plain client"
    stop_server
    say "a plain client: works"

    if [[ -n ${no_fallback:-} ]]; then
        say "a plain server, with --fallback: not tried: $no_fallback"
        return
    fi
    start_server plain
    client=as_client
    client_options=(--fallback)
    warm || fail "a plain server"
    stop_server
    say "a plain server, with --fallback: works"
}
