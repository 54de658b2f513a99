# haproxy and nginx in front of python3 -m http.server: a connection in DDPMODE from the client to the proxy, and one from
# the proxy to the server.
counted=curl
slack=40
mkdir "$work/www"
head -c 5000000 /dev/urandom >"$work/www/file"
digest=$(sha256sum <"$work/www/file")

serve() {
    local back
    back=$(free_port)
    if [[ $mode == as_server ]]; then
        env UWARP_REPORT="$work/report" UWARP_LISTEN="$back" "$uwarp" run --listen "$back" -- \
            python3 -m http.server --bind 127.0.0.1 --directory "$work/www" "$back" &
        both=(env UWARP_REPORT="$work/report" "$uwarp" run --listen "$port" --ddp "$back" --)
    else
        python3 -m http.server --bind 127.0.0.1 --directory "$work/www" "$back" &
        both=()
    fi
    wait_for_port "$back"
    if [[ $proxy == haproxy ]]; then
        cat >"$work/haproxy.cfg" <<C
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend in
    bind 127.0.0.1:$port
    default_backend out
backend out
    server one 127.0.0.1:$back
C
        "${both[@]}" haproxy -db -f "$work/haproxy.cfg"
    else
        cat >"$work/nginx.conf" <<C
daemon off; worker_processes 2; user root; pid $work/pid; error_log stderr;
events { worker_connections 1000; }
http {
    access_log off;
    client_body_temp_path $work/1; proxy_temp_path $work/2; fastcgi_temp_path $work/3;
    uwsgi_temp_path $work/4; scgi_temp_path $work/5;
    server { listen 127.0.0.1:$port; location / { proxy_pass http://127.0.0.1:$back; } }
}
C
        "${both[@]}" nginx -c "$work/nginx.conf"
    fi
}

get() {
    [[ $($client curl --silent --fail --max-time 60 "http://127.0.0.1:$port/file" | sha256sum) == "$digest" ]]
}

warm() {
    get && get
}

use() {
    local until=$((SECONDS + seconds))
    while [[ $SECONDS -lt $until ]]; do
        at_once 4 get || return 1
    done
}

for proxy in haproxy nginx; do
    say "$proxy:"
    all_ways
done
