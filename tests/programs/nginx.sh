# nginx, two workers, edge-triggered epoll, sendfile, with curl and wrk.
counted=wrk
mkdir "$work/www"
head -c "${NGINX_FILE:-1G}" /dev/urandom >"$work/www/file"
digest=$(sha256sum <"$work/www/file")
echo "a small page" >"$work/www/small"

serve() {
    cat >"$work/nginx.conf" <<C
daemon off; worker_processes 2; user root; pid $work/pid; error_log stderr;
events { worker_connections 1000; }
http {
    access_log off; sendfile ${sendfile:-on}; tcp_nopush on; keepalive_requests 1000000;
    client_body_temp_path $work/1; proxy_temp_path $work/2; fastcgi_temp_path $work/3;
    uwsgi_temp_path $work/4; scgi_temp_path $work/5;
    server { listen 127.0.0.1:$port; root $work/www; }
}
C
    $mode nginx -c "$work/nginx.conf"
}

warm() {
    [[ $($client curl --silent --max-time 100 "http://127.0.0.1:$port/file" | sha256sum) == "$digest" ]] &&
        [[ $($client curl --silent "http://127.0.0.1:$port/small" "http://127.0.0.1:$port/small") == \
            $'a small page\na small page' ]] &&
        load 1
}

load() {
    $client wrk --threads 1 --connections 50 --duration "$1" "http://127.0.0.1:$port/small" >"$work/wrk.log" &&
        ! grep -E 'Socket errors|Non-2xx' "$work/wrk.log"
}

use() {
    load "$seconds" && grep Requests/sec "$work/wrk.log" && warm
}

all_ways
# Without sendfile, by writev.
sendfile=off
start_server as_server
client_options=()
client=as_client
warm || fail "without sendfile"
stop_server
