# iperf3: both directions, several streams, both at once.
counted=iperf3
no_fallback='the server takes the connection that asks for a test of its own, and has one at a time'
serve() {
    $mode iperf3 --server --port "$port" --bind 127.0.0.1
}

measure() {
    $client iperf3 --client 127.0.0.1 --port "$port" --json "$@" >"$work/iperf3.json" || return 1
    python3 - "$work/iperf3.json" "$*" <<'P'
import json, sys
end = json.load(open(sys.argv[1]))["end"]
sent, got = end["sum_sent"]["bytes"], end["sum_received"]["bytes"]
print("   ", sys.argv[2] or "forward", "%.2f Gbit/s" % (end["sum_received"]["bits_per_second"] / 1e9))
# What is under way at the end is not counted at the receiver.
sys.exit(0 if 0 < got <= sent or abs(sent - got) < sent / 5 else 1)
P
}

warm() {
    measure --time 1
}

use() {
    local each=$(((seconds + 3) / 4))
    measure --time "$each" && measure --time "$each" --reverse && measure --time "$each" --parallel 4 &&
        measure --time "$each" --bidir
}

all_ways
