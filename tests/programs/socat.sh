# socat: serve in a child process, in the same process, one way and both ways.
counted=socat
slack=6
head -c 20000000 /dev/urandom >"$work/file"
digest=$(sha256sum <"$work/file")

serve() {
    $mode socat "TCP-LISTEN:$port,bind=127.0.0.1,reuseaddr,fork" EXEC:cat
}

warm() {
    [[ $($client socat -t 20 - "TCP:127.0.0.1:$port" <"$work/file" | sha256sum) == "$digest" ]]
}

use() {
    local until=$((SECONDS + seconds))
    while [[ $SECONDS -lt $until ]]; do
        at_once 3 warm || return 1
    done
}

all_ways

# In one process, to a file.
port=$(free_port)
client=as_client
client_options=()
as_server socat -u "TCP-LISTEN:$port,bind=127.0.0.1,reuseaddr" "CREATE:$work/copy" &
server=$!
wait_for_port "$port"
as_client socat -u "OPEN:$work/file" "TCP:127.0.0.1:$port"
wait "$server"
server=
[[ $(sha256sum <"$work/copy") == "$digest" ]] || fail "a file one way"

# A program that serves standard input and output by stdio, and a shell as its client.
port=$(free_port)
as_server socat "TCP-LISTEN:$port,bind=127.0.0.1,reuseaddr" EXEC:"sed -u s/^/got-/",nofork &
server=$!
wait_for_port "$port"
# shellcheck disable=SC2016
said=$(as_client bash -c 'exec 3<>/dev/tcp/127.0.0.1/$0; for i in 1 2; do echo line$i >&3; read -r -u 3 a; echo "$a"; done' "$port")
wait "$server"
server=
[[ $said == $'got-line1\ngot-line2' ]] || fail "standard input and output by stdio: $said"
