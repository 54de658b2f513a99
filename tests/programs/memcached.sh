# memcached, four threads (libevent), with a client in Python that sets, gets, and compares.
counted=python
slack=8
# What is cached stays.
rss_slack=120000

serve() {
    $mode memcached -u root -l 127.0.0.1 -p "$port" -t 4 -m 64
}

# $1 clients at once, so many rounds each.
clients() {
    $client python3 - "$port" "$1" "$2" <<'P'
import hashlib, os, socket, sys, threading
port, count, rounds = map(int, sys.argv[1:])
wrong = []

def one(number):
    s = socket.create_connection(("127.0.0.1", port))
    f = s.makefile("rb")
    for i in range(rounds):
        value = os.urandom(1 + (number * 7919 + i * 104729) % 200000)
        key = b"k%d-%d" % (number, i % 5)
        s.sendall(b"set %s 0 0 %d\r\n%s\r\n" % (key, len(value), value))
        if f.readline() != b"STORED\r\n":
            wrong.append("not stored")
            return
        s.sendall(b"get %s\r\n" % key)
        head = f.readline().split()
        got = f.read(int(head[3]) + 2)[:-2]
        if f.readline() != b"END\r\n" or hashlib.sha256(got).digest() != hashlib.sha256(value).digest():
            wrong.append("not what was set")
            return
    s.sendall(b"quit\r\n")
    if f.read() != b"":
        wrong.append("no end")

def run(number):
    try:
        one(number)
    except Exception as error:
        wrong.append(repr(error))

threads = [threading.Thread(target=run, args=(n,)) for n in range(count)]
[t.start() for t in threads]
[t.join() for t in threads]
sys.exit("; ".join(wrong[:3]) if wrong else 0)
P
}

warm() {
    clients 10 5
}

use() {
    local until=$((SECONDS + seconds))
    while [[ $SECONDS -lt $until ]]; do
        clients 50 20 || return 1
    done
}

all_ways
