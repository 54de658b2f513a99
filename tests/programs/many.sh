#!/bin/bash
# How many connections one server process under the library holds: tests/programs/many.sh [COUNT], 10000 without it.
#
# A server in Python with an epoll loop, and a client that opens COUNT connections, each with an octet there and back. Both
# are under the library, so that either has two descriptors for each connection; with PLAIN=1 neither is. Printed are how many
# came about, how fast, what is resident for each, and how the first 100 fare that send an octet there and back for 3 s, alone
# and beside the others. UWARP names the program `uwarp` (target/release/uwarp).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
uwarp=${UWARP:-$PWD/target/release/uwarp}
count=${1:-10000}
ulimit -n "$(ulimit -Hn)"
work=$(mktemp -d)
trap 'kill "${server:-0}" 2>/dev/null || true; rm -rf "$work"' EXIT

cat >"$work/server.py" <<'P'
import select, socket
listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
print(listener.getsockname()[1], flush=True)
loop, clients, spare = select.epoll(), {}, True
loop.register(listener, select.EPOLLIN)
while True:
    for fd, _ in loop.poll():
        if fd != listener.fileno():
            try:
                octets = clients[fd].recv(64)
            except OSError as error:
                # The first read makes the stream, and that takes a second descriptor.
                print("the server:", error, flush=True)
                octets = b""
            if octets:
                clients[fd].send(octets)
            else:
                clients.pop(fd).close()
            continue
        try:
            client, _ = listener.accept()
        except OSError as error:
            loop.unregister(listener)
            print("the server:", error, flush=True)
            continue
        clients[client.fileno()] = client
        loop.register(client, select.EPOLLIN)
P
cat >"$work/client.py" <<'P'
import os, select, socket, sys, time
port, count, pid = map(int, sys.argv[1:])
def resident():
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
def busy(clients, beside):
    loop, sent, times = select.epoll(), {}, []
    until = time.monotonic() + 3
    for client in clients:
        loop.register(client, select.EPOLLIN)
        sent[client.fileno()] = client, time.monotonic()
        client.send(b"x")
    while sent:
        for fd, _ in loop.poll():
            client, at = sent.pop(fd)
            client.recv(1)
            now = time.monotonic()
            times.append(now - at)
            if now < until:
                sent[fd] = client, now
                client.send(b"x")
    times.sort()
    print(f"{len(clients)} busy ones {beside}: median {times[len(times) // 2] * 1000:.1f} ms, "
          f"99 % {times[len(times) * 99 // 100] * 1000:.1f} ms, all together {len(times) / 3:.0f}/s", flush=True)
begun, before, clients, time_busy = time.monotonic(), resident(), [], 0
try:
    while len(clients) < count:
        if len(clients) == 100:
            at = time.monotonic()
            busy(clients, "alone")
            time_busy = time.monotonic() - at
        client = socket.create_connection(("127.0.0.1", port))
        client.settimeout(5)
        client.send(b"x")
        if client.recv(1) != b"x":
            break
        clients.append(client)
except OSError as error:
    print("the client:", error)
time_taken = time.monotonic() - begun - time_busy
opened = len(clients)
print(f"{opened} connections, {opened / time_taken:.0f} set-ups/s, "
      f"{(resident() - before) / max(opened, 1):.1f} KiB resident each, "
      f"{len(os.listdir(f'/proc/{pid}/fd'))} descriptors of the server", flush=True)
busy(clients[:100], f"beside {max(opened - 100, 0)} idle ones")
os._exit(0)
P

# Becomes a program under the library, unless it is to be plain; with the two arguments before it.
become() {
    if [[ -n ${PLAIN:-} ]]; then
        exec "${@:3}"
    fi
    exec "$uwarp" run "$1" "$2" -- "${@:3}"
}

become --listen all python3 "$work/server.py" >"$work/server" &
server=$!
until [[ -s $work/server ]]; do sleep 0.1; done
port=$(head -n 1 "$work/server")
(UWARP_EXIT_WAIT_MS=0 become --ddp "$port" python3 "$work/client.py" "$port" "$count" "$server")
tail -n +2 "$work/server"
