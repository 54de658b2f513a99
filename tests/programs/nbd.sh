# nbdkit and nbdcopy: the server speaks first, the client polls for that, and uses four connections at once.
counted=nbdcopy
slack=8
rss_slack=100000
head -c 50000000 /dev/urandom >"$work/disk"
truncate -s 64M "$work/disk"
digest=$(sha256sum <"$work/disk")

serve() {
    $mode nbdkit -f -i 127.0.0.1 -p "$port" file "$work/disk"
}

warm() {
    [[ $($client nbdcopy "nbd://127.0.0.1:$port" - | sha256sum) == "$digest" ]] &&
        $client nbdcopy "$work/disk" "nbd://127.0.0.1:$port" &&
        [[ $(sha256sum <"$work/disk") == "$digest" ]]
}

use() {
    local until=$((SECONDS + seconds))
    while [[ $SECONDS -lt $until ]]; do
        warm || return 1
    done
}

all_ways
