# Programs in scripting languages, and on their usual libraries: asyncio with TLS, socketserver that forks, perl's
# IO::Socket, node's http and cluster, the JVM's sockets and channels. Each is a server and a client of its own; both compare digests.
slack=8
rss_slack=80000
(cd "$work" && openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2 -subj /CN=localhost) 2>/dev/null
here=$root/tests/programs

serve() {
    $mode "${language[@]}" "$here/$script" server "$port" "$work"
}

warm() {
    $client "${language[@]}" "$here/$script" client "$port" "$work" 5
}

use() {
    local until=$((SECONDS + seconds / 4 + 1))
    while [[ $SECONDS -lt $until ]]; do
        $client "${language[@]}" "$here/$script" client "$port" "$work" 20 || return 1
    done
}

for script in ${SCRIPTS:-asyncio_tls.py forking.py lines.pl http.js cluster.js Echo.java}; do
    case $script in
    *.py) language=(python3) ;;
    *.pl) language=(perl) ;;
    *.js) language=(node) ;;
    *.java) language=(java) ;;
    esac
    counted=${language[0]}
    say "$script:"
    all_ways
done
