# lighttpd with ab and with 100 parallel transfers of curl.
counted=ab
mkdir "$work/www"
head -c 20000000 /dev/urandom >"$work/www/file"
head -c 50000 /dev/urandom >"$work/www/part"
digest=$(sha256sum <"$work/www/file")

serve() {
    cat >"$work/lighttpd.conf" <<C
server.bind = "127.0.0.1"
server.port = $port
server.document-root = "$work/www"
server.max-keep-alive-requests = 1000
server.modules = ()
C
    $mode lighttpd -D -f "$work/lighttpd.conf"
}

parallel() {
    local urls=()
    rm -rf "$work/got" && mkdir "$work/got"
    for i in $(seq 100); do
        urls+=(-o "$work/got/$i" "http://127.0.0.1:$port/part")
    done
    $client curl --silent --fail --parallel --parallel-immediate --parallel-max 100 --max-time 100 "${urls[@]}" || return 1
    [[ $(cat "$work"/got/* | wc -c) -eq 5000000 ]] &&
        [[ $(sha256sum "$work"/got/* "$work/www/part" | cut -c -64 | sort -u | wc -l) -eq 1 ]]
}

load() {
    $client ab -q -k -n "$1" -c 50 "http://127.0.0.1:$port/part" >"$work/ab.log" 2>&1 &&
        grep -q '^Failed requests: *0$' "$work/ab.log"
}

warm() {
    [[ $($client curl --silent --max-time 100 "http://127.0.0.1:$port/file" | sha256sum) == "$digest" ]] &&
        [[ $($client curl --silent --range 100-199 "http://127.0.0.1:$port/file" | wc -c) -eq 100 ]] &&
        load 200 && parallel
}

use() {
    local until=$((SECONDS + seconds))
    while [[ $SECONDS -lt $until ]]; do
        load 5000 || return 1
    done
    grep 'Requests per second' "$work/ab.log" && warm
}

all_ways
