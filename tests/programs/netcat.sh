# netcat: a large file one way, half-close and the answer behind it, and what killing either end does to the other.
counted=nc
head -c 50000000 /dev/urandom >"$work/file"
digest=$(sha256sum <"$work/file")

one_way() {
    port=$(free_port)
    "$1" nc -N -l 127.0.0.1 "$port" </dev/null >"$work/copy" &
    server=$!
    wait_for_port "$port"
    "$2" nc -N 127.0.0.1 "$port" <"$work/file"
    wait "$server"
    server=
    [[ $(sha256sum <"$work/copy") == "$digest" ]]
}

# The server's file goes out while the client's comes in.
both_directions() {
    port=$(free_port)
    "$1" nc -N -l 127.0.0.1 "$port" <"$work/file" >"$work/copy" &
    server=$!
    wait_for_port "$port"
    [[ $("$2" nc -N 127.0.0.1 "$port" <"$work/file" | sha256sum) == "$digest" ]]
    wait "$server"
    server=
    [[ $(sha256sum <"$work/copy") == "$digest" ]]
}

# Whoever is left ends, and not by time. Both hold their standard input open for ever.
killed() {
    local who hold other
    mkfifo -m 600 "$work/for-ever" 2>/dev/null || true
    exec {hold}<>"$work/for-ever"
    for who in server client; do
        port=$(free_port)
        : >"$work/copy"
        "$1" nc -l 127.0.0.1 "$port" <"$work/for-ever" >"$work/copy" &
        server=$!
        wait_for_port "$port"
        "$2" nc 127.0.0.1 "$port" <"$work/for-ever" >/dev/null &
        other=$!
        echo "some words" >&"$hold"
        sleep 0.5
        if [[ $who == server ]]; then
            # shellcheck disable=SC2046
            kill -KILL $(processes "$server")
            ends "$other" || return 1
        else
            # shellcheck disable=SC2046
            kill -KILL $(processes "$other")
            ends "$server" || return 1
        fi
        wait "$server" "$other" 2>/dev/null || true
        server=
    done
    exec {hold}>&-
}

ends() {
    for _ in $(seq 100); do
        [[ $(ps -o stat= -p "$1") == [!Z]* ]] || return 0
        sleep 0.1
    done
    kill -KILL "$1"
    return 1
}

# A plain server ends with its first connection, so that there is nothing to fall back to.
for way in "as_server as_client" "as_server plain"; do
    read -r a b <<<"$way"
    client_options=()
    : >"$work/report"
    one_way "$a" "$b" || fail "one way, $way"
    both_directions "$a" "$b" || fail "both directions, $way"
    # A plain one that reads the end goes on with its standard input.
    [[ $b == plain ]] || killed "$a" "$b" || fail "killed, $way"
    if [[ $b == as_client && $(reported nc begun) -lt 2 ]]; then
        fail "no connection was in DDPMODE: $(cat "$work/report")"
    fi
    say "$way: works"
done
