# python3 -m http.server with curl and wget: a file by digest, again and again.
counted=curl
mkdir "$work/www"
head -c 20000000 /dev/urandom >"$work/www/file"
digest=$(sha256sum <"$work/www/file")

serve() {
    $mode python3 -m http.server --bind 127.0.0.1 --directory "$work/www" "$port"
}

fetch() {
    [[ $($client "$@" "http://127.0.0.1:$port/file" | sha256sum) == "$digest" ]]
}

warm() {
    fetch curl --silent --max-time 30 && fetch wget --quiet --timeout 30 --output-document -
}

use() {
    local until=$((SECONDS + seconds))
    while [[ $SECONDS -lt $until ]]; do
        warm || return 1
        at_once 4 fetch curl --silent --max-time 30 || return 1
    done
}

all_ways
