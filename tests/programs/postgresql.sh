# PostgreSQL, a process for each client, with psql and pgbench.
counted=pgbench
bin=$(ls -d /usr/lib/postgresql/*/bin | tail -n 1)
rss_slack=150000
# The server does not run as root; what it is run with has to be where it may look.
cp "$uwarp" "$(dirname "$uwarp")/libuwarp_preload.so" "$work/"
uwarp=$work/uwarp
mkdir "$work/data"
chown postgres "$work" "$work/data"
as_postgres=(runuser -u postgres --)
"${as_postgres[@]}" "$bin/initdb" -D "$work/data" -A trust -N >"$work/initdb.log"
touch "$work/report"
chmod 666 "$work/report"

serve() {
    $mode "${as_postgres[@]}" "$bin/postgres" -D "$work/data" -p "$port" -k "$work" -h 127.0.0.1
}

psql_() {
    $client psql -h 127.0.0.1 -p "$port" -U postgres -tAq "$@" postgres
}

bench() {
    $client "$bin/pgbench" -h 127.0.0.1 -p "$port" -U postgres "$@" postgres >"$work/pgbench.log" 2>&1
}

warm() {
    local rows="select x, md5(x::text) from generate_series(1, 200000) x"
    for _ in $(seq 50); do
        psql_ -c "select 1" >/dev/null 2>&1 && break
        sleep 0.1
    done
    [[ $(psql_ -c "$rows" | sha256sum) == \
        $(python3 -c '
import hashlib
for x in range(1, 200001):
    print("%d|%s" % (x, hashlib.md5(str(x).encode()).hexdigest()))' | sha256sum) ]] &&
        bench -i -s 1 -q && bench -c 4 -j 2 -t 20
}

use() {
    bench -c 8 -j 2 -T "$seconds" && grep -E '^tps|failed' "$work/pgbench.log" &&
        grep -q 'failed transactions: 0' "$work/pgbench.log" &&
        bench -c 4 -j 2 -t 10 -C &&
        [[ $(psql_ -c "select sum(abalance) = (select sum(tbalance) from pgbench_tellers) from pgbench_accounts") == t ]]
}

stop_server() {
    # SIGINT: clients that are left are sent away.
    local pid
    if [[ -n $server ]] && pid=$(head -n 1 "$work/data/postmaster.pid" 2>/dev/null); then
        kill -INT "$pid" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
    fi
    server=
}

all_ways
