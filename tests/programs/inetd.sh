# inetd: programs that find the connection as their standard input and output. One that reads first, one that writes first.
counted=nc
head -c 5000000 /dev/urandom >"$work/file"
digest=$(sha256sum <"$work/file")

serve() {
    second=$(free_port)
    echo "$second" >"$work/second"
    cat >"$work/inetd.conf" <<C
127.0.0.1:$port stream tcp nowait root /bin/cat cat
127.0.0.1:$second stream tcp nowait root /bin/echo echo hello
C
    if [[ $mode == as_server ]]; then
        env UWARP_REPORT="$work/report" "$uwarp" run --listen "$port,$second" -- inetutils-inetd -d "$work/inetd.conf"
    else
        inetutils-inetd -d "$work/inetd.conf"
    fi
}

warm() {
    local second said
    second=$(<"$work/second")
    [[ $($client nc -N 127.0.0.1 "$port" <"$work/file" | sha256sum) == "$digest" ]] || return 1
    wait_for_port "$second"
    if [[ $client == as_client ]]; then
        said=$(port=$second as_client nc -N 127.0.0.1 "$second" </dev/null)
    else
        said=$(nc -N 127.0.0.1 "$second" </dev/null)
    fi
    [[ $said == hello ]]
}

use() {
    local until=$((SECONDS + seconds))
    while [[ $SECONDS -lt $until ]]; do
        at_once 3 warm || return 1
    done
}

all_ways
