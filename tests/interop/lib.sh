# What the cases are written with: the guest, commands in it and on our side, and the table of results.
# Sourced by run.sh, which has made a network namespace of our own by then.

readonly host_addr=10.77.0.1 guest_addr=10.77.0.2
readonly host_addr6=fd77::1 guest_addr6=fd77::2
# The link's MTU: larger ones are set when a case wants them.
readonly link_mtu=1500

guest_pid=

say() {
    printf '%s\n' "$*" >&2
}

die() {
    say "interop: $*"
    exit 1
}

# Starts the guest and waits until its agent has answered; fails, and says why, if it does not.
boot_guest() {
    local began=$SECONDS
    ip link set lo up
    ip tuntap add dev tap0 mode tap || { say "interop: no TAP device can be made"; return 1; }
    # A guest that is slow shall make the queue long, and lose nothing: nobody repeats a reset.
    ip link set tap0 mtu "$link_mtu" txqueuelen 20000 up
    ip addr add "$host_addr/24" dev tap0
    ip addr add "$host_addr6/64" dev tap0 nodad
    # For looking into what a case did: what passes goes to a file, which `uwarp dump` reads.
    if [[ -n ${INTEROP_CAPTURE-} ]]; then
        tcpdump -U -i tap0 -B 65536 -w "$work/capture.pcap" 2>"$work/tcpdump.log" &
    fi
    mkfifo "$work/agent.in" "$work/agent.out"
    # On a machine whose KVM works, INTEROP_ACCEL=kvm is faster; emulation works everywhere.
    qemu-system-x86_64 -accel "${INTEROP_ACCEL:-tcg,thread=multi}" -cpu max -smp 2 -m 3072 \
        -nodefaults -no-user-config -display none -no-reboot \
        -kernel "$guest/kernel" -initrd "$guest/initrd" \
        -append "console=ttyS0 panic=-1 mitigations=off tsc=reliable random.trust_cpu=on log_buf_len=16M printk.devkmsg=on guest.addr=$guest_addr/24 guest.addr6=$guest_addr6/64" \
        -serial "file:$work/console.log" \
        -netdev tap,id=net,ifname=tap0,script=no,downscript=no -device virtio-net-pci,netdev=net \
        -device virtio-serial-pci -chardev "pipe,id=agent,path=$work/agent" \
        -device virtserialport,chardev=agent,name=uwarp.agent \
        </dev/null >"$work/qemu.log" 2>&1 &
    guest_pid=$!
    exec 7<>"$work/agent.in" 8<>"$work/agent.out"
    local line=
    until [[ $line == up ]]; do
        if ! kill -0 "$guest_pid" 2>/dev/null; then
            cat "$work/qemu.log" >&2
            say "interop: the guest cannot be booted: qemu has ended"
            return 1
        fi
        ((SECONDS - began < ${INTEROP_BOOT_SECONDS:-180})) || {
            tail -20 "$work/console.log" >&2
            say "interop: the guest has not come up in $((SECONDS - began)) s"
            return 1
        }
        read -r -t 1 line <&8 || true
    done
    guest "true" || { say "interop: the guest's agent does not work"; return 1; }
    say "the guest is up after $((SECONDS - began)) s: $(guest 'uname -r; echo -n "siw "; rdma link show siw0/1 | grep -o "state [A-Z]*"' | paste -sd' ')"
}

halt_guest() {
    [[ -n $guest_pid ]] || return 0
    kill "$guest_pid" 2>/dev/null
    wait "$guest_pid" 2>/dev/null
    guest_pid=
}

# Runs a script of bash's in the guest: what it writes is written, its status is returned. One at a time.
# The time that a command may take is the first argument if that is a number, else 30 s; status 124 if it is not kept.
guest() {
    local limit=30 line status=
    if [[ $1 =~ ^[0-9]+$ ]]; then
        limit=$1
        shift
    fi
    # The limit is enforced inside, so that the agent stays in step; outside only in case the guest is dead.
    base64 -w 0 >&7 <<<"timeout -k 2 $limit bash -c $(printf '%q' "$1")"
    echo >&7
    : >"$work/answer"
    while true; do
        if ! read -r -t $((limit + 30)) line <&8; then
            say "the guest does not answer any more:"
            tail -30 "$work/console.log" >&2
            die "the guest is dead"
        fi
        if [[ $line == ". "* ]]; then
            status=${line#. }
            break
        fi
        printf '%s\n' "$line" >>"$work/answer"
    done
    base64 -d <"$work/answer"
    return "$status"
}

# Starts a program in the guest in the background; what it says goes to /tmp/NAME.log there, and its status follows.
guest_start() {
    local name=$1 limit=$2 command=$3
    guest "rm -f /tmp/$name.status; (timeout -k 2 $limit bash -c $(printf '%q' "$command") >/tmp/$name.log 2>&1; echo \$? >/tmp/$name.status) </dev/null >/dev/null 2>&1 &"
}

# Waits for it to end: writes what it said, returns its status.
guest_finish() {
    local name=$1 limit=${2:-30}
    guest $((limit + 5)) "for i in \$(seq $((limit * 10))); do [[ -s /tmp/$name.status ]] && break; sleep 0.1; done
        cat /tmp/$name.log; exit \$(cat /tmp/$name.status 2>/dev/null || echo 124)"
}

# Waits until somebody in the guest listens on a port of rdma_cm: its listeners are seen by no tool of TCP's.
guest_listens() {
    local port=$1
    guest "for i in \$(seq 50); do rdma resource show cm_id 2>/dev/null | grep -q ':$port .*LISTEN\\|LISTEN.*:$port ' && exit 0; sleep 0.1; done; exit 1"
}

# Kernel messages that nobody wants to see.
readonly complaint_pattern='WARNING:|BUG:|Oops|general protection|Call Trace|refcount_t|KASAN|stall|blocked for more than|hung task'
kernel_complaints() {
    grep -aE "$complaint_pattern" "$work/console.log" || true
}

passed=0
failed=0
impossible=0

# A line of the table.
verdict() {
    local name=$1 outcome=$2 why=${3-}
    printf '%-52s %-13s %s\n' "$name" "$outcome" "$why" | sed 's/ *$//'
    printf '%s\t%s\t%s\n' "$name" "$outcome" "$why" >>"$work/table"
    case $outcome in
        pass) passed=$((passed + 1)) ;;
        fail) failed=$((failed + 1)) ;;
        *) impossible=$((impossible + 1)) ;;
    esac
}

# What siw does now and then, whoever is at the other end (spec-notes/siw.md): a CRC is miscalculated, which the Terminate
# says, whoever sent it; or what it has not sent yet is lost when a program closes.
readonly siw_crc_error='2/0/02'
readonly siw_lost_octets='siw closed before it had sent all'
readonly siw_errs="$siw_crc_error\|$siw_lost_octets"
# So often a case is played if only this is in its way.
readonly plays_max=3

# Nothing that hangs shall be in the way of the next case.
stop_programs() {
    guest 'pkill -KILL -x "rping|ucmatose|rdma_server|rdma_client|ib_.*|uwarp-verbs|rstream|riostream|rcopy"' || true
}

# check NAME COMMAND...: the case passes if the command succeeds; what it said is shown if not.
check() {
    local name=$1 log first status before after plays=1
    shift
    if [[ -n ${only-} ]] && ! [[ $name =~ $only ]]; then return 0; fi
    log=$work/$(tr -c 'a-zA-Z0-9._\n-' '_' <<<"$name").log
    before=$(kernel_complaints | wc -l)
    # Not in a list with ||: there `set -e` would count for nothing.
    (set -e; "$@") >"$log" 2>&1
    status=$?
    while [[ $status -ne 0 && $plays -lt $plays_max ]] && grep -q "$siw_errs" "$log"; do
        stop_programs
        mv "$log" "${log%.log}.$plays.log"
        plays=$((plays + 1))
        (set -e; "$@") >"$log" 2>&1
        status=$?
        first=${log#"$root"/}
        echo "note: played $plays times, see ${first%.log}.1.log" >>"$log"
    done
    after=$(kernel_complaints | wc -l)
    if [[ $status -eq 0 && $after -gt $before ]]; then
        verdict "$name" fail "the guest's kernel complains"
        kernel_complaints | tail -n +"$((before + 1))" | head -5 | sed 's/^/    /'
    elif [[ $status -eq 0 ]]; then
        verdict "$name" pass "$(grep -a '^note: ' "$log" | tail -1 | cut -c 7-)"
    else
        stop_programs
        verdict "$name" fail "status $status, see ${log#"$root"/}"
        tail -n 12 "$log" | sed 's/^/    /'
    fi
}

# Starts a program of ours in the background, and waits until it says that it listens. Its output goes to the file
# $work/host.NAME.log; host_finish NAME gives its status.
host_start() {
    local name=$1 log=$work/host.$1.log
    shift
    rm -f "$log.status"
    (
        set +e
        timeout -k 2 "${limit:-60}" "$@" >"$log" 2>&1 7>&- 8>&-
        echo $? >"$log.status"
    ) &
    for _ in $(seq 100); do
        grep -q "listening on" "$log" 2>/dev/null && return 0
        [[ -s $log.status ]] && break
        sleep 0.1
    done
    cat "$log"
    return 1
}

host_finish() {
    local log=$work/host.$1.log
    for _ in $(seq $(((${limit:-60} + 5) * 10))); do
        [[ -s $log.status ]] && break
        sleep 0.1
    done
    cat "$log"
    return "$(cat "$log.status" 2>/dev/null || echo 124)"
}

# A program of ours in the foreground, with a limit in seconds.
host() {
    timeout -k 2 "${limit:-60}" "$@" 7>&- 8>&-
}
